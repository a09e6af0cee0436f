/** The failure modes of the server, each for a while. */

import type { FailureMode } from "./types.ts";

export interface Faults {
  readonly mode: () => FailureMode | undefined;
  readonly fail: (mode: FailureMode, seconds?: number) => void;
  readonly heal: () => void;
}

export interface FaultHooks {
  readonly begin: (mode: FailureMode) => void;
  readonly end: (mode: FailureMode) => void;
}

/** These break what is open now; the others are nothing without a period. */
const MOMENTARY: ReadonlySet<FailureMode> = new Set<FailureMode>(["drop", "410", "half-open"]);
const DEFAULT_SECONDS = 5;

export function createFaults({ begin, end }: FaultHooks): Faults {
  let mode: FailureMode | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function heal(): void {
    if (timer !== undefined) clearTimeout(timer);
    timer = undefined;
    const ended = mode;
    mode = undefined;
    if (ended !== undefined) end(ended);
  }

  return {
    mode: () => mode,
    heal,
    fail: (next, seconds = MOMENTARY.has(next) ? 0 : DEFAULT_SECONDS) => {
      heal();
      mode = next;
      begin(next);
      if (seconds <= 0) heal();
      // A period without end is ended by `heal` alone: timers hold at most 2^31 ms.
      else if (Number.isFinite(seconds)) timer = setTimeout(heal, seconds * 1000);
    },
  };
}
