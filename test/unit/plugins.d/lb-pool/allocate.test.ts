import { describe, expect, test } from "bun:test";
import { allocate, type Decision } from "../../../../plugins.d/lb-pool/allocate.ts";
import { claimOf, isOurs, keyOf } from "../../../../plugins.d/lb-pool/claims.ts";
import { parsePool, rangeOf } from "../../../../plugins.d/lb-pool/pool.ts";
import { sorted, usageOf } from "../../../../plugins.d/lb-pool/world.ts";
import type { Service } from "../../../../src/kernel/plugin.ts";
import { service, type ServiceChanges } from "../../../support/objects.ts";
import { random, seeds } from "../../../support/random.ts";

const RANGES = parsePool(["10.9.0.0/30", "fd00:9::/126", "blue=10.8.0.0/30"]);
const RULE = { className: "ours", isDefault: true };

interface Changes extends ServiceChanges {
  readonly have?: readonly string[];
  readonly notes?: Readonly<Record<string, string>>;
  readonly age?: number;
}

function balanced(
  name: string,
  { have = [], notes = {}, age = 0, ...changes }: Changes = {},
): Service {
  const made = service(`default/${name}`, {
    type: "LoadBalancer",
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
    metadata: {
      annotations: notes,
      creationTimestamp: `2026-01-01T00:00:${String(age).padStart(2, "0")}Z`,
      ...changes.metadata,
    },
    ...changes,
  });
  return { ...made, status: { loadBalancer: { ingress: have.map((ip) => ({ ip })) } } };
}

const DUAL = { ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "RequireDualStack" } as const;
const PREFER = { ...DUAL, ipFamilyPolicy: "PreferDualStack" } as const;
const shared = (key: string, port: number, changes: Changes = {}): Changes => ({
  ports: [{ port }],
  notes: { "routelet.io/allow-shared-ip": key },
  ...changes,
});

/** The decisions by name. */
function decided(
  services: readonly Service[],
  ranges = RANGES,
  reserved: ReadonlyMap<string, readonly string[]> = new Map(),
): Readonly<Record<string, Decision>> {
  const { claims, others } = sorted(services, ranges, RULE);
  const decisions = allocate({ ranges, claims, others, reserved });
  return Object.fromEntries([...decisions].map(([key, value]) => [key.slice(8), value]));
}

const given = (services: readonly Service[], ranges = RANGES) =>
  Object.fromEntries(
    Object.entries(decided(services, ranges)).map(([name, { addresses }]) => [name, addresses]),
  );

describe("an address", () => {
  test("is the lowest that is free, for the older first, in the order of the ranges", () => {
    const ranges = parsePool(["10.9.0.8/31", "10.9.0.0/31"]);
    const all = [balanced("b", { age: 2 }), balanced("a", { age: 3 }), balanced("c", { age: 1 })];
    expect(given(all, ranges)).toEqual({ c: ["10.9.0.8"], b: ["10.9.0.9"], a: ["10.9.0.0"] });
  });

  test("that a Service has is kept, whatever is free", () => {
    expect(given([balanced("a", { have: ["10.9.0.3"] })])).toEqual({ a: ["10.9.0.3"] });
  });

  test("of no range is left with the Service, and counts as its own", () => {
    const [only] = Object.values(decided([balanced("a", { have: ["192.0.2.1"] })]));
    expect(only).toEqual({ addresses: [] });
  });

  test("is not given where anybody else's Service has it, by status or as an external IP", () => {
    const others = [
      balanced("theirs", { loadBalancerClass: "theirs", have: ["10.9.0.0"] }),
      service("default/external", { externalIPs: ["10.9.0.1"] }),
    ];
    expect(given([...others, balanced("a")])).toEqual({ a: ["10.9.0.2"] });
  });

  test("stays where a stranger has it as well, and the Service is told", () => {
    const stranger = service("x/y", { externalIPs: ["10.9.0.0"] });
    const { a } = decided([stranger, balanced("a", { have: ["10.9.0.0"] })]);
    expect(a).toEqual({
      addresses: ["10.9.0.0"],
      problem: 'Its address 10.9.0.0 is in use by Service "x/y" as an external IP as well',
    });
  });

  test("that two have is kept by the older; the younger gets another", () => {
    const two = [
      balanced("young", { age: 2, have: ["10.9.0.0"] }),
      balanced("old", { age: 1, have: ["10.9.0.0"] }),
    ];
    expect(given(two)).toEqual({ young: ["10.9.0.1"], old: ["10.9.0.0"] });
  });

  test("of which no answer came yet is given to nobody else, and to its Service again", () => {
    const all = [balanced("a", { age: 1 }), balanced("b", { age: 2 })];
    const reserved = new Map([["default/b", ["10.9.0.0"]]]);
    const { a, b } = decided(all, RANGES, reserved);
    expect([a?.addresses, b?.addresses]).toEqual([["10.9.0.1"], ["10.9.0.0"]]);
  });

  test("is free for others only when it is out of the status of who had it", () => {
    const moving = balanced("moving", { have: ["10.9.0.0"], loadBalancerIP: "10.9.0.2" });
    expect(given([moving, balanced("new", { age: 9 })])).toEqual({
      moving: ["10.9.0.2"],
      new: ["10.9.0.1"],
    });
  });

  test("is kept, and no new one given, while the Service is being deleted", () => {
    const leaving = { metadata: { deletionTimestamp: "2026-01-01T00:00:00Z" } };
    expect(given([
      balanced("has", { ...leaving, have: ["10.9.0.0"] }),
      balanced("none", leaving),
    ])).toEqual({ has: ["10.9.0.0"], none: [] });
  });
});

describe("a class", () => {
  test.each([
    ["ours", true, true],
    ["ours", false, true],
    [undefined, true, true],
    [undefined, false, false],
    ["", false, false],
    ["default", true, true],
    ["theirs", true, false],
  ])("%j with default %p: %p", (loadBalancerClass, isDefault, wanted) => {
    const one = balanced("a", loadBalancerClass === undefined ? {} : { loadBalancerClass });
    expect(isOurs(one, { className: "ours", isDefault })).toBe(wanted);
  });

  test("matters for the type LoadBalancer alone", () => {
    expect(isOurs(balanced("a", { type: "NodePort" }), RULE)).toBeFalse();
  });
});

describe("a request", () => {
  const asks = (text: string, changes: Changes = {}) =>
    decided([balanced("a", { loadBalancerIP: text, ...changes })])["a"];

  test("is met by field and by annotation, that of MetalLB too", () => {
    expect(asks("10.9.0.2")).toEqual({ addresses: ["10.9.0.2"] });
    for (const name of ["routelet.io/loadBalancerIPs", "metallb.io/loadBalancerIPs"]) {
      const notes = { [name]: "fd00:9::0:3, 10.9.0.2" };
      const { a } = decided([balanced("a", { ...DUAL, notes })]);
      expect(a).toEqual({ addresses: ["10.9.0.2", "fd00:9::3"] });
    }
  });

  test("goes before older Services that take any, not before those that have it", () => {
    const all = [
      balanced("old", { age: 1 }),
      balanced("new", { age: 2, loadBalancerIP: "10.9.0.0" }),
    ];
    expect(given(all)).toEqual({ new: ["10.9.0.0"], old: ["10.9.0.1"] });
  });

  test("for one family leaves the other to the pool", () => {
    expect(asks("10.9.0.2", DUAL)).toEqual({ addresses: ["10.9.0.2", "fd00:9::"] });
  });

  test("moves a Service that has another", () => {
    expect(asks("10.9.0.2", { have: ["10.9.0.0"] })).toEqual({ addresses: ["10.9.0.2"] });
  });

  test("may name an address of a pool that is not the Service's", () => {
    expect(asks("10.8.0.1")).toEqual({ addresses: ["10.8.0.1"] });
  });

  test.each([
    [
      "outside",
      "10.7.0.1",
      {},
      "It asks for 10.7.0.1, which is in no range of the pool (10.9.0.0/30, fd00:9::/126, 10.8.0.0/30)",
    ],
    [
      "of the wrong family",
      "fd00:9::1",
      {},
      "It asks for fd00:9::1, and its ipFamilies have no IPv6; correct one",
    ],
    ["that is no address", "web", {}, 'It asks for "web", which is no address; correct it'],
    [
      "twice",
      "10.9.0.1",
      { notes: { "routelet.io/loadBalancerIPs": "10.9.0.2" } },
      'It asks for "10.9.0.1" in loadBalancerIP and for "10.9.0.2" in its annotation; remove one',
    ],
    [
      "of two of one family",
      "",
      { notes: { "routelet.io/loadBalancerIPs": "10.9.0.2,10.9.0.1" } },
      'It asks for two addresses of one family ("10.9.0.2,10.9.0.1"); remove one',
    ],
  ])("%s is refused, and what the Service has stays", (_, text, changes, problem) => {
    const kept = asks(text, { ...changes, have: ["10.9.0.3"] });
    expect(kept).toEqual({ addresses: ["10.9.0.3"], problem });
    const fresh = asks(text, changes);
    expect(fresh?.problem).toBe(problem);
    // One of another family does not keep the Service from an address of its own.
    expect(fresh?.addresses).toEqual(text.startsWith("fd00") ? ["10.9.0.0"] : []);
  });

  test("for an address that is in use names who has it", () => {
    const all = [
      balanced("has", { have: ["10.9.0.1"] }),
      balanced("a", { loadBalancerIP: "10.9.0.1" }),
    ];
    expect(decided(all)["a"]).toEqual({
      addresses: [],
      problem: 'It asks for 10.9.0.1, but it is in use by Service "default/has"',
    });
  });
});

describe("two families", () => {
  test("are both given where both are wanted", () => {
    expect(given([balanced("a", DUAL), balanced("b", { ...PREFER, age: 1 })])).toEqual({
      a: ["10.9.0.0", "fd00:9::"],
      b: ["10.9.0.1", "fd00:9::1"],
    });
  });

  test("or none, where both are required and one is out", () => {
    const ranges = parsePool(["10.9.0.0/30"]);
    expect(decided([balanced("a", DUAL)], ranges)["a"]).toEqual({
      addresses: [],
      problem: "It wants an IPv6 address, and the pool has no IPv6 range; add one; " +
        "It gets nothing new: RequireDualStack needs both families",
    });
    // kube-router refuses what it has one of already.
    const half = [balanced("a", { ...DUAL, have: ["10.9.0.3"] })];
    expect(given(half)).toEqual({ a: ["10.9.0.3", "fd00:9::"] });
  });

  test("or the one that there is, where both are preferred", () => {
    expect(decided([balanced("a", PREFER)], parsePool(["10.9.0.0/30"]))["a"]).toEqual({
      addresses: ["10.9.0.0"],
    });
    const full = parsePool(["10.9.0.0/30", "fd00:9::1"]);
    const all = [balanced("a", { ...PREFER, age: 1 }), balanced("b", { ...PREFER, age: 2 })];
    expect(decided(all, full)["b"]).toEqual({
      addresses: ["10.9.0.1"],
      problem:
        "No IPv6 address is free: all 1 of the pool are in use; add a range, or delete Services",
    });
  });

  test("lose the one that is wanted no more", () => {
    expect(given([balanced("a", { have: ["10.9.0.0", "fd00:9::"] })])).toEqual({ a: ["10.9.0.0"] });
  });

  test("come from the cluster IPs where the API server names none", () => {
    const old = balanced("a", { ipFamilies: [], clusterIPs: ["fd00:96::1"] });
    expect(given([old])).toEqual({ a: ["fd00:9::"] });
    const none = balanced("a", { ipFamilies: [], clusterIPs: [], loadBalancerIP: "10.9.0.1" });
    expect(decided([none])["a"]?.problem).toStartWith("It has neither ipFamilies nor a cluster IP");
  });
});

describe("a shared address", () => {
  const twice = (a: Changes, b: Changes) =>
    given([balanced("a", { ...a, age: 1 }), balanced("b", { ...b, age: 2 })]);

  test("is that of the Services of one key, each with other ports", () => {
    expect(twice(shared("k", 80), shared("k", 443))).toEqual({ a: ["10.9.0.0"], b: ["10.9.0.0"] });
    const udp = { ports: [{ port: 80, protocol: "UDP" }] };
    expect(twice(shared("k", 80), { ...shared("k", 0), ...udp })["b"]).toEqual(["10.9.0.0"]);
  });

  test.each([
    ["the same port", shared("k", 80), shared("k", 80)],
    ["another key", shared("k", 80), shared("l", 443)],
    ["no key", shared("k", 80), { ports: [{ port: 443 }] }],
    [
      "traffic policies that differ",
      shared("k", 80),
      shared("k", 443, { externalTrafficPolicy: "Local" }),
    ],
    [
      "the policy Local and other pods",
      shared("k", 80, { externalTrafficPolicy: "Local", selector: { app: "a" } }),
      shared("k", 443, { externalTrafficPolicy: "Local", selector: { app: "b" } }),
    ],
  ])("is not had with %s", (_, a, b) => {
    expect(twice(a, b)).toEqual({ a: ["10.9.0.0"], b: ["10.9.0.1"] });
  });

  test("is had with the policy Local and the very same pods", () => {
    const local = { externalTrafficPolicy: "Local", selector: { x: "1", app: "a" } };
    const other = { externalTrafficPolicy: "Local", selector: { app: "a", x: "1" } };
    expect(twice(shared("k", 80, local), shared("k", 443, other))["b"]).toEqual(["10.9.0.0"]);
  });

  test("is left by the younger that may share it no more", () => {
    const have = { have: ["10.9.0.0"] };
    expect(twice(shared("k", 80, have), shared("k", 80, have))).toEqual({
      a: ["10.9.0.0"],
      b: ["10.9.0.1"],
    });
  });

  test("is not had on request either, with the reason", () => {
    const all = [
      balanced("a", shared("k", 80, { age: 1, have: ["10.9.0.0"] })),
      balanced("b", shared("k", 80, { age: 2, loadBalancerIP: "10.9.0.0" })),
    ];
    expect(decided(all)["b"]?.problem).toBe(
      'It asks for 10.9.0.0, but it is in use by Service "default/a", which has port TCP/80 as well',
    );
  });
});

describe("a pool", () => {
  test("with a name is for those who ask for it, and they get no other", () => {
    const notes = { "routelet.io/address-pool": "blue" };
    expect(given([balanced("a"), balanced("b", { notes })])).toEqual({
      a: ["10.9.0.0"],
      b: ["10.8.0.0"],
    });
    const wrong = { "metallb.io/address-pool": "green" };
    expect(decided([balanced("c", { notes: wrong })])["c"]?.problem).toBe(
      'It wants an IPv4 address, and the pool "green" has no IPv4 range; add one',
    );
  });

  test("that is full says so, in the same words for as long as it is", () => {
    const all = Array.from({ length: 6 }, (_, i) => balanced(`s${i}`, { age: i }));
    const late = Object.values(decided(all)).filter(({ problem }) => problem !== undefined);
    expect(late).toHaveLength(2);
    expect(new Set(late.map(({ problem }) => problem))).toEqual(
      new Set([
        "No IPv4 address is free: all 4 of the pool are in use; add a range, or delete Services",
      ]),
    );
  });

  test("is counted by name and family", () => {
    const { claims, others } = sorted(
      [balanced("a", { have: ["10.9.0.0", "fd00:9::1"] })],
      RANGES,
      RULE,
    );
    expect(usageOf(RANGES, { claims, others })).toEqual([
      { pool: "", family: 4, size: 4, used: 1 },
      { pool: "", family: 6, size: 4, used: 1 },
      { pool: "blue", family: 4, size: 4, used: 0 },
    ]);
  });

  test("of a size that nobody can count through costs nothing", () => {
    const huge = parsePool(["fd00::/8", "10.0.0.0/8"]);
    expect(given([balanced("a", DUAL)], huge)).toEqual({ a: ["10.0.0.0", "fd00::"] });
  });
});

test("a Service of another type with addresses of the pool is a stray", () => {
  const gone = balanced("a", { type: "ClusterIP", have: ["10.9.0.0"] });
  const { strays, claims, others } = sorted([gone], RANGES, RULE);
  expect(strays).toEqual([gone]);
  expect(claims).toEqual([]);
  expect([...others.keys()]).toEqual(["10.9.0.0"]);
});

/** Carries out some decisions in a random order, as writes may come, and checks after each what must always hold. */
describe("whatever comes and goes", () => {
  test.each(seeds(60))("nobody's address is given twice, and all settles (seed %i)", (seed) => {
    const { below, pick, shuffle } = random(seed);
    const ranges = parsePool(["10.9.0.0/29", "fd00:9::/125", "blue=10.8.0.0/31"]);
    const services = new Map<string, Service>();
    const make = (name: string): Service =>
      balanced(name, {
        age: below(60),
        have: services.get(name)?.status.loadBalancer.ingress.flatMap(({ ip }) => ip ?? []) ?? [],
        ports: [{ port: 80 + below(3) }],
        ...pick([{}, {}, DUAL, PREFER, { ipFamilies: ["IPv6"] }]),
        ...pick([{}, {}, { loadBalancerIP: `10.9.0.${below(10)}` }]),
        notes: pick([{}, {}, { "routelet.io/allow-shared-ip": "k" }, {
          "routelet.io/address-pool": "blue",
        }]),
        ...pick([{}, {}, {}, { loadBalancerClass: "theirs" }, { type: "ClusterIP" }]),
      });
    const write = (name: string, addresses: readonly string[]): void => {
      const one = services.get(name);
      if (one === undefined) return;
      services.set(name, {
        ...one,
        status: { loadBalancer: { ingress: addresses.map((ip) => ({ ip })) } },
      });
    };
    const ours = () => [...services.values()].filter((one) => isOurs(one, RULE));
    /** Nobody who may not share it has an address at the moment at which it is written for another. */
    const check = (name: string, addresses: readonly string[]): void => {
      const claim = claimOf(services.get(name) as Service);
      const added = addresses.filter((text) => !claim.have.includes(text));
      for (const one of services.values()) {
        const other = claimOf(one);
        if (other.key === claim.key || !added.some((text) => other.have.includes(text))) continue;
        expect(isOurs(one, RULE) && claim.sharing !== undefined).toBeTrue();
        expect(other.sharing).toBe(claim.sharing);
        expect(other.ports.filter((port) => claim.ports.includes(port))).toEqual([]);
      }
    };
    const round = (share: number): number => {
      const decisions = Object.entries(decided([...services.values()], ranges));
      let writes = 0;
      for (const [name, { addresses }] of shuffle(decisions)) {
        const have = claimOf(services.get(name) as Service).have;
        if (have.toSorted().join() === addresses.toSorted().join() || below(100) >= share) continue;
        check(name, addresses);
        write(name, addresses);
        writes++;
      }
      return writes;
    };
    for (let step = 0; step < 40; step++) {
      const name = `s${below(14)}`;
      if (below(3) === 0) services.delete(name);
      else services.set(name, make(name));
      round(70);
    }
    let rounds = 0;
    while (round(100) > 0) expect(++rounds).toBeLessThan(20);
    // All that is free has been given: who lacks one does so for want of it.
    const used = new Set([...services.values()].flatMap((one) => claimOf(one).have));
    const free = (family: number): boolean =>
      (family === 4 ? Array.from({ length: 8 }, (_, i) => `10.9.0.${i}`) : [])
        .some((text) => !used.has(text));
    for (const one of ours()) {
      const claim = claimOf(one);
      expect(new Set(claim.have.map((text) => rangeOf(ranges, text)?.family)).size).toBe(
        claim.have.length,
      );
      if (
        claim.pool === "" && claim.requested.length === 0 && !claim.both &&
        claim.families.includes(4) && claim.have.every((text) => text.includes(":"))
      ) {
        expect([keyOf(one), free(4)]).toEqual([keyOf(one), false]);
      }
    }
    // The order in which Services are read does not matter.
    const one = decided([...services.values()], ranges);
    expect(decided(shuffle([...services.values()]), ranges)).toEqual(one);
  });
});
