import { expect, test } from "bun:test";
import { schedulingOf } from "../../../../src/plugins/proxy/scheduler.ts";
import { service } from "../../../support/objects.ts";

function flagsOf(scheduler: string | undefined, flags: string) {
  const problems: string[] = [];
  const annotations = {
    ...(scheduler === undefined ? {} : { "kube-router.io/service.scheduler": scheduler }),
    "kube-router.io/service.schedflags": flags,
  };
  const made = schedulingOf(service("default/web", { metadata: { annotations } }), problems);
  return { flags: made.schedulerFlags, problems: problems.length };
}

const TABLE: readonly (readonly [string | undefined, string, number, number])[] = [
  ["mh", "flag-1", 0x08, 0],
  ["mh", "flag-2", 0x10, 0],
  ["mh", "flag-3", 0x20, 0],
  ["mh", "flag-1,flag-2,flag-3", 0x38, 0],
  ["mh", " flag-1 , flag-2 ", 0x18, 0],
  ["mh", "mh-fallback", 0x08, 0],
  ["mh", "mh-port", 0x10, 0],
  ["mh", "mh-port,flag-2", 0x10, 0],
  ["mh", "", 0, 0],
  ["mh", "flag-1,flag-9", 0x08, 1],
  ["mh", "sh-port", 0, 1],
  ["mh", "__proto__,toString", 0, 1],
  ["sh", "sh-fallback,sh-port", 0x18, 0],
  ["sh", "sh-port", 0x10, 0],
  ["sh", "flag-1", 0, 1],
  ["sh", "mh-port", 0, 1],
  ["rr", "flag-1", 0, 1],
  [undefined, "mh-port", 0, 1],
  ["lc", "", 0, 0],
];

for (const [scheduler, flags, bits, problems] of TABLE) {
  test(`flags "${flags}" of ${scheduler ?? "no scheduler"} are 0x${bits.toString(16)}, with ${problems} problems`, () => {
    expect(flagsOf(scheduler, flags)).toEqual({ flags: bits, problems });
  });
}

test("flags that a scheduler does not have are named with those that it has", () => {
  const problems: string[] = [];
  const annotations = {
    "kube-router.io/service.scheduler": "sh",
    "kube-router.io/service.schedflags": "flag-1,sh-port,nonsense",
  };
  schedulingOf(service("default/web", { metadata: { annotations } }), problems);
  expect(problems).toEqual([
    'Annotation kube-router.io/service.schedflags has "flag-1", "nonsense", which scheduler "sh" does ' +
    "not have; allowed are sh-fallback, sh-port; the rest is taken",
  ]);
});
