import { describe, expect, test } from "bun:test";
import type { ServiceAdvertisement, Vip } from "../../../../src/plugins/router/advertising.ts";
import { settable } from "../../../../src/plugins/router/inputs.ts";
import { vipSet } from "../../../../src/plugins/router/vip-set.ts";
import { random } from "../../kernel/dataplane/linux/random.ts";

/** A set over Services that are lists of addresses; `change` sets some of them and tells the set. */
function world() {
  const services = new Map<string, readonly string[]>();
  const listeners = new Set<(units: Iterable<string> | "all") => void>();
  let computed = 0;
  let changes = 0;
  const told: string[] = [];
  const input = {
    ...settable("services", 0),
    subscribe(wake: (units: Iterable<string> | "all") => void) {
      listeners.add(wake);
      return () => listeners.delete(wake);
    },
  };
  const set = vipSet([input], () => services.keys(), (unit) => {
    computed++;
    const addresses = services.get(unit);
    return addresses === undefined ? undefined : {
      advertise: addresses.map((address) => ({ address, local: false })),
      withheld: [],
      problems: [],
    };
  }, (addresses) => {
    changes++;
    told.push(...addresses);
  });
  return {
    set,
    services,
    change(next: Readonly<Record<string, readonly string[] | undefined>>) {
      for (const [unit, addresses] of Object.entries(next)) {
        if (addresses === undefined) services.delete(unit);
        else services.set(unit, addresses);
      }
      for (const listener of listeners) listener(Object.keys(next));
    },
    takeComputed() {
      const now = computed;
      computed = 0;
      return now;
    },
    changes: () => changes,
    takeTold: () => told.splice(0),
  };
}

describe("the state of a VIP", () => {
  test("is everywhere, here or nowhere, as its Services say together", () => {
    const of = (vip: Partial<Vip> | undefined, refused = false): ServiceAdvertisement => ({
      advertise: vip === undefined ? [] : [{ address: "10.0.0.1", local: false, ...vip }],
      withheld: refused ? [{ address: "10.0.0.1", reason: "no", refused: true }] : [],
      problems: [],
    });
    const state = (...services: readonly ServiceAdvertisement[]) => {
      const own = vipSet(
        [],
        () => services.keys().map(String),
        (unit) => services[Number(unit)],
        () => {},
        () => true,
      );
      own.addresses();
      return own.state("10.0.0.1");
    };
    expect(state(of({}))).toBe("everywhere");
    expect(state(of({ local: true }))).toBe("here");
    expect(state(of({ local: true }), of({}))).toBe("everywhere");
    expect(state(of(undefined, true))).toBe("nowhere");
    expect(state(of(undefined, true), of({ local: true }))).toBe("here");
    expect(state(of(undefined))).toBeUndefined();
  });
});

describe("the set of VIPs", () => {
  test("has an address as long as any Service has it", () => {
    const { set, change } = world();
    change({ a: ["10.0.0.1"], b: ["10.0.0.1", "10.0.0.2"] });
    expect(set.addresses()).toEqual(["10.0.0.1", "10.0.0.2"]);
    expect(set.holders("10.0.0.1")).toEqual(["a", "b"]);
    change({ b: undefined });
    expect(set.addresses()).toEqual(["10.0.0.1"]);
    change({ a: [] });
    expect(set.addresses()).toEqual([]);
    expect(set.holders("10.0.0.1")).toEqual([]);
  });

  test("tells of what moved while somebody looked at it", async () => {
    const { set, change, takeTold } = world();
    change({ a: ["10.0.0.1"] });
    expect(set.state("10.0.0.1")).toBeUndefined();
    expect(set.addresses()).toEqual(["10.0.0.1"]);
    await Bun.sleep(1);
    expect(takeTold()).toEqual(["10.0.0.1"]);
  });

  test("moves an address from one Service to another without letting it go", () => {
    const { set, change } = world();
    change({ a: ["10.0.0.1"] });
    set.addresses();
    const before = { ...set.counts };
    change({ a: [], b: ["10.0.0.1"] });
    expect(set.addresses()).toEqual(["10.0.0.1"]);
    expect(set.counts).toEqual(before);
  });

  test("looks at what was woken alone, and tells once of all that came together", async () => {
    const made = world();
    made.change(
      Object.fromEntries(Array.from({ length: 50 }, (_, i) => [`s${i}`, [`10.0.0.${i}`]])),
    );
    await Bun.sleep(1);
    expect([made.takeComputed(), made.changes()]).toEqual([50, 1]);
    expect(made.takeTold()).toHaveLength(50);
    made.change({ s7: ["10.0.1.7"] });
    made.change({ s7: ["10.0.1.7"], s8: [] });
    await Bun.sleep(1);
    expect([made.takeComputed(), made.changes()]).toEqual([2, 2]);
    expect(made.takeTold().toSorted()).toEqual(["10.0.0.7", "10.0.0.8", "10.0.1.7"]);
    // The same again is no change.
    made.change({ s7: ["10.0.1.7"] });
    await Bun.sleep(1);
    expect([made.takeComputed(), made.changes()]).toEqual([1, 2]);
    const list = made.set.addresses();
    expect(made.set.addresses()).toBe(list);
  });

  test("is the union of all Services after any sequence of changes", () => {
    const next = random(11);
    const { set, services, change } = world();
    for (let round = 0; round < 300; round++) {
      const unit = `s${Math.floor(next() * 8)}`;
      const addresses = Array.from(
        { length: Math.floor(next() * 4) },
        () => `10.0.0.${Math.floor(next() * 6)}`,
      );
      change({ [unit]: next() < 0.2 ? undefined : [...new Set(addresses)] });
      if (next() < 0.5) continue;
      expect(set.addresses()).toEqual([...new Set([...services.values()].flat())].toSorted());
    }
  });
});
