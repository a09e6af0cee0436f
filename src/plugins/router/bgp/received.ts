/** From an UPDATE into the Adj-RIB-In, and through import. */

import type { Family } from "../../../kernel/ip.ts";
import type { Core } from "./core.ts";
import { FAMILIES, judgeImport, type Peer, refuseSet } from "./peer.ts";
import type { AttributeSet } from "./rib/attributes.ts";
import type { Route } from "./rib/policy.ts";
import type { Issue } from "./wire/attributes.ts";
import { Writer } from "./wire/bytes.ts";
import { CeaseCode, ErrorCode, UNICAST } from "./wire/constants.ts";
import { BgpError } from "./wire/error.ts";
import type { Update } from "./wire/update.ts";
import { type PrefixBatch, wordsOf } from "./wire/prefix.ts";

/** What is done about malformed attributes, for the log. */
export const ISSUES: Readonly<Record<Issue["cost"], string>> = {
  withdraw: "Routes of a malformed UPDATE are treated as withdrawn (RFC 7606)",
  discard: "A malformed attribute is ignored (RFC 7606)",
};

/**
 * What an UPDATE says of prefixes.
 *
 * @param seconds of the clock
 * @throws {BgpError} 6/1 when there are too many
 */
export function take(core: Core, peer: Peer, update: Update<AttributeSet>, seconds: number): void {
  for (const batch of update.withdrawn) withdraw(core, peer, batch);
  for (const batch of update.rejected) withdraw(core, peer, batch);
  for (const { batch, attributes } of update.announced) {
    announce(core, peer, batch, attributes, seconds);
    core.attributes.drop(attributes);
  }
}

function withdraw(core: Core, peer: Peer, batch: PrefixBatch): void {
  const { family, count, words, lengths } = batch;
  const rib = core.ribs[family];
  const size = wordsOf(family);
  for (let i = 0; i < count; i++) {
    const id = rib.prefixes.find(words, i * size, lengths[i] ?? 0);
    if (id >= 0 && rib.delete(id, peer.index)) peer.held[family]--;
  }
}

/** A batch with one set, through import. @throws {BgpError} 6/1 when there are too many */
export function announce(
  core: Core,
  peer: Peer,
  batch: PrefixBatch,
  set: AttributeSet,
  seconds: number,
): void {
  const { family, count, words, lengths } = batch;
  const rib = core.ribs[family];
  const size = wordsOf(family);
  const refused = refuseSet(peer, set, core.self) !== undefined;
  const simple = peer.import.trivial && peer.config.import === undefined;
  const most = peer.config.maxPrefixes ?? Number.POSITIVE_INFINITY;
  const classes = core.classes[family];
  // One for the whole message: with a policy this runs for each prefix of a full feed.
  const route: Seen = routeOf(peer, set, family, words);
  for (let i = 0; i < count; i++) {
    const length = lengths[i] ?? 0;
    const id = rib.prefixId(words, i * size, length);
    let used: AttributeSet | undefined = refused ? undefined : set;
    if (!refused && !simple) {
      route.at = i * size;
      route.length = length;
      route.class = classes.size === 0 ? undefined : classes.get(id);
      const judged = judgeImport(peer, route, set, core.attributes);
      used = typeof judged === "string" ? undefined : judged;
    }
    if (rib.put(id, peer.index, set, used, seconds)) peer.held[family]++;
    if (used !== undefined && used !== set) core.attributes.drop(used);
    if (peer.held[family] > most) throw tooMany(family, most);
  }
}

/** A route of which the prefix changes. */
type Seen = Route & { at: number; length: number; class: string | undefined };

function routeOf(peer: Peer, set: AttributeSet, family: Family, words: Uint32Array): Seen {
  const { source } = peer.origin;
  return { family, words, at: 0, length: 0, source, class: undefined, attributes: set };
}

/** A changed policy over all that the peer has told. */
export function reimport(core: Core, peer: Peer): void {
  for (const family of FAMILIES) {
    core.ribs[family].reimport(peer.index, (id, set) => again(core, peer, set, family, id));
  }
}

/** Our own route to a prefix came, went or changed its class, at which import may look. */
export function reimportPrefix(core: Core, family: Family, id: number): void {
  const rib = core.ribs[family];
  for (const row of rib.rows(id)) {
    const peer = core.peerAt(rib.peerOf(row));
    if (peer !== undefined) rib.rejudge(row, (_, set) => again(core, peer, set, family, id));
  }
}

function again(
  core: Core,
  peer: Peer,
  set: AttributeSet,
  family: Family,
  id: number,
): AttributeSet | undefined {
  if (refuseSet(peer, set, core.self) !== undefined) return undefined;
  const { words, lengths } = core.ribs[family].prefixes;
  const route = routeOf(peer, set, family, words);
  route.at = id * wordsOf(family);
  route.length = lengths[id] ?? 0;
  route.class = core.classes[family].get(id);
  const judged = judgeImport(peer, route, set, core.attributes);
  return typeof judged === "string" ? undefined : judged;
}

/** RFC 4486 section 4. */
export function tooMany(family: Family, most: number): BgpError {
  return new BgpError(
    `The peer has more than ${most} IPv${family} prefixes`,
    ErrorCode.Cease,
    CeaseCode.MaximumPrefixes,
    new Writer().u16(family === 4 ? 1 : 2).u8(UNICAST).u32(most).take(),
  );
}
