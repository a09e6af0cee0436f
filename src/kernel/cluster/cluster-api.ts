/**
 * What plugins do at the API server besides watching: a few writes, each declared in the plugin's field `writes`, and reads that
 * must not be as old as a watch may be.
 *
 * All of it fails with an {@linkcode ApiFailure}, whose `code` says what to do next.
 */

import type { KindName, KindTypes, LoadBalancerIngress, Metadata } from "./kinds.ts";

/** What a plugin may write: load balancer addresses of Services, Events, leases. Nothing else is possible. */
export type ApiWrite = "services/status" | "events" | "leases";

/**
 * - `conflict`: the object is another than the one that was read; nothing was written: read it again
 * - `absent`: the object is gone
 * - `forbidden`: not declared, or RBAC forbids it
 * - `invalid`: the server, or the agent, refuses what was to be written
 * - `unavailable`: no answer, or a late one. Nobody knows whether it was written
 */
export type ApiFailureCode = "conflict" | "absent" | "forbidden" | "invalid" | "unavailable";

/** An error with the reason as a word. */
export interface ApiFailure extends Error {
  readonly code: ApiFailureCode;
}

/** A lock with an end (coordination.k8s.io/v1). */
export interface Lease {
  /** Who has it; "": nobody. */
  readonly holder: string;
  /** Seconds after the last renewal for which it holds, by the clock of whoever waits for it. */
  readonly durationSeconds: number;
  /** RFC 3339 with microseconds, by the holder's clock; for people. */
  readonly acquireTime: string;
  readonly renewTime: string;
  /** How often it went from one holder to another. */
  readonly transitions: number;
  /** Of the object that was read, which must still be that one; "": there must be none. */
  readonly resourceVersion: string;
}

/** An Event of core/v1, as `kubectl describe` shows it. */
export interface ApiEvent {
  /** The object that it is about, of a kind that the plugin watches. */
  readonly kind: KindName;
  readonly metadata: Pick<Metadata, "name" | "namespace" | "uid">;
  readonly type: "Normal" | "Warning";
  /** A word in UpperCamelCase. */
  readonly reason: string;
  /** For people; cut off after 1,024 characters. */
  readonly message: string;
}

/** The API server, as far as plugins reach it. Keys are "namespace/name". */
export interface ClusterApi {
  /** All objects of a kind that the plugin watches, as the server has them now. */
  list<K extends KindName>(kind: K): Promise<readonly KindTypes[K][]>;
  /** One such object; undefined: there is none. */
  get<K extends KindName>(kind: K, key: string): Promise<KindTypes[K] | undefined>;
  /**
   * Replaces the addresses in a Service's status, if it is still the one of this uid and resourceVersion. Gives it as it is
   * then.
   */
  patchIngress(
    service: { readonly metadata: Metadata },
    ingress: readonly LoadBalancerIngress[],
  ): Promise<KindTypes["services"]>;
  emit(event: ApiEvent): Promise<void>;
  /** Undefined: there is none. */
  getLease(key: string): Promise<Lease | undefined>;
  /** Creates or replaces a lease; gives it as it is then. */
  writeLease(key: string, lease: Lease): Promise<Lease>;
}

/** Makes an {@linkcode ApiFailure}. */
export class ApiFailed extends Error implements ApiFailure {
  override readonly name = "ApiFailure";
  readonly code: ApiFailureCode;

  constructor(code: ApiFailureCode, message: string) {
    super(message);
    this.code = code;
  }
}
