import { expect, test } from "bun:test";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import { type Chain, tables } from "../../../../src/kernel/dataplane/resources/mod.ts";
import { bench } from "../../../support/runtime.ts";
import { toyPlugin, wish } from "../../../support/toy.ts";

function chain(name: string, more: Partial<Chain> = {}): Chain {
  const rules = [{ matches: [], target: { kind: "drop" } as const }];
  return { family: 4, table: "filter", name: `KUBE-ROUTER-${name}`, rules, ...more };
}

/** One chain that Linux refuses once, and another unit's. */
async function refused(first: Chain) {
  const toy = toyPlugin({ tables: ["chains"] });
  toy.set("odd", wish(tables.chains, first));
  toy.set("web", wish(tables.chains, chain("WEB")));
  const linux = fakeDataplane();
  linux.failNext("chain", "create", "EINVAL");
  const made = bench([toy.plugin], { linux });
  await made.runtime.start();
  await made.clock.advance(0);
  return made;
}

test("a chain that is dispensable costs itself where Linux refuses it: the plugin is ready, and the status names it", async () => {
  const { status, settle } = await refused(chain("ODD", { dispensable: true }));
  expect(status().phase).toBe("ready");
  expect(status().problems.map(({ type, subject }) => `${type} ${subject}`)).toEqual([
    "failed chain ipv4 filter KUBE-ROUTER-ODD",
  ]);
  await settle();
  expect(status().problems).toEqual([]);
});

test("any other chain makes the plugin degraded", async () => {
  const { status } = await refused(chain("ODD"));
  expect(status().phase).toBe("degraded");
});
