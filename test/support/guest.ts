/** Third parties' plugins without threads: the agent's side and the plugin's in one, with copied messages between them. */

import type { Thread } from "../../src/kernel/guest/link.ts";
import type { FromGuest, ToGuest } from "../../src/kernel/guest/messages.ts";
import { guestThread } from "../../src/kernel/guest/thread.ts";

export interface TestThread extends Thread {
  /** The thread takes nothing from now on, as one in a loop. */
  hang(): void;
  /** As an error that nobody caught. */
  crash(message: string): void;
  /** As `process.exit`. */
  close(): void;
  readonly ended: boolean;
}

/** A thread whose module exports what `exported` gives, or throws. */
export function testThread(exported: () => unknown): TestThread {
  let hangs = false;
  let ended = false;
  const closed: (() => void)[] = [];
  const thread: TestThread = {
    onmessage: null,
    onerror: null,
    postMessage(message: ToGuest) {
      const copy = structuredClone(message);
      queueMicrotask(() => {
        if (!hangs && !ended) take(copy);
      });
    },
    terminate: () => void (ended = true),
    addEventListener: (_type, listener) => void closed.push(listener),
    unref() {},
    hang: () => void (hangs = true),
    crash: (message) => thread.onerror?.({ message }),
    close: () => closed.forEach((listener) => listener()),
    get ended() {
      return ended;
    },
  };
  const take = guestThread(
    (message: FromGuest) => {
      const data = structuredClone(message);
      if (!hangs && !ended) queueMicrotask(() => thread.onmessage?.({ data }));
    },
    () => Promise.resolve().then(exported),
  );
  return thread;
}
