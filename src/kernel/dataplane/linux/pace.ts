/** How often something costly may be done: at once after a quiet time, and in the long run at a fixed rate. */

export class Pace {
  readonly #burst: number;
  readonly #refillMs: number;
  readonly #now: () => number;
  /** When all of the burst is there again. */
  #fullAt = -Infinity;

  /**
   * @param burst how many times in a row
   * @param refillMs milliseconds after which there is one more
   */
  constructor(burst: number, refillMs: number, now: () => number = () => performance.now()) {
    this.#burst = burst;
    this.#refillMs = refillMs;
    this.#now = now;
  }

  /** Milliseconds until it may be done. */
  wait(): number {
    const latest = this.#now() + (this.#burst - 1) * this.#refillMs;
    return Math.max(0, this.#fullAt - latest);
  }

  /** It is done now. */
  spend(): void {
    this.#fullAt = Math.max(this.#fullAt, this.#now()) + this.#refillMs;
  }
}
