import { expect, test } from "bun:test";
import { createAdvertisements } from "../../../../src/kernel/dataplane/advertisements.ts";
import { advertisement } from "../../../../src/kernel/dataplane/resources/advertisement.ts";

function world() {
  const registry = createAdvertisements(() => undefined);
  const told: string[][] = [];
  registry.subscribe((prefixes) => void told.push([...prefixes]));
  const change = (verb: "create" | "delete", plugin: string, prefix: string, med?: number) =>
    registry.table({ name: plugin, protocol: 204 }).apply([{
      verb,
      item: { prefix, ...(med === undefined ? {} : { med }) },
    }]);
  return {
    registry,
    told,
    ask: (plugin: string, prefix: string, med?: number) => change("create", plugin, prefix, med),
    leave: (plugin: string, prefix: string) => change("delete", plugin, prefix),
    askers: (prefix: string) => registry.of(prefix).map(({ plugin }) => plugin),
  };
}

test("a prefix that two plugins ask for is there until the last lets go, by the first one's attributes", async () => {
  const { registry, ask, leave, askers, told } = world();
  await ask("second", "192.0.2.0/24", 2);
  await ask("first", "192.0.2.0/24", 1);
  expect(askers("192.0.2.0/24")).toEqual(["first", "second"]);
  expect([...registry.prefixes()]).toEqual(["192.0.2.0/24"]);
  await leave("first", "192.0.2.0/24");
  expect(registry.of("192.0.2.0/24")[0]?.advertisement.med).toBe(2);
  await leave("second", "192.0.2.0/24");
  expect([...registry.prefixes()]).toEqual([]);
  expect(told).toHaveLength(4);
});

test("what a plugin that does not work asks for does not count, and is there again when it works", async () => {
  const { registry, ask, askers, told } = world();
  await ask("one", "192.0.2.0/24");
  registry.suspend("one", true);
  registry.suspend("one", true);
  expect(askers("192.0.2.0/24")).toEqual([]);
  expect([...registry.prefixes()]).toEqual([]);
  await ask("one", "198.51.100.0/24");
  registry.suspend("one", false);
  expect([...registry.prefixes()]).toEqual(["192.0.2.0/24", "198.51.100.0/24"]);
  expect(told).toEqual([
    ["192.0.2.0/24"],
    ["192.0.2.0/24"],
    ["192.0.2.0/24", "198.51.100.0/24"],
  ]);
});

test("a plugin lists what is its own", async () => {
  const { registry, ask } = world();
  await ask("one", "192.0.2.0/24");
  await ask("two", "198.51.100.0/24");
  const list = await registry.table({ name: "two", protocol: 205 }).list();
  expect(list).toEqual([{ item: { prefix: "198.51.100.0/24" }, owned: true }]);
});

test("without a router every advertisement is refused, with the remedy", () => {
  const table = createAdvertisements().table({ name: "one", protocol: 204 });
  expect(table.refuse?.({ prefix: "192.0.2.0/24" })).toBe(
    "nobody serves it, as no router runs on this node; start the agent with --run-router",
  );
});

test("spellings of one network are one key, and anything can be described", () => {
  expect(advertisement.key({ prefix: "2001:DB8:0::/32" })).toBe("2001:db8::/32");
  expect(
    advertisement.describe({
      prefix: "192.0.2.0/24",
      communities: ["65000:1", "no-export"],
      localPreference: 200,
      med: 5,
      nextHop: "10.0.0.9",
    }),
  ).toBe(
    "bgp advertisement 192.0.2.0/24 next hop 10.0.0.9 communities 65000:1 no-export local preference 200 med 5",
  );
  for (const odd of [{}, { prefix: 7 }, { prefix: "x", communities: "65000:1" }]) {
    expect(advertisement.describe(odd as never)).toStartWith("bgp advertisement ");
  }
});
