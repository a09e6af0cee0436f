/**
 * Path attributes at a glance: whether a block is as nearly all are, without making anything of it. What is not goes to
 * `UpdateDecoder`, which knows what each mistake costs; so whatever this accepts, that one reads without an issue.
 */

import { u32 } from "./bytes.ts";
import { AttributeFlag, AttributeType, SegmentType } from "./constants.ts";

/** Who reads, and what of a route from whom is no candidate (RFC 4271 section 9.1.2, RFC 4456 section 8). */
export interface Glance {
  readonly fourOctetAs: boolean;
  readonly external: boolean;
  readonly localAs: number;
  readonly peerAs: number;
  readonly routerId: number;
  readonly clusterId: number;
  /** Our end of the session as a number, or -1 where it is no IPv4 address. */
  readonly ownHop: number;
  /** Our end where it is an IPv6 address. */
  readonly ownHop6: Uint8Array | undefined;
}

export const Seen = {
  /** Not for this function. */
  Odd: 0,
  Fine: 1,
  /** Well formed, and no candidate. */
  Refused: 2,
} as const;

const OPTIONAL = AttributeFlag.Optional;
const TRANSITIVE = AttributeFlag.Transitive;
const BOTH = OPTIONAL | TRANSITIVE;
/** What a block needs of IPv6 prefixes, whose next hop stands in MP_REACH_NLRI. */
const NEEDED6 = (1 << AttributeType.Origin) | (1 << AttributeType.AsPath);
const NEEDED4 = NEEDED6 | (1 << AttributeType.NextHop);

/** Attributes of IPv4 prefixes with NEXT_HOP, from `from` up to `last`. One of `Seen`. */
export function glance(bytes: Uint8Array, from: number, last: number, by: Glance): number {
  return walk(bytes, from, last, by, NEEDED4);
}

/**
 * Attributes of IPv6 prefixes but MP_REACH_NLRI, from `from` up to `last`, and behind them its next hop of `hop` octets: a
 * host's address, and maybe its link-local one (RFC 2545 section 3). One of `Seen`.
 */
export function glance6(
  bytes: Uint8Array,
  from: number,
  last: number,
  hop: number,
  by: Glance,
): number {
  const seen = walk(bytes, from, last, by, NEEDED6);
  if (seen === Seen.Odd || (bytes[last] ?? 0) === 0xff) return Seen.Odd;
  let low = 0;
  let own = by.ownHop6 !== undefined;
  for (let i = 0; i < 16; i++) {
    const byte = bytes[last + i] ?? 0;
    if (i < 15) low |= byte;
    own &&= byte === by.ownHop6?.[i];
  }
  // BIRD writes :: before a link-local address.
  if (hop === 16 && low === 0 && (bytes[last + 15] ?? 0) < 2) return Seen.Odd;
  return own ? Seen.Refused : seen;
}

function walk(
  bytes: Uint8Array,
  from: number,
  last: number,
  by: Glance,
  needed: number,
): number {
  let there = 0;
  let refused = false;
  for (let at = from; at < last;) {
    if (last - at < 3) return Seen.Odd;
    const flags = bytes[at] ?? 0;
    const type = bytes[at + 1] ?? 0;
    let length = bytes[at + 2] ?? 0;
    at += 3;
    if ((flags & AttributeFlag.ExtendedLength) !== 0) {
      if (at >= last) return Seen.Odd;
      length = (length << 8) | (bytes[at++] ?? 0);
    }
    if (length > last - at || type > 31 || (there & (1 << type)) !== 0) return Seen.Odd;
    there |= 1 << type;
    const kind = flags & BOTH;
    switch (type) {
      case AttributeType.Origin:
        if (kind !== TRANSITIVE || length !== 1 || (bytes[at] ?? 0) > 2) return Seen.Odd;
        break;
      case AttributeType.AsPath: {
        if (kind !== TRANSITIVE) return Seen.Odd;
        const seen = path(bytes, at, at + length, by);
        if (seen === Seen.Odd) return Seen.Odd;
        if (seen === Seen.Refused) refused = true;
        break;
      }
      case AttributeType.NextHop: {
        // Beside MP_REACH_NLRI it says nothing, and is rare.
        if (kind !== TRANSITIVE || length !== 4 || needed === NEEDED6) return Seen.Odd;
        const first = bytes[at] ?? 0;
        if (first === 0 || first === 127 || first >= 224) return Seen.Odd;
        if (u32(bytes, at) === by.ownHop) refused = true;
        break;
      }
      case AttributeType.Med:
        if (kind !== OPTIONAL || length !== 4) return Seen.Odd;
        break;
      case AttributeType.LocalPref:
        if (!by.external && (kind !== TRANSITIVE || length !== 4)) return Seen.Odd;
        break;
      case AttributeType.Communities:
        if (kind !== BOTH || length === 0 || length % 4 !== 0) return Seen.Odd;
        break;
      case AttributeType.OriginatorId:
        if (by.external) break;
        if (kind !== OPTIONAL || length !== 4) return Seen.Odd;
        if (u32(bytes, at) === by.routerId) refused = true;
        break;
      case AttributeType.ClusterList:
        if (by.external) break;
        if (kind !== OPTIONAL || length === 0 || length % 4 !== 0) return Seen.Odd;
        for (let i = 0; i < length; i += 4) if (u32(bytes, at + i) === by.clusterId) refused = true;
        break;
      default:
        return Seen.Odd;
    }
    at += length;
  }
  if ((there & needed) !== needed) return Seen.Odd;
  return refused ? Seen.Refused : Seen.Fine;
}

/** AS_PATH of sequences alone, as all but a few are. */
function path(bytes: Uint8Array, from: number, to: number, by: Glance): number {
  const size = by.fourOctetAs ? 4 : 2;
  let first = 0;
  let refused = false;
  for (let at = from; at < to;) {
    if (to - at < 2 || bytes[at] !== SegmentType.Sequence) return Seen.Odd;
    const end = at + 2 + (bytes[at + 1] ?? 0) * size;
    at += 2;
    if (end === at || end > to) return Seen.Odd;
    for (; at < end; at += size) {
      const asn = size === 4 ? u32(bytes, at) : ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
      if (asn === 0) return Seen.Odd;
      if (first === 0) first = asn;
      if (asn === by.localAs) refused = true;
    }
  }
  if (by.external && first !== by.peerAs) refused = true;
  return refused ? Seen.Refused : Seen.Fine;
}
