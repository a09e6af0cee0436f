/**
 * UPDATEs of a full feed: prefixes that are announced with well-formed attributes, or withdrawn, which nearly all messages are.
 * One loop over the bytes that makes no object; whatever is out of the ordinary is left to `UpdateDecoder`.
 */

import { type Family, ipv4Number } from "../../../kernel/ip.ts";
import type { Core } from "./core.ts";
import { type Peer, refuseSet, type Self } from "./peer.ts";
import { announce, tooMany } from "./received.ts";
import type { Negotiated } from "./session/negotiate.ts";
import { blockKind } from "./wire/attributes.ts";
import { HEADER_LENGTH, MessageType } from "./wire/constants.ts";
import type { Framer } from "./wire/framer.ts";
import { Multiprotocol, Split, split6 } from "./wire/multiprotocol.ts";
import { decodePrefixes, PrefixBatch } from "./wire/prefix.ts";
import { type Glance, glance, glance6, Seen } from "./wire/scan.ts";

export interface PeerGlance {
  readonly by: Glance;
  /** Which families the session carries. */
  readonly v4: boolean;
  readonly v6: boolean;
  /** Of a block as it is, and with a next hop of 16 or 32 octets behind it. */
  readonly kind: number;
  readonly kind16: number;
  readonly kind32: number;
  /** Another number for each thing that `by` was; what was judged by another one is judged again. */
  readonly judge: number;
}

let judges = 0;

/** For a session as it was negotiated. Anew whenever `self` or the ends change. */
export function glanceOf(peer: Peer, negotiated: Negotiated, self: Self): PeerGlance {
  const { fourOctetAs, external, families } = negotiated;
  const local = peer.ends?.localAddress;
  return {
    by: {
      fourOctetAs,
      external,
      localAs: self.asn,
      peerAs: negotiated.asn,
      routerId: self.routerId,
      clusterId: self.clusterId,
      ownHop: local === undefined || local.includes(":") ? -1 : ipv4Number(local),
      ownHop6: peer.ownHop?.length === 16 ? peer.ownHop : undefined,
    },
    v4: families.includes(4),
    v6: families.includes(6),
    kind: blockKind(negotiated, false, 0),
    kind16: blockKind(negotiated, false, 16),
    kind32: blockKind(negotiated, false, 32),
    judge: ++judges,
  };
}

/** Withdrawn length, attribute length, and the shortest prefix. */
const LEAST = HEADER_LENGTH + 4 + 1;
/** Used again by each message. */
const batches = { 4: new PrefixBatch(4), 6: new PrefixBatch(6) };
const split = new Split();
const NO_LIMIT = 2 ** 30;
/** In place of a set: the decoder knows what it is. */
const ODD = -1;

/**
 * Takes UPDATEs from where the framer is up to the first that is not of this kind or not complete.
 *
 * @param seconds of the clock
 * @returns how many
 * @throws {BgpError} 6/1 when there are too many prefixes
 */
export function takeUpdates(core: Core, peer: Peer, framer: Framer, seconds: number): number {
  const at = peer.glance;
  if (at === undefined) return 0;
  const { bytes, limit } = framer;
  // Here and not for each message: configurations have many shapes, and what is compiled for one is not for another.
  const plain = peer.import.trivial && peer.config.import === undefined;
  const most = peer.config.maxPrefixes ?? NO_LIMIT;
  const end = bytes.length;
  let start = framer.at;
  let messages = 0;
  while (end - start >= LEAST) {
    const next = start + ((bytes[start + 16] ?? 0) << 8 | (bytes[start + 17] ?? 0));
    if (bytes[start + 18] !== MessageType.Update || next > end || next - start > limit) break;
    if (next - start < LEAST || !marked(bytes, start)) break;
    const body = start + HEADER_LENGTH;
    const first = body + 4;
    const withdrawn = (bytes[body] ?? 0) << 8 | (bytes[body + 1] ?? 0);
    if (withdrawn !== 0) {
      // Of IPv4, and nothing else.
      if (body + 4 + withdrawn !== next || bytes[next - 1] !== 0 || bytes[next - 2] !== 0) break;
      if (!at.v4 || !withdraw(core, peer, 4, bytes, body + 2, next - 2)) break;
    } else {
      const nlri = first + ((bytes[first - 2] ?? 0) << 8 | (bytes[first - 1] ?? 0));
      if (nlri > next || nlri === first) break;
      if (nlri < next) {
        if (!at.v4) break;
        const set = judged(core, peer, at, at.kind, bytes, first, nlri, 0);
        if (set === ODD || !take(core, peer, 4, bytes, nlri, next, set, plain, most, seconds)) {
          break;
        }
      } else {
        const kind = at.v6 ? split6(bytes, first, nlri, split) : Multiprotocol.Odd;
        if (kind === Multiprotocol.Odd) break;
        if (kind === Multiprotocol.Unreach) {
          if (!withdraw(core, peer, 6, bytes, split.start, split.end)) break;
        } else {
          const { block, length, hop } = split;
          const set = judged(
            core,
            peer,
            at,
            hop === 16 ? at.kind16 : at.kind32,
            block,
            0,
            length,
            hop,
          );
          if (set === ODD) break;
          if (!take(core, peer, 6, bytes, split.start, split.end, set, plain, most, seconds)) break;
        }
      }
    }
    start = next;
    framer.at = next;
    messages++;
  }
  return messages;
}

/**
 * The set of a block of attributes, of which the last octets are a next hop of `hop`: twice its number, and one more where it
 * can be no candidate; or ODD.
 */
function judged(
  core: Core,
  peer: Peer,
  at: PeerGlance,
  kind: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  hop: number,
): number {
  const table = core.attributes;
  const known = table.findId(kind, bytes, from, to);
  if (known !== 0) {
    let verdict = table.verdict(known, at.judge);
    if (verdict < 0) {
      const set = table.at(known);
      verdict = set === undefined || refuseSet(peer, set, core.self) === undefined ? 0 : 1;
      table.setVerdict(known, at.judge, verdict === 1);
    }
    return 2 * known + verdict;
  }
  const seen = hop === 0
    ? glance(bytes, from, to, at.by)
    : glance6(bytes, from, to - hop, hop, at.by);
  if (seen === Seen.Odd) return ODD;
  const id = table.putId(kind, bytes, from, to);
  const refused = seen === Seen.Refused;
  table.setVerdict(id, at.judge, refused);
  return 2 * id + (refused ? 1 : 0);
}

/**
 * Prefixes with a set of `judged`.
 *
 * @returns false when a prefix cannot be read; the decoder says what is wrong
 * @throws {BgpError} 6/1 when there are too many
 */
function take(
  core: Core,
  peer: Peer,
  family: Family,
  bytes: Uint8Array,
  start: number,
  end: number,
  judgedSet: number,
  plain: boolean,
  most: number,
  seconds: number,
): boolean {
  const table = core.attributes;
  const rib = core.ribs[family];
  const set = judgedSet >>> 1;
  const refused = (judgedSet & 1) === 1;
  let read: boolean;
  if (refused || plain) {
    const paths = rib.pathCount;
    const used = refused ? 0 : set;
    read = rib.putWritten(bytes, start, end, peer.index, set, used, seconds);
    peer.held[family] += rib.pathCount - paths;
  } else {
    const batch = batches[family];
    batch.reset(family);
    read = decodePrefixes(bytes, start, end, batch);
    const known = read ? table.at(set) : undefined;
    if (known !== undefined) announce(core, peer, batch, known, seconds);
  }
  if (!table.held(set)) table.dropId(set);
  if (peer.held[family] > most) throw tooMany(family, most);
  return read;
}

/** False when a prefix cannot be read. */
function withdraw(
  core: Core,
  peer: Peer,
  family: Family,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  const deleted = core.ribs[family].deleteWritten(bytes, start, end, peer.index);
  if (deleted < 0) return false;
  peer.held[family] -= deleted;
  return true;
}

/** Sixteen octets of ones. In one expression: a loop costs more until it is compiled. */
function marked(bytes: Uint8Array, at: number): boolean {
  return ((bytes[at] ?? 0) & (bytes[at + 1] ?? 0) & (bytes[at + 2] ?? 0) & (bytes[at + 3] ?? 0) &
    (bytes[at + 4] ?? 0) & (bytes[at + 5] ?? 0) & (bytes[at + 6] ?? 0) & (bytes[at + 7] ?? 0) &
    (bytes[at + 8] ?? 0) & (bytes[at + 9] ?? 0) & (bytes[at + 10] ?? 0) & (bytes[at + 11] ?? 0) &
    (bytes[at + 12] ?? 0) & (bytes[at + 13] ?? 0) & (bytes[at + 14] ?? 0) &
    (bytes[at + 15] ?? 0)) === 255;
}
