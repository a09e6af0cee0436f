/**
 * Walks a packet through compiled chains, rules and sets as netfilter would: a second reading of the compiled form, by
 * what netfilter's manuals say of each match and target, and independent of what made the rules.
 */

import { type Cidr, contains, ipBytes, parseCidr } from "../../src/kernel/ip.ts";
import type {
  Chain,
  FilterRule,
  IpSet,
  IpSetMember,
  Jump,
  Match,
} from "../../src/kernel/plugin.ts";

export interface Ruleset {
  readonly sets: readonly IpSet[];
  readonly members: readonly IpSetMember[];
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
}

export interface WalkedPacket {
  readonly source: string;
  readonly destination: string;
  readonly protocol: "tcp" | "udp" | "sctp" | "icmp" | "icmpv6" | "gre";
  readonly port?: number;
  readonly icmp?: string;
  readonly state?: "new" | "established" | "related" | "invalid";
  /** Where it went before IPVS took it; absent: where it goes now. */
  readonly originalDestination?: string;
  /** What rules of others have set before. */
  readonly mark?: number;
  /** Of the connection. */
  readonly connectionMark?: number;
  /** The link that it came by; absent: one that no rule names. */
  readonly input?: string;
}

export interface Walk {
  /** "continue": no rule of ours has decided, the next one in Linux's chain does. */
  readonly verdict: "accept" | "drop" | "reject" | "continue";
  readonly mark: number;
  /** Prefixes of log rules that it met. */
  readonly logged: readonly string[];
  /** Comments of the rules that it matched, in order. */
  readonly trace: readonly string[];
}

export type Hook = "INPUT" | "FORWARD" | "OUTPUT";

/** Looks up what walks ask for again and again. */
export interface Machine {
  walk(hook: Hook, packet: WalkedPacket): Walk;
}

/** @param own addresses of the host */
export function machine(ruleset: Ruleset, own: readonly string[]): Machine {
  const chains = new Map(ruleset.chains.map((c) => [`${c.family} ${c.name}`, c]));
  const sets = new Map(ruleset.sets.map((set) => [set.name, new Entries(set)]));
  for (const member of ruleset.members) {
    const set = sets.get(member.set);
    if (set === undefined) throw new Error(`Member of a set that does not exist: ${member.set}`);
    set.add(member);
  }
  return {
    walk(hook, packet) {
      const family = packet.source.includes(":") ? 6 : 4;
      const state: State = {
        packet,
        own,
        sets,
        mark: packet.mark ?? 0,
        logged: [],
        trace: [],
        steps: 0,
      };
      for (const jump of ruleset.jumps) {
        if (jump.family !== family || jump.from !== hook) continue;
        if (!jump.matches.every((match) => holds(match, state))) continue;
        const end = run(`${family} ${jump.to}`, chains, state);
        if (end !== "return") return { verdict: end, ...result(state) };
      }
      return { verdict: "continue", ...result(state) };
    },
  };
}

interface State {
  readonly packet: WalkedPacket;
  readonly own: readonly string[];
  readonly sets: ReadonlyMap<string, Entries>;
  mark: number;
  readonly logged: string[];
  readonly trace: string[];
  steps: number;
}

function result({ mark, logged, trace }: State): Omit<Walk, "verdict"> {
  return { mark, logged, trace };
}

type End = "accept" | "drop" | "reject" | "return";

function run(name: string, chains: ReadonlyMap<string, Chain>, state: State): End {
  const chain = chains.get(name);
  if (chain === undefined) throw new Error(`Jump to a chain that does not exist: ${name}`);
  if (++state.steps > 10_000) throw new Error(`Chains lead in a circle at ${name}`);
  for (const rule of chain.rules) {
    if (!rule.matches.every((match) => holds(match, state))) continue;
    state.trace.push(rule.comment ?? `(${rule.target.kind})`);
    const end = carryOut(rule, chain, chains, state);
    if (end === "next") continue;
    return end;
  }
  return "return";
}

function carryOut(
  { target }: FilterRule,
  { family }: Chain,
  chains: ReadonlyMap<string, Chain>,
  state: State,
): End | "next" {
  switch (target.kind) {
    case "accept":
    case "drop":
    case "return":
    case "reject":
      return target.kind;
    case "mark":
      // xt_MARK: zero the bits of the mask, then XOR.
      state.mark = ((state.mark & ~(target.mask ?? 0xffffffff)) ^ target.set) >>> 0;
      return "next";
    case "log":
      state.logged.push(target.prefix ?? "");
      return "next";
    case "jump": {
      const end = run(`${family} ${target.chain}`, chains, state);
      return end === "return" ? "next" : end;
    }
    default:
      throw new Error(`No target of a filter table: ${target.kind}`);
  }
}

function holds(match: Match, state: State): boolean {
  const negate = "negate" in match && match.negate === true;
  return plain(match, state) !== negate;
}

function plain(match: Match, { packet, own, sets, mark }: State): boolean {
  switch (match.kind) {
    case "source":
      return contains(networkOf(match.prefix), packet.source);
    case "destination":
      return contains(networkOf(match.prefix), packet.destination);
    case "originalDestination":
      return contains(networkOf(match.prefix), packet.originalDestination ?? packet.destination);
    case "protocol":
      return packet.protocol === match.protocol;
    case "ports": {
      if (match.side === "source") throw new Error("Packets here have no source port");
      return match.ports.split(",").some((part) => {
        const [low = 0, high = low] = part.split(/[-:]/).map(Number);
        return packet.port !== undefined && low <= packet.port && packet.port <= high;
      });
    }
    case "icmp":
      return packet.icmp === match.type;
    case "state":
      return (match.states as readonly string[]).includes(packet.state ?? "new");
    case "mark":
      return ((mark & (match.mask ?? 0xffffffff)) >>> 0) === match.mark;
    case "connectionMark":
      return (((packet.connectionMark ?? 0) & match.mask) >>> 0) === match.mark;
    case "tcpFlags":
      return match.set === "NONE";
    case "local":
      return own.includes(match.side === "source" ? packet.source : packet.destination);
    case "limit":
      return true;
    case "set": {
      const set = sets.get(match.set);
      if (set === undefined) {
        throw new Error(`A rule names a set that does not exist: ${match.set}`);
      }
      return set.has(packet, match.directions);
    }
    case "input":
      return packet.input === match.link;
    default:
      throw new Error(`No match that this walk knows: ${match.kind}`);
  }
}

/** The members of a set. */
class Entries {
  readonly #set: IpSet;
  readonly #texts = new Set<string>();
  /** Networks of a hash:net set, by text. */
  readonly #networks = new Map<string, { readonly network: Cidr; readonly nomatch: boolean }>();

  constructor(set: IpSet) {
    this.#set = set;
  }

  add({ entry, nomatch }: IpSetMember): void {
    const { family, name, type } = this.#set;
    const address = entry.split(/[,/]/)[0] ?? "";
    const bytes = ipBytes(address);
    if (bytes === undefined || (bytes.length === 4 ? 4 : 6) !== family) {
      throw new Error(`Set ${name} of family ${family} cannot hold ${entry}`);
    }
    if (entry.endsWith("/0")) throw new Error(`Linux refuses ${entry} in set ${name}`);
    if (nomatch === true && type !== "hash:net") throw new Error(`nomatch in a set of ${type}`);
    if (type !== "hash:net") {
      this.#texts.add(entry);
      return;
    }
    const network = networkOf(entry.includes("/") ? entry : `${entry}/${width(entry)}`);
    this.#networks.set(network.text, { network, nomatch: nomatch === true });
  }

  has(packet: WalkedPacket, directions: readonly ("src" | "dst")[]): boolean {
    const address = directions[0] === "src" ? packet.source : packet.destination;
    switch (this.#set.type) {
      case "hash:ip":
        return this.#texts.has(address);
      case "hash:ip,port":
        if (directions[1] !== "dst") throw new Error("Packets here have no source port");
        return this.#texts.has(`${address},${packet.protocol}:${packet.port}`);
      case "hash:net": {
        // The longest prefix decides, whether it is one that matches or one that does not.
        let longest = -1;
        let matches = false;
        for (const { network, nomatch } of this.#networks.values()) {
          if (!contains(network, address)) continue;
          if (network.prefix > longest) {
            longest = network.prefix;
            matches = !nomatch;
          }
        }
        return matches;
      }
      default:
        throw new Error(`No set that this walk knows: ${this.#set.type}`);
    }
  }
}

const networks = new Map<string, Cidr>();

function networkOf(text: string): Cidr {
  const known = networks.get(text);
  if (known !== undefined) return known;
  const network = parseCidr(text);
  if (network === undefined) throw new Error(`Linux knows no network ${text}`);
  networks.set(text, network);
  return network;
}

function width(address: string): number {
  return address.includes(":") ? 128 : 32;
}
