/** Randomness that repeats: a seed gives the same numbers everywhere. */

export interface Random {
  /** From 0 up to, but without, `limit`. */
  below(limit: number): number;
  pick<T>(items: readonly T[]): T;
  shuffle<T>(items: readonly T[]): T[];
}

/** Mulberry32, by Tommy Ettinger: small, and good enough to shuffle. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  const below = (limit: number): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor(((t ^ (t >>> 14)) >>> 0) / 2 ** 32 * limit);
  };
  return {
    below,
    pick: (items) => items[below(items.length)] as (typeof items)[number],
    shuffle(items) {
      const result = [...items];
      for (let i = result.length - 1; i > 0; i--) {
        const j = below(i + 1);
        [result[i], result[j]] = [result[j] as never, result[i] as never];
      }
      return result;
    },
  };
}

/** The seeds 1 to `count`, for `test.each`. */
export function seeds(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}
