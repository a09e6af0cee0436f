/**
 * Settings of the JavaScript engine, which it takes from the environment alone, and before its first line. So the agent
 * starts itself once more with them; that costs about 30 ms, once.
 */

import type { Io } from "./io.ts";

/** By name. Whoever runs the agent may give another value, which is then left as it is. */
export const ENGINE_SETTINGS: Readonly<Record<string, string>> = {
  // Bun collects garbage every second after work and every 30 s without: at 10,000 Services half a percent of a processor,
  // forever. JavaScriptCore still collects when the heap has grown, and the agent does after a burst.
  BUN_GC_TIMER_DISABLE: "1",
  // How far the heap may grow before the next full collection, beyond what it held after the last: by less than half of it.
  BUN_JSC_heapGrowthMaxIncrease: "0.5",
  // The last tier of the compiler takes a processor for as long as the whole first round runs, for code that runs only then.
  // Loops that go on for longer, as with a full feed of BGP, still get there.
  BUN_JSC_thresholdForFTLOptimizeAfterWarmUp: "500000",
};

/** Which settings an environment lacks. */
export function missingSettings(
  env: Readonly<Record<string, string | undefined>>,
): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(ENGINE_SETTINGS).filter(([name]) => env[name] === undefined),
  );
}

/** Starts the process anew where the engine lacks settings. Returns where nothing lacks, or where Linux refuses: it does without. */
export function restartTuned(io: Pick<Io, "env" | "restart" | "stderr">): void {
  const missing = missingSettings(io.env);
  if (Object.keys(missing).length === 0) return;
  try {
    io.restart?.(missing);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    io.stderr(
      `routelet: The JavaScript engine runs without ${
        Object.keys(missing).join(", ")
      }: ${reason}\n`,
    );
  }
}
