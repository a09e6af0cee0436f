/**
 * NetworkPolicy objects, normalised: defaults filled in, selectors compiled, networks parsed. What cannot be understood
 * is reported and matches nothing, so that it never opens anything.
 */

import { type Cidr, parseCidr } from "../../kernel/ip.ts";
import type {
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
} from "../../kernel/plugin.ts";
import { compileSelector, EVERYTHING, type Selector } from "./selector.ts";

export type Direction = "ingress" | "egress";
export const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

export interface PolicyModel {
  /** "namespace/name". */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly target: Selector;
  /** Absent: the policy says nothing about that direction. Empty: it allows nothing there. */
  readonly ingress?: readonly RuleModel[];
  readonly egress?: readonly RuleModel[];
  /** What it would deny is logged and counted, and passes. What it allows is allowed. */
  readonly audit: boolean;
  /** What its object has wrong. */
  readonly problems: readonly string[];
}

export interface RuleModel {
  /** Place in the object's list, from 0. */
  readonly index: number;
  readonly peers: "everyone" | readonly PeerModel[];
  readonly ports: "all" | readonly PortModel[];
}

export type PeerModel = PodPeer | BlockPeer;

export interface PodPeer {
  readonly kind: "pods";
  /** A namespace by its name, or those that a selector matches. */
  readonly namespaces: string | Selector;
  readonly pods: Selector;
}

export interface BlockPeer {
  readonly kind: "block";
  readonly cidr: Cidr;
  /** Of the same family, inside `cidr`. */
  readonly except: readonly Cidr[];
}

export type Protocol = "tcp" | "udp" | "sctp";

export type PortModel =
  | { readonly protocol: Protocol; readonly kind: "all" }
  /** Inclusive. */
  | {
    readonly protocol: Protocol;
    readonly kind: "range";
    readonly from: number;
    readonly to: number;
  }
  | { readonly protocol: Protocol; readonly kind: "named"; readonly name: string };

const AUDIT = "routelet.io/audit";

const known = new WeakMap<NetworkPolicy, PolicyModel>();

export function policyModel(policy: NetworkPolicy): PolicyModel {
  const old = known.get(policy);
  if (old !== undefined) return old;
  const made = read(policy);
  known.set(policy, made);
  return made;
}

function read({ metadata, spec }: NetworkPolicy): PolicyModel {
  const problems: string[] = [];
  const { name, namespace } = metadata;
  const types = spec.policyTypes;
  const rules = (direction: Direction) =>
    spec[direction].map((rule, index) =>
      ruleModel(rule, index, { namespace, direction, problems })
    );
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    target: compileSelector(spec.podSelector),
    ...(types.includes("Ingress") ? { ingress: rules("ingress") } : {}),
    ...(types.includes("Egress") ? { egress: rules("egress") } : {}),
    audit: auditOf(metadata.annotations[AUDIT], problems),
    problems,
  };
}

function auditOf(value: string | undefined, problems: string[]): boolean {
  if (value === undefined || value === "false") return false;
  if (value === "true") return true;
  problems.push(
    `Annotation "${AUDIT}" must be "true" or "false", not "${value}"; taken as "false"`,
  );
  return false;
}

interface Place {
  readonly namespace: string;
  readonly direction: Direction;
  readonly problems: string[];
}

function ruleModel(rule: NetworkPolicyRule, index: number, place: Place): RuleModel {
  const field = place.direction === "ingress" ? "from" : "to";
  const at = `${place.direction}[${index}]`;
  return {
    index,
    // By the object's list, never by what is left of it: a peer that matches nothing is not "everyone".
    peers: rule.peers.length === 0
      ? "everyone"
      : rule.peers.flatMap((peer, i) => peerModel(peer, `${at}.${field}[${i}]`, place) ?? []),
    ports: rule.ports.length === 0
      ? "all"
      : rule.ports.flatMap((port, i) => portModel(port, `${at}.ports[${i}]`, place) ?? []),
  };
}

function peerModel(
  { podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer,
  at: string,
  { namespace, problems }: Place,
): PeerModel | undefined {
  if (ipBlock !== undefined) return blockPeer(ipBlock, `${at}.ipBlock`, problems);
  if (podSelector === undefined && namespaceSelector === undefined) return undefined;
  return {
    kind: "pods",
    namespaces: namespaceSelector === undefined ? namespace : compileSelector(namespaceSelector),
    pods: podSelector === undefined ? EVERYTHING : compileSelector(podSelector),
  };
}

function blockPeer(
  block: NonNullable<NetworkPolicyPeer["ipBlock"]>,
  at: string,
  problems: string[],
): BlockPeer | undefined {
  const cidr = parseCidr(block.cidr);
  if (cidr === undefined) {
    problems.push(`${at}.cidr "${block.cidr}" is no network, and matches nothing`);
    return undefined;
  }
  const except: Cidr[] = [];
  for (const [i, text] of block.except.entries()) {
    const part = parseCidr(text);
    if (part === undefined) {
      // Nobody knows what was to be left out.
      problems.push(`${at}.except[${i}] "${text}" is no network; the block matches nothing`);
      return undefined;
    }
    if (part.family !== cidr.family) continue;
    if (covers(part, cidr)) return { kind: "block", cidr, except: [cidr] };
    if (covers(cidr, part)) except.push(part);
  }
  return { kind: "block", cidr, except };
}

/** Whether a network holds all of another one of its family. */
export function covers(outer: Cidr, inner: Cidr): boolean {
  if (outer.family !== inner.family || outer.prefix > inner.prefix) return false;
  const whole = outer.prefix >> 3;
  for (let i = 0; i < whole; i++) if (outer.bytes[i] !== inner.bytes[i]) return false;
  const bits = outer.prefix & 7;
  if (bits === 0) return true;
  const mask = (0xff << (8 - bits)) & 0xff;
  return ((outer.bytes[whole] ?? 0) & mask) === ((inner.bytes[whole] ?? 0) & mask);
}

function portModel(
  { protocol, port, endPort }: NetworkPolicyPort,
  at: string,
  { problems }: Place,
): PortModel | undefined {
  const lower = protocol.toLowerCase();
  if (!isProtocol(lower)) {
    problems.push(`${at}.protocol "${protocol}" is none of TCP, UDP and SCTP, and matches nothing`);
    return undefined;
  }
  if (port === undefined) return { protocol: lower, kind: "all" };
  if (typeof port === "string") return { protocol: lower, kind: "named", name: port };
  const to = endPort ?? port;
  if (!isPort(port) || !isPort(to) || to < port) {
    problems.push(`${at} must be ports of 1 to 65535, not "${port}-${to}", and matches nothing`);
    return undefined;
  }
  return { protocol: lower, kind: "range", from: port, to };
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65_535;
}

function isProtocol(text: string): text is Protocol {
  return text === "tcp" || text === "udp" || text === "sctp";
}
