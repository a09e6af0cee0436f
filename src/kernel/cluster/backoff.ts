/** Growing, jittered pauses, so that a thousand nodes do not return to a server at the same moment. */

export interface BackoffOptions {
  readonly minMs: number;
  readonly maxMs: number;
  /** 0 to 1. */
  readonly random?: () => number;
}

export interface Backoff {
  /** Milliseconds to wait before the next try: doubles each time, less up to half of it at random. */
  readonly next: () => number;
  readonly reset: () => void;
  /** Failures since the last reset. */
  readonly failures: number;
}

export function createBackoff({ minMs, maxMs, random = Math.random }: BackoffOptions): Backoff {
  let failures = 0;
  return {
    get failures() {
      return failures;
    },
    next: () => {
      const ceiling = Math.min(maxMs, minMs * 2 ** Math.min(failures, 30));
      failures++;
      return Math.round(ceiling * (1 - random() / 2));
    },
    reset: () => {
      failures = 0;
    },
  };
}

/** Resolves after the time or when aborted, whichever is first; never rejects. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
