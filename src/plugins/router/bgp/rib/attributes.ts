/**
 * Attribute sets, one for each distinct block of bytes, counted by the paths that hold them.
 *
 * What was received stays bytes, and is read again when somebody looks at it: of a full feed nobody looks at most of it.
 */

import {
  AttributeReader,
  type Attributes,
  BlockFlag,
  countPath,
  firstAs,
  hopLength,
} from "../wire/attributes.ts";
import { copy, u16, u8 } from "../wire/bytes.ts";
import { AttributeFlag } from "../wire/constants.ts";
import type { AttributeCache } from "../wire/update.ts";
import { type BlockKind, BlockStore } from "./blocks.ts";
import { grown, moreRoom, NumberStack } from "./room.ts";

export interface AttributeSet extends Attributes {
  /** Dense, from 1; used again when the set is gone. */
  readonly id: number;
  /** RFC 4271 section 9.1.2.2 a. */
  readonly pathLength: number;
  readonly neighborAs: number;
}

/** Sets that were read last and stay objects. */
const READ = 4096;

export class AttributeTable implements AttributeCache<AttributeSet> {
  readonly #blocks = new BlockStore();
  /** Those that are no block of bytes: our own, and what import changed. */
  readonly #byKey = new Map<string, number>();
  readonly #keys = new Map<number, string>();
  /** Of all that have a key, and of some blocks. */
  readonly #objects: (AttributeSet | undefined)[] = [undefined];
  readonly #read = new Int32Array(READ);
  #reads = 0;
  #limit = 1;
  readonly #free = new NumberStack();
  /** Paths and best paths that hold each. */
  #refs = new Uint32Array(64);
  /** What one judge said of each: his number × 2, and 1 for refused. */
  #verdicts = new Int32Array(64);

  get size(): number {
    return this.#limit - 1 - this.#free.count;
  }

  /** Of a set of our own making. */
  get(key: string): AttributeSet | undefined {
    const id = this.#byKey.get(key);
    return id === undefined ? undefined : this.#objects[id];
  }

  /** A set that nobody holds yet: `drop` it if it stays so. */
  add(key: string, attributes: Attributes): AttributeSet {
    const id = this.#number();
    this.#byKey.set(key, id);
    this.#keys.set(id, key);
    const set = setOf(id, attributes);
    this.#objects[id] = set;
    return set;
  }

  /** The set that was read from a block, or nothing. */
  find(kind: BlockKind, bytes: Uint8Array, from: number, to: number): AttributeSet | undefined {
    return this.at(this.#blocks.find(kind, bytes, from, to));
  }

  /** The number of the set of a block, or 0. */
  findId(kind: BlockKind, bytes: Uint8Array, from: number, to: number): number {
    return this.#blocks.find(kind, bytes, from, to);
  }

  /** A new set, as `add`. The bytes must read as these attributes. */
  put(
    kind: BlockKind,
    bytes: Uint8Array,
    from: number,
    to: number,
    attributes: Attributes,
  ): AttributeSet {
    const id = this.putId(kind, bytes, from, to);
    const set = setOf(id, attributes);
    this.#remember(set);
    return set;
  }

  /** As `put`, for a block that nobody looks at now. */
  putId(kind: BlockKind, bytes: Uint8Array, from: number, to: number): number {
    const id = this.#number();
    this.#blocks.add(id, kind, bytes, from, to);
    return id;
  }

  /** The set of a number; nothing for 0. */
  at(id: number): AttributeSet | undefined {
    const known = this.#objects[id];
    if (known !== undefined || !this.has(id)) return known;
    const set = setOf(id, read(this.#blocks, id));
    this.#remember(set);
    return set;
  }

  has(id: number): boolean {
    return this.#keys.has(id) || this.#blocks.end(id) > this.#blocks.start(id);
  }

  /** Equal for equal sets, whatever their numbers were or will be. */
  key(id: number): string {
    const own = this.#keys.get(id);
    if (own !== undefined) return own;
    const { bytes } = this.#blocks;
    const text = Buffer.from(bytes.buffer, this.#blocks.start(id), this.#lengthOf(id));
    return `b${this.#blocks.kind(id)} ${text.toString("latin1")}`;
  }

  /** What `judge` said of a set before: 1 refused, 0 not, -1 nothing. */
  verdict(id: number, judge: number): number {
    const verdict = (this.#verdicts[id] ?? 0) - judge * 2;
    return verdict === 0 || verdict === 1 ? verdict : -1;
  }

  setVerdict(id: number, judge: number, refused: boolean): void {
    this.#verdicts[id] = judge * 2 + (refused ? 1 : 0);
  }

  held(id: number): boolean {
    return (this.#refs[id] ?? 0) > 0;
  }

  hold(id: number, times = 1): void {
    if (id !== 0) this.#refs[id] = (this.#refs[id] ?? 0) + times;
  }

  release(id: number): void {
    if (id === 0) return;
    const left = (this.#refs[id] ?? 0) - 1;
    this.#refs[id] = left;
    if (left <= 0) this.dropId(id);
  }

  /** Forgets a set that nobody holds. */
  drop(set: AttributeSet): void {
    this.dropId(set.id);
  }

  /** As `drop`. Twice is once. */
  dropId(id: number): void {
    if ((this.#refs[id] ?? 0) > 0 || !this.has(id)) return;
    const key = this.#keys.get(id);
    if (key === undefined) this.#blocks.remove(id);
    else {
      this.#keys.delete(id);
      this.#byKey.delete(key);
    }
    this.#objects[id] = undefined;
    this.#verdicts[id] = 0;
    this.#free.push(id);
  }

  #lengthOf(id: number): number {
    return this.#blocks.end(id) - this.#blocks.start(id);
  }

  #number(): number {
    const id = this.#free.count > 0 ? this.#free.pop() : this.#limit++;
    // Without holes, which would make a table of it.
    if (id === this.#objects.length) this.#objects.push(undefined);
    if (id >= this.#refs.length) {
      const room = moreRoom(this.#refs.length, id + 1);
      this.#refs = grown(this.#refs, new Uint32Array(room));
      this.#verdicts = grown(this.#verdicts, new Int32Array(room));
    }
    this.#refs[id] = 0;
    return id;
  }

  /** One of the last that were read; another is forgotten for it. */
  #remember(set: AttributeSet): void {
    const slot = this.#reads++ % READ;
    const old = this.#read[slot] ?? 0;
    if (!this.#keys.has(old)) this.#objects[old] = undefined;
    this.#objects[set.id] = set;
    this.#read[slot] = set.id;
  }
}

function setOf(id: number, attributes: Attributes): AttributeSet {
  // Spelled out: sets of one shape are what keeps reading them fast.
  return {
    origin: attributes.origin,
    asPath: attributes.asPath,
    nextHop: attributes.nextHop,
    med: attributes.med,
    localPref: attributes.localPref,
    atomicAggregate: attributes.atomicAggregate,
    aggregator: attributes.aggregator,
    communities: attributes.communities,
    largeCommunities: attributes.largeCommunities,
    originatorId: attributes.originatorId,
    clusterList: attributes.clusterList,
    extendedCommunities: attributes.extendedCommunities,
    unknown: attributes.unknown,
    id,
    pathLength: countPath(attributes.asPath),
    neighborAs: firstAs(attributes.asPath),
  };
}

/** Once more: the first time it was right, but for what was ignored. */
function read(blocks: BlockStore, id: number): Attributes {
  const kind = blocks.kind(id);
  const { bytes } = blocks;
  const reader = new AttributeReader({
    fourOctetAs: (kind & BlockFlag.FourOctetAs) !== 0,
    external: (kind & BlockFlag.External) !== 0,
  });
  const hop = hopLength(kind);
  const end = blocks.end(id) - hop;
  for (let at = blocks.start(id); at < end;) {
    const flags = u8(bytes, at);
    const head = (flags & AttributeFlag.ExtendedLength) !== 0 ? 4 : 3;
    const from = at + head;
    const to = from + (head === 4 ? u16(bytes, at + 2) : u8(bytes, at + 2));
    reader.take(u8(bytes, at + 1), flags, bytes, from, to);
    at = to;
  }
  const attributes = reader.finish();
  return hop === 0 ? attributes : { ...attributes, nextHop: copy(bytes, end, end + hop) };
}
