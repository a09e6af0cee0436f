/** Writes UPDATE messages: attribute blocks once, then as many prefixes as a message takes (RFC 4271, 4760, 6793). */

import type { Family } from "../../../../kernel/ip.ts";
import type { Attributes, Segment } from "./attributes.ts";
import { countPath } from "./attributes.ts";
import { putU16, Writer } from "./bytes.ts";
import {
  AS_TRANS,
  AttributeFlag,
  AttributeType,
  HEADER_LENGTH,
  MessageType,
  SegmentType,
  UNICAST,
} from "./constants.ts";
import { frame, putHeader } from "./framer.ts";
import { putPrefix, wordsOf } from "./prefix.ts";

const WELL_KNOWN = AttributeFlag.Transitive;
const OPTIONAL = AttributeFlag.Optional;
const TRANSITIVE = AttributeFlag.Optional | AttributeFlag.Transitive;

/** Attributes as they are sent for prefixes of one family, without the prefixes. */
export interface AttributeBlock {
  readonly family: Family;
  /** All but MP_REACH_NLRI. */
  readonly bytes: Uint8Array;
  /** Next hop of MP_REACH_NLRI; absent where NEXT_HOP is among `bytes`. */
  readonly mpNextHop: Uint8Array | undefined;
}

/** The block of attributes for a session that speaks AS numbers of four octets, or of two. */
export function encodeAttributes(
  attributes: Attributes,
  family: Family,
  fourOctetAs: boolean,
): AttributeBlock {
  const out = new Writer();
  const classic = family === 4 && attributes.nextHop.length === 4;
  attribute(out, WELL_KNOWN, AttributeType.Origin, 1).u8(attributes.origin);
  segments(out, WELL_KNOWN, AttributeType.AsPath, attributes.asPath, fourOctetAs);
  if (classic) attribute(out, WELL_KNOWN, AttributeType.NextHop, 4).put(attributes.nextHop);
  if (attributes.med !== undefined) {
    attribute(out, OPTIONAL, AttributeType.Med, 4).u32(attributes.med);
  }
  if (attributes.localPref !== undefined) {
    attribute(out, WELL_KNOWN, AttributeType.LocalPref, 4).u32(attributes.localPref);
  }
  if (attributes.atomicAggregate) attribute(out, WELL_KNOWN, AttributeType.AtomicAggregate, 0);
  const { aggregator } = attributes;
  if (aggregator !== undefined) {
    attribute(out, TRANSITIVE, AttributeType.Aggregator, fourOctetAs ? 8 : 6);
    if (fourOctetAs) out.u32(aggregator.asn);
    else out.u16(aggregator.asn > 65535 ? AS_TRANS : aggregator.asn);
    out.u32(aggregator.address);
  }
  words(out, TRANSITIVE, AttributeType.Communities, attributes.communities);
  if (attributes.originatorId !== undefined) {
    attribute(out, OPTIONAL, AttributeType.OriginatorId, 4).u32(attributes.originatorId);
  }
  words(out, OPTIONAL, AttributeType.ClusterList, attributes.clusterList);
  const extended = attributes.extendedCommunities;
  if (extended.length > 0) {
    attribute(out, TRANSITIVE, AttributeType.ExtendedCommunities, extended.length).put(extended);
  }
  if (!fourOctetAs) {
    // RFC 6793 section 4.2.2: only where two octets lose something, and without confederation segments.
    const path = attributes.asPath.filter(({ type }) => type < SegmentType.ConfedSequence);
    if (path.some(({ asns }) => asns.some((asn) => asn > 65535)) && countPath(path) > 0) {
      segments(out, TRANSITIVE, AttributeType.As4Path, path, true);
    }
    if (aggregator !== undefined && aggregator.asn > 65535) {
      attribute(out, TRANSITIVE, AttributeType.As4Aggregator, 8).u32(aggregator.asn)
        .u32(aggregator.address);
    }
  }
  words(out, TRANSITIVE, AttributeType.LargeCommunities, attributes.largeCommunities);
  for (const { type, value } of attributes.unknown) {
    attribute(out, TRANSITIVE | AttributeFlag.Partial, type, value.length).put(value);
  }
  return { family, bytes: out.take(), mpNextHop: classic ? undefined : attributes.nextHop };
}

function attribute(out: Writer, flags: number, type: number, length: number): Writer {
  return length > 255
    ? out.u8(flags | AttributeFlag.ExtendedLength).u8(type).u16(length)
    : out.u8(flags).u8(type).u8(length);
}

function words(out: Writer, flags: number, type: number, values: readonly number[]): void {
  if (values.length === 0) return;
  attribute(out, flags, type, 4 * values.length);
  for (const value of values) out.u32(value);
}

function segments(
  out: Writer,
  flags: number,
  type: number,
  path: readonly Segment[],
  fourOctetAs: boolean,
): void {
  const size = fourOctetAs ? 4 : 2;
  const length = path.reduce((sum, { asns }) => sum + 2 + size * asns.length, 0);
  attribute(out, flags, type, length);
  for (const segment of path) {
    out.u8(segment.type).u8(segment.asns.length);
    for (const asn of segment.asns) {
      if (fourOctetAs) out.u32(asn);
      else out.u16(asn > 65535 ? AS_TRANS : asn);
    }
  }
}

/** Where prefixes come from: dense numbers and the arrays that hold them. */
export interface PrefixSource {
  readonly family: Family;
  readonly words: Uint32Array;
  readonly lengths: Uint8Array;
}

/**
 * Appends UPDATEs that announce the prefixes of `ids` with one block, as few as `limit` octets a message allow.
 *
 * @returns how many messages, or -1 when the attributes alone do not fit (RFC 8654 section 4: such a route is not sent)
 */
export function putAnnouncements(
  out: Writer,
  block: AttributeBlock,
  source: PrefixSource,
  ids: ArrayLike<number>,
  limit: number,
): number {
  const hop = block.mpNextHop;
  const size = wordsOf(source.family);
  // With MP_REACH_NLRI first (RFC 7606 section 5.1): flags, type, extended length, AFI, SAFI, next hop, reserved.
  const before = HEADER_LENGTH + 4 + (hop === undefined ? block.bytes.length : 9 + hop.length);
  const after = hop === undefined ? 0 : block.bytes.length;
  if (before + after + 17 > limit) return -1;
  let messages = 0;
  for (let next = 0; next < ids.length;) {
    const start = out.reserve(limit);
    const { bytes } = out;
    let at = start + before;
    const room = start + limit - after;
    while (next < ids.length) {
      const id = ids[next] ?? 0;
      const length = source.lengths[id] ?? 0;
      if (at + 1 + ((length + 7) >> 3) > room) break;
      at = putPrefix(bytes, at, source.words, id * size, length);
      next++;
    }
    putU16(bytes, start + HEADER_LENGTH, 0);
    if (hop === undefined) {
      putU16(bytes, start + HEADER_LENGTH + 2, block.bytes.length);
      bytes.set(block.bytes, start + HEADER_LENGTH + 4);
    } else {
      let head = start + HEADER_LENGTH + 4;
      const value = at - head - 4;
      bytes[head++] = OPTIONAL | AttributeFlag.ExtendedLength;
      bytes[head++] = AttributeType.MpReachNlri;
      putU16(bytes, head, value);
      putU16(bytes, head + 2, block.family === 4 ? 1 : 2);
      bytes[head + 4] = UNICAST;
      bytes[head + 5] = hop.length;
      bytes.set(hop, head + 6);
      bytes[head + 6 + hop.length] = 0;
      bytes.set(block.bytes, at);
      at += block.bytes.length;
      putU16(bytes, start + HEADER_LENGTH + 2, at - start - HEADER_LENGTH - 4);
    }
    putHeader(bytes, start, at - start, MessageType.Update);
    out.length = at;
    messages++;
  }
  return messages;
}

/** Appends UPDATEs that withdraw the prefixes of `ids`, and returns how many. */
export function putWithdrawals(
  out: Writer,
  source: PrefixSource,
  ids: ArrayLike<number>,
  limit: number,
): number {
  const size = wordsOf(source.family);
  const classic = source.family === 4;
  const before = HEADER_LENGTH + (classic ? 2 : 4 + 4 + 3);
  const after = classic ? 2 : 0;
  let messages = 0;
  for (let next = 0; next < ids.length;) {
    const start = out.reserve(limit);
    const { bytes } = out;
    let at = start + before;
    const room = start + limit - after;
    while (next < ids.length) {
      const id = ids[next] ?? 0;
      const length = source.lengths[id] ?? 0;
      if (at + 1 + ((length + 7) >> 3) > room) break;
      at = putPrefix(bytes, at, source.words, id * size, length);
      next++;
    }
    if (classic) {
      putU16(bytes, start + HEADER_LENGTH, at - start - before);
      putU16(bytes, at, 0);
      at += 2;
    } else {
      const head = start + HEADER_LENGTH;
      putU16(bytes, head, 0);
      putU16(bytes, head + 2, at - head - 4);
      bytes[head + 4] = OPTIONAL | AttributeFlag.ExtendedLength;
      bytes[head + 5] = AttributeType.MpUnreachNlri;
      putU16(bytes, head + 6, at - head - 8);
      putU16(bytes, head + 8, 2);
      bytes[head + 10] = UNICAST;
    }
    putHeader(bytes, start, at - start, MessageType.Update);
    out.length = at;
    messages++;
  }
  return messages;
}

/** RFC 4724 section 2. */
export function encodeEndOfRib(family: Family): Uint8Array {
  return frame(
    MessageType.Update,
    family === 4
      ? new Uint8Array(4)
      : Uint8Array.of(0, 0, 0, 6, OPTIONAL, AttributeType.MpUnreachNlri, 3, 0, 2, UNICAST),
  );
}
