/** Small clusters with policies, what the firewall makes of them on each node, and both opinions on a packet. */

import { judge, type PodVerdict } from "../../src/plugins/firewall/judge.ts";
import type { KindTypes } from "../../src/kernel/cluster/kinds.ts";
import { trim } from "../../src/kernel/cluster/trim.ts";
import type { Namespace, NetworkPolicy, Pod } from "../../src/kernel/plugin.ts";
import {
  baseItems,
  type Facts,
  type Items,
  namespaceItems,
  podItems,
  policyItems,
} from "../../src/plugins/firewall/desired.ts";
import { type Packet, type Verdict, verdict } from "../../src/plugins/firewall/oracle.ts";
import { PolicyIndex } from "../../src/plugins/firewall/policy-index.ts";
import {
  type Hook,
  type Machine,
  machine,
  type Ruleset,
  type Walk,
  type WalkedPacket,
} from "./packet-walk.ts";

export interface PolicyCluster {
  readonly namespaces: readonly Namespace[];
  readonly pods: readonly Pod[];
  readonly policies: readonly NetworkPolicy[];
  /** Addresses of nodes, the first of each family on its primary link. */
  readonly nodes: ReadonlyMap<string, readonly string[]>;
}

let versions = 0;

/** An object of the API, as the stores hold it. */
function made<K extends "pods" | "namespaces" | "networkpolicies">(
  kind: K,
  key: string,
  { metadata = {}, ...rest }: Readonly<Record<string, unknown>> & { readonly metadata?: object },
): KindTypes[K] {
  const [name, namespace = ""] = key.split("/").toReversed();
  versions++;
  const object = trim(kind, {
    ...rest,
    metadata: {
      name,
      namespace,
      uid: key,
      resourceVersion: String(versions),
      ...metadata,
    },
  });
  if (object === undefined) throw new Error(`No object: ${key}`);
  return object;
}

export function namespace(
  name: string,
  labels: Readonly<Record<string, string>> = {},
  annotations: Readonly<Record<string, string>> = {},
): Namespace {
  return made("namespaces", name, { metadata: { labels, annotations } });
}

export interface PodChanges {
  readonly labels?: Readonly<Record<string, string>>;
  readonly ips?: readonly string[];
  readonly node?: string;
  readonly ports?: readonly object[];
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  readonly deleted?: boolean;
  /** Merged into the spec. */
  readonly spec?: object;
}

/** A running pod of node1. */
export function pod(
  key: string,
  {
    labels = {},
    ips = [],
    node = "node1",
    ports = [],
    phase = "Running",
    hostNetwork,
    deleted,
    spec,
  }: PodChanges,
): Pod {
  return made("pods", key, {
    metadata: {
      labels,
      ...(deleted === true ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}),
    },
    spec: {
      nodeName: node,
      containers: [{ name: "main", ports }],
      ...(hostNetwork === undefined ? {} : { hostNetwork }),
      ...spec,
    },
    status: { phase, podIPs: ips.map((ip) => ({ ip })) },
  });
}

/** A policy as its YAML has it. */
export function policy(
  key: string,
  spec: object,
  annotations: Readonly<Record<string, string>> = {},
): NetworkPolicy {
  return made("networkpolicies", key, { metadata: { annotations }, spec });
}

export const FACTS: Facts = {
  families: [4, 6],
  defaultDeny: false,
  keepEstablished: false,
  podCIDRs: [],
  serviceRanges: [],
  nodePorts: { from: 30000, to: 32767 },
};

/** The index of one node that has seen all objects. */
export function indexOf(
  { namespaces, pods, policies }: PolicyCluster,
  node: string,
  facts: Facts = FACTS,
): PolicyIndex {
  const index = new PolicyIndex(node, facts.families);
  index.changeNamespaces(namespaces.map((current) => ({ current })));
  index.changePolicies(policies.map((current) => ({ current })));
  index.changePods(pods.map((current) => ({ current })));
  return index;
}

/** All that the firewall of one node wants. */
export function itemsOf(index: PolicyIndex, facts: Facts = FACTS): Items {
  const parts: readonly Items[] = [
    baseItems(index, facts),
    ...index.localPods().map(({ key }) => podItems(index, key, facts)),
    ...[...index.activeNamespaces()].map((name) => namespaceItems(index, name, facts)),
    ...[...index.activePolicies()].map((key) => policyItems(index, key, facts)),
  ];
  return {
    sets: unique(parts.flatMap(({ sets }) => sets), ({ name }) => name),
    members: unique(
      [
        ...parts.flatMap(({ members }) => members),
        ...[...index.podKeys()].flatMap((key) => index.members(key)),
      ],
      ({ set, entry }) => `${set} ${entry}`,
    ),
    chains: parts.flatMap(({ chains }) => chains),
    jumps: parts.flatMap(({ jumps }) => jumps),
    problems: parts.flatMap(({ problems }) => problems),
  };
}

/** Units may share what they want, if they want the same. */
function unique<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  const found = new Map<string, T>();
  for (const item of items) {
    const known = found.get(key(item));
    if (known !== undefined && !Bun.deepEquals(known, item)) {
      throw new Error(`Units want different things: ${JSON.stringify([known, item])}`);
    }
    found.set(key(item), item);
  }
  return [...found.values()].toSorted((a, b) => key(a) < key(b) ? -1 : 1);
}

/** A cluster with the compiled rules of all its nodes. */
export interface Judged {
  readonly cluster: PolicyCluster;
  readonly rulesets: ReadonlyMap<string, Ruleset & Pick<Items, "problems">>;
  oracle(packet: Packet): Verdict;
  /** The walks that the packet makes on the nodes of both ends. */
  walks(packet: Packet): readonly Walk[];
  /** How one walk ends. */
  walk(
    node: string,
    hook: Hook,
    packet: Packet | undefined,
    changes: Partial<WalkedPacket>,
  ): Walk["verdict"];
  /** What the models that the rules are made of say, on all nodes. */
  judges(packet: Packet): readonly PodVerdict[];
  /** Whether no walk ends in a refusal. */
  passes(packet: Packet): boolean;
}

export function judged(cluster: PolicyCluster, facts: Facts = FACTS): Judged {
  const rulesets = new Map<string, Ruleset & Pick<Items, "problems">>();
  const machines = new Map<string, Machine>();
  const indexes = new Map<PolicyIndex, readonly string[]>();
  for (const [node, own] of cluster.nodes) {
    const index = indexOf(cluster, node, facts);
    const items = itemsOf(index, facts);
    indexes.set(index, own);
    rulesets.set(node, items);
    machines.set(node, machine(items, own));
  }
  const walks = (packet: Packet): readonly Walk[] =>
    ways(cluster, packet).flatMap(([node, hook]) =>
      machines.get(node)?.walk(hook, {
        ...packet,
        protocol: packet.protocol.toLowerCase() as "tcp" | "udp" | "sctp",
      }) ?? []
    );
  return {
    cluster,
    rulesets,
    oracle: (packet) => verdict(cluster, packet),
    walks,
    walk(node, hook, packet, changes) {
      const found = machines.get(node);
      if (found === undefined || packet === undefined) {
        throw new Error(`No node ${node}, or no packet`);
      }
      const protocol = packet.protocol.toLowerCase() as WalkedPacket["protocol"];
      return found.walk(hook, { ...packet, protocol, ...changes }).verdict;
    },
    judges: (packet) =>
      [...indexes].flatMap(([index, own]) =>
        judge(index, {
          ...packet,
          protocol: packet.protocol.toLowerCase() as "tcp" | "udp" | "sctp",
        }, (address) => own.includes(address))
      ),
    passes: (packet) =>
      walks(packet).every(({ verdict: end }) => end !== "reject" && end !== "drop"),
  };
}

/** Hooks of nodes that a packet passes. Between two pods it is FORWARD, or OUTPUT where IPVS sends it on. */
function ways(
  { nodes, pods }: PolicyCluster,
  { source, destination }: Packet,
): readonly (readonly [node: string, hook: Hook])[] {
  const nodeOf = (address: string): string | undefined =>
    [...nodes].find(([, own]) => own.includes(address))?.[0] ??
      pods.find(({ spec, status }) =>
        !spec.hostNetwork && status.podIPs.includes(address) &&
        !["Succeeded", "Failed"].includes(status.phase ?? "")
      )?.spec.nodeName;
  const isNode = (address: string) => [...nodes.values()].some((own) => own.includes(address));
  const from = nodeOf(source);
  const to = nodeOf(destination);
  const found: [string, Hook][] = [];
  if (from !== undefined) {
    if (isNode(source)) found.push([from, "OUTPUT"]);
    else if (from === to && isNode(destination)) found.push([from, "INPUT"]);
    else found.push([from, "FORWARD"], [from, "OUTPUT"]);
  }
  if (to !== undefined && to !== from && !isNode(destination)) found.push([to, "FORWARD"]);
  return found;
}
