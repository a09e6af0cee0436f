/** The lab's Kubernetes API server: in the process that starts it, over one store in memory. */

import { BUILT_IN } from "./kinds.ts";
import { kubeconfigYaml } from "./kubeconfig.ts";
import { createWriter, keyOf } from "./objects.ts";
import { createServer } from "./server.ts";
import { type Shelf, Store } from "./store.ts";
import type {
  ApiOptions,
  KubeconfigOptions,
  KubeObject,
  LabApi,
  Listening,
  ObjectReference,
} from "./types.ts";
import { isObject, listOf } from "./values.ts";
import { type Authority, createAuthority } from "./x509.ts";

export { startEndpointController } from "./endpoint-controller.ts";
export { writeExecPlugin, writeTokenFile } from "./kubeconfig.ts";
export type { ExecCredential } from "./kubeconfig.ts";
export type { Kind } from "./kinds.ts";
export type * from "./types.ts";

const NAMESPACES = ["default", "kube-system", "kube-public", "kube-node-lease"];

/** As `createApi`; a promise for callers that wait for all they start. */
export function startApi(options: ApiOptions = {}): Promise<LabApi> {
  return Promise.resolve(createApi(options));
}

/**
 * Makes the server and, unless `listen` is false, binds it, before it returns. Throws where the
 * address cannot be bound. The store begins with the namespaces of every cluster.
 */
export function createApi(options: ApiOptions = {}): LabApi {
  const { historySize = 10_000, pageDefault = 0, bookmarkSeconds = 60 } = options;
  const store = new Store(BUILT_IN, historySize);
  const writer = createWriter(store, options.serviceCIDRs ?? []);
  // Made when first asked for: plain HTTP needs none.
  const authority = once(() => createAuthority("lab-ca"));
  const strangers = once(() => createAuthority("unknown-ca"));
  const server = createServer({ store, writer, authority, strangers, pageSize: pageDefault });
  const { access, faults, watches } = server;
  const issue = (user = "lab-admin", groups: readonly string[] = ["system:masters"]) =>
    access.issue(user, groups);
  let token = issue();
  let url = "";

  function listen(listenOptions: ApiOptions = {}): Listening {
    const listening = server.listen(listenOptions);
    if (url === "") url = listening.url;
    return listening;
  }

  function shelfOf(kind: string): Shelf {
    for (const shelf of store.shelves.values()) {
      if (shelf.kind.kind === kind || shelf.kind.plural === kind) return shelf;
    }
    throw new Error(`Cannot list "${kind}": no such kind`);
  }

  function locate({ apiVersion, kind, namespace, name }: ObjectReference) {
    const shelf = store.byKind(apiVersion, kind);
    return shelf === undefined ? undefined : { shelf, key: keyOf(shelf, namespace, name) };
  }

  function applyAll(objects: Iterable<object>): readonly KubeObject[] {
    return store.batch(() => [...objects].flatMap(itemsOf).map(writer.apply));
  }

  function remove(reference: ObjectReference): boolean {
    const found = locate(reference);
    if (found === undefined || !found.shelf.entries.has(found.key)) return false;
    writer.remove(found.shelf, found.key, { force: true });
    return true;
  }

  function bookmark(): string {
    watches.bookmark();
    return String(store.revision);
  }

  function kubeconfig({ user = "token", server, ca, insecure = false }: KubeconfigOptions = {}) {
    const address = server ?? url;
    const secure = address.startsWith("https:") && !insecure;
    return kubeconfigYaml({
      server: address,
      caPem: secure ? ca ?? authority().caPem : undefined,
      insecure,
      user: user === "token"
        ? { token }
        : user === "certificate"
        ? { certificate: clientCertificate("lab-admin", { groups: ["system:masters"] }) }
        : user,
    });
  }

  const clientCertificate: LabApi["clientCertificate"] = (commonName, given = {}) => {
    const issuer = given.unknownCa === true ? strangers() : authority();
    const subject = { commonName, organizations: given.groups ?? [] };
    return issuer.issue(subject, { usage: "client", expired: given.expired === true });
  };

  const timer = bookmarkSeconds > 0 ? setInterval(bookmark, bookmarkSeconds * 1000) : undefined;
  timer?.unref();
  applyAll(NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name } })));
  if (options.listen !== false) listen(options);

  return {
    get url() {
      return url;
    },
    get token() {
      return token;
    },
    get caPem() {
      return authority().caPem;
    },
    get resourceVersion() {
      return String(store.revision);
    },
    listen,
    kubeconfig,
    clientCertificate,
    issueToken: issue,
    revokeToken: access.revoke,
    rotateToken: () => {
      access.revoke(token);
      return token = issue();
    },
    authorize: access.setRule,
    addKind: (kind) => store.add(kind),
    apply: (object) => {
      const applied = applyAll([object]).at(-1);
      if (applied === undefined) throw new Error("Cannot apply a List without items");
      return applied;
    },
    applyAll,
    delete: remove,
    get: (reference) => {
      const found = locate(reference);
      return found?.shelf.entries.get(found.key)?.object;
    },
    list: (kind, namespace) => {
      const objects = shelfOf(kind).sorted().map(({ object }) => object);
      return namespace === undefined
        ? objects
        : objects.filter(({ metadata }) => metadata?.namespace === namespace);
    },
    on: (listener) =>
      store.on((shelf, { type, entry, old }) =>
        listener({
          type,
          kind: shelf.kind,
          object: entry.object,
          ...(old === undefined ? {} : { old: old.object }),
        })
      ),
    onSettled: (listener) => store.onSettled(listener),
    bookmark,
    compact: () => store.compact(),
    fail: faults.fail,
    heal: faults.heal,
    stats: server.stats,
    resetStats: server.resetStats,
    close: () => {
      clearInterval(timer);
      server.close();
    },
  };
}

/** A `List`, or a list of one kind, is applied by its items. */
function itemsOf(object: object): readonly object[] {
  const { kind, items } = object as { kind?: unknown; items?: unknown };
  const isList = typeof kind === "string" && kind.endsWith("List") && Array.isArray(items);
  return isList ? listOf(items).filter(isObject) : [object];
}

function once(make: () => Authority): () => Authority {
  let made: Authority | undefined;
  return () => made ??= make();
}
