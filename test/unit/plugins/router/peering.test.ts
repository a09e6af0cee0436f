import { describe, expect, test } from "bun:test";
import type { Node } from "../../../../src/kernel/plugin.ts";
import { globalPeers } from "../../../../src/plugins/router/external-peers.ts";
import type { RouterOptions } from "../../../../src/plugins/router/options.ts";
import {
  isRejected,
  type Peering,
  planPeering,
  routerIdOf,
} from "../../../../src/plugins/router/peering.ts";
import { routerNode, routerOptions } from "../../../support/router-world.ts";

const KEYS = "kube-router.io/";
const named = (annotations: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(annotations).map(([k, v]) => [`${KEYS}${k}`, v]));

/** Node "n1" at 10.0.0.1, "n2" at 10.0.0.2 and so on, with these annotations. */
function mesh(...annotations: readonly Readonly<Record<string, string>>[]): readonly Node[] {
  return annotations.map((each, i) => routerNode(`n${i + 1}`, [`10.0.0.${i + 1}`], named(each)));
}

function peering(
  nodes: readonly Node[],
  changes: Partial<RouterOptions> = {},
  previous?: Peering["externalPeers"],
): Peering {
  const options = routerOptions(changes);
  return planPeering({
    self: "n1",
    nodes,
    options,
    globalPeers: globalPeers(options),
    ...(previous === undefined ? {} : { previous }),
  });
}

const peers = (found: Peering) => found.plan?.peers ?? [];
const addresses = (found: Peering) => peers(found).map(({ address }) => address);

describe("router id", () => {
  test("is generated as kube-router does it", () => {
    const vectors: Readonly<Record<string, string>> = {
      "10.0.0.1": "0.15.248.254",
      "192.168.1.1": "58.29.221.93",
      "2001:db8::1": "110.91.4.244",
      "fd00::1": "148.2.92.203",
    };
    for (const [address, id] of Object.entries(vectors)) {
      expect(routerIdOf("generate", address)).toBe(id);
    }
  });

  test("is what the flag says, else the primary address if that is IPv4", () => {
    expect(routerIdOf("1.2.3.4", "fd00::1")).toBe("1.2.3.4");
    expect(routerIdOf("", "10.0.0.1")).toBe("10.0.0.1");
    expect(routerIdOf("", "fd00::1")).toBeUndefined();
    const { plan, problems } = peering([routerNode("n1", ["fd00::1"])], { enableIpv6: true });
    expect(plan).toBeUndefined();
    expect(problems.join()).toContain("--router-id=generate");
  });
});

describe("a full mesh", () => {
  test("is with every other node, at the cluster's AS number", () => {
    const found = peering(mesh({}, {}, {}), { clusterAsn: 64900, bgpPort: 1790 });
    expect(found.plan).toEqual({
      asn: 64900,
      routerId: "10.0.0.1",
      isReflector: false,
      listen: { addresses: ["10.0.0.1"], port: 1790 },
      holdTime: 90,
      external: { communities: [], nextHopSelf: false },
      importReject: [],
      peers: ["n2", "n3"].map((node, i) => ({
        address: `10.0.0.${i + 2}`,
        kind: "internal",
        node,
        asn: 64900,
        port: 1790,
        local: "10.0.0.1",
        families: [4],
        reflectorClient: false,
      })),
    });
    expect(found.problems).toEqual([]);
  });

  test("is none with --enable-ibgp=false", () => {
    expect(addresses(peering(mesh({}, {}), { enableIbgp: false }))).toEqual([]);
  });

  test("carries the families that both nodes have, and this one speaks", () => {
    const nodes = [
      routerNode("n1", ["10.0.0.1", "fd00::1"]),
      routerNode("n2", ["10.0.0.2", "fd00::2"]),
      routerNode("n3", ["10.0.0.3"]),
    ];
    expect(peers(peering(nodes, { enableIpv6: true })).map(({ families }) => families))
      .toEqual([[4, 6], [4]]);
    expect(peers(peering(nodes)).map(({ families }) => families)).toEqual([[4], [4]]);
  });

  test("leaves out nodes without an address, of another primary family, or with an address twice", () => {
    const nodes = [
      routerNode("n1", ["10.0.0.1"]),
      routerNode("n2", []),
      routerNode("n3", ["fd00::3", "10.0.0.3"]),
      routerNode("n4", ["10.0.0.4"]),
      routerNode("n5", ["10.0.0.4"]),
      routerNode("n6", ["10.0.0.1"]),
    ];
    const found = peering(nodes);
    expect(addresses(found)).toEqual(["10.0.0.4"]);
    expect(found.problems).toEqual([
      'Node "n3" is no peer: its primary address "fd00::3" is of another family than "10.0.0.1"',
      'Nodes "n4" and "n5" have one address "10.0.0.4"; the first one counts',
    ]);
  });

  test("goes by the first internal address, else the first external one", () => {
    const external = {
      ...routerNode("n2", []),
      status: { addresses: [{ type: "ExternalIP", address: "5.5.5.5" }] },
    };
    const both = {
      ...routerNode("n3", []),
      status: {
        addresses: [
          { type: "Hostname", address: "n3" },
          { type: "ExternalIP", address: "5.5.5.6" },
          { type: "InternalIP", address: "10.0.0.3" },
        ],
      },
    };
    expect(addresses(peering([...mesh({}), external, both]))).toEqual(["5.5.5.5", "10.0.0.3"]);
  });
});

test("without a mesh a node peers with those of its AS number alone", () => {
  const nodes = mesh({ "node.asn": "100" }, { "node.asn": "0x64" }, {}, { "node.asn": "x" }, {
    "node.asn": "101",
  });
  const found = peering(nodes, { nodesFullMesh: false });
  expect(addresses(found)).toEqual(["10.0.0.2"]);
  expect(peers(found)[0]?.asn).toBe(100);
  expect(peering(mesh({}, {}), { nodesFullMesh: false }).plan).toBeUndefined();
});

describe("reflection", () => {
  const server = { "rr.server": "42" };
  const client = { "rr.client": "42" };

  test("a server peers with all, and reflects to clients", () => {
    const found = peering(mesh(server, server, client, {}));
    expect(peers(found).map(({ node, reflectorClient }) => [node, reflectorClient]))
      .toEqual([["n2", false], ["n3", true], ["n4", false]]);
    expect([found.plan?.isReflector, found.plan?.clusterId]).toEqual([true, "0.0.0.42"]);
  });

  test("a client peers with servers alone", () => {
    expect(addresses(peering(mesh(client, server, client, {})))).toEqual(["10.0.0.2"]);
  });

  test("another node leaves clients out, which would never answer it", () => {
    expect(addresses(peering(mesh({}, server, client, {})))).toEqual(["10.0.0.2", "10.0.0.4"]);
  });

  test("a server with a cluster id that is none has the router id for it", () => {
    expect(peering(mesh({ "rr.server": "x" })).plan?.clusterId).toBe("10.0.0.1");
  });
});

describe("routers outside", () => {
  const flags = {
    peerRouterIps: ["10.9.0.1", "fd09::1"],
    peerRouterAsns: [64640, 64641],
  };
  const dual = routerNode("n1", ["10.0.0.1", "fd00::1"]);

  test("of flags come first, and switch annotations off", () => {
    const node = routerNode(
      "n1",
      ["10.0.0.1"],
      named({ peers: "[{remoteip: 10.9.0.9, remoteasn: 64699}]" }),
    );
    expect(addresses(peering([node]))).toEqual(["10.9.0.9"]);
    const one = { peerRouterIps: ["10.9.0.1"], peerRouterAsns: [64640] };
    expect(addresses(peering([node], one))).toEqual(["10.9.0.1"]);
  });

  test("are spoken to from the node's address of their family, in all families of the node", () => {
    const found = peering([dual], { ...flags, enableIpv6: true, bgpPort: 1790 });
    expect(peers(found)).toEqual([
      {
        address: "10.9.0.1",
        kind: "external",
        asn: 64640,
        port: 179,
        local: "10.0.0.1",
        families: [4, 6],
        reflectorClient: false,
      },
      {
        address: "fd09::1",
        kind: "external",
        asn: 64641,
        port: 179,
        local: "fd00::1",
        families: [4, 6],
        reflectorClient: false,
      },
    ]);
  });

  test("of a family that the node lacks are left out with a reason", () => {
    const found = peering(mesh({}), flags);
    expect(addresses(found)).toEqual(["10.9.0.1"]);
    expect(found.problems).toEqual(['Peer "fd09::1" is left out: this node has no IPv6 address']);
    const off = peering([dual], flags);
    expect(off.problems).toEqual(['Peer "fd09::1" is left out: --enable-ipv6=false']);
  });

  test("with an own end of another family are left out", () => {
    const node = routerNode(
      "n1",
      ["10.0.0.1"],
      named({
        peers: "[{remoteip: 10.9.0.9, remoteasn: 64699, localip: 'fd00::1'}]",
      }),
    );
    const found = peering([node]);
    expect(addresses(found)).toEqual([]);
    expect(found.problems.join()).toContain(
      '"fd00::1", this end of the session, is of another family',
    );
  });

  test("are several hops away from a TTL of 2 on", () => {
    const ttl = (peerRouterMultihopTtl: number) =>
      peers(peering([dual], { ...flags, enableIpv6: true, peerRouterMultihopTtl }))
        .map(({ multihop }) => multihop);
    expect(ttl(1)).toEqual([undefined, undefined]);
    expect(ttl(2)).toEqual([2, 2]);
  });

  test("count before a node of the same address", () => {
    const found = peering(mesh({}, {}), { peerRouterIps: ["10.0.0.2"], peerRouterAsns: [64640] });
    expect(peers(found).map(({ kind }) => kind)).toEqual(["external"]);
    expect(found.problems.join()).toContain('"10.0.0.2" is node "n2" and a router outside at once');
  });

  test("stay as they were while the annotation cannot be read", () => {
    const good = peering([routerNode(
      "n1",
      ["10.0.0.1"],
      named({
        peers: "[{remoteip: 10.9.0.9, remoteasn: 64699}]",
      }),
    )]);
    const broken = [routerNode("n1", ["10.0.0.1"], named({ peers: "[{remoteip:" }))];
    expect(addresses(peering(broken))).toEqual([]);
    const kept = peering(broken, {}, good.externalPeers);
    expect(addresses(kept)).toEqual(["10.9.0.9"]);
    expect(kept.problems.join()).toContain("The 1 peers of before stay");
    expect(kept.externalPeers).toEqual(good.externalPeers);
  });
});

describe("what flags say to all sessions", () => {
  test("hold time is in whole seconds, and 65535 at most", () => {
    const hold = (bgpHoldtime: number) => peering(mesh({}), { bgpHoldtime }).plan?.holdTime;
    expect([hold(3999), hold(65_536_000)]).toEqual([3, 65535]);
  });

  test("graceful restart is offered where it is switched on", () => {
    expect(peering(mesh({})).plan?.gracefulRestart).toBeUndefined();
    expect(
      peering(mesh({}), {
        bgpGracefulRestart: true,
        bgpGracefulRestartTime: 120_500,
        bgpGracefulRestartDeferralTime: 100,
      }).plan?.gracefulRestart,
    ).toEqual({ restartTime: 120, deferralTime: 1 });
  });

  test("attributes for routers outside come from annotations and --override-nexthop", () => {
    const nodes = mesh({
      "path-prepend.as": "65100",
      "path-prepend.repeat-n": "3",
      "node.bgp.communities": "65000:1",
      "node.bgp.customimportreject": "10.5.0.0/16",
    });
    const { plan } = peering(nodes, { overrideNexthop: true });
    expect(plan?.external).toEqual({
      prepend: { asn: 65100, times: 3 },
      communities: [65000 * 65536 + 1],
      nextHopSelf: true,
    });
    expect(plan?.importReject).toEqual(["10.5.0.0/16"]);
  });
});

describe("addresses to listen on", () => {
  test("are the node's own of each family", () => {
    const dual = routerNode("n1", ["fd00::1", "10.0.0.1", "10.0.0.9"]);
    const { plan } = peering([dual], { enableIpv6: true, routerId: "1.1.1.1" });
    expect(plan?.listen.addresses).toEqual(["10.0.0.1", "fd00::1"]);
  });

  test("are the annotation's where it has some of a family that the node speaks", () => {
    const node = routerNode(
      "n1",
      ["10.0.0.1"],
      named({ "bgp-local-addresses": "10.0.0.8,fd00::8" }),
    );
    const { plan, problems } = peering([node]);
    expect(plan?.listen.addresses).toEqual(["10.0.0.8"]);
    expect(problems.join()).toContain('Cannot listen on "fd00::8"');
  });
});

test("a node that is not there, or has no address, speaks no BGP", () => {
  expect(peering([]).plan).toBeUndefined();
  expect(peering([]).problems.join()).toContain('There is no Node "n1"');
  const none = peering([routerNode("n1", ["fd00::1"])]);
  expect(none.plan).toBeUndefined();
  expect(none.problems.join()).toContain("has no address of an enabled family");
});

test("a refused network covers all that is within it, and nothing else", () => {
  const reject = ["10.5.0.0/16", "fd00::/8"];
  const cases: Readonly<Record<string, boolean>> = {
    "10.5.0.0/16": true,
    "10.5.1.0/24": true,
    "10.5.255.255/32": true,
    "10.4.0.0/15": false,
    "10.6.0.0/16": false,
    "fd12::/16": true,
    "fe00::/8": false,
  };
  for (const [prefix, refused] of Object.entries(cases)) {
    expect([prefix, isRejected(reject, prefix)]).toEqual([prefix, refused]);
  }
});
