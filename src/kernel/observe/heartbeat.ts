/** Liveness by heartbeat: a part of the agent that is late makes the whole agent unhealthy. */

export interface Heartbeats {
  /** Says that a part is expected to beat at least every `period` ms, from now on. */
  expect(part: string, period: number): void;
  beat(part: string): void;
  /** The parts that are late, each with how long it has been silent. */
  late(): readonly { readonly part: string; readonly silentMs: number }[];
}

/**
 * Keeps the heartbeats of parts. A part is late when it has been silent for more than its period plus `grace` ms:
 * kube-router documents five seconds.
 *
 * @param now milliseconds of a clock that never jumps
 */
export function heartbeats(now: () => number = () => performance.now(), grace = 5000): Heartbeats {
  const parts = new Map<string, { period: number; last: number }>();
  return {
    expect(part, period) {
      parts.set(part, { period, last: now() });
    },
    beat(part) {
      const known = parts.get(part);
      if (known !== undefined) known.last = now();
    },
    late() {
      const time = now();
      return [...parts].flatMap(([part, { period, last }]) =>
        time - last > period + grace ? [{ part, silentMs: time - last }] : []
      );
    },
  };
}
