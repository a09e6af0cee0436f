/** What a plugin's process may send by itself, and what the agent makes of it. */

import { expect, test } from "bun:test";
import { type LinkOptions, startLink } from "../../../../src/kernel/guest/link.ts";
import type { FromGuest, ToGuest } from "../../../../src/kernel/guest/messages.ts";
import type { GuestProcess } from "../../../../src/kernel/guest/process.ts";

const LOAD = { type: "load", file: "/p", name: "p", given: {}, node: "n", host: [] } as const;

function linked(
  onPing: (send: (message: unknown) => void) => void,
  changes: Partial<LinkOptions> = {},
) {
  let terminated = false;
  const faults: string[] = [];
  const child: GuestProcess = {
    onmessage: null,
    onclose: null,
    terminate: () => void (terminated = true),
    postMessage(message: ToGuest) {
      if (message.type === "ping" && !terminated) onPing(send);
    },
  };
  const send = (message: unknown): void => child.onmessage?.({ data: message as FromGuest });
  const link = startLink({
    load: LOAD,
    onMessage: () => {},
    onFault: (reason) => void faults.push(reason),
    spawn: () => child,
    ...changes,
  });
  return { link, send, faults, ended: () => terminated };
}

test.each([["null", null], ["nothing", undefined]])(
  "a process that sends %s is ended and named, and the agent goes on",
  async (_, message) => {
    const { link, send, faults, ended } = linked(() => {});
    expect(() => send(message)).not.toThrow();
    expect(ended()).toBeTrue();
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(/^it sent a message that is none of a plugin's: .*process\.send$/);
    await link.stop(0);
  },
);

test("a process whose message nobody can carry out is ended, and the agent goes on", async () => {
  const { link, send, faults } = linked(() => {}, {
    onMessage() {
      throw new TypeError("units is not iterable");
    },
  });
  expect(() => send({ type: "results" })).not.toThrow();
  expect(faults).toEqual([
    "it sent a message that is none of a plugin's: units is not iterable; remove process.send",
  ]);
  await link.stop(0);
});

test("a loop that logs, measures and asks the API server is a loop that does not end", async () => {
  let asked = 0;
  const { link, faults } = linked((send) => {
    asked++;
    send({ type: "log", level: "info", message: "still here" });
    send({ type: "metric" });
    send({ type: "api" });
  }, { pingMs: 1, patience: 3 });
  for (let i = 0; i < 500 && faults.length === 0 && asked < 50; i++) await Bun.sleep(1);
  expect(faults.join()).toContain("look for a loop that does not end");
  await link.stop(0);
});
