import { describe, expect, test } from "bun:test";
import type { RouterOptions } from "../../../../src/plugins/router/options.ts";
import { routeItems, routingContext } from "../../../../src/plugins/router/routes.ts";
import { fouPorts, tunnelLink, tunnelName } from "../../../../src/plugins/router/tunnels.ts";
import { onLink, routerNode, routerOptions } from "../../../support/router-world.ts";

const HOST = [
  onLink("eth0", "10.0.0.1/24"),
  onLink("eth0", "fd00::1/64"),
  onLink("eth1", "10.1.0.1/24"),
];
const NODES = [
  routerNode("n1", ["10.0.0.1", "fd00::1"]),
  routerNode("near", ["10.0.0.2", "fd00::2"]),
  routerNode("far", ["10.9.0.3", "fd09::3"]),
];
/** Routers outside: one beside the node, one far away. */
const NEAR_ROUTER = "10.0.0.254";
const FAR_ROUTER = "10.8.0.254";

const DIRECT: Partial<RouterOptions> = { enableOverlay: false };
const SUBNET: Partial<RouterOptions> = { enableOverlay: true, overlayType: "subnet" };
const FULL: Partial<RouterOptions> = { enableOverlay: true, overlayType: "full" };

function items(prefix: string, hops: readonly string[], options: Partial<RouterOptions> = SUBNET) {
  const context = routingContext(
    "n1",
    NODES,
    HOST,
    routerOptions({ enableIpv6: true, ...options }),
  );
  return routeItems({ prefix, nextHops: hops.map((address) => ({ address })) }, context);
}

/** How each next hop is reached: "via A dev L", or "dev TUNNEL". */
function ways(prefix: string, hops: readonly string[], options?: Partial<RouterOptions>) {
  const [route] = items(prefix, hops, options).routes;
  return route?.nextHops.map(({ gateway, link }) =>
    gateway === undefined ? `dev ${link}` : `via ${gateway} dev ${link}`
  ) ?? [];
}

test("tunnels have kube-router's names", () => {
  const vectors: Readonly<Record<string, string>> = {
    "10.0.0.1": "tun-e443169117a",
    "100.200.300.400": "tun-9033d7906c7",
    "2001:db8:42:2::/64": "tun-ba56986ef05",
    "192.168.1.1": "tun-e8cea86d18f",
    "10.241.0.20": "tun-84738b0d7da",
    "2001:db8::1": "tun-5c79b9c1639",
    "fd00::2": "tun-ff664d49fff",
    "21.3.0.4": "tun-8bbcaad3138",
    "2.13.0.4": "tun-8bbcaad3138",
  };
  for (const [address, name] of Object.entries(vectors)) expect(tunnelName(address)).toBe(name);
});

test("two next hops with one tunnel's name want different links, so that one of them is a conflict", () => {
  const one = tunnelLink("10.0.0.1", "21.3.0.4", { encap: "ipip", port: 5555 });
  const other = tunnelLink("10.0.0.1", "2.13.0.4", { encap: "ipip", port: 5555 });
  expect(one.name).toBe(other.name);
  expect(one.tunnel).not.toEqual(other.tunnel);
});

describe("the way to a next hop, by overlay", () => {
  const near4 = ["via 10.0.0.2 dev eth0"];
  const nearRouter = ["via 10.0.0.254 dev eth0"];
  const near6 = ["via fd00::2 dev eth0"];
  const tun = (address: string) => [`dev ${tunnelName(address)}`];
  const cases: readonly (readonly [
    name: string,
    prefix: string,
    hop: string,
    direct: readonly string[],
    subnet: readonly string[],
    full: readonly string[],
  ])[] = [
    ["a node of this subnet", "10.244.2.0/24", "10.0.0.2", near4, near4, tun("10.0.0.2")],
    ["the same in IPv6", "fd02::/64", "fd00::2", near6, near6, tun("fd00::2")],
    ["a node elsewhere", "10.244.3.0/24", "10.9.0.3", [], tun("10.9.0.3"), tun("10.9.0.3")],
    ["the same in IPv6", "fd03::/64", "fd09::3", [], tun("fd09::3"), tun("fd09::3")],
    ["a router of this subnet", "10.5.0.0/16", NEAR_ROUTER, nearRouter, nearRouter, nearRouter],
    ["a router elsewhere, to which no tunnel is made", "10.5.0.0/16", FAR_ROUTER, [], [], []],
    ["IPv4 by an IPv6 neighbour", "10.244.2.0/24", "fd00::2", near6, near6, tun("fd00::2")],
    ["IPv6 by an IPv4 next hop, which Linux has no route for", "fd02::/64", "10.0.0.2", [], [], []],
    ["this node itself", "10.244.2.0/24", "10.0.0.1", [], [], []],
    ["text that is no address", "10.244.2.0/24", "nowhere", [], [], []],
  ];
  for (const [name, prefix, hop, direct, subnet, full] of cases) {
    test(`${name}: ${prefix} by ${hop}`, () => {
      expect(ways(prefix, [hop], DIRECT)).toEqual([...direct]);
      expect(ways(prefix, [hop], SUBNET)).toEqual([...subnet]);
      expect(ways(prefix, [hop], FULL)).toEqual([...full]);
    });
  }
});

test("a route by a neighbour names link and gateway, in the main table", () => {
  expect(items("10.244.2.0/24", ["10.0.0.2"])).toEqual({
    routes: [{
      family: 4,
      table: 254,
      type: "unicast",
      destination: "10.244.2.0/24",
      metric: 0,
      nextHops: [{ gateway: "10.0.0.2", link: "eth0" }],
    }],
    links: [],
    problems: [],
  });
  expect(items("fd02::/64", ["fd00::2"]).routes[0]?.metric).toBe(1024);
});

test("a route by a tunnel has the node's address as its source, and a way to the other end in table 77", () => {
  const name = tunnelName("fd09::3");
  const both = items("fd03::/64", ["fd09::3"]);
  expect(both.routes).toEqual([
    {
      family: 6,
      table: 254,
      type: "unicast",
      destination: "fd03::/64",
      metric: 1024,
      nextHops: [{ link: name }],
      source: "fd00::1",
    },
    {
      family: 6,
      table: 77,
      type: "unicast",
      destination: "fd09::3/128",
      metric: 1024,
      nextHops: [{ link: name }],
    },
  ]);
  expect(both.links).toEqual([{
    name,
    type: "ip6tnl",
    up: true,
    tunnel: { local: "fd00::1", remote: "fd09::3", ttl: 0 },
  }]);
  expect(items("10.244.3.0/24", ["10.9.0.3"]).links[0]).toMatchObject({
    type: "ipip",
    tunnel: { local: "10.0.0.1", remote: "10.9.0.3", ttl: 0 },
  });
});

test("with FOU a tunnel is in GUE, with the port of the flag", () => {
  const [link] = items("10.244.3.0/24", ["10.9.0.3"], {
    ...SUBNET,
    overlayEncap: "fou",
    overlayEncapPort: 6000,
  }).links;
  expect(link?.tunnel).toEqual({
    local: "10.0.0.1",
    remote: "10.9.0.3",
    ttl: 225,
    gue: { port: 6000 },
  });
  expect(fouPorts([4, 6], 6000)).toEqual([{ family: 4, port: 6000 }, { family: 6, port: 6000 }]);
});

describe("several next hops", () => {
  test("are one multipath route, in one order and each once", () => {
    const hops = [NEAR_ROUTER, "10.1.0.254", "10.0.0.2", NEAR_ROUTER];
    const sorted = ["via 10.0.0.2 dev eth0", "via 10.0.0.254 dev eth0"];
    expect(ways("10.96.0.1/32", hops)).toEqual(sorted);
    expect(ways("10.96.0.1/32", hops.toReversed())).toEqual(sorted);
  });

  test("may mix neighbours and tunnels, and one that cannot be used costs only itself", () => {
    const found = items("10.96.0.1/32", ["10.9.0.3", "10.0.0.2", FAR_ROUTER]);
    expect(found.routes[0]?.nextHops).toEqual([
      { gateway: "10.0.0.2", link: "eth0" },
      { link: tunnelName("10.9.0.3") },
    ]);
    expect(found.problems).toEqual([
      'next hop "10.8.0.254" is on no link of this node, and no node of the cluster',
    ]);
  });
});

test("a next hop that is out of reach says what is missing", () => {
  expect(items("10.244.3.0/24", ["10.9.0.3"], DIRECT).problems.join()).toContain(
    "--enable-overlay=false",
  );
  const v4 = { ...SUBNET, enableIpv6: false };
  expect(items("10.244.3.0/24", ["fd09::3"], v4).problems.join())
    .toContain('this node has no IPv6 address for a tunnel to "fd09::3"');
});

test("only links that carry addresses of the node count, by the length that Linux knows", () => {
  const context = routingContext("n1", NODES, [
    ...HOST,
    { link: "eth2", family: 4, address: "10.0.0.1" },
  ], routerOptions({ enableIpv6: true }));
  expect(context.subnets.map(({ cidr, link }) => `${cidr.text} ${link}`))
    .toEqual(["10.0.0.0/24 eth0", "fd00::/64 eth0"]);
  expect([...context.nodes]).toEqual(["10.0.0.2", "fd00::2", "10.9.0.3", "fd09::3"]);
});
