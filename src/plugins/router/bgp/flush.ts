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
import type { PrefixTable } from "./rib/prefixes.ts";
import { LOCAL } from "./rib/rib.ts";
import type { Negotiated } from "./session/negotiate.ts";
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

/** What peers that are told the same are told, by what that depends on; kept for one flush. */
export type ExportCache = Map<string, Group>;

interface Group {
  readonly told: { readonly 4: GroupFamily; readonly 6: GroupFamily };
}

interface GroupFamily {
  /** By the number of who it came from and of the set: nothing where it is not announced. For policies that ask no more. */
  readonly quick: Map<number, AttributeBlock | undefined>;
  /** By source and statement, then by the set's number. */
  readonly blocks: Map<string, Map<number, AttributeBlock>>;
  /** What the last peer was told in this flush: who has to know the same gets the same bytes. */
  last: Written | undefined;
}

interface Written {
  readonly announced: readonly number[];
  readonly withdrawn: readonly number[];
  readonly limit: number;
  /** Ids whose attributes do not fit into a message. */
  readonly unfit: readonly number[];
  readonly bytes: Uint8Array;
  readonly messages: number;
}

function groupOf(cache: ExportCache, target: ExportTarget, fourOctetAs: boolean): Group {
  const key = `${targetKey(target)} ${fourOctetAs}`;
  let group = cache.get(key);
  if (group === undefined) {
    const empty = (): GroupFamily => ({ quick: new Map(), blocks: new Map(), last: undefined });
    cache.set(key, group = { told: { 4: empty(), 6: empty() } });
  }
  return group;
}

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
    const block = (of: ExportTarget, id: number) => {
      const { told } = groupOf(cache, of, negotiated.fourOctetAs);
      return blockOf(core, peer, of, family, id, negotiated.fourOctetAs, told[family]);
    };
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

/** Whether a peer has something to be told, and reads. */
export function hasWork(core: Core, peer: Peer): boolean {
  return peer.target !== undefined && !peer.blocked &&
    (hasToTell(core, peer, 4) || hasToTell(core, peer, 6));
}

function hasToTell(core: Core, { out }: Peer, family: Family): boolean {
  const { idle, endOfRibDue, refreshEndDue } = out[family];
  return !idle || (endOfRibDue && core.settled(family)) || refreshEndDue;
}

/** Writes one turn's worth of what a peer has to know. */
export function flushPeer(
  core: Core,
  peer: Peer,
  cache: ExportCache,
  send: (bytes: Uint8Array, messages: number) => void,
): void {
  const { target, negotiated } = peer;
  if (target === undefined || negotiated === undefined) return;
  let group: Group | undefined;
  for (const family of FAMILIES) {
    const state = peer.out[family];
    if (!state.idle) {
      group ??= groupOf(cache, target, negotiated.fourOctetAs);
      const written = flushFamily(core, peer, target, negotiated, family, group.told[family]);
      if (written.messages > 0) send(written.bytes, written.messages);
    }
    if (!state.idle) continue;
    if (state.endOfRibDue && core.settled(family)) {
      state.endOfRibDue = false;
      send(encodeEndOfRib(family), 1);
    }
    if (state.refreshEndDue) {
      state.refreshEndDue = false;
      peer.session.sent.refresh++;
      send(encodeRefresh(family, RefreshSubtype.End), 0);
    }
  }
}

function flushFamily(
  core: Core,
  peer: Peer,
  target: ExportTarget,
  { fourOctetAs, extendedMessage }: Negotiated,
  family: Family,
  group: GroupFamily,
): Written {
  const state = peer.out[family];
  const rib = core.ribs[family];
  const limit = extendedMessage ? MAX_EXTENDED_LENGTH : MAX_LENGTH;
  const announced: number[] = [];
  const withdrawn: number[] = [];
  const look = (id: number): void => {
    const block = blockOf(core, peer, target, family, id, fourOctetAs, group);
    if (block !== undefined) announced.push(id);
    else if (state.advertised.delete(id)) withdrawn.push(id);
  };
  let left = TURN;
  if (state.pending.length > 0) {
    const all = state.pending.length <= left;
    const batch = all ? state.pending : state.pending.splice(0, left);
    if (all) state.pending = [];
    left -= batch.length;
    for (let i = 0; i < batch.length; i++) {
      const id = batch[i] ?? 0;
      state.isPending.delete(id);
      look(id);
    }
  }
  while (left > 0 && state.cursor >= 0) {
    const id = state.cursor++;
    if (id >= rib.prefixes.limit) state.cursor = -1;
    else if (rib.best(id) > 0 || state.advertised.has(id)) {
      look(id);
      left--;
    }
  }
  let written = group.last;
  const known = written !== undefined && written.limit === limit &&
    sameNumbers(written.announced, announced) && sameNumbers(written.withdrawn, withdrawn);
  if (written === undefined || !known) {
    const blockFor = (id: number) => blockOf(core, peer, target, family, id, fourOctetAs, group);
    written = write(rib.prefixes, announced, withdrawn, limit, blockFor);
    group.last = written;
  }
  for (let i = 0; i < announced.length; i++) state.advertised.add(announced[i] ?? 0);
  if (written.unfit.length === 0) return written;
  // RFC 8654 section 4: attributes that do not fit; the peer must not keep the old ones. `advertised` tells who had them.
  for (const id of written.unfit) state.advertised.delete(id);
  return written;
}

/** Used again by each peer. */
const out = new Writer(65_536);

function write(
  prefixes: PrefixTable,
  announced: readonly number[],
  withdrawn: readonly number[],
  limit: number,
  blockFor: (id: number) => AttributeBlock | undefined,
): Written {
  const byBlock = new Map<AttributeBlock, number[]>();
  for (let i = 0; i < announced.length; i++) {
    const id = announced[i] ?? 0;
    const block = blockFor(id);
    if (block === undefined) continue;
    const ids = byBlock.get(block);
    if (ids === undefined) byBlock.set(block, [id]);
    else ids.push(id);
  }
  let messages = putWithdrawals(out, prefixes, withdrawn, limit);
  const unfit: number[] = [];
  for (const [block, ids] of byBlock) {
    const count = putAnnouncements(out, block, prefixes, ids, limit);
    if (count < 0) unfit.push(...ids);
    else messages += count;
  }
  // Also to whom they were never announced: a withdrawal more than need be does no harm, and nearly never is there one.
  messages += putWithdrawals(out, prefixes, unfit, limit);
  return { announced, withdrawn, limit, unfit, bytes: out.take(), messages };
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** More sets than a number of the RIB's ever has. */
const SETS = 2 ** 26;

function blockOf(
  core: Core,
  peer: Peer,
  target: ExportTarget,
  family: Family,
  id: number,
  fourOctetAs: boolean,
  group: GroupFamily,
): AttributeBlock | undefined {
  const rib = core.ribs[family];
  const row = rib.best(id);
  if (row === 0) return undefined;
  const from = rib.peerOf(row);
  if (from === peer.index) return undefined;
  const setId = rib.usedId(row);
  // Of what was learned a policy that looks at no prefix says the same for the same set.
  const quick = from !== LOCAL && !target.policy.byPrefix;
  const number = from * SETS + setId;
  if (quick) {
    const known = group.quick.get(number);
    if (known !== undefined || group.quick.has(number)) return known;
  }
  const block = blockAnew(core, peer, target, family, id, row, fourOctetAs, group);
  if (quick) group.quick.set(number, block);
  return block;
}

function blockAnew(
  core: Core,
  peer: Peer,
  target: ExportTarget,
  family: Family,
  id: number,
  row: number,
  fourOctetAs: boolean,
  { blocks }: GroupFamily,
): AttributeBlock | undefined {
  const rib = core.ribs[family];
  const judged = judge(core, peer, target, family, id, row);
  const set = rib.usedOf(row);
  if (typeof judged === "string" || set === undefined) return undefined;
  const { decision, source } = judged;
  // What is reflected carries the identifier of the one that it came from; nothing else depends on the peer.
  const who = source.source === "ibgp" ? rib.peerOf(row) : source.source;
  const key = `${who} ${decision.statement}`;
  let bySet = blocks.get(key);
  if (bySet === undefined) blocks.set(key, bySet = new Map());
  let block = bySet.get(set.id);
  if (block === undefined) {
    block = encodeAttributes(
      exportAttributes(set, family, source, target, decision.set),
      family,
      fourOctetAs,
    );
    bySet.set(set.id, block);
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
  const set = row === 0 ? undefined : rib.usedOf(row);
  if (set === undefined) return "it has no best path";
  const judged = judge(core, peer, target, family, id, row);
  if (typeof judged === "string") return judged;
  const { decision, source } = judged;
  return {
    attributes: exportAttributes(set, family, source, target, decision.set),
    by: decision.name,
  };
}
