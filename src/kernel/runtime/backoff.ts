/** Retry delays, as in cilium's reconciler: 100 ms, doubling, at most a minute, with jitter. */

const FIRST_MS = 100;
const LONGEST_MS = 60_000;

/**
 * Delay before the next attempt, in milliseconds.
 *
 * @param attempts failed attempts so far, from 1
 * @param random between 0 and 1; the delay varies by a quarter, so that many failures do not retry as one burst
 */
export function retryDelay(attempts: number, random: number = Math.random()): number {
  const base = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempts - 1, 20));
  return base * (0.875 + random / 4);
}
