/** Prefixes of one family as dense numbers, in typed arrays: a garbage collector has nothing to walk. */

import type { Family } from "../../../../kernel/ip.ts";
import type { PrefixSource } from "../wire/encode.ts";
import { CeaseCode, ErrorCode } from "../wire/constants.ts";
import { BgpError } from "../wire/error.ts";
import { covers, type Prefix, prefixText, wordsOf } from "../wire/prefix.ts";
import { grown, moreRoom, NumberStack } from "./room.ts";

/** The bits of a slot that hold a number: 16 million prefixes, many times the internet. */
const NUMBER = 0xff_ffff;
const MOST = NUMBER;
/** Fewer slots are made eight times as many. */
const SMALL = 65_536;
/** A length that no prefix has: the number is free. */
const FREE = 255;

/** Open addressing with linear probing; at most half full. Numbers are used again after `remove`. */
export class PrefixTable implements PrefixSource {
  readonly family: Family;
  words: Uint32Array;
  lengths: Uint8Array;
  /** Numbers that were given out, those that are free again included. */
  limit = 0;
  /** Words that a prefix has. */
  readonly size: 1 | 4;
  readonly #free = new NumberStack();
  /** Number + 1 in the low bits and a part of the hash in the high ones, or 0: what is another prefix is rarely looked at. */
  #slots: Int32Array;

  constructor(family: Family, room = 64) {
    this.family = family;
    this.size = wordsOf(family);
    this.words = new Uint32Array(room * this.size);
    this.lengths = new Uint8Array(room);
    this.#slots = new Int32Array(room * 2);
  }

  /** Prefixes that are there. */
  get count(): number {
    return this.limit - this.#free.count;
  }

  /** How many numbers fit before arrays grow; other arrays by the same numbers grow along. */
  get room(): number {
    return this.lengths.length;
  }

  /** The number of the prefix whose words are at `at`, or -1. */
  find(words: ArrayLike<number>, at: number, length: number): number {
    const hash = this.#hash(words, at, length);
    const slot = this.#search(hash, words, at, length);
    return ((this.#slots[slot] ?? 0) & NUMBER) - 1;
  }

  /**
   * The number of the prefix, a new one if need be.
   *
   * @throws {BgpError} 6/8 when there are too many
   */
  add(words: ArrayLike<number>, at: number, length: number): number {
    const hash = this.#hash(words, at, length);
    const slot = this.#search(hash, words, at, length);
    const there = (this.#slots[slot] ?? 0) & NUMBER;
    if (there !== 0) return there - 1;
    const id = this.#take(slot, hash, length);
    if (this.size === 1) this.words[id] = words[at] ?? 0;
    else for (let i = 0; i < 4; i++) this.words[id * 4 + i] = words[at + i] ?? 0;
    if (this.count * 2 > this.#slots.length) this.#rehash(this.count);
    return id;
  }

  /**
   * Makes room for so many more, so that `addWritten4` and `addWritten6` need not look.
   *
   * @throws {BgpError} 6/8 when there are too many
   */
  reserve(more: number): void {
    const count = this.count + more;
    if (count > MOST) throw tooMany();
    if (this.limit + more > this.lengths.length) this.#grow(this.limit + more);
    if (count * 2 > this.#slots.length) this.#rehash(count);
  }

  /**
   * As `add`, of the IPv4 prefix that is written at `at`, for which room is reserved; -1: nobody can route to it, and it is left
   * out. Bits past the length are cleared. For each one of a full feed.
   */
  addWritten4(bytes: Uint8Array, at: number): number {
    const length = bytes[at] ?? 0;
    const bits = length === 0 ? 0 : -1 << (32 - length);
    const address = (((bytes[at + 1] ?? 0) << 24) | ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0)) & bits;
    if (length >= 4 && address >>> 28 === 14) return -1;
    const slots = this.#slots;
    const { lengths, words } = this;
    const mask = slots.length - 1;
    // As `hash4`, without three calls for each prefix.
    const number = length === 0 ? 0 : address >>> (32 - length);
    const mixed = (number >>> 4) ^ (length << 26);
    let hash = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash = ((hash ^ (hash >>> 16)) & ~15) | (number & 15);
    let slot = hash & mask;
    for (;; slot = (slot + 1) & mask) {
      const entry = slots[slot] ?? 0;
      if (entry === 0) break;
      if (((entry ^ hash) & ~NUMBER) !== 0) continue;
      const id = (entry & NUMBER) - 1;
      if (((words[id] ?? 0) ^ address) === 0 && lengths[id] === length) return id;
    }
    const id = this.#free.count > 0 ? this.#free.pop() : this.limit++;
    slots[slot] = (hash & ~NUMBER) | (id + 1);
    lengths[id] = length;
    words[id] = address;
    return id;
  }

  /** As `addWritten4`, of IPv6. */
  addWritten6(bytes: Uint8Array, at: number): number {
    const length = bytes[at] ?? 0;
    const w0 = word6(bytes, at + 1, length);
    if (length >= 8 && w0 >>> 24 === 0xff) return -1;
    if (length >= 10 && w0 >>> 22 === 0xfe80 >>> 6) return -1;
    const w1 = word6(bytes, at + 5, length - 32);
    const w2 = word6(bytes, at + 9, length - 64);
    const w3 = word6(bytes, at + 13, length - 96);
    const hash = hash6(w0, w1, w2, w3, length);
    const slots = this.#slots;
    const { lengths, words } = this;
    const mask = slots.length - 1;
    let slot = hash & mask;
    for (;; slot = (slot + 1) & mask) {
      const entry = slots[slot] ?? 0;
      if (entry === 0) break;
      if (((entry ^ hash) & ~NUMBER) !== 0) continue;
      const id = (entry & NUMBER) - 1;
      const mine = 4 * id;
      const other = ((words[mine] ?? 0) ^ w0) | ((words[mine + 1] ?? 0) ^ w1) |
        ((words[mine + 2] ?? 0) ^ w2) | ((words[mine + 3] ?? 0) ^ w3);
      if (other === 0 && lengths[id] === length) return id;
    }
    const id = this.#free.count > 0 ? this.#free.pop() : this.limit++;
    slots[slot] = (hash & ~NUMBER) | (id + 1);
    lengths[id] = length;
    const mine = 4 * id;
    words[mine] = w0;
    words[mine + 1] = w1;
    words[mine + 2] = w2;
    words[mine + 3] = w3;
    return id;
  }

  /** The number of the IPv4 prefix that is written at `at`, or -1. */
  findWritten4(bytes: Uint8Array, at: number): number {
    const length = bytes[at] ?? 0;
    WORDS[0] = address4(bytes, at, length);
    return this.find(WORDS, 0, length);
  }

  /** As `findWritten4`, of IPv6. */
  findWritten6(bytes: Uint8Array, at: number): number {
    const length = bytes[at] ?? 0;
    for (let i = 0; i < 4; i++) WORDS[i] = word6(bytes, at + 1 + 4 * i, length - 32 * i);
    return this.find(WORDS, 0, length);
  }

  /** A number for a prefix that belongs into this slot; its words are to be written. */
  #take(slot: number, hash: number, length: number): number {
    if (this.count >= MOST) throw tooMany();
    const id = this.#free.count > 0 ? this.#free.pop() : this.limit++;
    this.#slots[slot] = (hash & ~NUMBER) | (id + 1);
    if (id >= this.lengths.length) this.#grow(id + 1);
    this.lengths[id] = length;
    return id;
  }

  /** Frees a number. Nothing may refer to it any more. */
  remove(id: number): void {
    const mask = this.#slots.length - 1;
    let slot = this.#hash(this.words, id * this.size, this.lengths[id] ?? 0) & mask;
    while (((this.#slots[slot] ?? 0) & NUMBER) !== id + 1) {
      if (this.#slots[slot] === 0) return;
      slot = (slot + 1) & mask;
    }
    // Later entries of the same run move up, so that no hole ends a search too early.
    for (let next = (slot + 1) & mask; this.#slots[next] !== 0; next = (next + 1) & mask) {
      const entry = this.#slots[next] ?? 0;
      const other = (entry & NUMBER) - 1;
      const home = this.#hash(this.words, other * this.size, this.lengths[other] ?? 0) & mask;
      if (((next - home) & mask) < ((next - slot) & mask)) continue;
      this.#slots[slot] = entry;
      slot = next;
    }
    this.#slots[slot] = 0;
    this.lengths[id] = FREE;
    this.#free.push(id);
  }

  /** Whether a number stands for a prefix now. */
  has(id: number): boolean {
    return id < this.limit && this.lengths[id] !== FREE;
  }

  text(id: number): string {
    const at = id * this.size;
    return prefixText(
      this.family,
      this.words.subarray(at, at + this.size),
      this.lengths[id] ?? 0,
    );
  }

  /** Whether the prefix of `id` lies within `outer` (of the same family). */
  within(id: number, outer: Prefix): boolean {
    return covers(outer, this.words, id * this.size, this.lengths[id] ?? 0);
  }

  /** The slot of the prefix, or the empty one where it belongs. */
  #search(hash: number, words: ArrayLike<number>, at: number, length: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let slot = hash & mask;; slot = (slot + 1) & mask) {
      const entry = slots[slot] ?? 0;
      if (entry === 0) return slot;
      if (((entry ^ hash) & ~NUMBER) !== 0) continue;
      if (this.#is((entry & NUMBER) - 1, words, at, length)) return slot;
    }
  }

  #is(id: number, words: ArrayLike<number>, at: number, length: number): boolean {
    if (this.lengths[id] !== length) return false;
    if (this.size === 1) return this.words[id] === words[at];
    const mine = id * this.size;
    for (let i = 0; i < this.size; i++) if (this.words[mine + i] !== words[at + i]) return false;
    return true;
  }

  #hash(words: ArrayLike<number>, at: number, length: number): number {
    return this.size === 1 ? hash4(words[at] ?? 0, length) : hashAt(words, at, length);
  }

  #grow(least: number): void {
    const room = moreRoom(this.lengths.length, least);
    this.words = grown(this.words, new Uint32Array(room * this.size));
    this.lengths = grown(this.lengths, new Uint8Array(room));
  }

  /** For so many prefixes. Slots lie scattered, so all of their pages are touched: not much more of them than are needed. */
  #rehash(count: number): void {
    let room = this.#slots.length;
    while (room < 2 * count) room *= room < SMALL ? 8 : 2;
    const slots = new Int32Array(room);
    const mask = slots.length - 1;
    const { limit, lengths, words, size } = this;
    // By number and not by slot: what is read lies side by side.
    for (let id = 0; id < limit; id++) {
      const length = lengths[id] ?? 0;
      if (length === FREE) continue;
      const hash = size === 1 ? hash4(words[id] ?? 0, length) : hashAt(words, id * 4, length);
      let slot = hash & mask;
      while (slots[slot] !== 0) slot = (slot + 1) & mask;
      slots[slot] = (hash & ~NUMBER) | (id + 1);
    }
    this.#slots = slots;
  }
}

function tooMany(): BgpError {
  return new BgpError(
    `There are ${MOST} prefixes, and no room for more`,
    ErrorCode.Cease,
    CeaseCode.OutOfResources,
  );
}

/** Neighbours of one length lie side by side, sixteen to a cache line: so a feed, which comes in order, finds them near. */
function hash4(address: number, length: number): number {
  const number = length === 0 ? 0 : address >>> (32 - length);
  return (mix((number >>> 4) ^ (length << 26)) & ~15) | (number & 15);
}

/** As `hash4`: sixteen neighbours of one length lie side by side. */
function hash6(w0: number, w1: number, w2: number, w3: number, length: number): number {
  const shift = (32 - (length & 31)) & 31;
  const rest = ~(15 << shift);
  let mixed = length;
  let low = 0;
  if (length <= 32) {
    low = w0 >>> shift;
    mixed = mix(mixed ^ (w0 & rest));
  } else {
    mixed = mix(mixed ^ w0);
    if (length <= 64) {
      low = w1 >>> shift;
      mixed = mix(mixed ^ (w1 & rest));
    } else {
      mixed = mix(mixed ^ w1);
      low = (length <= 96 ? w2 : w3) >>> shift;
      mixed = mix(mixed ^ (length <= 96 ? w2 & rest : w2));
      mixed = mix(mixed ^ (length <= 96 ? w3 : w3 & rest));
    }
  }
  return (mixed & ~15) | (low & 15);
}

function hashAt(words: ArrayLike<number>, at: number, length: number): number {
  const w1 = words[at + 1] ?? 0;
  return hash6(words[at] ?? 0, w1, words[at + 2] ?? 0, words[at + 3] ?? 0, length);
}

/** The address of a prefix that is written at `at`. What is read beyond it is masked away. */
function address4(bytes: Uint8Array, at: number, length: number): number {
  const address = ((bytes[at + 1] ?? 0) << 24) | ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0);
  return length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
}

/** The words of the prefix that is looked for. */
const WORDS = new Uint32Array(4);

/** The 32 bits at `from` of which the first `bits` belong to the prefix. */
function word6(bytes: Uint8Array, from: number, bits: number): number {
  if (bits <= 0) return 0;
  const word = ((bytes[from] ?? 0) << 24) | ((bytes[from + 1] ?? 0) << 16) |
    ((bytes[from + 2] ?? 0) << 8) | (bytes[from + 3] ?? 0);
  return bits >= 32 ? word : word & (-1 << (32 - bits));
}

/** MurmurHash3's mixing, by Austin Appleby: prefixes differ in high bits, slots in low ones. */
function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** A set of dense numbers, one bit each. */
export class BitSet {
  count = 0;
  #bits = new Uint32Array(16);

  has(id: number): boolean {
    return ((this.#bits[id >>> 5] ?? 0) & (1 << (id & 31))) !== 0;
  }

  /** Whether it was not there before. */
  add(id: number): boolean {
    const word = id >>> 5;
    if (word >= this.#bits.length) {
      const bits = new Uint32Array(Math.max(this.#bits.length * 2, word + 1));
      bits.set(this.#bits);
      this.#bits = bits;
    }
    const bit = 1 << (id & 31);
    const old = this.#bits[word] ?? 0;
    if ((old & bit) !== 0) return false;
    this.#bits[word] = old | bit;
    this.count++;
    return true;
  }

  /** Whether it was there. */
  delete(id: number): boolean {
    const word = id >>> 5;
    const bit = 1 << (id & 31);
    const old = this.#bits[word] ?? 0;
    if ((old & bit) === 0) return false;
    this.#bits[word] = old & ~bit;
    this.count--;
    return true;
  }

  clear(): void {
    this.#bits.fill(0);
    this.count = 0;
  }
}
