import { expect, test } from "bun:test";
import { getPriority } from "node:os";
import { join } from "node:path";

const MODULE = join(import.meta.dir, "../../../../../src/kernel/dataplane/linux/priority.ts");

/** In a process of its own: this one's priority is not to be changed. */
const SCRIPT = `
  import { preferThisThread } from ${JSON.stringify(MODULE)};
  import { getPriority } from "node:os";
  const done = preferThisThread();
  const child = Bun.spawnSync(["sh", "-c", "cut -d ' ' -f 19 /proc/self/stat"]);
  console.log(JSON.stringify({ done, own: getPriority(0), child: Number(child.stdout) }));
`;

test("the main thread goes first where that is allowed, what it starts does not inherit that", () => {
  const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", SCRIPT]);
  expect(stderr.toString()).toBe("");
  const { done, own, child } = JSON.parse(stdout.toString());
  const before = getPriority(0);
  expect({ own, child }).toEqual(done ? { own: -10, child: 0 } : { own: before, child: before });
});

test("a priority that somebody has given the agent stays", () => {
  const nice = ["nice", "-n", "3", process.execPath, "-e", SCRIPT];
  const { done, own } = JSON.parse(Bun.spawnSync(nice).stdout.toString());
  expect({ done, own }).toEqual({ done: false, own: Math.min(19, getPriority(0) + 3) });
});
