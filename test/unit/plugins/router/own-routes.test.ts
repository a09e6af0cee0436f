import { expect, test } from "bun:test";
import { ownRoutes } from "../../../../src/plugins/router/own-routes.ts";

function world(...addresses: readonly string[]) {
  const vips = new Set(addresses);
  return { vips, routes: ownRoutes({ addresses: () => vips, has: (vip) => vips.has(vip) }) };
}

test("own routes have the node's address of their family; without one they are left out", () => {
  const { routes } = world("10.96.0.1", "fd96::1");
  const podCidrs = ["10.244.1.0/24", "fd01::/64"];
  routes.renew({ podCidrs, nextHops: { 4: "10.0.0.1" } });
  expect([...routes.all.values()]).toEqual([
    { prefix: "10.244.1.0/24", nextHop: "10.0.0.1", class: "pod", origin: "igp" },
    { prefix: "10.96.0.1/32", nextHop: "10.0.0.1", class: "vip", origin: "igp" },
  ]);
  routes.renew({ podCidrs, nextHops: { 6: "fd00::1" } });
  expect([...routes.all.keys()]).toEqual(["fd01::/64", "fd96::1/128"]);
});

test("a VIP that moved is looked at alone", () => {
  const { vips, routes } = world("10.96.0.1");
  routes.renew({ podCidrs: ["10.244.1.0/24", "10.96.0.9/32"], nextHops: { 4: "10.0.0.1" } });
  const kept = routes.all.get("10.96.0.1/32");
  vips.add("10.96.0.2").add("10.96.0.9");
  expect(routes.moved(["10.96.0.2", "10.96.0.9"])).toEqual(["10.96.0.2/32"]);
  expect(routes.all.get("10.96.0.1/32")).toBe(kept as NonNullable<typeof kept>);
  expect(routes.all.get("10.96.0.9/32")?.class).toBe("pod");
  vips.delete("10.96.0.1");
  expect(routes.moved(["10.96.0.1"])).toEqual(["10.96.0.1/32"]);
  expect([...routes.all.keys()]).toEqual(["10.244.1.0/24", "10.96.0.9/32", "10.96.0.2/32"]);
});
