/** Prefixes as BGP writes them (RFC 4271 section 4.3: bits, then as many octets as they need), as numbers and as text. */

import { type Family, formatIp, parseCidr } from "../../../../kernel/ip.ts";
import { putU32, u8 } from "./bytes.ts";

/** Numbers of 32 bits that an address of the family has. */
export function wordsOf(family: Family): 1 | 4 {
  return family === 4 ? 1 : 4;
}

/** Many prefixes of one family, in typed arrays that are used again and again. */
export class PrefixBatch {
  count = 0;
  words: Uint32Array;
  lengths: Uint8Array;

  constructor(public family: Family, room = 64) {
    this.words = new Uint32Array(room * 4);
    this.lengths = new Uint8Array(room);
  }

  /** Empties it, for this family. */
  reset(family: Family): this {
    this.family = family;
    this.count = 0;
    return this;
  }

  /** Appends a prefix; words beyond the family's are ignored. */
  push(length: number, w0: number, w1 = 0, w2 = 0, w3 = 0): void {
    const i = this.count++;
    if (i >= this.lengths.length) this.#grow();
    this.lengths[i] = length;
    if (this.family === 4) this.words[i] = w0;
    else {
      this.words[i * 4] = w0;
      this.words[i * 4 + 1] = w1;
      this.words[i * 4 + 2] = w2;
      this.words[i * 4 + 3] = w3;
    }
  }

  text(i: number): string {
    const words = wordsOf(this.family);
    return prefixText(
      this.family,
      this.words.subarray(i * words, i * words + words),
      this.lengths[i] ?? 0,
    );
  }

  #grow(): void {
    const words = new Uint32Array(this.words.length * 2);
    words.set(this.words);
    const lengths = new Uint8Array(this.lengths.length * 2);
    lengths.set(this.lengths);
    this.words = words;
    this.lengths = lengths;
  }
}

/**
 * Reads prefixes up to `end` into the batch, with bits past the length cleared. Prefixes that nobody can route to
 * (multicast, link-local) are left out, as RFC 7606 section 5.3 allows.
 *
 * @returns false when a length is out of range or a prefix is cut off: then where the next one begins is unknown
 */
export function decodePrefixes(
  bytes: Uint8Array,
  start: number,
  end: number,
  batch: PrefixBatch,
): boolean {
  return batch.family === 4 ? decode4(bytes, start, end, batch) : decode6(bytes, start, end, batch);
}

/** As `decodePrefixes`, of IPv4. */
export function decode4(
  bytes: Uint8Array,
  start: number,
  end: number,
  batch: PrefixBatch,
): boolean {
  for (let at = start; at < end;) {
    const length = u8(bytes, at++);
    if (length > 32) return false;
    const octets = (length + 7) >> 3;
    if (end - at < octets) return false;
    let address = 0;
    for (let i = 0; i < octets; i++) address |= u8(bytes, at + i) << (24 - 8 * i);
    at += octets;
    address = length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
    if (length >= 4 && address >= 0xe0000000 && address < 0xf0000000) continue;
    batch.push(length, address);
  }
  return true;
}

function decode6(bytes: Uint8Array, start: number, end: number, batch: PrefixBatch): boolean {
  const word = [0, 0, 0, 0];
  for (let at = start; at < end;) {
    const length = u8(bytes, at++);
    if (length > 128) return false;
    const octets = (length + 7) >> 3;
    if (end - at < octets) return false;
    word[0] =
      word[1] =
      word[2] =
      word[3] =
        0;
    for (let i = 0; i < octets; i++) {
      word[i >> 2] = (word[i >> 2] ?? 0) | (u8(bytes, at + i) << (24 - 8 * (i & 3)));
    }
    at += octets;
    for (let i = 0; i < 4; i++) word[i] = ((word[i] ?? 0) & maskWord(length - 32 * i)) >>> 0;
    const first = word[0];
    if (length >= 8 && first >>> 24 === 0xff) continue;
    if (length >= 10 && first >>> 22 === 0xfe80 >>> 6) continue;
    batch.push(length, first, word[1], word[2], word[3]);
  }
  return true;
}

/** The mask of a word of which the first `bits` belong to the prefix. */
function maskWord(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

/** Writes a prefix at `at` and returns where it ends. There must be room for 17 octets. */
export function putPrefix(
  out: Uint8Array,
  at: number,
  words: Uint32Array,
  index: number,
  length: number,
): number {
  out[at++] = length;
  const octets = (length + 7) >> 3;
  for (let i = 0; i < octets; i++) {
    out[at + i] = (words[index + (i >> 2)] ?? 0) >>> (24 - 8 * (i & 3));
  }
  return at + octets;
}

/** Canonical CIDR. */
export function prefixText(family: Family, words: ArrayLike<number>, length: number): string {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  for (let i = 0; i < wordsOf(family); i++) putU32(bytes, 4 * i, words[i] ?? 0);
  return `${formatIp(bytes)}/${length}`;
}

export interface Prefix {
  readonly family: Family;
  readonly words: Uint32Array;
  readonly length: number;
}

/** The prefix of a CIDR, host bits cleared, or nothing when it is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const cidr = parseCidr(text);
  if (cidr === undefined) return undefined;
  const words = new Uint32Array(wordsOf(cidr.family));
  for (let i = 0; i < cidr.bytes.length; i++) {
    words[i >> 2] = ((words[i >> 2] ?? 0) | ((cidr.bytes[i] ?? 0) << (24 - 8 * (i & 3)))) >>> 0;
  }
  return { family: cidr.family, words, length: cidr.prefix };
}

/** Whether `inner` of `innerLength` lies within `outer`; words from `innerAt` on. */
export function covers(outer: Prefix, words: Uint32Array, at: number, length: number): boolean {
  if (length < outer.length) return false;
  for (let i = 0; i < outer.words.length; i++) {
    const mask = maskWord(outer.length - 32 * i);
    if (mask === 0) return true;
    if ((((words[at + i] ?? 0) ^ (outer.words[i] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}
