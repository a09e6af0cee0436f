/**
 * Path attributes: what they hold, and what a mistake in each of them costs (RFC 7606).
 *
 * AS numbers have four octets in here, whatever the session speaks.
 */

import { copy, u16, u32, u8 } from "./bytes.ts";
import { AS_TRANS, AttributeFlag, AttributeType, SegmentType } from "./constants.ts";

export interface Segment {
  readonly type: number;
  readonly asns: readonly number[];
}

export interface Attributes {
  /** 0 IGP, 1 EGP, 2 incomplete. */
  readonly origin: number;
  readonly asPath: readonly Segment[];
  /** 4 octets, 16, or 32 (global and link-local, RFC 2545); none: the route is our own and says "self". */
  readonly nextHop: Uint8Array;
  readonly med: number | undefined;
  readonly localPref: number | undefined;
  readonly atomicAggregate: boolean;
  readonly aggregator: { readonly asn: number; readonly address: number } | undefined;
  readonly communities: readonly number[];
  /** Three numbers each. */
  readonly largeCommunities: readonly number[];
  readonly originatorId: number | undefined;
  readonly clusterList: readonly number[];
  readonly extendedCommunities: Uint8Array;
  /** Optional transitive ones that we do not know; passed on with the partial bit (RFC 4271 section 5). */
  readonly unknown: readonly UnknownAttribute[];
}

export interface UnknownAttribute {
  readonly type: number;
  readonly value: Uint8Array;
}

export const NO_BYTES: Uint8Array = new Uint8Array(0);

export const EMPTY: Attributes = {
  origin: 0,
  asPath: [],
  nextHop: NO_BYTES,
  med: undefined,
  localPref: undefined,
  atomicAggregate: false,
  aggregator: undefined,
  communities: [],
  largeCommunities: [],
  originatorId: undefined,
  clusterList: [],
  extendedCommunities: NO_BYTES,
  unknown: [],
};

/** What a mistake costs: this attribute, or the routes of the UPDATE. */
export type Cost = "discard" | "withdraw";

interface Row {
  readonly name: string;
  /** Of the optional and the transitive flag. */
  readonly flags: number;
  readonly lengthFits: (length: number, fourOctetAs: boolean) => boolean;
  readonly cost: Cost;
  /** Not taken from external peers at all (RFC 7606 sections 7.5, 7.9, 7.10). */
  readonly internal?: true;
}

const WELL_KNOWN = AttributeFlag.Transitive;
const OPTIONAL = AttributeFlag.Optional;
const TRANSITIVE = AttributeFlag.Optional | AttributeFlag.Transitive;
const any = (): boolean => true;
const exactly = (octets: number) => (length: number): boolean => length === octets;
const some = (octets: number) => (length: number): boolean => length > 0 && length % octets === 0;

/** RFC 7606 section 7, RFC 8092 section 6. The multiprotocol attributes have rules of their own in `update.ts`. */
export const ATTRIBUTES: Readonly<Record<number, Row>> = {
  [AttributeType.Origin]: row("ORIGIN", WELL_KNOWN, exactly(1), "withdraw"),
  [AttributeType.AsPath]: row("AS_PATH", WELL_KNOWN, any, "withdraw"),
  [AttributeType.NextHop]: row("NEXT_HOP", WELL_KNOWN, exactly(4), "withdraw"),
  [AttributeType.Med]: row("MULTI_EXIT_DISC", OPTIONAL, exactly(4), "withdraw"),
  [AttributeType.LocalPref]: {
    ...row("LOCAL_PREF", WELL_KNOWN, exactly(4), "withdraw"),
    internal: true,
  },
  [AttributeType.AtomicAggregate]: row("ATOMIC_AGGREGATE", WELL_KNOWN, exactly(0), "discard"),
  [AttributeType.Aggregator]: row(
    "AGGREGATOR",
    TRANSITIVE,
    (length, four) => length === (four ? 8 : 6),
    "discard",
  ),
  [AttributeType.Communities]: row("COMMUNITIES", TRANSITIVE, some(4), "withdraw"),
  [AttributeType.OriginatorId]: {
    ...row("ORIGINATOR_ID", OPTIONAL, exactly(4), "withdraw"),
    internal: true,
  },
  [AttributeType.ClusterList]: {
    ...row("CLUSTER_LIST", OPTIONAL, some(4), "withdraw"),
    internal: true,
  },
  [AttributeType.ExtendedCommunities]: row("EXTENDED_COMMUNITIES", TRANSITIVE, some(8), "withdraw"),
  [AttributeType.As4Path]: row("AS4_PATH", TRANSITIVE, any, "discard"),
  [AttributeType.As4Aggregator]: row("AS4_AGGREGATOR", TRANSITIVE, exactly(8), "discard"),
  [AttributeType.LargeCommunities]: row("LARGE_COMMUNITY", TRANSITIVE, some(12), "withdraw"),
};

function row(name: string, flags: number, lengthFits: Row["lengthFits"], cost: Cost): Row {
  return { name, flags, lengthFits, cost };
}

/** How the session reads attributes. */
export interface Reading {
  readonly fourOctetAs: boolean;
  readonly external: boolean;
}

/** Something wrong with an attribute, and what it costs. */
export interface Issue {
  readonly cost: Cost;
  readonly message: string;
}

/** How a block of attributes was read: the number of these names its kind. */
export const BlockFlag = {
  FourOctetAs: 1,
  External: 2,
  /** Something of it is ignored. It is a kind of its own, so that each message with it is reported. */
  Flawed: 4,
} as const;

const HOP_SHIFT = 3;
/** Octets of a next hop of MP_REACH_NLRI that stands behind a block, by the bits above the flags. */
const HOPS = [0, 4, 16, 32];

/** The kind of a block whose next hop of MP_REACH_NLRI, of so many octets, stands behind it; 0: it has none. */
export function blockKind(reading: Reading, flawed: boolean, hop: number): number {
  return (reading.fourOctetAs ? BlockFlag.FourOctetAs : 0) |
    (reading.external ? BlockFlag.External : 0) | (flawed ? BlockFlag.Flawed : 0) |
    (HOPS.indexOf(hop) << HOP_SHIFT);
}

export function hopLength(kind: number): number {
  return HOPS[kind >> HOP_SHIFT] ?? 0;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Spelled out, since objects of one shape, made in one place, are what keeps this fast. */
function empty(): Mutable<Attributes> {
  return {
    origin: 0,
    asPath: EMPTY.asPath,
    nextHop: NO_BYTES,
    med: undefined,
    localPref: undefined,
    atomicAggregate: false,
    aggregator: undefined,
    communities: EMPTY.communities,
    largeCommunities: EMPTY.largeCommunities,
    originatorId: undefined,
    clusterList: EMPTY.clusterList,
    extendedCommunities: NO_BYTES,
    unknown: EMPTY.unknown,
  };
}

/** Reads attributes one after the other; `take` returns what is wrong with one. */
export class AttributeReader {
  readonly attributes: Mutable<Attributes> = empty();
  /** A bit for each type below 32; the others are few. */
  #low = 0;
  #high: number[] | undefined;
  #as4Path: readonly Segment[] | undefined;
  #as4Aggregator: Attributes["aggregator"];
  #reading: Reading;

  constructor(reading: Reading) {
    this.#reading = reading;
  }

  has(type: number): boolean {
    return type < 32 ? (this.#low & (1 << type)) !== 0 : this.#high?.includes(type) === true;
  }

  /** The value lies in `bytes` from `from` up to `to`. */
  take(
    type: number,
    flags: number,
    bytes: Uint8Array,
    from: number,
    to: number,
  ): Issue | undefined {
    // RFC 7606 section 3(g): the first one counts.
    if (this.has(type)) {
      return { cost: "discard", message: `Attribute ${type} is there twice` };
    }
    if (type < 32) this.#low |= 1 << type;
    else (this.#high ??= []).push(type);
    const row = ATTRIBUTES[type];
    if (row === undefined) {
      if ((flags & TRANSITIVE) === TRANSITIVE) {
        this.attributes.unknown = [...this.attributes.unknown, {
          type,
          value: copy(bytes, from, to),
        }];
      }
      return undefined;
    }
    if (row.internal === true && this.#reading.external) return undefined;
    if ((flags & TRANSITIVE) !== row.flags) {
      return { cost: row.cost, message: `${row.name} has flags 0x${flags.toString(16)}` };
    }
    if (!row.lengthFits(to - from, this.#reading.fourOctetAs)) {
      return { cost: row.cost, message: `${row.name} has ${to - from} octets` };
    }
    const wrong = this.#read(type, bytes, from, to);
    return wrong === undefined ? undefined : { cost: row.cost, message: `${row.name} ${wrong}` };
  }

  #read(type: number, bytes: Uint8Array, from: number, to: number): string | undefined {
    const { attributes } = this;
    const four = this.#reading.fourOctetAs;
    switch (type) {
      case AttributeType.Origin:
        if (u8(bytes, from) > 2) return `is ${u8(bytes, from)}`;
        attributes.origin = u8(bytes, from);
        break;
      case AttributeType.AsPath: {
        const path = readSegments(bytes, from, to, four);
        if (typeof path === "string") return path;
        attributes.asPath = path;
        break;
      }
      case AttributeType.NextHop:
        attributes.nextHop = sharedHop(bytes, from, to);
        break;
      case AttributeType.Med:
        attributes.med = u32(bytes, from);
        break;
      case AttributeType.LocalPref:
        attributes.localPref = u32(bytes, from);
        break;
      case AttributeType.AtomicAggregate:
        attributes.atomicAggregate = true;
        break;
      case AttributeType.Aggregator:
        attributes.aggregator = four
          ? { asn: u32(bytes, from), address: u32(bytes, from + 4) }
          : { asn: u16(bytes, from), address: u32(bytes, from + 2) };
        break;
      case AttributeType.Communities:
        attributes.communities = unique(readWords(bytes, from, to));
        break;
      case AttributeType.OriginatorId:
        attributes.originatorId = u32(bytes, from);
        break;
      case AttributeType.ClusterList:
        attributes.clusterList = readWords(bytes, from, to);
        break;
      case AttributeType.ExtendedCommunities:
        attributes.extendedCommunities = copy(bytes, from, to);
        break;
      case AttributeType.As4Path: {
        const path = readSegments(bytes, from, to, true);
        if (typeof path === "string") return path;
        this.#as4Path = path;
        break;
      }
      case AttributeType.As4Aggregator:
        this.#as4Aggregator = { asn: u32(bytes, from), address: u32(bytes, from + 4) };
        break;
      case AttributeType.LargeCommunities:
        attributes.largeCommunities = uniqueTriples(readWords(bytes, from, to));
        break;
    }
    return undefined;
  }

  /** The attributes, once all have been taken: AS4_PATH and AS4_AGGREGATOR are worked in (RFC 6793 section 4.2.3). */
  finish(): Attributes {
    const { attributes } = this;
    if (this.#reading.fourOctetAs) return attributes;
    const aggregator = attributes.aggregator;
    if (aggregator !== undefined && aggregator.asn !== AS_TRANS) return attributes;
    if (aggregator !== undefined && this.#as4Aggregator !== undefined) {
      attributes.aggregator = this.#as4Aggregator;
    }
    if (this.#as4Path !== undefined) {
      attributes.asPath = mergeAs4Path(attributes.asPath, this.#as4Path);
    }
    return attributes;
  }
}

function readSegments(
  bytes: Uint8Array,
  from: number,
  to: number,
  fourOctetAs: boolean,
): Segment[] | string {
  const size = fourOctetAs ? 4 : 2;
  const segments: Segment[] = [];
  for (let at = from; at < to;) {
    if (to - at < 2) return "is cut off";
    const type = u8(bytes, at);
    const count = u8(bytes, at + 1);
    at += 2;
    if (type < SegmentType.Set || type > SegmentType.ConfedSet) {
      return `has a segment of type ${type}`;
    }
    if (count === 0) return "has an empty segment";
    if (to - at < count * size) return "is cut off";
    const asns: number[] = [];
    for (let i = 0; i < count; i++, at += size) {
      const asn = fourOctetAs ? u32(bytes, at) : u16(bytes, at);
      if (asn === 0) return "has AS 0"; // RFC 7607 section 2
      asns.push(asn);
    }
    segments.push({ type, asns });
  }
  return segments;
}

function readWords(bytes: Uint8Array, from: number, to: number): number[] {
  const words: number[] = [];
  for (let at = from; at + 4 <= to; at += 4) words.push(u32(bytes, at));
  return words;
}

/** Next hops are few, and a typed array costs a hundred bytes: the last one is shared as long as it stays the same. */
let lastHop = NO_BYTES;

export function sharedHop(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const length = to - from;
  let same = lastHop.length === length;
  for (let i = 0; same && i < length; i++) same = lastHop[i] === bytes[from + i];
  if (!same) lastHop = copy(bytes, from, to);
  return lastHop;
}

/** Up to here looking through a list beats a set of it. */
const FEW = 16;

/** Without doubles; the order stays, and nearly always there are none. */
function unique(values: number[]): number[] {
  if (values.length > FEW) return [...new Set(values)];
  for (let i = 1; i < values.length; i++) {
    if (values.indexOf(values[i] ?? 0) < i) return [...new Set(values)];
  }
  return values;
}

function uniqueTriples(values: number[]): number[] {
  if (values.length <= 3) return values;
  const seen = new Set<string>();
  const result: number[] = [];
  for (let i = 0; i < values.length; i += 3) {
    const triple = values.slice(i, i + 3);
    const key = triple.join(":");
    if (!seen.has(key)) result.push(...triple);
    seen.add(key);
  }
  return result;
}

/** Surplus leading numbers of AS_PATH, then AS4_PATH; AS4_PATH alone never makes the path longer. */
function mergeAs4Path(path: readonly Segment[], as4: readonly Segment[]): readonly Segment[] {
  const confed = (segment: Segment) => segment.type >= SegmentType.ConfedSequence;
  const tail = as4.filter((segment) => !confed(segment));
  let surplus = countPath(path) - countPath(tail);
  if (surplus < 0) return path;
  const result: Segment[] = [];
  for (const segment of path) {
    if (confed(segment)) {
      result.push(segment);
      continue;
    }
    if (surplus <= 0) break;
    const size = segment.type === SegmentType.Set ? 1 : segment.asns.length;
    if (size <= surplus) result.push(segment);
    else result.push({ type: segment.type, asns: segment.asns.slice(0, surplus) });
    surplus -= size;
  }
  return joinSegments([...result, ...tail]);
}

function joinSegments(segments: readonly Segment[]): Segment[] {
  const result: Segment[] = [];
  for (const segment of segments) {
    const last = result.at(-1);
    if (
      last?.type === SegmentType.Sequence && segment.type === SegmentType.Sequence &&
      last.asns.length + segment.asns.length <= 255
    ) result[result.length - 1] = { type: last.type, asns: [...last.asns, ...segment.asns] };
    else result.push(segment);
  }
  return result;
}

/** RFC 4271 section 9.1.2.2 a: a set counts as one; RFC 5065: confederation segments as none. */
export function countPath(path: readonly Segment[]): number {
  let count = 0;
  for (const { type, asns } of path) {
    if (type === SegmentType.Sequence) count += asns.length;
    else if (type === SegmentType.Set) count++;
  }
  return count;
}

/** The neighbouring AS of a path, or 0 for one that begins with a set or is empty. */
export function firstAs(path: readonly Segment[]): number {
  for (const { type, asns } of path) {
    if (type === SegmentType.Sequence) return asns[0] ?? 0;
    if (type === SegmentType.Set) return 0;
  }
  return 0;
}

export function pathHas(path: readonly Segment[], asn: number): boolean {
  for (const { asns } of path) if (asns.includes(asn)) return true;
  return false;
}

/** RFC 4271 section 5.1.2: into the leading sequence while it has room. */
export function prependPath(
  path: readonly Segment[],
  asn: number,
  count: number,
): readonly Segment[] {
  let result = path;
  for (let left = count; left > 0;) {
    const [head, ...rest] = result;
    const room = head?.type === SegmentType.Sequence ? 255 - head.asns.length : 0;
    const now = Math.min(left, room > 0 ? room : 255);
    const added = Array<number>(now).fill(asn);
    result = room > 0 && head !== undefined
      ? [{ type: head.type, asns: [...added, ...head.asns] }, ...rest]
      : [{ type: SegmentType.Sequence, asns: added }, ...result];
    left -= now;
  }
  return result;
}

/** `65001 65002 {65003,65004}`; confederation segments in brackets, as most tools print them. */
export function pathText(path: readonly Segment[]): string {
  return path.map(({ type, asns }) => {
    if (type === SegmentType.Set) return `{${asns.join(",")}}`;
    if (type === SegmentType.ConfedSequence) return `(${asns.join(" ")})`;
    if (type === SegmentType.ConfedSet) return `[${asns.join(",")}]`;
    return asns.join(" ");
  }).join(" ");
}
