/** Rules of the compiled form as nf_tables expressions. Pure; what cannot be said throws, with the value. */

import type { Family } from "../../resource.ts";
import type { FilterRule, IcmpType, Match, Target } from "../../resources/filter.ts";
import { clamp, PREFIX_BYTES } from "../iptables-render.ts";
import {
  addressBytes,
  BASE,
  bitwise,
  COMPARE,
  compare,
  counter,
  CT,
  ct,
  type Expression,
  fibType,
  hostOrder,
  immediate,
  jumpTo,
  limit,
  log,
  lookup,
  lookupVerdict,
  masquerade,
  META,
  meta,
  networkOrder16,
  payload,
  redirect,
  registerAt,
  reject,
  setMeta,
  setMss,
  snat,
  VERDICT,
  verdict,
  xtMatch,
} from "./expressions.ts";
import { ipvsInfo } from "./ipvs-match.ts";
import { MAP_NAME } from "./messages.ts";
import { setName } from "./names.ts";

const AF = { 4: 2, 6: 10 } as const;
const ADDRESS = {
  4: { source: 12, destination: 16, length: 4 },
  6: { source: 8, destination: 24, length: 16 },
} as const;
const PROTOCOLS = { tcp: 6, udp: 17, sctp: 132, icmp: 1, icmpv6: 58 } as const;
/** Bits of `ct state`: not Linux's IP_CT_ numbers but 1 << number, with 64 for what is not tracked. */
const STATES = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const;
const TCP_FLAGS: Readonly<Record<string, number>> = {
  FIN: 1,
  SYN: 2,
  RST: 4,
  PSH: 8,
  ACK: 16,
  URG: 32,
  ALL: 63,
  NONE: 0,
};
const RTN_LOCAL = 2;
const IFNAMSIZ = 16;

const ICMP: Readonly<Record<Family, Readonly<Partial<Record<IcmpType, number>>>>> = {
  4: { "echo-reply": 0, "destination-unreachable": 3, "echo-request": 8, "time-exceeded": 11 },
  6: {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "echo-request": 128,
    "echo-reply": 129,
    "neighbor-solicitation": 135,
    "neighbor-advertisement": 136,
  },
};

/** ICMP codes of "destination unreachable", as `iptables -j REJECT --reject-with` names them. */
const REJECT_CODES: Readonly<Record<Family, Readonly<Record<string, number>>>> = {
  4: {
    "icmp-net-unreachable": 0,
    "icmp-host-unreachable": 1,
    "icmp-proto-unreachable": 2,
    "icmp-port-unreachable": 3,
    "icmp-net-prohibited": 9,
    "icmp-host-prohibited": 10,
    "icmp-admin-prohibited": 13,
  },
  6: {
    "icmp6-no-route": 0,
    "icmp6-adm-prohibited": 1,
    "icmp6-addr-unreachable": 3,
    "icmp6-port-unreachable": 4,
  },
};

/** What a rule cannot say. */
export class Unsayable extends Error {}

/**
 * The expressions of a rule: one list for each nf_tables rule that it becomes, more than one where ports are listed.
 *
 * @param chainName what a chain of ours is called in nf_tables
 * @throws {Unsayable}
 */
export function renderRule(
  family: Family,
  rule: Pick<FilterRule, "matches"> & { readonly target: Target },
  chainName: (name: string) => string,
): readonly (readonly Expression[])[] {
  const lists = rule.matches.toSorted((a, b) => order(a) - order(b)).reduce<
    readonly (readonly Expression[])[]
  >(
    (so, match) =>
      alternatives(match).flatMap((one) =>
        so.map((list) => [...list, ...matchExpressions(family, one)])
      ),
    [[]],
  );
  const end = [counter, ...targetExpressions(family, rule.target, chainName)];
  return lists.map((list) => [...list, ...end]);
}

/** The protocol goes before what lies in its header, and a limit counts what all else has matched. At most {@linkcode LAST}. */
export function order({ kind }: Match): number {
  return kind === "protocol" ? 0 : kind === "limit" ? LAST : 1;
}

export const LAST = 2;

/**
 * Jumps by address as one lookup. The counter stands before it: what the map says is final for the rule.
 *
 * @param id of the map in this batch
 */
export function renderDispatch(
  family: Family,
  side: "source" | "destination",
  id: number,
): readonly Expression[] {
  const { length } = ADDRESS[family];
  return [
    payload(BASE.network, ADDRESS[family][side], length),
    counter,
    lookupVerdict(MAP_NAME, id),
  ];
}

/** A list of ports has no expression of its own but a set; a rule for each is as good, since only one of them matches. */
function alternatives(match: Match): readonly Match[] {
  if (match.kind !== "ports" || !match.ports.includes(",")) return [match];
  return match.ports.split(",").map((ports) => ({ ...match, ports }));
}

export function matchExpressions(family: Family, match: Match): readonly Expression[] {
  switch (match.kind) {
    case "source":
    case "destination": {
      const { [match.kind]: offset } = ADDRESS[family];
      return prefixExpressions(
        family,
        match.prefix,
        (bytes) => payload(BASE.network, offset, bytes),
        match.negate === true,
      );
    }
    case "originalDestination":
      return prefixExpressions(
        family,
        match.prefix,
        () => ct(family === 4 ? CT.destination4 : CT.destination6, 0),
        false,
      );
    case "input":
    case "output":
      return [
        meta(match.kind === "input" ? META.inputName : META.outputName),
        compare(equality(match.negate), linkName(match.link)),
      ];
    case "protocol":
      return [
        meta(META.l4protocol),
        compare(COMPARE.equal, new Uint8Array([PROTOCOLS[match.protocol]])),
      ];
    case "ports":
      return portExpressions(match.side, match.ports);
    case "tcpFlags":
      return [
        payload(BASE.transport, 13, 1),
        bitwise(new Uint8Array([tcpFlags(match.mask)]), new Uint8Array(1)),
        compare(COMPARE.equal, new Uint8Array([tcpFlags(match.set)])),
      ];
    case "icmp": {
      const type = ICMP[family][match.type];
      if (type === undefined) throw new Unsayable(`IPv${family} has no ICMP type "${match.type}"`);
      return [
        payload(BASE.transport, 0, 1),
        compare(COMPARE.equal, new Uint8Array([type])),
      ];
    }
    case "state": {
      const bits = match.states.reduce((so, state) => so | STATES[state], 0);
      return [ct(CT.state), ...anyBit(bits)];
    }
    case "mark":
      return [meta(META.mark), ...masked(match.mark, match.mask)];
    case "connectionMark":
      return [ct(CT.mark), ...masked(match.mark, match.mask)];
    case "set":
      return [
        ...keyExpressions(family, match.directions),
        lookup(setName(match.set, family), match.negate === true),
      ];
    case "local":
      return [fibType(match.side), compare(equality(match.negate), hostOrder(RTN_LOCAL))];
    case "limit":
      return [limit(match.perMinute, match.burst)];
    case "ipvs":
      return [xtMatch("ipvs", 0, ipvsInfo(family, match))];
  }
}

function equality(negate: boolean | undefined): number {
  return negate === true ? COMPARE.notEqual : COMPARE.equal;
}

/**
 * Compares a prefix; one that ends at a byte by those bytes alone, as nft does.
 *
 * @param load the first bytes of the address, at least so many
 */
function prefixExpressions(
  family: Family,
  prefix: string,
  load: (bytes: number) => Expression,
  negate: boolean,
): readonly Expression[] {
  const [text = "", bits] = prefix.split("/");
  const { length } = ADDRESS[family];
  const address = addressBytes(text, length);
  const size = bits === undefined ? length * 8 : Number(bits);
  if (address === undefined || !(size >= 0 && size <= length * 8)) {
    throw new Unsayable(`"${prefix}" is no IPv${family} prefix`);
  }
  // All addresses: nothing to ask, unless the answer is always no.
  if (size === 0 && !negate) return [];
  const mask = maskOf(size, length);
  const wanted = address.map((byte, i) => byte & (mask[i] ?? 0));
  if (size % 8 === 0 && size > 0) {
    return [load(size / 8), compare(equality(negate), wanted.slice(0, size / 8))];
  }
  return [
    load(length),
    bitwise(mask, new Uint8Array(length)),
    compare(equality(negate), wanted),
  ];
}

export function maskOf(prefix: number, length: number): Uint8Array {
  return Uint8Array.from(
    { length },
    (_, i) => 0xff00 >> Math.min(8, Math.max(0, prefix - i * 8)) & 0xff,
  );
}

function linkName(link: string): Uint8Array {
  const bytes = new TextEncoder().encode(link);
  // "eth+" of iptables: all links whose name begins so.
  if (link.endsWith("+")) return bytes.slice(0, -1);
  if (bytes.length >= IFNAMSIZ) throw new Unsayable(`"${link}" is no name of a link`);
  const padded = new Uint8Array(IFNAMSIZ);
  padded.set(bytes);
  return padded;
}

function portExpressions(side: "source" | "destination", ports: string): readonly Expression[] {
  const [from = NaN, to = from] = ports.split("-").map(Number);
  if (![from, to].every((port) => Number.isInteger(port) && port >= 0 && port <= 0xffff)) {
    throw new Unsayable(`"${ports}" are no ports`);
  }
  const load = payload(BASE.transport, side === "source" ? 0 : 2, 2);
  return from === to ? [load, compare(COMPARE.equal, networkOrder16(from))] : [
    load,
    compare(COMPARE.atLeast, networkOrder16(from)),
    compare(COMPARE.atMost, networkOrder16(to)),
  ];
}

function tcpFlags(words: string): number {
  return words.split(",").reduce((so, word) => {
    const bit = TCP_FLAGS[word];
    if (bit === undefined) throw new Unsayable(`"${word}" is no TCP flag`);
    return so | bit;
  }, 0);
}

function anyBit(bits: number): readonly Expression[] {
  const none = hostOrder(0);
  return [bitwise(hostOrder(bits), none), compare(COMPARE.notEqual, none)];
}

function masked(mark: number, mask = 0xffffffff): readonly Expression[] {
  return [
    ...(mask >>> 0 === 0xffffffff ? [] : [bitwise(hostOrder(mask), hostOrder(0))]),
    compare(COMPARE.equal, hostOrder(mark)),
  ];
}

/** Loads what a set is asked for: an address; address, protocol and port; or these and another address. */
function keyExpressions(
  family: Family,
  directions: readonly ("src" | "dst")[],
): readonly Expression[] {
  const { length } = ADDRESS[family];
  const loads: Expression[] = [];
  let at = 0;
  for (const [i, direction] of directions.entries()) {
    const side = direction === "src" ? "source" : "destination";
    if (i === 1) {
      loads.push(meta(META.l4protocol, registerAt(at)));
      loads.push(payload(BASE.transport, side === "source" ? 0 : 2, 2, registerAt(at + 4)));
      at += 8;
    } else {
      loads.push(payload(BASE.network, ADDRESS[family][side], length, registerAt(at)));
      at += length;
    }
  }
  return loads;
}

export function targetExpressions(
  family: Family,
  target: Target,
  chainName: (name: string) => string,
): readonly Expression[] {
  switch (target.kind) {
    case "accept":
    case "drop":
    case "return":
      return [verdict(VERDICT[target.kind])];
    case "jump":
      return [jumpTo(chainName(target.chain))];
    case "reject":
      return [reject(rejectCode(family, target.with))];
    case "snat": {
      const address = addressBytes(target.to, ADDRESS[family].length);
      if (address === undefined) throw new Unsayable(`"${target.to}" is no IPv${family} address`);
      return [immediate(address), snat(AF[family], target.fullyRandom === true)];
    }
    case "masquerade":
      return [masquerade(target.fullyRandom === true)];
    case "redirect":
      return [immediate(networkOrder16(target.port)), redirect];
    case "log":
      return [log(target.group, clamp(target.prefix ?? "", PREFIX_BYTES))];
    case "tcpmss":
      return [immediate(networkOrder16(target.mss)), setMss];
    case "mark": {
      const mask = (target.mask ?? 0xffffffff) >>> 0;
      // A mask of 0 changes nothing: such a rule only counts.
      if (mask === 0 && target.set === 0) return [];
      return mask === 0xffffffff
        ? [immediate(hostOrder(target.set)), setMeta(META.mark)]
        : [meta(META.mark), bitwise(hostOrder(~mask), hostOrder(target.set)), setMeta(META.mark)];
    }
  }
}

function rejectCode(family: Family, words: string | undefined): number | "reset" {
  if (words === "tcp-reset") return "reset";
  const code = REJECT_CODES[family][
    words ?? (family === 4 ? "icmp-port-unreachable" : "icmp6-port-unreachable")
  ];
  if (code === undefined) throw new Unsayable(`IPv${family} has no way to reject "${words}"`);
  return code;
}
