/**
 * UPDATEs of a full feed: IPv4 prefixes that are announced with well-formed attributes, which nearly all messages are. One loop
 * over the bytes that makes no object; whatever is out of the ordinary is left to `UpdateDecoder`.
 */

import { ipv4Number } from "../../../kernel/ip.ts";
import type { Core } from "./core.ts";
import { type Peer, refuseSet, type Self } from "./peer.ts";
import { announce, tooMany } from "./received.ts";
import type { Negotiated } from "./session/negotiate.ts";
import { blockKind } from "./wire/attributes.ts";
import { HEADER_LENGTH, MessageType } from "./wire/constants.ts";
import type { Framer } from "./wire/framer.ts";
import { decode4, PrefixBatch } from "./wire/prefix.ts";
import { type Glance, glance, Seen } from "./wire/scan.ts";

export interface PeerGlance {
  readonly by: Glance;
  readonly kind: number;
  /** Another number for each thing that `by` was; what was judged by another one is judged again. */
  readonly judge: number;
}

let judges = 0;

/** For a session as it was negotiated; nothing where it carries no IPv4. Anew whenever `self` or the ends change. */
export function glanceOf(peer: Peer, negotiated: Negotiated, self: Self): PeerGlance | undefined {
  if (!negotiated.families.includes(4)) return undefined;
  const { fourOctetAs, external } = negotiated;
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
    },
    kind: blockKind(negotiated, false, 0),
    judge: ++judges,
  };
}

/** Withdrawn length, attribute length, and the shortest attributes with a prefix. */
const LEAST = HEADER_LENGTH + 4 + 1;
/** Used again by each message. */
const batch = new PrefixBatch(4);

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
  const { kind } = at;
  const end = bytes.length;
  const table = core.attributes;
  const rib = core.ribs[4];
  const plain = peer.import.trivial && peer.config.import === undefined;
  const most = peer.config.maxPrefixes ?? Number.POSITIVE_INFINITY;
  let start = framer.at;
  let messages = 0;
  while (end - start >= LEAST) {
    const next = start + ((bytes[start + 16] ?? 0) << 8 | (bytes[start + 17] ?? 0));
    if (bytes[start + 18] !== MessageType.Update || next > end || next - start > limit) break;
    if (next - start < LEAST || !marked(bytes, start)) break;
    // Nothing is withdrawn, there are attributes, and prefixes after them.
    const first = start + HEADER_LENGTH + 4;
    const nlri = first + ((bytes[first - 2] ?? 0) << 8 | (bytes[first - 1] ?? 0));
    if (bytes[first - 4] !== 0 || bytes[first - 3] !== 0 || nlri >= next || nlri === first) break;
    let set = table.findId(kind, bytes, first, nlri);
    let verdict = -1;
    if (set !== 0) {
      verdict = table.verdict(set, at.judge);
      if (verdict < 0) {
        const known = table.at(set);
        verdict = known === undefined || refuseSet(peer, known, core.self) === undefined ? 0 : 1;
        table.setVerdict(set, at.judge, verdict === 1);
      }
    } else {
      const seen = glance(bytes, first, nlri, at.by);
      if (seen === Seen.Odd) break;
      set = table.putId(kind, bytes, first, nlri);
      verdict = seen === Seen.Refused ? 1 : 0;
      table.setVerdict(set, at.judge, verdict === 1);
    }
    if (plain || verdict === 1) {
      const paths = rib.pathCount;
      const used = verdict === 1 ? 0 : set;
      const read = rib.putWritten(bytes, nlri, next, peer.index, set, used, seconds);
      peer.held[4] += rib.pathCount - paths;
      if (!table.held(set)) table.dropId(set);
      if (peer.held[4] > most) throw tooMany(4, most);
      // The decoder says what is wrong.
      if (!read) break;
    } else {
      batch.count = 0;
      const read = decode4(bytes, nlri, next, batch);
      const known = read ? table.at(set) : undefined;
      if (known !== undefined) announce(core, peer, batch, known, seconds);
      if (!table.held(set)) table.dropId(set);
      if (!read) break;
    }
    start = next;
    framer.at = next;
    messages++;
  }
  return messages;
}

/** Sixteen octets of ones. In one expression: a loop costs more until it is compiled. */
function marked(bytes: Uint8Array, at: number): boolean {
  return ((bytes[at] ?? 0) & (bytes[at + 1] ?? 0) & (bytes[at + 2] ?? 0) & (bytes[at + 3] ?? 0) &
    (bytes[at + 4] ?? 0) & (bytes[at + 5] ?? 0) & (bytes[at + 6] ?? 0) & (bytes[at + 7] ?? 0) &
    (bytes[at + 8] ?? 0) & (bytes[at + 9] ?? 0) & (bytes[at + 10] ?? 0) & (bytes[at + 11] ?? 0) &
    (bytes[at + 12] ?? 0) & (bytes[at + 13] ?? 0) & (bytes[at + 14] ?? 0) &
    (bytes[at + 15] ?? 0)) === 255;
}
