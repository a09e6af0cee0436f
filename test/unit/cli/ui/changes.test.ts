import { expect, test } from "bun:test";
import { changeLog } from "../../../../src/cli/ui/changes.ts";
import { silentLogger } from "../../../../src/kernel/observe/log.ts";

test("changes are kept as the log tells of them, the latest first, and nothing else is", () => {
  let now = 0;
  const { changes, logger } = changeLog(() => ++now);
  const log = logger(silentLogger).child({ plugin: "proxy" });
  log.info("Started");
  log.info("Changed Linux", { verb: "create", item: "link kube-dummy-if" });
  log.info("Repaired Linux", { verb: "update", item: "sysctl x" });
  log.info("Changed Linux", { kind: "route", created: 30, updated: 0, deleted: 2, repaired: 1 });
  expect(changes()).toEqual([
    { time: 3, plugin: "proxy", verb: "30 created, 2 deleted", item: "route", repair: true },
    { time: 2, plugin: "proxy", verb: "update", item: "sysctl x", repair: true },
    { time: 1, plugin: "proxy", verb: "create", item: "link kube-dummy-if", repair: false },
  ]);
});

test("only the latest are kept", () => {
  const { changes, logger } = changeLog(() => 0);
  const log = logger(silentLogger);
  for (let i = 0; i < 500; i++) log.info("Changed Linux", { verb: "create", item: `route ${i}` });
  expect(changes()).toHaveLength(200);
  expect(changes()[0]?.item).toBe("route 499");
});
