/**
 * Values by a text that they know themselves: an open-addressed hash table of nothing but the values (linear probing, at most
 * two thirds full). It takes 18 to 36 bytes a value; a map takes 40, and with them keeps its keys, which are 100 more where
 * nobody else needs them.
 */

/** Places of a table that is made, a power of two. */
const FIRST = 8;

export class HashTable<V extends object> {
  readonly #textOf: (value: V) => string;
  #places: (V | undefined)[];
  /** The hash of what stands at each place. */
  #hashes: Int32Array;
  #size = 0;
  /** What was looked for last, and its hash: nearly always it is added next. */
  #text = "";
  #hash = hashOf("");

  constructor(textOf: (value: V) => string) {
    this.#textOf = textOf;
    this.#places = new Array<V | undefined>(FIRST).fill(undefined);
    this.#hashes = new Int32Array(FIRST);
  }

  get size(): number {
    return this.#size;
  }

  get(text: string): V | undefined {
    return this.#places[this.#find(text, this.#hashOf(text))];
  }

  /** Takes `value`, in place of another one of its text; whether it is new. */
  add(text: string, value: V): boolean {
    const hash = this.#hashOf(text);
    let at = this.#find(text, hash);
    const isNew = this.#places[at] === undefined;
    if (isNew) {
      if (3 * (this.#size + 1) > 2 * this.#places.length) {
        this.#resize(2 * this.#places.length);
        at = this.#free(hash);
      }
      this.#size++;
    }
    this.#places[at] = value;
    this.#hashes[at] = hash;
    return isNew;
  }

  delete(text: string): boolean {
    const mask = this.#places.length - 1;
    let gap = this.#find(text, this.#hashOf(text));
    if (this.#places[gap] === undefined) return false;
    // Those behind move up, unless that would put them before the place where they are looked for.
    for (let at = (gap + 1) & mask; this.#places[at] !== undefined; at = (at + 1) & mask) {
      const home = (this.#hashes[at] as number) & mask;
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      this.#places[gap] = this.#places[at];
      this.#hashes[gap] = this.#hashes[at] as number;
      gap = at;
    }
    this.#places[gap] = undefined;
    this.#size--;
    return true;
  }

  /** Where something is deleted meanwhile, another may be left out or met twice. */
  *values(): Iterable<V> {
    const places = this.#places;
    for (let i = 0; i < places.length; i++) {
      const value = places[i];
      if (value !== undefined) yield value;
    }
  }

  #hashOf(text: string): number {
    if (text === this.#text) return this.#hash;
    this.#text = text;
    return this.#hash = hashOf(text);
  }

  /** The place of a text, or the free one where it would stand. */
  #find(text: string, hash: number): number {
    const mask = this.#places.length - 1;
    for (let at = hash & mask;; at = (at + 1) & mask) {
      const value = this.#places[at];
      if (value === undefined) return at;
      if (this.#hashes[at] === hash && this.#textOf(value) === text) return at;
    }
  }

  #free(hash: number): number {
    const mask = this.#places.length - 1;
    let at = hash & mask;
    while (this.#places[at] !== undefined) at = (at + 1) & mask;
    return at;
  }

  #resize(length: number): void {
    const places = this.#places;
    const hashes = this.#hashes;
    this.#places = new Array<V | undefined>(length).fill(undefined);
    this.#hashes = new Int32Array(length);
    for (let i = 0; i < places.length; i++) {
      const value = places[i];
      if (value === undefined) continue;
      const at = this.#free(hashes[i] as number);
      this.#places[at] = value;
      this.#hashes[at] = hashes[i] as number;
    }
  }
}

/** By native code: in a first round, where nothing is compiled yet, a loop here would take as long as all the rest. */
function hashOf(text: string): number {
  return Bun.hash.xxHash32(text) | 0;
}
