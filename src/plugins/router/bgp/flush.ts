/** Adj-RIB-Out: from what changed to the bytes that a peer gets. */

import type { Family } from "../../../kernel/ip.ts";
import type { Core } from "./core.ts";
import { FAMILIES, type Peer } from "./peer.ts";
import {
  exportAttributes,
  type ExportSource,
  type ExportTarget,
  judgeExport,
} from "./rib/export.ts";
import type { Route } from "./rib/policy.ts";
import { LOCAL } from "./rib/rib.ts";
import { type Attributes, NO_BYTES } from "./wire/attributes.ts";
import { Writer } from "./wire/bytes.ts";
import { MAX_EXTENDED_LENGTH, MAX_LENGTH } from "./wire/constants.ts";
import {
  type AttributeBlock,
  encodeAttributes,
  encodeEndOfRib,
  putAnnouncements,
  putWithdrawals,
} from "./wire/encode.ts";
import { encodeRefresh, RefreshSubtype } from "./wire/messages.ts";

/** Prefixes a peer and turn: the loop breathes between them, and a peer that reads slowly costs no memory. */
const TURN = 16_384;

/** Blocks by all that they depend on but the set, then by the set's number; kept for one flush. */
export type ExportCache = Map<string, Map<number, AttributeBlock>>;

/** What a peer is told of a prefix: these attributes, or one sentence that says why nothing. */
export interface Told {
  readonly attributes: Attributes;
  /** Of the statement that accepted it. */
  readonly by: string;
}

/** Everything of a family is looked at again; all that is to be announced is sent once more. */
export function resend(peer: Peer, family: Family, withEnd: boolean): void {
  const out = peer.out[family];
  out.cursor = 0;
  out.pending = [];
  out.isPending.clear();
  if (withEnd) out.refreshEndDue = true;
}

/** Export has changed from `before` to what the peer has now: only prefixes that are told differently are looked at again. */
export function markDifference(core: Core, peer: Peer, before: ExportTarget): void {
  const { target, negotiated } = peer;
  if (target === undefined || negotiated === undefined) return;
  const cache: ExportCache = new Map();
  for (const family of negotiated.families) {
    const { prefixes } = core.ribs[family];
    const block = (of: ExportTarget, id: number) =>
      blockOf(core, peer, of, family, id, negotiated.fourOctetAs, cache);
    for (let id = 0; id < prefixes.limit; id++) {
      if (!sameBlock(block(before, id), block(target, id))) peer.out[family].mark(id);
    }
  }
}

function sameBlock(a: AttributeBlock | undefined, b: AttributeBlock | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return Buffer.compare(a.bytes, b.bytes) === 0 &&
    Buffer.compare(a.mpNextHop ?? NO_BYTES, b.mpNextHop ?? NO_BYTES) === 0;
}

/** Writes one turn's worth of what a peer has to know. */
export function flushPeer(
  core: Core,
  peer: Peer,
  cache: ExportCache,
  send: (bytes: Uint8Array, messages: number) => void,
): void {
  const out = new Writer(4096);
  let messages = 0;
  for (const family of FAMILIES) messages += flushFamily(core, peer, family, cache, out);
  if (out.length > 0) send(out.take(), messages);
}

function flushFamily(
  core: Core,
  peer: Peer,
  family: Family,
  cache: ExportCache,
  out: Writer,
): number {
  const { target, negotiated } = peer;
  const state = peer.out[family];
  if (target === undefined || negotiated === undefined) return 0;
  const rib = core.ribs[family];
  const limit = negotiated.extendedMessage ? MAX_EXTENDED_LENGTH : MAX_LENGTH;
  const withdrawn: number[] = [];
  const announced = new Map<AttributeBlock, number[]>();
  const look = (id: number): void => {
    const block = blockOf(core, peer, target, family, id, negotiated.fourOctetAs, cache);
    if (block === undefined) {
      if (state.advertised.delete(id)) withdrawn.push(id);
      return;
    }
    const ids = announced.get(block);
    if (ids === undefined) announced.set(block, [id]);
    else ids.push(id);
  };
  let left = TURN;
  while (left > 0 && state.pending.length > 0) {
    const batch = state.pending.splice(0, left);
    left -= batch.length;
    for (const id of batch) {
      state.isPending.delete(id);
      look(id);
    }
  }
  while (left > 0 && state.cursor >= 0) {
    const id = state.cursor++;
    if (id >= rib.prefixes.limit) state.cursor = -1;
    else if (rib.best(id) >= 0 || state.advertised.has(id)) {
      look(id);
      left--;
    }
  }
  let messages = putWithdrawals(out, rib.prefixes, withdrawn, limit);
  for (const [block, ids] of announced) {
    const count = putAnnouncements(out, block, rib.prefixes, ids, limit);
    if (count < 0) {
      // RFC 8654 section 4: attributes that do not fit; the peer must not keep the old ones.
      const gone = ids.filter((id) => state.advertised.delete(id));
      messages += putWithdrawals(out, rib.prefixes, gone, limit);
      continue;
    }
    for (const id of ids) state.advertised.add(id);
    messages += count;
  }
  if (!state.idle) return messages;
  if (state.endOfRibDue && core.settled(family)) {
    state.endOfRibDue = false;
    out.put(encodeEndOfRib(family));
    messages++;
  }
  if (state.refreshEndDue) {
    state.refreshEndDue = false;
    peer.session.sent.refresh++;
    out.put(encodeRefresh(family, RefreshSubtype.End));
  }
  return messages;
}

function blockOf(
  core: Core,
  peer: Peer,
  target: ExportTarget,
  family: Family,
  id: number,
  fourOctetAs: boolean,
  cache: ExportCache,
): AttributeBlock | undefined {
  const rib = core.ribs[family];
  const row = rib.best(id);
  const set = row < 0 ? undefined : rib.usedOf(row);
  if (set === undefined) return undefined;
  const from = rib.peerOf(row);
  const judged = judge(core, peer, target, family, id, row);
  if (typeof judged === "string") return undefined;
  const { decision, source } = judged;
  // What is reflected carries the identifier of the one that it came from; nothing else depends on the peer.
  const who = source.source === "ibgp" ? from : source.source;
  const key = `${targetKey(target)} ${family} ${fourOctetAs} ${who} ${decision.statement}`;
  let blocks = cache.get(key);
  if (blocks === undefined) cache.set(key, blocks = new Map());
  let block = blocks.get(set.id);
  if (block === undefined) {
    block = encodeAttributes(
      exportAttributes(set, family, source, target, decision.set),
      family,
      fourOctetAs,
    );
    blocks.set(set.id, block);
  }
  return block;
}

const keys = new WeakMap<ExportTarget, string>();
const policyKeys = new WeakMap<object, number>();
let policies = 0;

/** Equal for targets that are told the same. */
function targetKey(target: ExportTarget): string {
  let key = keys.get(target);
  if (key === undefined) {
    let policy = policyKeys.get(target.policy);
    if (policy === undefined) policyKeys.set(target.policy, policy = ++policies);
    key = [
      policy,
      target.external,
      target.client,
      target.clusterId,
      target.extendedNextHop,
      target.self[4]?.join("."),
      target.self[6]?.join("."),
    ].join("|");
    keys.set(target, key);
  }
  return key;
}

function judge(
  core: Core,
  peer: Peer,
  target: ExportTarget,
  family: Family,
  id: number,
  row: number,
): string | {
  readonly decision: Exclude<ReturnType<typeof judgeExport>, string>["decision"];
  readonly source: ExportSource;
} {
  const rib = core.ribs[family];
  const from = rib.peerOf(row);
  const set = rib.usedOf(row);
  if (set === undefined) return "it has no best path";
  if (from === peer.index) return "it was learned from this peer";
  if (from !== LOCAL && !core.settled(family)) {
    return "after our restart, End-of-RIB of other peers is waited for";
  }
  const source = sourceOf(core, from);
  const route: Route = {
    family,
    words: rib.prefixes.words,
    at: id * (family === 4 ? 1 : 4),
    length: rib.prefixes.lengths[id] ?? 0,
    source: source.source,
    class: from === LOCAL ? core.classes[family].get(id) : undefined,
    attributes: set,
  };
  const judged = judgeExport(route, source, target);
  return typeof judged === "string" ? judged : { decision: judged.decision, source };
}

function sourceOf(core: Core, from: number): ExportSource {
  const peer = core.peerAt(from);
  return peer === undefined ? { source: "local", client: false, routerId: core.self.routerId } : {
    source: peer.origin.source,
    client: peer.config.routeReflectorClient === true,
    routerId: peer.origin.routerId,
  };
}

/** What a peer is told of a prefix now, or why it is told nothing; for people. */
export function told(core: Core, peer: Peer, family: Family, id: number): Told | string {
  const { target } = peer;
  if (target === undefined || peer.negotiated === undefined) {
    return "the session is not Established";
  }
  if (!peer.negotiated.families.includes(family)) return `the session does not carry IPv${family}`;
  const rib = core.ribs[family];
  const row = rib.best(id);
  const set = row < 0 ? undefined : rib.usedOf(row);
  if (set === undefined) return "it has no best path";
  const judged = judge(core, peer, target, family, id, row);
  if (typeof judged === "string") return judged;
  const { decision, source } = judged;
  return {
    attributes: exportAttributes(set, family, source, target, decision.set),
    by: decision.name,
  };
}
