/** Reproducible garbage for decoder tests: mulberry32. */

export type Random = () => number;

/** Numbers below 1, the same ones for the same seed. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ state >>> 15, state | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    return ((t ^ t >>> 14) >>> 0) / 0x1_0000_0000;
  };
}

export function randomBytes(next: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => Math.floor(next() * 256));
}

/** A copy with up to `changes` bytes changed, and perhaps cut short. */
export function mutate(next: Random, bytes: Uint8Array, changes = 4): Uint8Array {
  const copy = bytes.slice(0, next() < 0.3 ? Math.floor(next() * bytes.length) : bytes.length);
  for (let i = Math.floor(next() * changes) + 1; i > 0 && copy.length > 0; i--) {
    copy[Math.floor(next() * copy.length)] = Math.floor(next() * 256);
  }
  return copy;
}
