import { describe, expect, test } from "bun:test";
import { plan } from "../../../../src/kernel/dataplane/plan.ts";
import { address as addressKind } from "../../../../src/kernel/dataplane/resources/address.ts";
import { ipvsDestination, ipvsService } from "../../../../src/kernel/dataplane/resources/ipvs.ts";
import type { IpvsDestination, IpvsService } from "../../../../src/kernel/plugin.ts";
import { route as routeKind } from "../../../../src/kernel/dataplane/resources/route.ts";
import type { Actual, Op } from "../../../../src/kernel/dataplane/resource.ts";
import { rerank, type Unit } from "../../../../src/kernel/dataplane/slot.ts";
import { Tracker } from "../../../../src/kernel/dataplane/tracker.ts";
import { destination, ipvs, route, vip } from "../../../support/items.ts";
import { type Random, random, seeds } from "../../../support/random.ts";

function unit(label: string, rank = label): Unit {
  return { label, rank, slots: [] };
}

/** Carries out all that is due, in Linux's stead. Returns what that was, "verb key". */
function carryOut<T>(tracker: Tracker<T>): string[] {
  const done: string[] = [];
  for (const verbs of ["upserts", "deletes"] as const) {
    for (const op of tracker.take(verbs)) {
      tracker.applied(op);
      done.push(`${op.verb} ${tracker.resource.key(op.item)}`);
    }
  }
  return done.toSorted();
}

const have = <T>(item: T, owned = true): Actual<T> => ({ item, owned });

/** Services and their destinations, one unit each. */
function ipvsTrackers() {
  const services = new Tracker<IpvsService>(ipvsService);
  const destinations = new Tracker<IpvsDestination>(ipvsDestination, services as Tracker<unknown>);
  return {
    services,
    destinations,
    serve(who: Unit, at: string, ...to: readonly string[]) {
      services.want(who, to.length === 0 ? [] : [ipvs(at)]);
      destinations.want(who, to.map((each) => destination(at, each)));
    },
    carryOut: () => [...carryOut(services), ...carryOut(destinations)],
  };
}

const AT = "10.96.0.1:80";
const SERVICE = `tcp ${AT}`;
const A = "10.1.0.1:8080";
const B = "10.1.0.2:8080";

describe("shared keys", () => {
  test("a VIP of two Services lives until the last of them goes", () => {
    const tracker = new Tracker(addressKind);
    const [one, two] = [unit("one"), unit("two")];
    const key = addressKind.key(vip("10.96.0.1"));
    tracker.want(one, [vip("10.96.0.1")]);
    tracker.want(two, [vip("10.96.0.1")]);
    expect(carryOut(tracker)).toEqual([`create ${key}`]);
    tracker.want(one, []);
    expect(carryOut(tracker)).toEqual([]);
    tracker.want(two, []);
    expect(carryOut(tracker)).toEqual([`delete ${key}`]);
    expect([...tracker.actual]).toEqual([]);
  });

  test("equal wishes are no conflict", () => {
    const tracker = new Tracker(routeKind);
    tracker.want(unit("one"), [route("10.1.0.0/16")]);
    tracker.want(unit("two"), [route("10.1.0.0/16")]);
    carryOut(tracker);
    expect([...tracker.conflicts]).toEqual([]);
  });

  test("different wishes are a conflict that the lowest rank wins, whoever came first", () => {
    const younger = { ...unit("young", "2"), slots: [] };
    const older = unit("old", "1");
    const key = routeKind.key(route("10.1.0.0/16"));
    for (const order of [[older, younger], [younger, older]]) {
      const tracker = new Tracker(routeKind);
      for (const each of order) {
        tracker.want(each, [
          route("10.1.0.0/16", { source: each === older ? "10.0.0.1" : "10.0.0.2" }),
        ]);
      }
      carryOut(tracker);
      expect(tracker.actual.get(key)?.item.source).toBe("10.0.0.1");
      expect([...tracker.conflicts].map(({ reason }) => reason)).toEqual([
        "wanted by young as well, but held by old, which is older; give one of them another " +
        "address or port",
      ]);
      tracker.want(older, []);
      expect(carryOut(tracker)).toEqual([`update ${key}`]);
      expect(tracker.actual.get(key)?.item.source).toBe("10.0.0.2");
      expect([...tracker.conflicts]).toEqual([]);
      tracker.want(younger, []);
    }
  });

  test("a unit's own second wish for a key is passed over", () => {
    const tracker = new Tracker(addressKind);
    tracker.want(unit("one"), [vip("10.96.0.1"), vip("10.96.0.1")]);
    expect(carryOut(tracker)).toHaveLength(1);
  });
});

describe("exclusive keys", () => {
  test("the older Service holds the address and port, with its destinations alone", () => {
    const [old, young] = [unit("old", "1"), unit("young", "2")];
    for (const reversed of [false, true]) {
      const { services, destinations, serve, ...all } = ipvsTrackers();
      const steps = [() => serve(old, AT, A), () => serve(young, AT, B)];
      for (const step of reversed ? steps.toReversed() : steps) step();
      expect(all.carryOut()).toEqual([`create ${SERVICE}`, `create ${SERVICE} -> ${A}`]);
      expect([...services.conflicts]).toHaveLength(1);
      expect([...destinations.conflicts]).toEqual([]);
      serve(old, AT);
      expect(all.carryOut()).toEqual([`create ${SERVICE} -> ${B}`, `delete ${SERVICE} -> ${A}`]);
      expect([...services.conflicts]).toEqual([]);
      serve(young, AT);
    }
  });

  test("an older Service that comes late takes over", () => {
    const { serve, ...all } = ipvsTrackers();
    const [old, young] = [unit("old", "1"), unit("young", "2")];
    serve(young, AT, A);
    all.carryOut();
    serve(old, AT, B);
    expect(all.carryOut()).toEqual([`create ${SERVICE} -> ${B}`, `delete ${SERVICE} -> ${A}`]);
  });

  test("a destination that both want stays when the holder changes", () => {
    const { serve, ...all } = ipvsTrackers();
    const [old, young] = [unit("old", "1"), unit("young", "2")];
    serve(old, AT, A);
    serve(young, AT, A);
    all.carryOut();
    serve(old, AT);
    expect(all.carryOut()).toEqual([]);
  });

  test("a unit that gets another rank wins or loses at once", () => {
    const { serve, ...all } = ipvsTrackers();
    const [one, two] = [unit("one", "1"), unit("two", "2")];
    serve(one, AT, A);
    serve(two, AT, B);
    all.carryOut();
    rerank(one, "3");
    expect(all.carryOut()).toEqual([`create ${SERVICE} -> ${B}`, `delete ${SERVICE} -> ${A}`]);
    rerank(one, "1");
    expect(all.carryOut()).toEqual([`create ${SERVICE} -> ${A}`, `delete ${SERVICE} -> ${B}`]);
  });

  test("a destination whose Service its unit gives up goes, though the unit still wants it", () => {
    const { services, destinations, serve, ...all } = ipvsTrackers();
    const one = unit("one");
    serve(one, AT, A);
    all.carryOut();
    services.want(one, []);
    expect(carryOut(destinations)).toEqual([`delete ${SERVICE} -> ${A}`]);
    expect([...destinations.conflicts].map(({ reason }) => reason)).toEqual([
      `its ipvs.service "${SERVICE}" is not one that the plugin wants; it has to want both, or neither`,
    ]);
  });
});

describe("parents", () => {
  test("nothing is hung below a parent that is foreign, until it is gone", () => {
    const { services, destinations, serve, ...all } = ipvsTrackers();
    services.replaceActual([have(ipvs(AT), false)]);
    serve(unit("one"), AT, A);
    expect(all.carryOut()).toEqual([]);
    expect(destinations.pending).toBe(0);
    expect([...destinations.allDesired()]).toEqual([]);
    expect([...services.conflicts]).toHaveLength(1);
    services.drift([{ key: SERVICE }]);
    expect(all.carryOut()).toEqual([`create ${SERVICE}`, `create ${SERVICE} -> ${A}`]);
    expect([...services.conflicts]).toEqual([]);
  });

  test("children wait for a parent that could not be made, but belong to the plan", () => {
    const { services, destinations, serve, ...all } = ipvsTrackers();
    serve(unit("one"), AT, A, B);
    services.take("upserts"); // refused
    expect(carryOut(destinations)).toEqual([]);
    expect([...destinations.allDesired()]).toHaveLength(2);
    expect(destinations.pending).toBe(0);
    services.touch(SERVICE);
    expect(all.carryOut()).toHaveLength(3);
  });

  test("children that are given up while they wait leave nothing behind", () => {
    const { services, destinations, serve } = ipvsTrackers();
    const one = unit("one");
    serve(one, AT, A);
    services.take("upserts");
    destinations.take("upserts");
    serve(one, AT);
    destinations.take("deletes");
    services.replaceActual([have(ipvs(AT))]);
    expect(destinations.pending).toBe(0);
    expect(destinations.inOrder(`${SERVICE} -> ${A}`)).toBe(true);
  });
});

describe("Linux", () => {
  const [a, b] = [route("10.1.0.0/16"), route("10.2.0.0/16")];

  test("drift of an owned key is repaired, and said to be a repair once", () => {
    const tracker = new Tracker(routeKind);
    tracker.want(unit("one"), [a, b]);
    tracker.replaceActual([]);
    const created = tracker.take("upserts");
    expect(created.map((op) => tracker.applied(op))).toEqual([false, false]);
    expect(tracker.drift([{ key: routeKind.key(a) }])).toEqual({ concerned: true, turned: true });
    const [repair, ...others] = tracker.take("upserts") as Op<typeof a>[];
    expect(others).toEqual([]);
    expect(tracker.applied(repair as Op<typeof a>)).toBe(true);
    expect(tracker.drift([{ key: routeKind.key(a) }])).toEqual({ concerned: true, turned: true });
  });

  test("drift there and back again costs nothing, and makes no later change a repair", () => {
    const tracker = new Tracker(routeKind);
    const one = unit("one");
    tracker.want(one, [a]);
    tracker.replaceActual([have(a)]);
    tracker.take("upserts");
    tracker.drift([{ key: routeKind.key(a) }]);
    tracker.drift([{ key: routeKind.key(a), actual: have(a) }]);
    expect(carryOut(tracker)).toEqual([]);
    tracker.want(one, []);
    expect(tracker.take("deletes").map((op) => tracker.applied(op))).toEqual([false]);
  });

  test("drift that says what is known, or concerns what nobody wants, concerns nobody", () => {
    const tracker = new Tracker(routeKind);
    tracker.want(unit("one"), [a]);
    tracker.replaceActual([have(a), have(b, false)]);
    carryOut(tracker);
    const nothing = { concerned: false, turned: false };
    expect(tracker.drift([{ key: routeKind.key(a), actual: have({ ...a }) }])).toEqual(nothing);
    expect(tracker.drift([{ key: routeKind.key(b) }])).toEqual(nothing);
    expect(tracker.drift([{ key: "no such key" }])).toEqual(nothing);
    expect(tracker.drift([{ key: routeKind.key(b), actual: have(b, false) }])).toEqual(nothing);
    expect(tracker.pending).toBe(0);
    expect(tracker.actual.size).toBe(2);
  });

  test("a list keeps the objects that are in memory, and takes the wanted one where Linux has the same", () => {
    const tracker = new Tracker(routeKind);
    tracker.replaceActual([have({ ...a }), have(b, false)]);
    tracker.want(unit("one"), [a]);
    tracker.replaceActual([have({ ...a }), have({ ...b }, false)]);
    expect(tracker.actual.get(routeKind.key(a))?.item).toBe(a);
    expect(tracker.actual.get(routeKind.key(b))?.item).toBe(b);
  });

  test("an equal wish keeps its old object", () => {
    const tracker = new Tracker(routeKind);
    const one = unit("one");
    tracker.want(one, [a]);
    carryOut(tracker);
    tracker.want(one, [{ ...a }]);
    expect(tracker.pending).toBe(0);
    expect(tracker.desired(routeKind.key(a))).toBe(a);
  });

  test("a wish that changes while its op runs is carried out after it", () => {
    const tracker = new Tracker(routeKind);
    const one = unit("one");
    tracker.want(one, [a]);
    const [op] = tracker.take("upserts");
    tracker.want(one, []);
    tracker.take("upserts");
    tracker.take("deletes");
    tracker.applied(op as Op<typeof a>);
    expect(carryOut(tracker)).toEqual([`delete ${routeKind.key(a)}`]);
  });

  test("a list in which anything came to be ours, or is ours no more, says so", () => {
    const tracker = new Tracker(routeKind);
    expect(tracker.replaceActual([have(a), have(b, false)])).toBe(true);
    expect(tracker.replaceActual([have(a)])).toBe(false);
    expect(tracker.replaceActual([have(a, false)])).toBe(true);
  });

  test("owned() counts what is ours, through every way that it can change", () => {
    const tracker = new Tracker(routeKind);
    const one = unit("one");
    tracker.replaceActual([have(a), have(b, false)]);
    expect(tracker.owned()).toBe(1);
    tracker.drift([{ key: routeKind.key(a) }]);
    expect(tracker.owned()).toBe(0);
    tracker.want(one, [a]);
    carryOut(tracker);
    expect(tracker.owned()).toBe(1);
    tracker.want(one, []);
    carryOut(tracker);
    expect(tracker.owned()).toBe(0);
  });

  test("nothing of a key stays in memory when nobody wants it and Linux has nothing", () => {
    const tracker = new Tracker(routeKind);
    const one = unit("one");
    for (let i = 0; i < 100; i++) {
      tracker.want(one, [route(`10.${i}.0.0/16`)]);
      carryOut(tracker);
    }
    tracker.want(one, []);
    carryOut(tracker);
    for (let i = 0; i < 100; i++) {
      const foreign = route(`10.${i}.0.0/16`);
      tracker.drift([{ key: routeKind.key(foreign), actual: have(foreign, false) }]);
      tracker.drift([{ key: routeKind.key(foreign) }]);
    }
    tracker.replaceActual([]);
    carryOut(tracker);
    expect(tracker.pending).toBe(0);
    expect([...tracker.allDesired(), ...tracker.conflicts, ...tracker.actual]).toEqual([]);
    expect(one.slots).toEqual([]);
  });
});

/** What one unit wants at one time. */
interface Wishes {
  readonly unit: string;
  readonly services: readonly IpvsService[];
  readonly destinations: readonly IpvsDestination[];
}

/** For each of four units what it wants, one after the other. Units meet at three addresses. */
function story({ below, pick }: Random): readonly (readonly Wishes[])[] {
  const addresses = ["10.96.0.1:80", "10.96.0.2:80", "10.96.0.3:80"];
  const wishes = (unit: string): Wishes => {
    const ats = addresses.filter(() => below(2) === 0);
    const scheduler = pick(["rr", "lc"]);
    return {
      unit,
      services: ats.map((at) => ipvs(at, { scheduler })),
      destinations: ats.flatMap((at) =>
        Array.from({ length: below(4) }, () => destination(at, `10.1.0.${below(5)}:8080`))
      ),
    };
  };
  return ["a", "b", "c", "d"].map((unit) =>
    Array.from({ length: 1 + below(4) }, () => wishes(unit))
  );
}

/** All wishes in some order that keeps each unit's own. */
function interleave(
  stories: readonly (readonly Wishes[])[],
  { pick }: Random,
): readonly Wishes[] {
  const left = stories.map((each) => [...each]);
  const order: Wishes[] = [];
  for (let open = left.filter((each) => each.length > 0); open.length > 0;) {
    order.push(pick(open).shift() as Wishes);
    open = left.filter((each) => each.length > 0);
  }
  return order;
}

/** Trackers on a Linux in which a lost service loses its destinations. */
/** @param grouped whether keys are found by groups, as those of many items are */
function world(grouped = false) {
  const service = (key: string) => key.slice(0, key.indexOf(" -> "));
  const services = new Tracker<IpvsService>(
    grouped ? { ...ipvsService, group: () => "all" } : ipvsService,
  );
  const destinations = new Tracker<IpvsDestination>(
    grouped ? { ...ipvsDestination, group: service } : ipvsDestination,
    services as Tracker<unknown>,
  );
  const linux = {
    services: new Map<string, Actual<IpvsService>>(),
    destinations: new Map<string, Actual<IpvsDestination>>(),
  };
  const units = new Map<string, Unit>();
  const apply = <T>(
    tracker: Tracker<T>,
    there: Map<string, Actual<T>>,
    verbs: "upserts" | "deletes",
  ) => {
    for (const op of tracker.take(verbs)) {
      const key = tracker.resource.key(op.item);
      if (op.verb === "create" && there.has(key)) throw new Error(`EEXIST ${key}`);
      if (op.verb !== "create" && !there.has(key)) throw new Error(`ENOENT ${key}`);
      if (op.verb === "delete") there.delete(key);
      else there.set(key, have(op.item));
      tracker.applied(op);
    }
  };
  return {
    services,
    destinations,
    linux,
    wish({ unit: name, ...wanted }: Wishes): void {
      const who = units.get(name) ?? unit(name);
      units.set(name, who);
      services.want(who, wanted.services);
      destinations.want(who, wanted.destinations);
    },
    round(): void {
      apply(services, linux.services, "upserts");
      apply(destinations, linux.destinations, "upserts");
      apply(destinations, linux.destinations, "deletes");
      apply(services, linux.services, "deletes");
    },
    /** Somebody removes a service by hand. */
    lose(key: string): void {
      linux.services.delete(key);
      const lost = [...linux.destinations.keys()].filter((each) => each.startsWith(`${key} -> `));
      for (const each of lost) linux.destinations.delete(each);
      services.drift([{ key }]);
      destinations.drift(lost.map((each) => ({ key: each })));
    },
    /** Linux as text. */
    end: () =>
      [...linux.services.values(), ...linux.destinations.values()]
        .map(({ item }) => JSON.stringify(item)).toSorted().join("\n"),
  };
}

describe("whatever the order of events", () => {
  test.each(seeds(150))("the end is the same, and a second plan is empty (seed %i)", (seed) => {
    const dice = random(seed);
    const stories = story(dice);
    const last = world();
    for (const each of stories) last.wish(each.at(-1) as Wishes);
    last.round();
    const expected = { linux: last.end(), conflicts: [...last.services.conflicts].toSorted(byKey) };
    const variants = ["once", "duplicated", "with rounds", "with drift", "with lists"];
    for (const variant of [...variants, ...variants.map((each) => `${each}, grouped`)]) {
      const tried = world(variant.endsWith("grouped"));
      for (const wishes of interleave(stories, dice)) {
        tried.wish(wishes);
        if (variant.startsWith("duplicated")) tried.wish(structuredClone(wishes));
        if (!variant.startsWith("once") && dice.below(2) === 0) tried.round();
        const known = [...tried.linux.services.keys()];
        if (variant.startsWith("with drift") && known.length > 0) tried.lose(dice.pick(known));
        if (variant.startsWith("with lists")) {
          const copy = <T>(items: Iterable<T>) => [...items].map((item) => structuredClone(item));
          tried.services.replaceActual(copy(tried.linux.services.values()));
          tried.destinations.replaceActual(copy(tried.linux.destinations.values()));
        }
      }
      tried.round();
      expect(tried.end()).toBe(expected.linux);
      expect([...tried.services.conflicts].toSorted(byKey)).toEqual(expected.conflicts);
      expect(tried.services.pending + tried.destinations.pending).toBe(0);
      for (
        const [tracker, there] of [
          [tried.services, tried.linux.services],
          [tried.destinations, tried.linux.destinations],
        ] as unknown as [Tracker<unknown>, Map<string, Actual<unknown>>][]
      ) {
        const { upserts, deletes } = plan(tracker.resource, tracker.allDesired(), there.values());
        expect([...upserts, ...deletes]).toEqual([]);
        expect(tracker.owned()).toBe(there.size);
      }
    }
  });
});

function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
