import { describe, expect, test } from "bun:test";
import { parseCidr } from "../../../../src/kernel/ip.ts";
import { ownRoutes } from "../../../../src/plugins/router/own-routes.ts";
import type { VipState } from "../../../../src/plugins/router/vip-set.ts";
import { random } from "../../../support/random.ts";

function world(states: Readonly<Record<string, VipState>>, ...ranges: readonly string[]) {
  const vips = new Map<string, VipState>(Object.entries(states));
  const known = { states: () => vips, state: (address: string) => vips.get(address) };
  const cidrs = ranges.flatMap((text) => parseCidr(text) ?? []);
  const routes = ownRoutes(known, cidrs);
  const renew = () => routes.renew({ podCidrs: ["10.244.1.0/24"], nextHops: { 4: "10.0.0.1" } });
  renew();
  return {
    vips,
    routes,
    renew,
    /** The prefixes that stand for VIPs, sorted. */
    prefixes: () => [...routes.all.keys()].filter((text) => text !== "10.244.1.0/24").toSorted(),
    set(address: string, state: VipState | undefined): readonly string[] {
      if (state === undefined) vips.delete(address);
      else vips.set(address, state);
      return routes.moved([address]).toSorted();
    },
  };
}

test("own routes have the node's address of their family; without one they are left out", () => {
  const { routes } = world({ "10.96.0.1": "everywhere", "fd96::1": "here" });
  expect([...routes.all.values()]).toEqual([
    { prefix: "10.244.1.0/24", nextHop: "10.0.0.1", class: "pod", origin: "igp" },
    { prefix: "10.96.0.1/32", nextHop: "10.0.0.1", class: "vip", origin: "igp" },
  ]);
  routes.renew({ podCidrs: ["10.244.1.0/24", "fd01::/64"], nextHops: { 6: "fd00::1" } });
  expect([...routes.all.keys()]).toEqual(["fd01::/64", "fd96::1/128"]);
});

test("a VIP that moved is looked at alone", () => {
  const { vips, routes, set } = world({ "10.96.0.1": "everywhere" });
  routes.renew({ podCidrs: ["10.244.1.0/24", "10.96.0.9/32"], nextHops: { 4: "10.0.0.1" } });
  const kept = routes.all.get("10.96.0.1/32");
  vips.set("10.96.0.2", "here").set("10.96.0.9", "everywhere");
  expect(routes.moved(["10.96.0.2", "10.96.0.9"])).toEqual(["10.96.0.2/32"]);
  expect(routes.all.get("10.96.0.1/32")).toBe(kept as NonNullable<typeof kept>);
  expect(routes.all.get("10.96.0.9/32")?.class).toBe("pod");
  expect(set("10.96.0.1", undefined)).toEqual(["10.96.0.1/32"]);
  expect([...routes.all.keys()]).toEqual(["10.244.1.0/24", "10.96.0.9/32", "10.96.0.2/32"]);
});

describe("a service range", () => {
  test("stands for the VIPs that every node announces, beside those that not every one does", () => {
    const { routes, prefixes, set } = world(
      { "10.96.0.1": "everywhere", "10.96.0.2": "here", "10.33.1.1": "everywhere" },
      "10.96.0.0/12",
    );
    expect(prefixes()).toEqual(["10.33.1.1/32", "10.96.0.0/12", "10.96.0.2/32"]);
    expect(routes.all.get("10.96.0.0/12")?.class).toBe("vip");
    // One more or less of what it stands for is no news to anybody.
    expect(set("10.96.0.3", "everywhere")).toEqual([]);
    expect(set("10.96.0.1", undefined)).toEqual([]);
    // The policy of a Service changes.
    expect(set("10.96.0.3", "here")).toEqual(["10.96.0.0/12", "10.96.0.3/32"]);
    expect(prefixes()).toEqual(["10.33.1.1/32", "10.96.0.2/32", "10.96.0.3/32"]);
    expect(routes.aggregates).toEqual([]);
  });

  test("leaves out what nobody may announce, where that still saves routes", () => {
    const { routes, prefixes, set } = world(
      { "10.0.0.0": "everywhere", "10.0.0.1": "everywhere", "10.0.0.4": "everywhere" },
      "10.0.0.0/29",
    );
    expect(prefixes()).toEqual(["10.0.0.0/29"]);
    expect(set("10.0.0.5", "nowhere"))
      .toEqual(["10.0.0.0/29", "10.0.0.0/30", "10.0.0.4/32", "10.0.0.6/31"]);
    // The neighbour of what is left out is announced singly.
    expect(prefixes()).toEqual(["10.0.0.0/30", "10.0.0.4/32", "10.0.0.6/31"]);
    expect(routes.aggregates).toEqual(["10.0.0.0/30", "10.0.0.6/31"]);
    // More networks than VIPs: each VIP for itself.
    set("10.0.0.0", undefined);
    set("10.0.0.1", undefined);
    expect(prefixes()).toEqual(["10.0.0.4/32"]);
    expect(set("10.0.0.5", undefined)).toEqual(["10.0.0.0/29", "10.0.0.4/32"]);
    expect(prefixes()).toEqual(["10.0.0.0/29"]);
  });

  test("comes to the same by any sequence of changes, and tells of each", () => {
    const next = random(5);
    const states = ["everywhere", "here", "nowhere", undefined] as const;
    const changing = world({}, "10.0.0.0/28", "10.0.1.0/30");
    const told = new Map<string, boolean>();
    for (let round = 0; round < 500; round++) {
      const address = `10.0.${next.below(2)}.${next.below(20)}`;
      for (const prefix of changing.set(address, states[next.below(4)])) {
        told.set(prefix, changing.routes.all.has(prefix));
      }
      const fresh = world(Object.fromEntries(changing.vips), "10.0.0.0/28", "10.0.1.0/30");
      expect(changing.prefixes()).toEqual(fresh.prefixes());
      expect([...told].filter(([, has]) => has).map(([prefix]) => prefix).toSorted())
        .toEqual(changing.prefixes());
    }
  });
});

describe("what plugins ask for", () => {
  const requested = (...wanted: readonly string[]) => {
    const asked = new Set(wanted);
    const vips = new Map<string, VipState>();
    const routes = ownRoutes(
      { states: () => vips, state: (address) => vips.get(address) },
      [],
      {
        prefixes: () => asked,
        route: (prefix, nextHops) =>
          asked.has(prefix) && nextHops[4] !== undefined
            ? { prefix, nextHop: nextHops[4], class: "plugin", origin: "igp" }
            : undefined,
      },
    );
    routes.renew({ podCidrs: ["10.244.1.0/24"], nextHops: { 4: "10.0.0.1" } });
    const move = (address: string, state?: VipState) => {
      if (state === undefined) vips.delete(address);
      else vips.set(address, state);
      return routes.moved([address]);
    };
    return { asked, routes, move, classOf: (prefix: string) => routes.all.get(prefix)?.class };
  };

  test("is announced beside the node's own, and goes when nobody asks any more", () => {
    const { asked, routes, classOf } = requested("192.0.2.0/24");
    expect(classOf("192.0.2.0/24")).toBe("plugin");
    asked.add("198.51.100.0/24").delete("192.0.2.0/24");
    expect(routes.requested(["192.0.2.0/24", "198.51.100.0/24"])).toEqual([
      "192.0.2.0/24",
      "198.51.100.0/24",
    ]);
    expect([...routes.all.keys()]).toEqual(["10.244.1.0/24", "198.51.100.0/24"]);
  });

  test("lives on when a Service that had the same address goes, and the other way round", () => {
    const { asked, routes, move, classOf } = requested("10.96.0.1/32");
    expect(move("10.96.0.1", "everywhere")).toEqual(["10.96.0.1/32"]);
    expect(classOf("10.96.0.1/32")).toBe("vip");
    expect(move("10.96.0.1")).toEqual(["10.96.0.1/32"]);
    expect(classOf("10.96.0.1/32")).toBe("plugin");
    move("10.96.0.1", "here");
    asked.clear();
    expect(routes.requested(["10.96.0.1/32"])).toEqual([]);
    expect(classOf("10.96.0.1/32")).toBe("vip");
    expect(move("10.96.0.1")).toEqual(["10.96.0.1/32"]);
    expect(classOf("10.96.0.1/32")).toBeUndefined();
  });

  test("never stands for a pod network", () => {
    const { routes, classOf } = requested("10.244.1.0/24");
    expect(classOf("10.244.1.0/24")).toBe("pod");
    expect(routes.requested(["10.244.1.0/24"])).toEqual([]);
  });
});
