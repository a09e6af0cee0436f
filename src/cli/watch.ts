/** `--watch`: an answer again and again, until somebody stops it. */

import type { Flags } from "./flags.ts";
import { HOME, type Io } from "./io.ts";

/** What a question came to. */
export type Shown =
  | { readonly text: string; readonly exit: number }
  | { readonly error: string; readonly exit: number };

/** Milliseconds between two answers: Linux makes its rates anew every two seconds. */
const PAUSE = 2_000;

/**
 * Prints an answer, with `--watch` every two seconds on a cleared screen; as JSON one answer after the other. An agent that is
 * away for a while does not end it. Returns the exit code of the only, or the last, answer.
 */
export async function watched(flags: Flags, io: Io, ask: () => Promise<Shown>): Promise<number> {
  for (;;) {
    const shown = await ask();
    const clears = flags.watch && flags.output === "text";
    if ("error" in shown) io.stderr(`${clears ? HOME : ""}routelet: ${shown.error}\n`);
    else io.stdout(`${clears ? HOME : ""}${shown.text}`);
    if (!flags.watch) return shown.exit;
    const stopped = await Promise.race([Bun.sleep(PAUSE), stopSignal()]);
    if (stopped === STOPPED) return shown.exit;
  }
}

const STOPPED = "stopped";
let signal: Promise<typeof STOPPED> | undefined;

function stopSignal(): Promise<typeof STOPPED> {
  return signal ??= new Promise((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => resolve(STOPPED));
  });
}
