/**
 * Packet filter and NAT rules in one compiled form, that every backend renders. The words are netfilter's.
 * One renders them for `iptables-restore`, the other as expressions of nf_tables.
 */

import type { Family, Resource } from "../resource.ts";

export type FilterTable = "filter" | "nat" | "mangle" | "raw";

/** ICMP types as iptables and nft both name them. */
export type IcmpType =
  | "echo-request"
  | "echo-reply"
  | "destination-unreachable"
  | "time-exceeded"
  | "packet-too-big"
  | "neighbor-solicitation"
  | "neighbor-advertisement";

export type ConnectionState = "new" | "established" | "related" | "invalid" | "untracked";

/** One condition of a rule; all conditions of a rule must hold. */
export type Match =
  | { readonly kind: "source" | "destination"; readonly prefix: string; readonly negate?: boolean }
  | { readonly kind: "input" | "output"; readonly link: string; readonly negate?: boolean }
  | { readonly kind: "protocol"; readonly protocol: "tcp" | "udp" | "sctp" | "icmp" | "icmpv6" }
  | { readonly kind: "ports"; readonly side: "source" | "destination"; readonly ports: string }
  /** TCP segments of which, among the flags in `mask`, just those in `set` are set; both in Linux's order. */
  | { readonly kind: "tcpFlags"; readonly mask: string; readonly set: string }
  | {
    /** Needs a match of protocol icmp or icmpv6 beside it. */
    readonly kind: "icmp";
    readonly type: IcmpType;
  }
  /** xt_conntrack: the packet's connection is in one of these states. */
  | { readonly kind: "state"; readonly states: readonly ConnectionState[] }
  /** xt_conntrack: where the connection went before it was translated, by IPVS too. */
  | { readonly kind: "originalDestination"; readonly prefix: string }
  | {
    readonly kind: "set";
    readonly set: string;
    /** One word for each dimension: "src", "dst". */
    readonly directions: readonly ("src" | "dst")[];
    readonly negate?: boolean;
  }
  | { readonly kind: "mark"; readonly mark: number; readonly mask?: number }
  /** xt_connmark: these bits of the connection's mark. */
  | { readonly kind: "connectionMark"; readonly mark: number; readonly mask: number }
  /** xt_addrtype: whether the address is one of this host's own, VIPs included. */
  | { readonly kind: "local"; readonly side: "source" | "destination"; readonly negate?: boolean }
  /** xt_limit: holds for this many packets a minute, after a burst. */
  | { readonly kind: "limit"; readonly perMinute: number; readonly burst: number }
  | {
    /** xt_ipvs: the packet belongs to an IPVS connection. */
    readonly kind: "ipvs";
    readonly direction?: "original" | "reply";
    readonly method?: "masq" | "tunnel" | "route";
    readonly vaddr?: string;
    readonly vport?: number;
  };

export type Target =
  | { readonly kind: "accept" | "drop" | "return" }
  | { readonly kind: "reject"; readonly with?: string }
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "snat"; readonly to: string; readonly fullyRandom?: boolean }
  | { readonly kind: "masquerade"; readonly fullyRandom?: boolean }
  /** To a port of this host instead; in table nat, from PREROUTING and OUTPUT alone. */
  | { readonly kind: "redirect"; readonly port: number }
  | { readonly kind: "mark"; readonly set: number; readonly mask?: number }
  /** Hands a copy of the packet to whoever listens to the group, `tcpdump -i nflog:100` for one. Goes on with the next rule. */
  | {
    readonly kind: "log";
    readonly group: number;
    /** At most 63 bytes; what is longer is cut. */
    readonly prefix?: string;
  }
  /** Lowers the MSS option of a SYN to at most `mss` bytes. */
  | { readonly kind: "tcpmss"; readonly mss: number };

export interface FilterRule {
  readonly matches: readonly Match[];
  readonly target: Target;
  /** At most 200 characters; printed by the native tools. */
  readonly comment?: string;
  /**
   * Set on rules read from Linux alone: the content hash in the rule's mark, which stands for all the rest. Native
   * tools print rules in other words than they were given, so only the hash can be compared.
   */
  readonly hash?: string;
}

/** A chain of ours with all its rules. Mark: the name starts with the owner's prefix. */
export interface Chain {
  readonly family: Family;
  readonly table: FilterTable;
  /** At most 28 characters. */
  readonly name: string;
  readonly rules: readonly FilterRule[];
  /** Set where the rest works without its rules: where Linux refuses them, an empty chain does in its stead. */
  readonly dispensable?: boolean;
}

/** A jump from a base chain of Linux to a chain of ours. Mark: a comment that names the owner. */
export interface Jump {
  readonly family: Family;
  readonly table: FilterTable;
  readonly from: "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING";
  readonly to: string;
  readonly matches: readonly Match[];
  readonly comment?: string;
  /** Whether it must come before all rules of others; absent: appended, wherever it stands. */
  readonly first?: boolean;
  /** As in {@linkcode FilterRule}. */
  readonly hash?: string;
}

/** Takes a text piece by piece. */
type Say = (piece: string) => void;

/**
 * Canonical text of a rule: equal rules have equal texts, whatever the order in which fields were written. JSON of lists of
 * pairs, said by hand: a first round asks for 20,000 of them, and lists that only JSON reads cost more than it does.
 */
function sayRule(
  rule: Pick<FilterRule, "matches" | "comment"> & { target?: Target },
  say: Say,
): void {
  say("[[");
  for (let i = 0; i < rule.matches.length; i++) {
    if (i > 0) say(",");
    sayFields(rule.matches[i] as Match, say);
  }
  say("],");
  if (rule.target === undefined) say("null");
  else sayFields(rule.target, say);
  say(",");
  sayValue(rule.comment ?? null, say);
  say("]");
}

/** The fields that are there, by name: `[["kind","mark"],["mark",1]]`. */
function sayFields(value: object, say: Say): void {
  const fields = value as Readonly<Record<string, unknown>>;
  const keys = Object.keys(fields);
  // Two to five of them: to put each in its place beats a sort.
  for (let i = 1; i < keys.length; i++) {
    const key = keys[i] as string;
    let at = i;
    for (; at > 0 && (keys[at - 1] as string) > key; at--) keys[at] = keys[at - 1] as string;
    keys[at] = key;
  }
  let first = true;
  say("[");
  for (const key of keys) {
    const field = fields[key];
    if (field === undefined) continue;
    say(first ? '["' : ',["');
    say(key);
    say('",');
    sayValue(field, say);
    say("]");
    first = false;
  }
  say("]");
}

/** A value as JSON has it. */
function sayValue(value: unknown, say: Say): void {
  if (typeof value === "string" && isPlain(value)) {
    say('"');
    say(value);
    say('"');
  } else if (Array.isArray(value) && value.every((one) => typeof one === "string")) {
    say("[");
    for (let i = 0; i < value.length; i++) {
      if (i > 0) say(",");
      sayValue(value[i], say);
    }
    say("]");
  } else say(JSON.stringify(value));
}

/** Whether JSON has nothing to escape in a text, as nearly never: to look is quicker than to have it written. */
function isPlain(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c < 0x20 || c > 0x7e || c === 0x22 || c === 0x5c) return false;
  }
  return true;
}

function textOf(write: (say: Say) => void): string {
  let text = "";
  write((piece) => text += piece);
  return text;
}

/** What {@linkcode ruleHash} is the hash of. */
export function ruleText(
  rule: Pick<FilterRule, "matches" | "comment"> & { target?: Target },
): string {
  return textOf((say) => sayRule(rule, say));
}

/** Canonical text of a match or target. */
export function partText(part: Match | Target): string {
  return textOf((say) => sayFields(part, say));
}

const hashes = new WeakMap<object, string>();

/** Content hash of a rule or jump, as its mark carries it: 14 hexadecimal digits. Not for defence, for comparison. */
export function ruleHash(
  rule: Pick<FilterRule, "matches" | "comment" | "hash"> & { target?: Target },
): string {
  if (rule.hash !== undefined) return rule.hash;
  const known = hashes.get(rule);
  if (known !== undefined) return known;
  a = 0xdeadbeef;
  b = 0x41c6ce57;
  // Not of the whole text: to put it together first takes most of the time.
  sayRule(rule, mix);
  const hash = mixed();
  hashes.set(rule, hash);
  return hash;
}

// cyrb53: two 32-bit multiplicative hashes, mixed to 53 bits.
let a = 0;
let b = 0;

function mix(piece: string): void {
  let one = a;
  let other = b;
  for (let i = 0; i < piece.length; i++) {
    const c = piece.charCodeAt(i);
    one = Math.imul(one ^ c, 2654435761);
    other = Math.imul(other ^ c, 1597334677);
  }
  a = one;
  b = other;
}

function mixed(): string {
  const one = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  const other = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
  // Of 53 bits, 21 and 32.
  return (2097151 & other).toString(16).padStart(6, "0") +
    (one >>> 0).toString(16).padStart(8, "0");
}

export const chain: Resource<Chain> = {
  kind: "chain",
  foundation: true,
  isDispensable: (c) => c.dispensable === true,
  key: (c) => `ipv${c.family} ${c.table} ${c.name}`,
  equal: (want, have) =>
    want.rules.length === have.rules.length &&
    want.rules.every((rule, i) => {
      const other = have.rules[i];
      return other !== undefined && ruleHash(rule) === ruleHash(other);
    }),
  describe: (c) =>
    `chain ipv${c.family} ${c.table} ${c.name} with ${c.rules.length} rule${
      c.rules.length === 1 ? "" : "s"
    }`,
};

export const jump: Resource<Jump> = {
  kind: "jump",
  foundation: true,
  key: (j) => `ipv${j.family} ${j.table} ${j.from} -> ${j.to}`,
  equal: (want, have) =>
    ruleHash(want) === ruleHash(have) && (want.first ?? false) === (have.first ?? false),
  describe: (j) => `jump ipv${j.family} ${j.table} ${j.from} -> ${j.to}`,
  parentKind: "chain",
  parent: (j) => `ipv${j.family} ${j.table} ${j.to}`,
};
