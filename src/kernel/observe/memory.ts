/** Gives memory back after much work. */

/** Changes to Linux since the last collection that make it worth one. */
const ENOUGH = 2_000;
/** Milliseconds without a round after which it is done: not between the rounds of one burst. */
const CALM_MS = 500;
/** Milliseconds until a second one: the first looks at what was written have left as much again by then. */
const AFTERMATH_MS = 10_000;

export interface MemoryKeeper {
  /** Notes that so many changes were made. */
  worked(count: number): void;
  /** A round ended: collects garbage when none follows soon, where there was enough work. */
  ended(): void;
}

/**
 * The first round of a large cluster leaves some 20 MB behind, a burst of 1,000 changes as many, which the collector by itself
 * keeps as room for more of the same.
 *
 * @param collect for tests; default: a full collection, which stops the agent for 0.1 s at 10,000 Services
 * @param after the timer; for tests
 */
export function memoryKeeper(
  collect: () => void = () => Bun.gc(true),
  after: (ms: number, run: () => void) => void = (ms, run) => void setTimeout(run, ms).unref(),
): MemoryKeeper {
  let work = 0;
  let rounds = 0;
  return {
    worked(count) {
      work += count;
    },
    ended() {
      const round = ++rounds;
      if (work < ENOUGH) return;
      after(CALM_MS, () => {
        if (round !== rounds) return;
        work = 0;
        collect();
        after(AFTERMATH_MS, collect);
      });
    },
  };
}
