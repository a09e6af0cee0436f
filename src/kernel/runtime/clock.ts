/** Time as the runtime sees it, so that tests can turn it by hand. */
export interface Clock {
  /** Milliseconds since some fixed point; never goes back. */
  now(): number;
  /** Calls `run` once after `ms`, or earlier where that is too far for a timer; the returned function cancels it. */
  after(ms: number, run: () => void): () => void;
}

/** The longest delay that timers take; a longer one would fire at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** The real clock. */
export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    // A timer of 0 ms takes one; what was woken together still runs together.
    if (ms <= 0) {
      const immediate = setImmediate(run);
      return () => clearImmediate(immediate);
    }
    const timer = setTimeout(run, Math.min(ms, LONGEST_TIMER));
    return () => clearTimeout(timer);
  },
};

/** Waits for work, but no longer than `ms`. Whether it ended. */
export function endsWithin(clock: Clock, ms: number, work: Promise<unknown>): Promise<boolean> {
  return new Promise((resolve) => {
    const cancel = clock.after(ms, () => resolve(false));
    void work.then(() => {
      cancel();
      resolve(true);
    });
  });
}
