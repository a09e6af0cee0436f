/** The address sets that rules name. Policies that say the same share a set. */

import type { Cidr, Family } from "../../kernel/ip.ts";
import type { IpSet, IpSetMember } from "../../kernel/plugin.ts";
import { setName } from "./names.ts";
import { familyOf, type PodFacts } from "./pods.ts";
import type { BlockPeer, Direction, PodPeer, Protocol } from "./policy.ts";
import { EVERYTHING, type Selector } from "./selector.ts";

/** Whether rules look for the address in the packet's source or in its destination. */
export type Use = "SRC" | "DST";

/** Pods whose addresses, or addresses with a named port, make up a set in each family. */
export interface PodSet {
  /** Identity, and what the names in Linux are made of. */
  readonly text: string;
  readonly use: Use;
  /** Whether only pods of this node are in it: enough where only they can be meant, and far smaller. */
  readonly local: boolean;
  /** A namespace by its name, those that a selector matches, or all, those without an object too. */
  readonly namespaces: string | Selector | undefined;
  readonly pods: Selector;
  /** The set holds address and port of this container port; a pod without one is not in it. */
  readonly port?: { readonly protocol: Protocol; readonly name: string };
  readonly type: "hash:ip" | "hash:ip,port";
  /** What it is called in Linux, by family: each of thousands of members needs it. */
  readonly names: Readonly<Record<Family, string>>;
}

/** Largest number of members. Only a limit: Linux takes no memory for it. Its default, 65,536, is too few pods. */
const MOST_MEMBERS = 1_048_576;

function podSet(set: Omit<PodSet, "text" | "type" | "names">): PodSet {
  const { namespaces, pods, local, port, use } = set;
  const where = typeof namespaces === "string"
    ? `namespace ${namespaces}`
    : namespaces === undefined
    ? "anywhere"
    : `namespaces ${namespaces.text}`;
  const what = port === undefined ? "" : ` port ${port.protocol} ${port.name}`;
  const text = `${use} ${local ? "local " : ""}pods ${where} pods ${pods.text}${what}`;
  return {
    ...set,
    text,
    type: port === undefined ? "hash:ip" : "hash:ip,port",
    names: { 4: setName(use, 4, text), 6: setName(use, 6, text) },
  };
}

const targets = {
  ingress: new WeakMap<Target, PodSet>(),
  egress: new WeakMap<Target, PodSet>(),
} as const;

/** A policy, as far as it says which pods it selects. */
interface Target {
  readonly namespace: string;
  readonly target: Selector;
}

/** The pods of this node that a policy selects. Its own chains and its namespace's ask for it, for each family. */
export function targetSet(policy: Target, direction: Direction): PodSet {
  const known = targets[direction].get(policy);
  if (known !== undefined) return known;
  const made = podSet({
    use: direction === "ingress" ? "DST" : "SRC",
    local: true,
    namespaces: policy.namespace,
    pods: policy.target,
  });
  targets[direction].set(policy, made);
  return made;
}

/** The pods that a peer means. */
export function peerSet(peer: PodPeer, direction: Direction): PodSet {
  return podSet({
    use: direction === "ingress" ? "SRC" : "DST",
    local: false,
    namespaces: peer.namespaces,
    pods: peer.pods,
  });
}

/** What pods call by a port's name: of a namespace's pods on this node for ingress, of all pods for egress. */
export function namedPortSet(
  port: { readonly protocol: Protocol; readonly name: string },
  namespace: string,
  direction: Direction,
): PodSet {
  return podSet({
    use: "DST",
    local: direction === "ingress",
    namespaces: direction === "ingress" ? namespace : undefined,
    pods: EVERYTHING,
    port: { protocol: port.protocol, name: port.name },
  });
}

export function podSetName(set: PodSet, family: Family): string {
  return set.names[family];
}

/**
 * Buckets of a hash, each for some twelve members: what a kubelet runs on one node, and what a large cluster has in all. By the
 * kind of set alone: a set that grows further is enlarged by Linux.
 */
const BUCKETS = { local: 64, anywhere: 4096 } as const;

export function podIpSet(set: PodSet, family: Family): IpSet {
  const made = { name: podSetName(set, family), type: set.type, family, maxElements: MOST_MEMBERS };
  if (set.local) return { ...made, buckets: BUCKETS.local };
  return set.pods.all && typeof set.namespaces !== "string"
    ? { ...made, buckets: BUCKETS.anywhere }
    : made;
}

/** What a pod brings into a set that it belongs to. */
export function membersOf(
  set: PodSet,
  pod: PodFacts,
  families: readonly Family[],
): readonly IpSetMember[] {
  const { port, names } = set;
  const { addresses, ports } = pod;
  const found: IpSetMember[] = [];
  // Without lists in between: a first round comes here for each of 100,000 pods.
  for (const family of families) {
    const name = names[family];
    for (const address of addresses) {
      if (familyOf(address) !== family) continue;
      if (port === undefined) {
        found.push({ set: name, entry: address });
        continue;
      }
      for (const [i, own] of ports.entries()) {
        // A pod may give one name to several ports of one protocol, and one number twice.
        if (!isNamed(own, port) || ports.findIndex((each) => isSame(each, own)) < i) continue;
        found.push(new PortMember(name, address, portText(port.protocol, own.containerPort)));
      }
    }
  }
  return found;
}

type ContainerPort = PodFacts["ports"][number];

/** Whether a container's port is what a rule calls by a name. */
export function isNamed(own: ContainerPort, port: NonNullable<PodSet["port"]>): boolean {
  return own.name === port.name && own.protocol.toLowerCase() === port.protocol;
}

function isSame(one: ContainerPort, other: ContainerPort): boolean {
  return one.name === other.name && one.containerPort === other.containerPort &&
    one.protocol.toLowerCase() === other.protocol.toLowerCase();
}

/** A member that makes its text when it is asked for: of the named ports of 100,000 pods the texts alone take 16 MB. */
class PortMember implements IpSetMember {
  readonly set: string;
  readonly #address: string;
  readonly #port: string;

  constructor(set: string, address: string, port: string) {
    this.set = set;
    this.#address = address;
    this.#port = port;
  }

  get entry(): string {
    return `${this.#address},${this.#port}`;
  }

  toJSON(): IpSetMember {
    return { set: this.set, entry: this.entry };
  }
}

/** One copy of each, which thousands of members hold; forgotten when there are many. */
const portTexts = new Map<string, string>();
const MOST_TEXTS = 1_024;

function portText(protocol: Protocol, port: number): string {
  const text = `${protocol}:${port}`;
  const known = portTexts.get(text);
  if (known !== undefined) return known;
  if (portTexts.size >= MOST_TEXTS) portTexts.clear();
  portTexts.set(text, text);
  return text;
}

/** A set of networks and its members, which are all known from the policy. */
export interface BlockSet {
  readonly set: IpSet;
  readonly members: readonly IpSetMember[];
}

/** Networks without exceptions: what any of them holds. */
export function networkSet(cidrs: readonly Cidr[], use: Use, family: Family): BlockSet {
  const texts = [...new Set(cidrs.flatMap(halves))].toSorted();
  return blockSet(texts.map((entry) => ({ entry })), use, family);
}

/**
 * A network with exceptions. One set for each: Linux takes the longest prefix of a set, and what one block excepts
 * another one may allow.
 */
export function exceptSet({ cidr, except }: BlockPeer, use: Use): BlockSet {
  const entries = new Map<string, boolean>();
  for (const entry of halves(cidr)) entries.set(entry, false);
  for (const part of except) for (const entry of halves(part)) entries.set(entry, true);
  const list = [...entries].toSorted(([a], [b]) => a < b ? -1 : 1);
  return blockSet(
    list.map(([entry, nomatch]) => nomatch ? { entry, nomatch } : { entry }),
    use,
    cidr.family,
  );
}

function blockSet(
  entries: readonly Omit<IpSetMember, "set">[],
  use: Use,
  family: Family,
): BlockSet {
  const text = entries.map(({ entry, nomatch }) => `${nomatch === true ? "!" : ""}${entry}`);
  const name = setName(use, family, `networks ${text.join(" ")}`);
  return {
    set: { name, type: "hash:net", family, maxElements: MOST_MEMBERS },
    members: entries.map((entry) => ({ set: name, ...entry })),
  };
}

/** A network as Linux's sets hold it: they refuse a prefix of 0 bits, and print a single address without its length. */
function halves({ family, prefix, text, address }: Cidr): readonly string[] {
  if (prefix > 0) return [prefix === (family === 4 ? 32 : 128) ? address : text];
  return family === 4 ? ["0.0.0.0/1", "128.0.0.0/1"] : ["::/1", "8000::/1"];
}
