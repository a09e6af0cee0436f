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

test("a list is not the same at the first look, and then it is", () => {
  const snapshot = new DumpSnapshot(NETLINK_ROUTE, writeRuleQuery);
  expect([snapshot.same(), snapshot.same(), snapshot.same()]).toEqual([false, true, true]);
  snapshot.close();
});

test("a list that Linux refuses is never the same", () => {
  const snapshot = new DumpSnapshot(NETLINK_ROUTE, (w) => writeRuleQuery(w, 9_999));
  expect([snapshot.same(), snapshot.same()]).toEqual([false, false]);
  snapshot.close();
});
