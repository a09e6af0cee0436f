/** What plugins do at the API server, as requests. */

import { type ApiClient, type ApiRequest, readJson } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import { ApiFailed, type ApiFailureCode, type ClusterApi, type Lease } from "./cluster-api.ts";
import { CredentialsError } from "./credentials.ts";
import { fieldsOf, integer, object, text } from "./fields.ts";
import { type KindName, KINDS, type KindTypes } from "./kinds.ts";
import { listAll } from "./list.ts";
import { trim } from "./trim.ts";

/**
 * Longest time without an answer, ms. A holder of a lease stops 5 s before others may take it: what it sent last has then failed,
 * or will by its resourceVersion.
 */
const SILENCE_MS = 4_000;
const LIST_SILENCE_MS = 27_000;
const PAGE = 500;
const LONGEST_MESSAGE = 1_024;

type Verb = Extract<ApiRequest["verb"], "list" | "get" | "create" | "update" | "patch">;

interface Call {
  readonly verb: Verb;
  readonly path: string;
  readonly resource: string;
  readonly group: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** @param reporter the component that Events name as their source */
export function createClusterApi(client: ApiClient, reporter = "routelet"): ClusterApi {
  /** After a failure connections that are idle may be dead as well. */
  let fresh = false;

  async function call({ query = {}, ...call }: Call): Promise<unknown> {
    const request = {
      ...call,
      query,
      signal: new AbortController().signal,
      silenceMs: call.verb === "list" ? LIST_SILENCE_MS : SILENCE_MS,
      fresh,
    };
    try {
      const answer = await readJson(await client.request(request), client.asked(request));
      fresh = false;
      return answer;
    } catch (error) {
      const failed = failureOf(error);
      fresh = failed.code === "unavailable";
      throw failed;
    }
  }

  async function getOne(given: Omit<Call, "verb">): Promise<unknown> {
    try {
      return await call({ ...given, verb: "get" });
    } catch (error) {
      if (error instanceof ApiFailed && error.code === "absent") return undefined;
      throw error;
    }
  }

  const read = <K extends KindName>(kind: K, raw: unknown): KindTypes[K] => {
    const found = trim(kind, raw);
    if (found !== undefined) return found;
    throw new ApiFailed("unavailable", `The answer of ${client.server} is none of ${kind}`);
  };

  return {
    async list(kind) {
      const { path, group } = KINDS[kind];
      const { objects } = await listAll({
        page: (query) => call({ verb: "list", path, resource: kind, group, query }),
        pageSize: PAGE,
        read: (item) => trim(kind, item),
        asked: client.asked({ verb: "list", resource: kind, group }),
      });
      return objects;
    },

    async get(kind, key) {
      const { group } = KINDS[kind];
      const raw = await getOne({ path: pathOf(kind, key), resource: kind, group });
      return raw === undefined ? undefined : read(kind, raw);
    },

    async patchIngress({ metadata }, ingress) {
      const { name, namespace, uid, resourceVersion } = metadata;
      const raw = await call({
        verb: "patch",
        path: `${pathOf("services", `${namespace}/${name}`)}/status`,
        resource: "services/status",
        group: "",
        body: {
          metadata: { uid, resourceVersion },
          status: { loadBalancer: { ingress: ingress.length === 0 ? null : ingress } },
        },
      });
      return read("services", raw);
    },

    async emit({ kind, metadata, type, reason, message }) {
      const now = new Date().toISOString().replace(/\.\d+/, "");
      // Objects without a namespace have their Events in "default".
      const namespace = nameIn(metadata.namespace || "default");
      await call({
        verb: "create",
        path: `/api/v1/namespaces/${namespace}/events`,
        resource: "events",
        group: "",
        body: {
          apiVersion: "v1",
          kind: "Event",
          metadata: { name: `${metadata.name}.${eventSuffix()}`, namespace },
          involvedObject: {
            apiVersion: KINDS[kind].apiVersion,
            kind: KINDS[kind].kind,
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
          },
          type,
          reason,
          message: message.slice(0, LONGEST_MESSAGE),
          source: { component: reporter },
          reportingComponent: reporter,
          reportingInstance: "",
          firstTimestamp: now,
          lastTimestamp: now,
          count: 1,
        },
      });
    },

    async getLease(key) {
      const raw = await getOne({ ...LEASES, path: leasePath(key) });
      return raw === undefined ? undefined : leaseOf(raw);
    },

    async writeLease(key, lease) {
      const [namespace, name] = partsOf(key);
      const exists = lease.resourceVersion !== "";
      const path = leasePath(key);
      const raw = await call({
        ...LEASES,
        verb: exists ? "update" : "create",
        path: exists ? path : path.slice(0, path.lastIndexOf("/")),
        body: {
          apiVersion: "coordination.k8s.io/v1",
          kind: "Lease",
          metadata: {
            name,
            namespace,
            ...(exists ? { resourceVersion: lease.resourceVersion } : {}),
          },
          spec: {
            holderIdentity: lease.holder,
            leaseDurationSeconds: lease.durationSeconds,
            acquireTime: lease.acquireTime,
            renewTime: lease.renewTime,
            leaseTransitions: lease.transitions,
          },
        },
      });
      return leaseOf(raw);
    },
  };
}

const LEASES = { resource: "leases", group: "coordination.k8s.io" } as const;

/** Unique among an object's Events, as client-go makes it: from the time, and here from chance as well. */
function eventSuffix(): string {
  const random = Math.floor(Math.random() * 0x10000).toString(16).padStart(4, "0");
  return `${Date.now().toString(16)}${random}`;
}

function leasePath(key: string): string {
  const [namespace, name] = partsOf(key);
  return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases/${name}`;
}

/** @throws {ApiFailed} where a part is no name: it would be another path */
function pathOf(kind: KindName, key: string): string {
  const { path, namespaced } = KINDS[kind];
  if (!namespaced) return `${path}/${nameIn(key)}`;
  const [namespace, name] = partsOf(key);
  return path.replace(/\/([^/]+)$/, `/namespaces/${namespace}/$1/${name}`);
}

function partsOf(key: string): readonly [namespace: string, name: string] {
  const [namespace = "", name = "", ...more] = key.split("/");
  if (more.length > 0) nameIn(key);
  return [nameIn(namespace), nameIn(name)];
}

function nameIn(text: string): string {
  if (/^[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?$/.test(text)) return text;
  throw new ApiFailed("invalid", `"${text}" is no name of an object; allowed is "namespace/name"`);
}

/** A Lease as the API has it; what is missing counts as nobody's. */
function leaseOf(raw: unknown): Lease {
  const fields = fieldsOf(raw, () => {});
  const spec = object(fields, "spec");
  return {
    holder: text(spec, "holderIdentity") ?? "",
    durationSeconds: integer(spec, "leaseDurationSeconds") ?? 0,
    acquireTime: text(spec, "acquireTime") ?? "",
    renewTime: text(spec, "renewTime") ?? "",
    transitions: integer(spec, "leaseTransitions") ?? 0,
    resourceVersion: text(object(fields, "metadata"), "resourceVersion") ?? "",
  };
}

const CODES: Readonly<Record<number, ApiFailureCode>> = {
  400: "invalid",
  401: "forbidden",
  403: "forbidden",
  404: "absent",
  409: "conflict",
  413: "invalid",
  422: "invalid",
};

function failureOf(error: unknown): ApiFailed {
  if (error instanceof ApiFailed) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof CredentialsError) return new ApiFailed("unavailable", message);
  const status = error instanceof ApiError ? error.status : 0;
  return new ApiFailed(CODES[status] ?? "unavailable", message);
}
