/** Gives memory back after a burst of work. */

/** Changes to Linux in one round that make it a burst. */
const BURST = 5_000;
/** Milliseconds after it, when what the burst woke has run. */
const CALM_MS = 500;

/**
 * Milliseconds after a burst for which Bun starts a collection each second, and between the turns that these collections get:
 * they go on only when JavaScript runs, so without turns of their own they go on, and are ended, within the next change, which
 * then takes three times as long. A turn that finds none costs microseconds.
 */
const UNREST_MS = 35_000;
const TURN_MS = 10;

export interface MemoryKeeper {
  /** Notes that so many changes were made. */
  worked(count: number): void;
  /** The round ended: collects garbage soon where there was a burst. */
  ended(): void;
}

/** The timers that a keeper needs; for tests. */
export interface MemoryTimers {
  after(ms: number, run: () => void): void;
  /** Returns the function that ends it. */
  every(ms: number, run: () => void): () => void;
}

const SYSTEM: MemoryTimers = {
  after: (ms, run) => void setTimeout(run, ms).unref(),
  every(ms, run) {
    const timer = setInterval(run, ms).unref();
    return () => clearInterval(timer);
  },
};

/**
 * The first round of a large cluster leaves some 40 MB behind, which the collector by itself keeps as room for the next such
 * burst, which never comes.
 *
 * @param collect for tests; default: a full collection, which stops the agent for 0.1 s at 10,000 Services
 */
export function memoryKeeper(
  collect: () => void = () => Bun.gc(true),
  timers: MemoryTimers = SYSTEM,
): MemoryKeeper {
  let work = 0;
  /** Of the last burst; an older one must not end the turns that it asks for. */
  let bursts = 0;
  let stopTurns: (() => void) | undefined;
  return {
    worked(count) {
      work += count;
    },
    ended() {
      if (work >= BURST) {
        const burst = ++bursts;
        timers.after(CALM_MS, collect);
        stopTurns ??= timers.every(TURN_MS, () => {});
        timers.after(UNREST_MS, () => {
          if (burst !== bursts) return;
          stopTurns?.();
          stopTurns = undefined;
        });
      }
      work = 0;
    },
  };
}
