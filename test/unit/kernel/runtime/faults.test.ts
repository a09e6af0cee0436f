/** Every verb of every kind fails once, and the agent dies at every op: the end is always the same. */

import { describe, expect, test } from "bun:test";
import type { Dataplane } from "../../../../src/kernel/dataplane/dataplane.ts";
import {
  type FakeDataplane,
  fakeDataplane,
  type Verb,
} from "../../../../src/kernel/dataplane/fake.ts";
import type { Op, Outcome, Table } from "../../../../src/kernel/dataplane/resource.ts";
import { type Bench, bench, running } from "../../../support/runtime.ts";
import {
  changeCluster,
  foreignLines,
  podBridge,
  PROXY_KINDS,
  proxyOptions,
  proxyPlugin,
  seedForeign,
  smallCluster,
} from "../../../support/service-world.ts";

const options = proxyOptions({
  serviceTcpTimeout: 900_000,
  serviceExternalIpRange: ["203.0.113.0/24", "fd00:33::/64"],
});

function start(linux: FakeDataplane, given: Partial<Parameters<typeof bench>[1]> = {}) {
  return running([proxyPlugin], {
    linux,
    cluster: smallCluster(),
    options,
    host: podBridge,
    ...given,
  });
}

/** What Linux holds at the start of the story, after its change, and when it starts with that change. */
async function story(linux: FakeDataplane, between: (bench: Bench) => void = () => {}) {
  seedForeign(linux);
  const made = await start(linux);
  const first = linux.dump();
  between(made);
  changeCluster(made.cluster);
  await made.settle();
  return { ...made, first, last: linux.dump() };
}

const calm = await story(fakeDataplane());

test("the story changes every kind that the proxy writes", () => {
  expect(calm.first).not.toBe(calm.last);
  for (const kind of PROXY_KINDS) {
    expect(calm.linux.count(kind, "create")).toBeGreaterThan(0);
  }
  expect(calm.status().problems.map(({ type }) => type)).toEqual([]);
});

describe("a refusal", () => {
  const verbs: readonly Verb[] = ["create", "update", "delete"];
  const codes = ["EBUSY", "EEXIST", "ENOENT", "ENOBUFS", "ETIMEDOUT", "ENOMEM"];
  for (const kind of PROXY_KINDS) {
    for (const verb of verbs) {
      test(`of ${verb} ${kind} is overcome, with any error, early or late`, async () => {
        for (const code of codes) {
          const early = fakeDataplane();
          early.failNext(kind, verb, code);
          const one = await story(early);
          expect([one.first, one.last]).toEqual([calm.first, calm.last]);
          const late = fakeDataplane();
          const two = await story(late, () => late.failNext(kind, verb, code, 2));
          expect(two.last).toBe(calm.last);
          for (const { status, runtime } of [one, two]) {
            expect(status().problems).toEqual([]);
            expect(status().pending).toBe(0);
            expect(runtime.ready).toBe(true);
          }
        }
      });
    }
    test(`of list ${kind} is overcome, early or late`, async () => {
      const early = fakeDataplane();
      early.failList(kind, "EINTR", 3);
      const one = await story(early);
      expect([one.first, one.last]).toEqual([calm.first, calm.last]);
      const late = fakeDataplane();
      const two = await story(late, ({ linux }) => {
        linux.failList(kind, "EINTR", 3);
        linux.loseEvents(kind);
      });
      expect(two.last).toBe(calm.last);
    });
  }
});

/** A dataplane that dies after some ops, for good: nothing that comes later reaches Linux, and nobody gets an answer. */
function mortal(linux: FakeDataplane, opsToLive: number): Dataplane & { readonly dead: boolean } {
  let left = opsToLive;
  const never = new Promise<never>(() => {});
  return {
    open(ref, owner) {
      const table = linux.open(ref, owner) as Table<unknown>;
      const apply = async (ops: readonly Op<unknown>[]): Promise<readonly Outcome<unknown>[]> => {
        const outcomes: Outcome<unknown>[] = [];
        for (const op of ops) {
          if (left-- <= 0) return never;
          outcomes.push(...await table.apply([op]));
        }
        return outcomes;
      };
      return { ...table, apply } as never;
    },
    close: () => Promise.resolve(),
    get dead() {
      return left < 0;
    },
  };
}

describe("kill -9", () => {
  test("after any number of ops and a new start give the same end, and touch nothing foreign", async () => {
    let survived = false;
    for (let ops = 0; !survived; ops++) {
      expect(ops).toBeLessThan(500);
      const linux = fakeDataplane();
      const foreign = seedForeign(linux);
      const dataplane = mortal(linux, ops);
      const cluster = smallCluster();
      const first = await start(linux, { dataplane, cluster });
      if (!dataplane.dead) changeCluster(cluster);
      await first.settle();
      survived = !dataplane.dead;
      const again = smallCluster();
      changeCluster(again);
      const second = await start(linux, { cluster: again });
      expect(linux.dump()).toBe(calm.last);
      expect(foreignLines(linux)).toEqual(foreign);
      expect(second.status().problems).toEqual([]);
    }
  });

  test("and a new start change nothing when all was done", async () => {
    const linux = fakeDataplane();
    await story(linux);
    linux.resetCounts();
    const cluster = smallCluster();
    changeCluster(cluster);
    await start(linux, { cluster });
    expect(linux.count()).toBe(0);
  });
});
