import { expect, test } from "bun:test";
import { listServices } from "../../../../src/plugins/proxy/service-list.ts";
import { service, slice } from "../../../support/objects.ts";

const SERVICES = [
  service("shop/web", { clusterIPs: ["10.96.0.1"], ports: [{ nodePort: 30080 }] }),
  service("shop/cart", { clusterIPs: ["10.96.0.2"] }),
  service("default/kubernetes", { clusterIPs: ["10.96.1.1"] }),
];
const RATES = new Map([["shop/cart", { connectionRate: 5, inByteRate: 1, outByteRate: 2 }]]);

function list(changes: Partial<Parameters<typeof listServices>[3]> = {}) {
  const query = { offset: 0, limit: 10, find: "", order: "rate", ...changes } as const;
  return listServices(
    SERVICES,
    (unit) => unit === "shop/web" ? [slice("shop/web-1", ["10.1.1.1"])] : [],
    RATES,
    query,
  );
}
const names = (answer: ReturnType<typeof list>) => answer.services.map(({ name }) => name);

test("the busiest Services come first, then all by name", () => {
  expect(names(list())).toEqual(["shop/cart", "default/kubernetes", "shop/web"]);
  expect(names(list({ order: "name" }))).toEqual(["default/kubernetes", "shop/cart", "shop/web"]);
});

test("a part of a name or of an address finds them", () => {
  expect(names(list({ find: "SHOP/" }))).toEqual(["shop/cart", "shop/web"]);
  expect(names(list({ find: "10.96.0." }))).toEqual(["shop/cart", "shop/web"]);
  expect(list({ find: "nothing" })).toEqual({ total: 0, services: [] });
});

test("a page holds so many, and says of how many", () => {
  const page = list({ offset: 1, limit: 1, order: "name" });
  expect(names(page)).toEqual(["shop/cart"]);
  expect(page.total).toBe(3);
  expect(list({ find: "web" }).services[0]).toMatchObject({
    ports: ["http 80/tcp (30080)"],
    endpoints: 1,
    connectionRate: 0,
  });
});
