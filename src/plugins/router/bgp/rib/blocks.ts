/**
 * Blocks of path attributes as they came, each distinct one once, in one array of bytes: a full feed has tens of thousands, and
 * as objects they would be most of what a route costs.
 */

import { grown, moreRoom } from "./room.ts";

/** What is kept of a block besides its bytes: blocks of another kind are other blocks. Below 256. */
export type BlockKind = number;

/** Dead bytes beyond which, and beyond the live ones, the array is written anew. */
const SLACK = 65_536;

export class BlockStore {
  #bytes = new Uint8Array(8192);
  #end = 0;
  #dead = 0;
  /** By number. A length of 0 with kind 0: no block. */
  #at = new Uint32Array(64);
  #length = new Uint16Array(64);
  #kind = new Uint8Array(64);
  #hash = new Int32Array(64);
  /** Numbers, by hash; 0: empty. At most half full. */
  #slots = new Int32Array(128);
  #count = 0;

  /** The number of a block, or 0. */
  find(kind: BlockKind, bytes: Uint8Array, from: number, to: number): number {
    const hash = hashOf(kind, bytes, from, to);
    const length = to - from;
    const slots = this.#slots;
    const hashes = this.#hash;
    const mask = slots.length - 1;
    for (let slot = hash & mask;; slot = (slot + 1) & mask) {
      const id = slots[slot] ?? 0;
      if (id === 0) return 0;
      if (hashes[id] !== hash || this.#length[id] !== length || this.#kind[id] !== kind) continue;
      const mine = this.#bytes;
      const start = this.#at[id] ?? 0;
      let i = 0;
      while (i < length && mine[start + i] === bytes[from + i]) i++;
      if (i === length) return id;
    }
  }

  /** Keeps a block that `find` does not know, under a number that is not in use. */
  add(id: number, kind: BlockKind, bytes: Uint8Array, from: number, to: number): void {
    if (id >= this.#at.length) this.#grow(id);
    const length = to - from;
    if (this.#end + length > this.#bytes.length) this.#room(length);
    // By hand: blocks are short, and a view of one costs more than its bytes.
    const mine = this.#bytes;
    const start = this.#end;
    for (let i = 0; i < length; i++) mine[start + i] = bytes[from + i] ?? 0;
    this.#at[id] = start;
    this.#length[id] = length;
    this.#kind[id] = kind;
    this.#hash[id] = hashOf(kind, bytes, from, to);
    this.#end += length;
    this.#count++;
    if (this.#count * 2 > this.#slots.length) this.#rehash();
    this.#insert(id);
  }

  remove(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = (this.#hash[id] ?? 0) & mask;
    while (slots[slot] !== id) {
      if (slots[slot] === 0) return;
      slot = (slot + 1) & mask;
    }
    // Later entries of the same run move up, so that no hole ends a search too early.
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const other = slots[next] ?? 0;
      const home = (this.#hash[other] ?? 0) & mask;
      if (((next - home) & mask) < ((next - slot) & mask)) continue;
      slots[slot] = other;
      slot = next;
    }
    slots[slot] = 0;
    this.#dead += this.#length[id] ?? 0;
    this.#length[id] = 0;
    this.#count--;
  }

  kind(id: number): BlockKind {
    return this.#kind[id] ?? 0;
  }

  /** All bytes; a block's lie from `start` to `end`, until something is added. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  start(id: number): number {
    return this.#at[id] ?? 0;
  }

  end(id: number): number {
    return (this.#at[id] ?? 0) + (this.#length[id] ?? 0);
  }

  #insert(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = (this.#hash[id] ?? 0) & mask;
    while (slots[slot] !== 0) slot = (slot + 1) & mask;
    slots[slot] = id;
  }

  #rehash(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 4);
    for (let i = 0; i < old.length; i++) if (old[i] !== 0) this.#insert(old[i] ?? 0);
  }

  #grow(id: number): void {
    const room = moreRoom(this.#at.length, id + 1);
    this.#at = grown(this.#at, new Uint32Array(room));
    this.#length = grown(this.#length, new Uint16Array(room));
    this.#kind = grown(this.#kind, new Uint8Array(room));
    this.#hash = grown(this.#hash, new Int32Array(room));
  }

  /** Room for so many bytes more: without what is dead where that is much, else in a larger array. */
  #room(length: number): void {
    const live = this.#end - this.#dead;
    if (this.#dead < SLACK || this.#dead < live) {
      const room = moreRoom(this.#bytes.length, this.#end + length);
      this.#bytes = grown(this.#bytes, new Uint8Array(room));
      return;
    }
    const bytes = new Uint8Array(Math.max(this.#bytes.length, live + length));
    let end = 0;
    for (const id of this.#slots) {
      if (id === 0) continue;
      const from = this.#at[id] ?? 0;
      const count = this.#length[id] ?? 0;
      bytes.set(this.#bytes.subarray(from, from + count), end);
      this.#at[id] = end;
      end += count;
    }
    this.#bytes = bytes;
    this.#end = end;
    this.#dead = 0;
  }
}

function hashOf(kind: BlockKind, bytes: Uint8Array, from: number, to: number): number {
  let h = Math.imul(kind + 1, 0x9e3779b1) ^ (to - from);
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const word = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24);
    h = Math.imul(h ^ word, 0x85ebca6b);
    h ^= h >>> 15;
  }
  for (; at < to; at++) {
    h = Math.imul(h ^ (bytes[at] ?? 0), 0xc2b2ae35);
    h ^= h >>> 15;
  }
  h = Math.imul(h, 0x27d4eb2f);
  return h ^ (h >>> 16);
}
