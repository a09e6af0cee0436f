/**
 * Room of tables by number. Linux gives a page of a large array only when it is first touched, so room that is not used costs
 * nothing, while each step on the way copies what is there and leaves the old array behind: few large steps.
 */

/** From here on a step is a smaller one: what an array could hold counts as garbage that may be, until it is full. */
const MEDIUM = 16_384;
const LARGE = 131_072;

/** Room for at least `least` in place of `room`. */
export function moreRoom(room: number, least: number): number {
  let more = room;
  while (more < least) more *= more < MEDIUM ? 16 : more < LARGE ? 8 : 4;
  return more;
}

/** What is in `old`, in a larger array. */
export function grown<T extends Int32Array | Uint32Array | Uint16Array | Uint8Array>(
  old: T,
  larger: T,
): T {
  larger.set(old);
  return larger;
}

/**
 * Numbers, last in, first out. An array would do but for the compiler: what is compiled for an array that is empty so far is not
 * for one that held a number once, so one RIB would cost another its compiled code.
 */
export class NumberStack {
  count = 0;
  #numbers = new Int32Array(64);

  at(index: number): number {
    return this.#numbers[index] ?? 0;
  }

  push(number: number): void {
    if (this.count >= this.#numbers.length) {
      const room = moreRoom(this.#numbers.length, this.count + 1);
      this.#numbers = grown(this.#numbers, new Int32Array(room));
    }
    this.#numbers[this.count++] = number;
  }

  /** The last one; there must be one. */
  pop(): number {
    return this.#numbers[--this.count] ?? 0;
  }
}
