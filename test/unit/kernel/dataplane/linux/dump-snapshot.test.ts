import { expect, test } from "bun:test";
import { DumpSnapshot } from "../../../../../src/kernel/dataplane/linux/dump-snapshot.ts";
import type { MessageWriter } from "../../../../../src/kernel/dataplane/linux/message.ts";
import { NETLINK_ROUTE } from "../../../../../src/kernel/dataplane/linux/socket.ts";

const RTM_GETRULE = 34;

/** Asks for all rules: a list that others leave alone here. */
function writeRuleQuery(w: MessageWriter, type = RTM_GETRULE): void {
  w.begin(type);
  for (let i = 0; i < 3; i++) w.rawU32(0);
  w.end();
}

test("nothing is known at the first look, and then nothing has moved", () => {
  const snapshot = new DumpSnapshot(NETLINK_ROUTE, writeRuleQuery);
  expect([snapshot.moved(), snapshot.moved(), snapshot.moved()]).toEqual([undefined, [], []]);
  snapshot.close();
});

test("a list that Linux refuses is never known", () => {
  const snapshot = new DumpSnapshot(NETLINK_ROUTE, (w) => writeRuleQuery(w, 9_999));
  expect([snapshot.moved(), snapshot.moved()]).toEqual([undefined, undefined]);
  snapshot.close();
});
