/**
 * The oracle: whether a packet may pass, straight from the specification of NetworkPolicy v1, and why. It reads the API's
 * objects and shares nothing with the compiler but the parsing of addresses, so that each can be held against the other.
 * It looks at everything each time: simple, not fast.
 */

import { canonicalIp, contains, parseCidr } from "../../kernel/ip.ts";
import type {
  Labels,
  LabelSelector,
  Namespace,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  Pod,
} from "../../kernel/plugin.ts";

/** What the verdict depends on. */
export interface World {
  readonly namespaces: Iterable<Namespace>;
  readonly pods: Iterable<Pod>;
  readonly policies: Iterable<NetworkPolicy>;
  /** Addresses of nodes, by node: what a node sends to its own pods always passes. */
  readonly nodes: ReadonlyMap<string, readonly string[]>;
}

/** The first packet of a connection, as it is between pods: after the translation of Services. */
export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly protocol: "TCP" | "UDP" | "SCTP";
  /** Of the destination. */
  readonly port: number;
}

export type DirectionName = "egress" | "ingress";

/** What one pod's policies say of one direction. */
export interface Judgement {
  readonly direction: DirectionName;
  /** "namespace/name". */
  readonly pod: string;
  readonly allowed: boolean;
  readonly reason:
    | { readonly kind: "not isolated" }
    /** From the node that the pod runs on. */
    | { readonly kind: "node" }
    | { readonly kind: "self" }
    /** Allowed by this policy's rule, both counted from 0. */
    | { readonly kind: "rule"; readonly policy: string; readonly rule: number }
    /** Selected by these policies, none of which allows it. The namespace's annotation is named by its key. */
    | { readonly kind: "isolated"; readonly by: readonly string[] };
  /** Audited policies that would have denied it. */
  readonly audited: readonly string[];
}

export interface Verdict {
  readonly allowed: boolean;
  /** One for each pod at the source, then for each at the destination. Empty: no pod takes part, nothing is judged. */
  readonly judgements: readonly Judgement[];
}

const ANNOTATION = "net.beta.kubernetes.io/network-policy";

/** Egress of the source and ingress of the destination are judged apart, and both must allow. */
export function verdict(world: World, packet: Packet): Verdict {
  const sources = podsAt(world, packet.source);
  const targets = podsAt(world, packet.destination);
  const judgements = [
    ...sources.map((pod) => judge(world, packet, "egress", pod)),
    ...targets.map((pod) => judge(world, packet, "ingress", pod)),
  ];
  return { allowed: judgements.every(({ allowed }) => allowed), judgements };
}

/** Pods that have the address now. Finished ones have lost theirs, those on the host's network have the node's. */
function podsAt({ pods }: World, address: string): readonly Pod[] {
  const wanted = canonicalIp(address);
  return [...pods].filter((pod) => isLive(pod) && addressesOf(pod).includes(wanted));
}

const known = new WeakMap<Pod, readonly (string | undefined)[]>();

function addressesOf(pod: Pod): readonly (string | undefined)[] {
  const old = known.get(pod);
  if (old !== undefined) return old;
  // What is no address is nobody's.
  const made = pod.status.podIPs.map((ip) => canonicalIp(ip) ?? "");
  known.set(pod, made);
  return made;
}

function isLive({ spec, status }: Pod): boolean {
  return !spec.hostNetwork && !["Succeeded", "Failed", "Completed"].includes(status.phase ?? "");
}

function sameIp(list: readonly string[], address: string): boolean {
  const wanted = canonicalIp(address);
  return list.some((each) => wanted !== undefined && canonicalIp(each) === wanted);
}

function judge(world: World, packet: Packet, direction: DirectionName, pod: Pod): Judgement {
  const { name, namespace } = pod.metadata;
  const base = { direction, pod: `${namespace}/${name}`, audited: [] } as const;
  if (sameIp([packet.source], packet.destination)) {
    return { ...base, allowed: true, reason: { kind: "self" } };
  }
  const node = world.nodes.get(pod.spec.nodeName ?? "") ?? [];
  if (direction === "ingress" && sameIp(node, packet.source)) {
    return { ...base, allowed: true, reason: { kind: "node" } };
  }
  const selecting = [...world.policies].filter((policy) =>
    policy.metadata.namespace === namespace &&
    policy.spec.policyTypes.includes(direction === "ingress" ? "Ingress" : "Egress") &&
    selects(policy.spec.podSelector, pod.metadata.labels)
  );
  for (const policy of selecting) {
    const rules = policy.spec[direction];
    for (const [index, { peers, ports }] of rules.entries()) {
      const peerAllowed = peers.length === 0 ||
        peers.some((peer) => isPeer(world, packet, direction, namespace, peer));
      const portAllowed = ports.length === 0 ||
        ports.some((port) => isPort(world, packet, port));
      if (peerAllowed && portAllowed) {
        const reason = { kind: "rule", policy: keyOf(policy), rule: index } as const;
        return { ...base, allowed: true, reason };
      }
    }
  }
  const enforced = selecting.filter((policy) => !isAudited(policy)).map(keyOf);
  if (direction === "ingress" && isClosed(namespaceOf(world, namespace))) enforced.push(ANNOTATION);
  return enforced.length > 0
    ? { ...base, allowed: false, reason: { kind: "isolated", by: enforced } }
    : {
      ...base,
      allowed: true,
      reason: { kind: "not isolated" },
      audited: selecting.map(keyOf),
    };
}

function isPeer(
  world: World,
  packet: Packet,
  direction: DirectionName,
  ownNamespace: string,
  peer: NetworkPolicyPeer,
): boolean {
  const address = direction === "ingress" ? packet.source : packet.destination;
  if (peer.ipBlock !== undefined) return isInBlock(peer.ipBlock, address);
  if (peer.podSelector === undefined && peer.namespaceSelector === undefined) return false;
  return podsAt(world, address).some(({ metadata }) => {
    const inNamespace = peer.namespaceSelector === undefined
      ? metadata.namespace === ownNamespace
      : matchesNamespace(peer.namespaceSelector, namespaceOf(world, metadata.namespace));
    return inNamespace &&
      (peer.podSelector === undefined || selects(peer.podSelector, metadata.labels));
  });
}

function isInBlock(
  { cidr, except }: NonNullable<NetworkPolicyPeer["ipBlock"]>,
  address: string,
): boolean {
  if (except.some((each) => parseCidr(each) === undefined)) return false;
  return contains(cidr, address) && !except.some((each) => contains(each, address));
}

/** A name stands for what the pod at the destination calls so, for that protocol; nobody there: for nothing. */
function isPort(world: World, packet: Packet, { protocol, port, endPort }: NetworkPolicyPort) {
  if (protocol !== packet.protocol) return false;
  if (port === undefined) return true;
  if (typeof port === "number") {
    return port >= 1 && port <= packet.port && packet.port <= (endPort ?? port) &&
      (endPort ?? port) <= 65_535;
  }
  return podsAt(world, packet.destination).some(({ spec }) =>
    spec.ports.some((own) =>
      own.name === port && own.protocol === protocol && own.containerPort === packet.port
    )
  );
}

function selects({ matchLabels, matchExpressions }: LabelSelector, labels: Labels): boolean {
  const has = (key: string) => Object.hasOwn(labels, key);
  return Object.entries(matchLabels).every(([key, value]) => has(key) && labels[key] === value) &&
    matchExpressions.every(({ key, operator, values }) => {
      const listed = has(key) && values.includes(labels[key] ?? "");
      if (operator === "In") return listed;
      if (operator === "NotIn") return !listed;
      return operator === "Exists" ? has(key) : !has(key);
    });
}

/** A namespace that nobody knows has no labels that anybody knows: it matches no selector, not even the empty one. */
function matchesNamespace(selector: LabelSelector, namespace: Namespace | undefined): boolean {
  return namespace !== undefined && selects(selector, namespace.metadata.labels);
}

function namespaceOf({ namespaces }: World, name: string): Namespace | undefined {
  return [...namespaces].find(({ metadata }) => metadata.name === name);
}

function isAudited({ metadata }: NetworkPolicy): boolean {
  return metadata.annotations["routelet.io/audit"] === "true";
}

function isClosed(namespace: Namespace | undefined): boolean {
  try {
    const value = JSON.parse(namespace?.metadata.annotations[ANNOTATION] ?? "{}");
    return value?.ingress?.isolation === "DefaultDeny";
  } catch {
    return false;
  }
}

function keyOf({ metadata }: NetworkPolicy): string {
  return `${metadata.namespace}/${metadata.name}`;
}
