import { describe, expect, test } from "bun:test";
import { decide, plan } from "../../../../src/kernel/dataplane/plan.ts";
import { route as routeKind } from "../../../../src/kernel/dataplane/resources/route.ts";
import { random, seeds } from "../../../support/random.ts";
import { route } from "../../../support/items.ts";

const want = route("10.1.0.0/16");
const other = route("10.1.0.0/16", { source: "10.0.0.1" });
const ours = { item: other, owned: true };
const foreign = { item: other, owned: false };

describe("decide", () => {
  const cases = [
    ["creates what is wanted and not there", want, undefined, {
      verb: "create",
      item: want,
    }],
    ["updates what is ours and differs", want, ours, {
      verb: "update",
      item: want,
      have: other,
    }],
    ["leaves what is ours and the same", other, ours, undefined],
    ["deletes what is ours and not wanted", undefined, ours, {
      verb: "delete",
      item: other,
    }],
    ["leaves what is foreign and not wanted", undefined, foreign, undefined],
    ["does nothing about nothing", undefined, undefined, undefined],
  ] as const;
  for (const [name, wanted, have, expected] of cases) {
    test(name, () => expect(decide(routeKind, wanted, have)).toEqual(expected));
  }

  test("takes over what another left where it is the same, and leaves what nobody wants", () => {
    const left = { item: other, owned: false, adoptable: true } as const;
    expect(decide(routeKind, other, left)).toEqual({ verb: "update", item: other, have: other });
    expect(decide(routeKind, want, left)).toMatchObject({ verb: "conflict" });
    expect(decide(routeKind, undefined, left)).toBeUndefined();
  });

  test("reports what is wanted and foreign, even if it is the same, and says what is there", () => {
    for (const wanted of [want, other]) {
      expect(decide(routeKind, wanted, foreign)).toEqual({
        verb: "conflict",
        conflict: {
          kind: "route",
          key: routeKind.key(want),
          reason:
            `Linux holds ${
              routeKind.describe(other)
            }, which is not ours; remove it when nobody else ` +
            "needs it",
          foreign: true,
        },
      });
    }
  });
});

describe("plan", () => {
  test("is sorted by key whatever the order of what goes in", () => {
    const items = ["10.9.0.0/16", "10.1.0.0/16", "10.5.0.0/16"].map((to) => route(to));
    const stale = ["10.8.0.0/16", "10.2.0.0/16"].map((to) => ({ item: route(to), owned: true }));
    for (const seed of seeds(5)) {
      const { shuffle } = random(seed);
      const { upserts, deletes } = plan(routeKind, shuffle(items), shuffle(stale));
      const targets = (ops: typeof upserts) => ops.map((op) => op.item.destination);
      expect(targets(upserts)).toEqual(["10.1.0.0/16", "10.5.0.0/16", "10.9.0.0/16"]);
      expect(targets(deletes)).toEqual(["10.2.0.0/16", "10.8.0.0/16"]);
    }
  });

  test("is empty once it has been carried out, and leaves foreign items alone", () => {
    for (const seed of seeds(50)) {
      const { below } = random(seed);
      const some = () =>
        Array.from(
          { length: below(20) },
          () => route(`10.${below(15)}.0.0/16`, below(2) === 0 ? {} : { source: "10.0.0.1" }),
        );
      const desired = some();
      const linux = new Map(
        some().map((item) => [routeKind.key(item), { item, owned: below(3) > 0 }]),
      );
      const before = new Map(linux);
      const first = plan(routeKind, desired, linux.values());
      for (const { item } of first.upserts) linux.set(routeKind.key(item), { item, owned: true });
      for (const { item } of first.deletes) linux.delete(routeKind.key(item));
      const second = plan(routeKind, desired, linux.values());
      expect([...second.upserts, ...second.deletes]).toEqual([]);
      expect(second.conflicts).toEqual(first.conflicts);
      for (const [key, have] of before) if (!have.owned) expect(linux.get(key)).toBe(have);
    }
  });
});
