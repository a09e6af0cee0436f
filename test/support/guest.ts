/** Third parties' plugins without processes: the agent's side and the plugin's in one, with copied messages between them. */

import type { FromGuest, ToGuest } from "../../src/kernel/guest/messages.ts";
import { guestChild } from "../../src/kernel/guest/child.ts";
import type { GuestProcess } from "../../src/kernel/guest/process.ts";

export interface TestProcess extends GuestProcess {
  /** It takes nothing from now on, as one in a loop. */
  hang(): void;
  /** As an error that nobody caught. */
  crash(message: string): void;
  /** As `process.exit`. */
  close(): void;
  readonly ended: boolean;
}

/** A process whose module exports what `exported` gives, or throws. */
export function testProcess(exported: () => unknown): TestProcess {
  let hangs = false;
  let ended = false;
  const child: TestProcess = {
    onmessage: null,
    onclose: null,
    postMessage(message: ToGuest) {
      const copy = structuredClone(message);
      queueMicrotask(() => {
        if (!hangs && !ended) take(copy);
      });
    },
    terminate: () => void (ended = true),
    hang: () => void (hangs = true),
    crash: (message) =>
      child.onmessage?.({
        data: {
          type: "failed",
          reason: `it threw outside of its reconcilers: ${message}`,
          final: false,
        },
      }),
    close: () => child.onclose?.("its process ended with exit code 0; remove process.exit"),
    get ended() {
      return ended;
    },
  };
  const take = guestChild(
    (message: FromGuest) => {
      const data = structuredClone(message);
      if (!hangs && !ended) queueMicrotask(() => child.onmessage?.({ data }));
    },
    () => Promise.resolve().then(exported),
  );
  return child;
}
