/** A clock that tests turn by hand. */

import type { Clock } from "../../src/kernel/runtime/clock.ts";

/** Timers that may fire within one `advance`: past it something runs hot. */
const TOO_MANY = 2_000;

export interface ManualClock extends Clock {
  /** Lets `ms` pass: fires what is due in order, and lets what it started finish between two timers. */
  advance(ms: number): Promise<void>;
  /** Number of timers that are set. */
  readonly waiting: number;
}

export function manualClock(): ManualClock {
  let now = 0;
  const timers = new Set<{ readonly at: number; readonly run: () => void }>();
  const next = (until: number) =>
    [...timers].filter(({ at }) => at <= until).toSorted((a, b) => a.at - b.at)[0];
  return {
    now: () => now,
    after(ms, run) {
      const timer = { at: now + ms, run };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms) {
      const until = now + ms;
      let fired = 0;
      await turn();
      for (let timer = next(until); timer !== undefined; timer = next(until)) {
        if (++fired > TOO_MANY) throw new Error(`More than ${TOO_MANY} timers within ${ms} ms`);
        timers.delete(timer);
        now = Math.max(now, timer.at);
        timer.run();
        await turn();
      }
      now = until;
    },
    get waiting() {
      return timers.size;
    },
  };
}

/** Lets everything go on that waits for nothing but its turn. */
export async function turn(): Promise<void> {
  // What goes on may itself wait for a turn, more than once.
  for (let i = 0; i < 8; i++) await new Promise((resolve) => void setImmediate(resolve));
}
