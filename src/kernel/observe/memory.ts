/** Gives memory back after a burst of work. */

/** Changes to Linux in one round that make it a burst. */
const BURST = 5_000;
/** Milliseconds after it, when what the burst woke has run. */
const CALM_MS = 500;

export interface MemoryKeeper {
  /** Notes that so many changes were made. */
  worked(count: number): void;
  /** The round ended: collects garbage soon where there was a burst. */
  ended(): void;
}

/**
 * The first round of a large cluster leaves some 20 MB behind, which the collector by itself keeps as room for the next such
 * burst, which never comes.
 *
 * @param collect for tests; default: a full collection, which stops the agent for 0.1 s at 10,000 Services
 * @param after the timer; for tests
 */
export function memoryKeeper(
  collect: () => void = () => Bun.gc(true),
  after: (ms: number, run: () => void) => void = (ms, run) => void setTimeout(run, ms).unref(),
): MemoryKeeper {
  let work = 0;
  return {
    worked(count) {
      work += count;
    },
    ended() {
      if (work >= BURST) after(CALM_MS, collect);
      work = 0;
    },
  };
}
