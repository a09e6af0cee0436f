/**
 * The paths of one family: Adj-RIB-In of all peers (what was received, and what import made of it) and Loc-RIB.
 *
 * A path is a row of typed arrays; the paths of a prefix are a list of rows. What changed waits as a number until `decide`.
 */

import type { Family } from "../../../../kernel/ip.ts";
import type { AttributeSet, AttributeTable } from "./attributes.ts";
import { type Candidate, decide, type Origin } from "./decision.ts";
import { BitSet, PrefixTable } from "./prefixes.ts";
import { grown, moreRoom, NumberStack } from "./room.ts";

/** Numbers of prefixes. */
export type Numbers = ArrayLike<number> & Iterable<number>;

/** Number of the speaker itself among the peers. */
export const LOCAL = 0;
/** No row: rows are counted from 1, so that arrays of them begin as they are made. */
const NONE = 0;
/** In place of a prefix: the row is free. */
const FREE = -1;
/** In place of a peer. */
const SEVERAL = -1;
const NO_CANDIDATES: readonly Candidate[] = [];
const STALE = 1;

export class Rib {
  readonly prefixes: PrefixTable;
  readonly #attributes: AttributeTable;
  readonly #origin: (peer: number) => Origin;
  readonly #most: number;
  /** By prefix: first row, row of the best path, attribute set of the best path (held). */
  #first: Int32Array;
  #best: Int32Array;
  #bestSet: Uint32Array;
  #bestPeer: Uint32Array;
  /** Peers and sets of the paths in use, where there are several. */
  readonly #several = new Map<
    number,
    { readonly rows: readonly number[]; readonly sign: string }
  >();
  /** By row. */
  #next = new Int32Array(64);
  #prefix = new Int32Array(64);
  #peer = new Uint32Array(64);
  #received = new Uint32Array(64);
  #used = new Uint32Array(64);
  #flags = new Uint8Array(64);
  #since = new Uint32Array(64);
  #rows = 1;
  readonly #freeRows = new NumberStack();
  readonly #dirty = new NumberStack();
  readonly #isDirty = new BitSet();
  /** Decided when they came, and not told yet. */
  #fresh = new Int32Array(64);
  #freshCount = 0;
  #freshFrom = SEVERAL;
  /** The peer that all came from that `decide` said last, or -1 where there were several or it cannot tell. */
  decidedFrom = SEVERAL;
  readonly #forced = new Set<number>();
  #empty: number[] = [];

  constructor(
    family: Family,
    attributes: AttributeTable,
    origin: (peer: number) => Origin,
    most: number,
  ) {
    this.prefixes = new PrefixTable(family);
    this.#attributes = attributes;
    this.#origin = origin;
    this.#most = most;
    this.#first = new Int32Array(this.prefixes.room);
    this.#best = new Int32Array(this.prefixes.room);
    this.#bestSet = new Uint32Array(this.prefixes.room);
    this.#bestPeer = new Uint32Array(this.prefixes.room);
  }

  get pathCount(): number {
    return this.#rows - 1 - this.#freeRows.count;
  }

  /** Whether `decide` has something to do. */
  get dirty(): boolean {
    return this.#dirty.count > 0 || this.#freshCount > 0;
  }

  /** The number of a prefix, a new one if need be. */
  prefixId(words: ArrayLike<number>, at: number, length: number): number {
    const id = this.prefixes.add(words, at, length);
    if (id >= this.#first.length) this.#growPrefixes();
    return id;
  }

  /**
   * A peer's path to a prefix: what it says, and what import made of it (nothing: rejected). The same path again only
   * confirms it.
   *
   * @returns whether the peer had no path to this prefix
   */
  put(
    id: number,
    peer: number,
    received: AttributeSet,
    used: AttributeSet | undefined,
    seconds: number,
  ): boolean {
    if (!this.#put(id, peer, received.id, used?.id ?? 0, seconds)) return false;
    this.#attributes.hold(received.id);
    this.#attributes.hold(used?.id ?? 0);
    return true;
  }

  /**
   * A peer's path to each prefix that is written from `start` to `end`, by the numbers of what it says and of what import made
   * of it (0: rejected). One loop without an object or a list between: a full feed is a million times through it.
   *
   * @returns false when a prefix cannot be read; then nothing has changed
   * @throws {BgpError} 6/8 when there are too many prefixes; then nothing has changed
   */
  putWritten(
    bytes: Uint8Array,
    start: number,
    end: number,
    peer: number,
    received: number,
    used: number,
    seconds: number,
  ): boolean {
    const { prefixes } = this;
    const v4 = prefixes.size === 1;
    const count = countWritten(bytes, start, end, v4 ? 32 : 128);
    if (count < 0) return false;
    this.#reserve(count);
    if (this.#freshFrom !== peer) this.#freshFrom = this.#freshCount === 0 ? peer : SEVERAL;
    const first = this.#first;
    const clean = this.#dirty.count === 0;
    const before = this.pathCount;
    let best = 0;
    for (let at = start; at < end;) {
      const length = bytes[at] ?? 0;
      const id = v4 ? prefixes.addWritten4(bytes, at) : prefixes.addWritten6(bytes, at);
      at += 1 + ((length + 7) >> 3);
      if (id < 0) continue;
      if (first[id] !== NONE) this.#put(id, peer, received, used, seconds);
      else if (used === 0 || this.#best[id] !== NONE || (!clean && this.#isDirty.has(id))) {
        this.#insert(id, peer, received, used, seconds);
        this.touch(id);
      } else {
        // The only path to a prefix that had none is the best: there is nothing to decide.
        this.#best[id] = this.#insert(id, peer, received, used, seconds);
        this.#bestSet[id] = used;
        this.#bestPeer[id] = peer;
        this.#fresh[this.#freshCount++] = id;
        best++;
      }
    }
    const fresh = this.pathCount - before;
    this.#attributes.hold(received, fresh);
    this.#attributes.hold(used, fresh + best);
    return true;
  }

  /**
   * Takes a peer's path to each prefix away that is written from `start` to `end`.
   *
   * @returns how many there were, or -1 when a prefix cannot be read; then nothing has changed
   */
  deleteWritten(bytes: Uint8Array, start: number, end: number, peer: number): number {
    const { prefixes } = this;
    const v4 = prefixes.size === 1;
    if (countWritten(bytes, start, end, v4 ? 32 : 128) < 0) return -1;
    let deleted = 0;
    for (let at = start; at < end; at += 1 + (((bytes[at] ?? 0) + 7) >> 3)) {
      const id = v4 ? prefixes.findWritten4(bytes, at) : prefixes.findWritten6(bytes, at);
      if (id >= 0 && this.delete(id, peer)) deleted++;
    }
    return deleted;
  }

  /** Room for so many prefixes and paths more, and the news of them. */
  #reserve(count: number): void {
    this.prefixes.reserve(count);
    if (this.prefixes.room > this.#first.length) this.#growPrefixes();
    if (this.#rows + count > this.#next.length) this.#growRows(this.#rows + count);
    if (this.#freshCount + count > this.#fresh.length) {
      const room = moreRoom(this.#fresh.length, this.#freshCount + count);
      this.#fresh = grown(this.#fresh, new Int32Array(room));
    }
  }

  /** Without holding the sets of a new path; true: it is one. */
  #put(id: number, peer: number, received: number, used: number, seconds: number): boolean {
    const row = this.row(id, peer);
    if (row === NONE) {
      this.#insert(id, peer, received, used, seconds);
      this.touch(id);
      return true;
    }
    this.#flags[row] = 0;
    if (this.#received[row] === received && this.#used[row] === used) return false;
    this.#hold(row, received, used);
    this.#since[row] = seconds;
    this.touch(id);
    return false;
  }

  #insert(id: number, peer: number, received: number, used: number, seconds: number): number {
    const row = this.#freeRows.count > 0 ? this.#freeRows.pop() : this.#rows++;
    if (row >= this.#next.length) this.#growRows(row + 1);
    this.#next[row] = this.#first[id] ?? NONE;
    this.#first[id] = row;
    this.#prefix[row] = id;
    this.#peer[row] = peer;
    this.#received[row] = received;
    this.#used[row] = used;
    this.#flags[row] = 0;
    this.#since[row] = seconds;
    return row;
  }

  /** Takes a peer's path away. False: it had none. */
  delete(id: number, peer: number): boolean {
    let before = NONE;
    for (let row = this.#first[id] ?? NONE; row !== NONE; row = this.#next[row] ?? NONE) {
      if (this.#peer[row] === peer) {
        this.#unlink(id, before, row);
        return true;
      }
      before = row;
    }
    return false;
  }

  #unlink(id: number, before: number, row: number): void {
    const next = this.#next[row] ?? NONE;
    if (before === NONE) this.#first[id] = next;
    else this.#next[before] = next;
    this.#attributes.release(this.#received[row] ?? 0);
    this.#attributes.release(this.#used[row] ?? 0);
    this.#prefix[row] = FREE;
    this.#freeRows.push(row);
    this.touch(id);
  }

  /** Takes away the paths of a peer: all, or those that are stale. One pass over all rows. */
  clear(peer: number, staleOnly = false): number {
    let removed = 0;
    for (let row = 1; row < this.#rows; row++) {
      const id = this.#prefix[row] ?? FREE;
      if (id === FREE || this.#peer[row] !== peer) continue;
      if (staleOnly && ((this.#flags[row] ?? 0) & STALE) === 0) continue;
      if (this.delete(id, peer)) removed++;
    }
    return removed;
  }

  /** Marks the paths of a peer as stale (RFC 4724, RFC 7313); the next `put` or `clear` decides about them. */
  markStale(peer: number): number {
    let marked = 0;
    for (let row = 1; row < this.#rows; row++) {
      if (this.#prefix[row] === FREE || this.#peer[row] !== peer) continue;
      this.#flags[row] = STALE;
      marked++;
    }
    return marked;
  }

  /** Judges all paths of a peer anew. `judge` returns the set to use, or nothing. */
  reimport(
    peer: number,
    judge: (id: number, received: AttributeSet) => AttributeSet | undefined,
  ): void {
    for (let row = 1; row < this.#rows; row++) {
      if (this.#prefix[row] !== FREE && this.#peer[row] === peer) this.rejudge(row, judge);
    }
  }

  /** Judges one path anew. */
  rejudge(
    row: number,
    judge: (id: number, received: AttributeSet) => AttributeSet | undefined,
  ): void {
    const id = this.#prefix[row] ?? FREE;
    const received = this.#attributes.at(this.#received[row] ?? 0);
    if (received === undefined) return;
    const used = judge(id, received);
    if (this.#used[row] === (used?.id ?? 0)) return;
    this.#hold(row, received.id, used?.id ?? 0);
    this.touch(id);
  }

  /** What import accepted, what is stale, all: of each peer, in one pass. */
  counts(): Map<number, { received: number; accepted: number; stale: number }> {
    const counts = new Map<number, { received: number; accepted: number; stale: number }>();
    for (let row = 1; row < this.#rows; row++) {
      if (this.#prefix[row] === FREE) continue;
      const peer = this.#peer[row] ?? 0;
      let count = counts.get(peer);
      if (count === undefined) counts.set(peer, count = { received: 0, accepted: 0, stale: 0 });
      count.received++;
      if (this.#used[row] !== 0) count.accepted++;
      if (((this.#flags[row] ?? 0) & STALE) !== 0) count.stale++;
    }
    return counts;
  }

  /** Decides about a prefix again; forced: reports it even where the best path stays as it is. */
  touch(id: number, forced = false): void {
    if (this.#isDirty.add(id)) this.#dirty.push(id);
    if (forced) this.#forced.add(id);
  }

  /** Decides about all that changed and returns the prefixes whose use changed: until the next path comes. */
  decide(): Numbers {
    const fresh = this.#fresh.subarray(0, this.#freshCount);
    this.#freshCount = 0;
    const dirty = this.#dirty;
    this.decidedFrom = dirty.count === 0 ? this.#freshFrom : SEVERAL;
    if (dirty.count === 0) return fresh;
    const changed: number[] = [];
    const unsaid = new Set<number>();
    for (let i = 0; i < fresh.length; i++) {
      const id = fresh[i] ?? 0;
      if (this.#isDirty.has(id)) unsaid.add(id);
      else changed.push(id);
    }
    // By index: this runs for each prefix that a peer sends.
    for (let i = 0; i < dirty.count; i++) {
      const id = dirty.at(i);
      const another = this.#decide(id);
      // Of what came a moment ago nothing was said: whatever is best by now is news, and nothing is none.
      const news = unsaid.size > 0 && unsaid.has(id) ? this.#best[id] !== NONE : another;
      if (news || (this.#forced.size > 0 && this.#forced.has(id))) changed.push(id);
      if (this.#first[id] === NONE) this.#empty.push(id);
    }
    this.#dirty.count = 0;
    this.#isDirty.clear();
    this.#forced.clear();
    return changed;
  }

  #decide(id: number): boolean {
    const first = this.#first[id] ?? NONE;
    let winnerRow = NONE;
    let rows: readonly Candidate[] = NO_CANDIDATES;
    if (first !== NONE && this.#next[first] === NONE) {
      if (this.#used[first] !== 0) winnerRow = first;
    } else if (first !== NONE) {
      rows = decide(this.candidates(id), this.#most);
      winnerRow = rows[0]?.row ?? NONE;
    }
    const set = winnerRow === NONE ? 0 : this.#used[winnerRow] ?? 0;
    const peer = winnerRow === NONE ? 0 : this.#peer[winnerRow] ?? 0;
    const had = this.#best[id] !== NONE;
    let changed = had !== (winnerRow !== NONE) ||
      (had && (this.#bestSet[id] !== set || this.#bestPeer[id] !== peer));
    this.#best[id] = winnerRow;
    if (changed) {
      this.#attributes.hold(set);
      this.#attributes.release(this.#bestSet[id] ?? 0);
      this.#bestSet[id] = set;
      this.#bestPeer[id] = peer;
    }
    if (rows.length > 1) {
      // The sets' keys, not their numbers: a number may be another set by now.
      const sign = rows.map((path) =>
        `${this.#peer[path.row]} ${this.#attributes.key(path.set.id)}`
      ).join("\n");
      changed = changed || this.#several.get(id)?.sign !== sign;
      this.#several.set(id, { rows: rows.map((path) => path.row), sign });
    } else if (this.#several.size > 0 && this.#several.delete(id)) changed = true;
    return changed;
  }

  /** All paths of a prefix that import accepted. */
  candidates(id: number): Candidate[] {
    const candidates: Candidate[] = [];
    for (const row of this.rows(id)) {
      const set = this.#attributes.at(this.#used[row] ?? 0);
      if (set !== undefined) candidates.push({ row, set, origin: this.#origin(this.peerOf(row)) });
    }
    return candidates;
  }

  /** Frees the prefixes that have no path. Nobody may refer to their numbers any more. */
  sweep(): void {
    for (const id of this.#empty) {
      if (this.#first[id] !== NONE || this.#isDirty.has(id)) continue;
      if (this.prefixes.has(id)) this.prefixes.remove(id);
    }
    this.#empty = [];
  }

  /** Whether `sweep` would do something. */
  get sweepable(): boolean {
    return this.#empty.length > 0;
  }

  /** Row of a peer's path, or 0. */
  row(id: number, peer: number): number {
    let row = this.#first[id] ?? NONE;
    while (row !== NONE && this.#peer[row] !== peer) row = this.#next[row] ?? NONE;
    return row;
  }

  rows(id: number): number[] {
    const rows: number[] = [];
    for (let row = this.#first[id] ?? NONE; row !== NONE; row = this.#next[row] ?? NONE) {
      rows.push(row);
    }
    return rows;
  }

  /** Every row in use. */
  *allRows(): Generator<number, void, undefined> {
    for (let row = 1; row < this.#rows; row++) if (this.#prefix[row] !== FREE) yield row;
  }

  /** Row of the best path, or 0. */
  best(id: number): number {
    return this.#best[id] ?? NONE;
  }

  /** The paths in use, best first. */
  inUse(id: number): readonly number[] {
    const best = this.best(id);
    return this.#several.get(id)?.rows ?? (best === NONE ? [] : [best]);
  }

  prefixOf(row: number): number {
    return this.#prefix[row] ?? FREE;
  }

  peerOf(row: number): number {
    return this.#peer[row] ?? 0;
  }

  receivedOf(row: number): AttributeSet | undefined {
    return this.#attributes.at(this.#received[row] ?? 0);
  }

  usedOf(row: number): AttributeSet | undefined {
    return this.#attributes.at(this.#used[row] ?? 0);
  }

  /** Number of `usedOf`, or 0. */
  usedId(row: number): number {
    return this.#used[row] ?? 0;
  }

  isStale(row: number): boolean {
    return ((this.#flags[row] ?? 0) & STALE) !== 0;
  }

  /** Seconds of the clock. */
  sinceOf(row: number): number {
    return this.#since[row] ?? 0;
  }

  #hold(row: number, received: number, used: number): void {
    const old = this.#received[row] ?? 0;
    const oldUsed = this.#used[row] ?? 0;
    this.#attributes.hold(received);
    this.#attributes.hold(used);
    this.#attributes.release(old);
    this.#attributes.release(oldUsed);
    this.#received[row] = received;
    this.#used[row] = used;
  }

  #growPrefixes(): void {
    const room = this.prefixes.room;
    this.#first = grown(this.#first, new Int32Array(room));
    this.#best = grown(this.#best, new Int32Array(room));
    this.#bestSet = grown(this.#bestSet, new Uint32Array(room));
    this.#bestPeer = grown(this.#bestPeer, new Uint32Array(room));
  }

  #growRows(least: number): void {
    const room = moreRoom(this.#next.length, least);
    this.#next = grown(this.#next, new Int32Array(room));
    this.#prefix = grown(this.#prefix, new Int32Array(room));
    this.#peer = grown(this.#peer, new Uint32Array(room));
    this.#received = grown(this.#received, new Uint32Array(room));
    this.#used = grown(this.#used, new Uint32Array(room));
    this.#flags = grown(this.#flags, new Uint8Array(room));
    this.#since = grown(this.#since, new Uint32Array(room));
  }
}

/** How many prefixes are written there, or -1 when one cannot be read. */
function countWritten(bytes: Uint8Array, start: number, end: number, longest: number): number {
  let count = 0;
  let at = start;
  while (at < end) {
    const length = bytes[at] ?? 0;
    if (length > longest) return -1;
    at += 1 + ((length + 7) >> 3);
    count++;
  }
  return at === end ? count : -1;
}
