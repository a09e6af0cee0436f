/** One piece of work after the other, of those that wait the most urgent first, and of equal ones in their order. */

interface Waiting {
  readonly rank: number;
  readonly begin: () => void;
}

export class Turns {
  #waiting: readonly Waiting[] = [];
  #busy = false;

  /**
   * Runs `work` when it is its turn.
   *
   * @param rank the lower, the more urgent
   */
  async take<R>(rank: number, work: () => Promise<R>): Promise<R> {
    if (this.#busy) {
      await new Promise<void>((begin) => {
        this.#waiting = [...this.#waiting, { rank, begin }]
          .toSorted((a, b) => a.rank - b.rank);
      });
    }
    this.#busy = true;
    try {
      return await work();
    } finally {
      // Whoever worked goes on first, where it has more to do: its next piece comes before the event loop turns.
      setImmediate(() => this.#next());
    }
  }

  #next(): void {
    const [first, ...rest] = this.#waiting;
    this.#waiting = rest;
    this.#busy = first !== undefined;
    first?.begin();
  }
}
