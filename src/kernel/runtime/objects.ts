/**
 * Names and addresses of the cluster's objects, for commands that ask the agent: what a person types means which
 * addresses, and whose address is it. Out of the stores that some plugin watches, whichever it is.
 */

import type { ClusterSource, Pod, Service, Stores } from "../cluster/store.ts";
import { canonicalIp } from "../ip.ts";

/** Who has an address. */
export interface Named {
  /** "namespace/name", or a node's name. */
  readonly name: string;
  readonly kind: "pod" | "node";
  /** Name of the node that it is on; absent where it is on none yet. */
  readonly node?: string;
}

/** What a text that a person typed may mean. */
export interface Meaning {
  readonly kind: "pod" | "service" | "node" | "address";
  /** "namespace/name", a node's name, or the address. */
  readonly name: string;
  /** Name of the node that a pod is on, or that has the address. */
  readonly node?: string;
  /** Canonical; of a Service its cluster IPs. Empty: it has none. */
  readonly addresses: readonly string[];
  /** Of Services and pods, in their order. */
  readonly ports: readonly MeantPort[];
}

export interface MeantPort {
  readonly name: string;
  /** "tcp", "udp", "sctp". */
  readonly protocol: string;
  readonly port: number;
}

export interface MeaningAnswer {
  readonly meanings: readonly Meaning[];
  /** What was not looked through because no plugin watches it. */
  readonly unwatched: readonly string[];
}

/** The stores that are read; undefined for those that nobody watches. */
export interface Known {
  readonly nodes: Stores["nodes"] | undefined;
  readonly pods: Stores["pods"] | undefined;
  readonly services: Stores["services"] | undefined;
}

/** Out of a source: to read a store that nobody watches throws. */
export function knownOf({ state, stores }: Pick<ClusterSource, "state" | "stores">): Known {
  const watched = new Set(state.kinds.filter(({ synced }) => synced).map(({ kind }) => kind));
  return {
    nodes: watched.has("nodes") ? stores.nodes : undefined,
    pods: watched.has("pods") ? stores.pods : undefined,
    services: watched.has("services") ? stores.services : undefined,
  };
}

/** All that a text may mean, Services before pods. A word before it, "pod/", "service/" or "node/", says which. */
export function meaningAnswer(stores: Known, text: string): MeaningAnswer {
  const { kinds, name } = wordsOf(text);
  const meanings: Meaning[] = [];
  const address = canonicalIp(name);
  if (address !== undefined) {
    const owner = namesAnswer(stores, [address])[address];
    const node = owner?.node;
    return {
      meanings: [{
        kind: "address",
        name: address,
        ...(node === undefined ? {} : { node }),
        addresses: [address],
        ports: [],
      }],
      unwatched: [],
    };
  }
  const key = name.includes("/") ? name : keyOfDnsName(name);
  if (kinds.includes("service") && key !== undefined) {
    const service = stores.services?.get(key);
    if (service !== undefined) meanings.push(serviceMeaning(key, service));
  }
  if (kinds.includes("pod") && name.includes("/")) {
    const pod = stores.pods?.get(name);
    if (pod !== undefined) meanings.push(podMeaning(name, pod));
  }
  if (kinds.includes("node") && !name.includes("/")) {
    const node = stores.nodes?.get(name);
    if (node !== undefined) {
      const addresses = node.status.addresses.flatMap((each) => canonicalIp(each.address) ?? []);
      meanings.push({ kind: "node", name, node: name, addresses, ports: [] });
    }
  }
  const needed = kinds.map((kind) => `${kind}s` as const);
  return { meanings, unwatched: needed.filter((kind) => stores[kind] === undefined) };
}

type Kind = "service" | "pod" | "node";
const KINDS: readonly Kind[] = ["service", "pod", "node"];

function wordsOf(text: string): { readonly kinds: readonly Kind[]; readonly name: string } {
  const [, word = "", rest = ""] = /^(svc|services?|pods?|nodes?)\/(.+)$/.exec(text) ?? [];
  const kind = word === "svc" ? "service" : word.replace(/s$/, "");
  // "pod/web" alone may as well be a pod "web" of a namespace "pod".
  if (kind === "node" || rest.includes("/") || kind === "service" && rest.includes(".")) {
    return { kinds: KINDS.filter((each) => each === kind), name: rest };
  }
  return { kinds: KINDS, name: text };
}

/** "web.default", "web.default.svc", "web.default.svc.cluster.local" as "default/web". */
function keyOfDnsName(name: string): string | undefined {
  const found = /^([a-z0-9-]+)\.([a-z0-9-]+)(\.svc(\..*)?)?$/.exec(name);
  return found === null ? undefined : `${found[2]}/${found[1]}`;
}

function serviceMeaning(name: string, { spec }: Service): Meaning {
  return {
    kind: "service",
    name,
    addresses: [...new Set(spec.clusterIPs.flatMap((text) => canonicalIp(text) ?? []))],
    ports: spec.ports.map(({ name, protocol, port }) => ({
      name,
      protocol: protocol.toLowerCase(),
      port,
    })),
  };
}

function podMeaning(name: string, pod: Pod): Meaning {
  const node = pod.spec.nodeName;
  return {
    kind: "pod",
    name,
    ...(node === undefined ? {} : { node }),
    addresses: addressesOf(pod),
    ports: pod.spec.ports.map(({ name, protocol, containerPort }) => ({
      name,
      protocol: protocol.toLowerCase(),
      port: containerPort,
    })),
  };
}

const FINISHED: ReadonlySet<string> = new Set(["Succeeded", "Failed"]);

/** None where its address may be another's by now. */
function addressesOf({ status }: Pod): readonly string[] {
  if (FINISHED.has(status.phase ?? "")) return [];
  return [...new Set(status.podIPs.flatMap((ip) => canonicalIp(ip) ?? []))];
}

interface Index {
  readonly version: string;
  readonly byAddress: ReadonlyMap<string, Named>;
}

/** A command asks for many addresses in a row; between two changes the answer is the same. */
const indexes = new WeakMap<object, Index>();

/** Who has these addresses; those that nobody is known to have are left out. Pods of the host's network are the node. */
export function namesAnswer(
  stores: Pick<Known, "nodes" | "pods">,
  addresses: readonly string[],
): Readonly<Record<string, Named>> {
  const store = stores.pods ?? stores.nodes;
  if (store === undefined) return {};
  const version = `${stores.pods?.resourceVersion} ${stores.nodes?.resourceVersion}`;
  let index = indexes.get(store);
  if (index === undefined || index.version !== version) {
    index = { version, byAddress: named(stores) };
    indexes.set(store, index);
  }
  const { byAddress } = index;
  return Object.fromEntries(addresses.flatMap((address) => {
    const found = byAddress.get(address);
    return found === undefined ? [] : [[address, found]];
  }));
}

function named({ nodes, pods }: Pick<Known, "nodes" | "pods">): ReadonlyMap<string, Named> {
  const names = new Map<string, Named>();
  for (const pod of pods?.values() ?? []) {
    if (pod.spec.hostNetwork) continue;
    const { namespace, name } = pod.metadata;
    const node = pod.spec.nodeName;
    for (const address of addressesOf(pod)) {
      names.set(address, {
        kind: "pod",
        name: `${namespace}/${name}`,
        ...(node === undefined ? {} : { node }),
      });
    }
  }
  for (const { metadata: { name }, status } of nodes?.values() ?? []) {
    for (const each of status.addresses) {
      const address = canonicalIp(each.address);
      if (address !== undefined) names.set(address, { kind: "node", name, node: name });
    }
  }
  return names;
}
