/** The lab's API server as tests and the lab see it. */

import type { Kind } from "./kinds.ts";

export interface ObjectMeta {
  readonly name?: string;
  readonly generateName?: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly [field: string]: unknown;
}

/** Any Kubernetes object. Objects that the store hands out must not be changed. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMeta;
  readonly [field: string]: unknown;
}

export interface ObjectReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

export type ChangeType = "ADDED" | "MODIFIED" | "DELETED";

/** One change of the store, told to `on` listeners after it is stored. */
export interface Change {
  readonly type: ChangeType;
  readonly kind: Kind;
  readonly object: KubeObject;
  readonly old?: KubeObject;
}

/**
 * - `drop`: open watch streams break now; for the period new ones break after their first bytes
 * - `410`: open watches end with an ERROR event, all earlier resourceVersions expire; for the period
 *   watches and continued lists answer 410
 * - `429`, `500`: for the period every request answers so, open watches go on
 * - `stall`: for the period requests are taken and never answered, open watches go silent
 * - `half-open`: open connections, and those opened in the period, never send a byte again
 * - `down`: open connections break, the port is closed for the period
 */
export type FailureMode = "drop" | "410" | "429" | "500" | "stall" | "half-open" | "down";

export interface ListenOptions {
  /** Address to bind and, by default, to name in the URL. Default 127.0.0.1. */
  readonly host?: string;
  /** 0, the default: any free port. */
  readonly port?: number;
  readonly tls?: boolean | TlsOptions;
  /** Lets requests without credentials in. Default: only without TLS. */
  readonly anonymous?: boolean;
  /** Host in the URL, where it is not the one that is bound (0.0.0.0). */
  readonly advertise?: string;
  /**
   * Runs the bind, at first and after `down`: by it the caller enters a network namespace for the
   * length of the call.
   */
  readonly enter?: <T>(bind: () => T) => T;
}

export interface TlsOptions {
  /** Names and addresses of the server's certificate, beside localhost and the host that is bound. */
  readonly names?: readonly string[];
  /** The server's certificate has expired. */
  readonly expired?: boolean;
  /** The server's certificate is not from the CA that kubeconfigs name. */
  readonly unknownCa?: boolean;
}

export interface Listening {
  readonly url: string;
  readonly port: number;
  readonly stop: () => void;
}

export interface ApiOptions extends ListenOptions {
  /** Does not listen yet: the caller calls `listen`. Default true. */
  readonly listen?: boolean;
  /** Changes kept for each kind; an older resourceVersion has expired. Default 10,000. */
  readonly historySize?: number;
  /** Largest page of a list, also where a client asks for more or for none. Default: no limit. */
  readonly pageDefault?: number;
  /** Seconds between periodic bookmarks. Default 60; 0: only by `bookmark()`. */
  readonly bookmarkSeconds?: number;
  /** Service CIDRs, one a family, from which Services without a clusterIP get one. Default: none. */
  readonly serviceCIDRs?: readonly string[];
}

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateOptions {
  readonly expired?: boolean;
  /** Groups of the user (O of the subject). */
  readonly groups?: readonly string[];
  /** Signed by a CA that the server does not know. */
  readonly unknownCa?: boolean;
}

export type KubeconfigUser =
  | "token"
  | "certificate"
  | "none"
  | { readonly token: string }
  | { readonly tokenFile: string }
  | { readonly certificate: Certificate }
  | { readonly exec: string; readonly args?: readonly string[] };

export interface KubeconfigOptions {
  /** Default: `token`. */
  readonly user?: KubeconfigUser;
  readonly server?: string;
  /** CA in PEM in place of the server's own. */
  readonly ca?: string;
  readonly insecure?: boolean;
}

export interface ApiStats {
  readonly lists: number;
  /** Pages of lists that a continue token asked for. */
  readonly continued: number;
  readonly watches: number;
  readonly openWatches: number;
  readonly openConnections: number;
  readonly connections: number;
  /** Requests by `VERB path`: verbs are list, watch, get, create, update, patch, delete… */
  readonly requests: Readonly<Record<string, number>>;
  /** Answers by HTTP status. */
  readonly statuses: Readonly<Record<string, number>>;
}

export interface AccessAttributes {
  readonly user: string;
  readonly groups: readonly string[];
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
}

export interface LabApi {
  /** URL of the first listener. */
  readonly url: string;
  /** The default user's bearer token. Changes with `rotateToken`. */
  readonly token: string;
  readonly caPem: string;
  /** Of the last write; a decimal number. */
  readonly resourceVersion: string;
  /** Opens one more listener over the same store, before it returns. */
  readonly listen: (options?: ListenOptions) => Listening;
  /** A kubeconfig, as YAML text. */
  readonly kubeconfig: (options?: KubeconfigOptions) => string;
  readonly clientCertificate: (commonName: string, options?: CertificateOptions) => Certificate;
  /** A new token of a user, beside those that exist. */
  readonly issueToken: (user?: string, groups?: readonly string[]) => string;
  /** Requests with that token get 401 from now on. */
  readonly revokeToken: (token: string) => void;
  /** Revokes the default token and returns the new one. */
  readonly rotateToken: () => string;
  /** Requests for which the function returns false get 403. No function: all is allowed. */
  readonly authorize: (allowed?: (attributes: AccessAttributes) => boolean) => void;
  /** Makes a kind known, as applying its CustomResourceDefinition does. */
  readonly addKind: (kind: Kind) => void;
  /** Creates or replaces, status included, and returns what is stored. */
  readonly apply: (object: object) => KubeObject;
  /** Applies in order, a `List` by its items; derived objects are written once, at the end. */
  readonly applyAll: (objects: Iterable<object>) => readonly KubeObject[];
  /** False where there was no such object. */
  readonly delete: (reference: ObjectReference) => boolean;
  readonly get: (reference: ObjectReference) => KubeObject | undefined;
  /** Objects of a kind (`Service`) or plural (`services`), ordered by namespace and name. */
  readonly list: (kind: string, namespace?: string) => readonly KubeObject[];
  /** Returns the function that ends it. */
  readonly on: (listener: (change: Change) => void) => () => void;
  /**
   * Called at the end of each outermost write (a whole `applyAll` counts as one), before it returns:
   * the place for controllers that derive objects.
   */
  readonly onSettled: (listener: () => void) => () => void;
  /** Sends a BOOKMARK on all open watches that allow it and returns its resourceVersion. */
  readonly bookmark: () => string;
  /** Forgets all history: every resourceVersion before the present one has expired. */
  readonly compact: () => void;
  /**
   * Fails for a while, from now on, and returns at once. Default seconds: 0 for `drop`, `410` and
   * `half-open` (what is open now breaks), 5 for the others. A new mode ends the one before.
   */
  readonly fail: (mode: FailureMode, seconds?: number) => void;
  /** Ends the failure mode early. Connections that `half-open` made dead stay dead. */
  readonly heal: () => void;
  readonly stats: () => ApiStats;
  readonly resetStats: () => void;
  readonly close: () => void;
}
