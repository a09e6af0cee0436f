import { describe, expect, test } from "bun:test";
import { createAdvertisements } from "../../../../src/kernel/dataplane/advertisements.ts";
import type { Advertisement } from "../../../../src/kernel/plugin.ts";
import {
  advertisementRefusal,
  requestedRoutes,
  requestProblems,
  requestTexts,
} from "../../../../src/plugins/router/requests.ts";

const BAD: readonly (readonly [unknown, string])[] = [
  [{}, "it is no network in CIDR notation"],
  [{ prefix: 7 }, "it is no network in CIDR notation"],
  [{ prefix: "192.0.2.1" }, "it is no network in CIDR notation"],
  [{ prefix: "192.0.2.0/33" }, "it is no network in CIDR notation"],
  [{ prefix: "192.0.2.1/24" }, "has bits behind its length; write 192.0.2.0/24"],
  [{ prefix: "0.0.0.0/0" }, "a default route would draw all traffic"],
  [{ prefix: "127.0.0.0/24" }, "nobody routes what is in 127.0.0.0/8"],
  [{ prefix: "fe80::1/128" }, "nobody routes what is in fe80::/10"],
  [{ prefix: "239.1.0.0/16" }, "nobody routes what is in 224.0.0.0/3"],
  [{ prefix: "192.0.2.0/24", nextHop: "2001:db8::1" }, "is no IPv4 address"],
  [{ prefix: "192.0.2.0/24", nextHop: "10.0.0.0/8" }, "is no IPv4 address"],
  [{ prefix: "192.0.2.0/24", nextHop: 5 }, "is no IPv4 address"],
  [{ prefix: "192.0.2.0/24", communities: ["70000:1"] }, 'it has community "70000:1"'],
  [{ prefix: "192.0.2.0/24", communities: "65000:1" }, "its communities are no list of texts"],
  [{ prefix: "192.0.2.0/24", localPreference: -1 }, "its localPreference cannot be -1"],
  [{ prefix: "192.0.2.0/24", med: "5" }, 'its med cannot be "5"'],
];

describe("an advertisement that cannot be served is refused with the reason", () => {
  for (const [asked, reason] of BAD) {
    test(JSON.stringify(asked), () => {
      expect(advertisementRefusal(asked as Advertisement)).toContain(reason);
    });
  }
});

test("what a router can announce is not refused", () => {
  for (
    const asked of [
      { prefix: "192.0.2.0/24" },
      { prefix: "203.0.113.7/32", communities: ["65000:1", "no-export", "65000:1:2", "42"] },
      { prefix: "2001:DB8::/32", nextHop: "2001:db8:1::1", localPreference: 0, med: 4294967295 },
    ]
  ) expect(advertisementRefusal(asked)).toBeUndefined();
});

async function asked(...list: readonly (readonly [plugin: string, Advertisement])[]) {
  const registry = createAdvertisements(advertisementRefusal);
  for (const [name, item] of list) {
    await registry.table({ name, protocol: 204 }).apply([{ verb: "create", item }]);
  }
  return registry;
}

test("a route has this node as its next hop, or the one that was asked for", async () => {
  const registry = await asked(
    ["one", { prefix: "192.0.2.0/24", communities: ["65000:1", "65000:1:2"], med: 7 }],
    ["one", { prefix: "198.51.100.0/24", nextHop: "10.0.0.9", localPreference: 200 }],
    ["two", { prefix: "192.0.2.0/24" }],
  );
  const { route } = requestedRoutes(registry, () => true);
  expect(route("192.0.2.0/24", { 4: "10.0.0.1" })).toEqual({
    prefix: "192.0.2.0/24",
    nextHop: "10.0.0.1",
    class: "plugin",
    origin: "igp",
    communities: ["65000:1"],
    largeCommunities: ["65000:1:2"],
    med: 7,
  });
  expect(route("198.51.100.0/24", {})).toMatchObject({ nextHop: "10.0.0.9", localPref: 200 });
  expect(route("203.0.113.0/24", { 4: "10.0.0.1" })).toBeUndefined();
  expect(requestTexts("192.0.2.0/24", registry)).toEqual([
    'Plugin "one" has it announced',
    'Plugin "two" has it announced, after the first one\'s attributes',
  ]);
});

test("a family that is off, or that the node has no address of, is told of by the plugin", async () => {
  const registry = await asked(["one", { prefix: "2001:db8::/32" }]);
  const problems = (on: boolean, hops: { readonly 6?: string }) =>
    requestProblems("2001:db8::/32", registry.of("2001:db8::/32"), () => on, hops);
  expect(problems(true, { 6: "fd00::1" })).toEqual([]);
  expect(problems(true, {})).toEqual([
    'Plugin "one" has 2001:db8::/32 announced, and it is not: this node has no IPv6 address; ' +
    "give the node one, or the advertisement a nextHop",
  ]);
  expect(problems(false, { 6: "fd00::1" })[0]).toContain("IPv6 is off; give --enable-ipv6");
  expect(requestedRoutes(registry, () => false).route("2001:db8::/32", { 6: "fd00::1" }))
    .toBeUndefined();
});
