import { describe, expect, test } from "bun:test";
import type { LocalRoute, PeerConfig } from "../../../../../src/plugins/router/bgp/mod.ts";
import { neighborViews, whyView } from "../../../../../src/plugins/router/bgp/views.ts";
import {
  mesh,
  Network,
  type Node,
  pair,
  peer,
  prefixes,
  rib,
  state,
} from "../../../../support/bgp.ts";

const A = "10.0.0.1";
const B = "10.0.0.2";
const C = "10.0.0.3";
const D = "10.0.0.4";

describe("sessions (RFC 4271 section 8)", () => {
  test("two speakers that dial at once end with one connection, both Established", () => {
    const { network, a, b } = pair();
    network.run(10_000);
    expect([state(a, B), state(b, A)]).toEqual(["Established", "Established"]);
    expect([a.ends.size, b.ends.size]).toEqual([1, 1]);
    network.run(300_000);
    expect([a, b].map(({ core }) => [...core.peers.values()][0]?.flaps)).toEqual([0, 0]);
  });

  test.each([1, 2, 3, 7, 19, 28, 29, 30, 64])(
    "bytes that arrive in pieces of %i make no difference",
    (chunk) => {
      const network = new Network();
      network.chunk = chunk;
      const [a, b] = mesh(network, [65001, 65002]) as [Node, Node];
      network.run(10_000);
      expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
      expect(prefixes(b)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
    },
  );

  test("a passive pair never meets, a passive end is dialled", () => {
    const network = new Network();
    const a = network.node(A);
    const b = network.node(B);
    for (const node of [a, b]) node.core.setLocalRoutes([], network.now);
    a.core.setPeers([peer(B, 65000, { passive: true })], network.now);
    b.core.setPeers([peer(A, 65000, { passive: true })], network.now);
    network.run(60_000);
    expect(state(a, B)).toBe("Active");
    b.core.setPeers([peer(A)], network.now);
    network.run(60_000);
    expect(state(a, B)).toBe("Established");
  });

  test("a silent peer is dropped after the hold time, and its routes with it", () => {
    const { network, a, b } = pair();
    network.run(10_000);
    expect(prefixes(a)).toContain("10.1.2.0/24");
    network.cut(a, b);
    network.run(91_000);
    expect(state(a, B)).not.toBe("Established");
    expect(prefixes(a)).toEqual(["10.1.1.0/24"]);
    network.cut(a, b, false);
    network.run(120_000);
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
  });

  test("hold time 0 means no keepalives and no hold timer", () => {
    const network = new Network();
    const [a, b] = mesh(network, [1, 2], {}, { holdSeconds: 0 }) as [Node, Node];
    network.run(10_000);
    const before = network.wire.length;
    network.run(1_000_000);
    expect(network.wire.length).toBe(before);
    expect([state(a, B), state(b, A)]).toEqual(["Established", "Established"]);
  });

  test("a wrong AS number is refused with 2/2, and tried again ever more slowly", () => {
    const network = new Network();
    const a = network.node(A, { asn: 65001 });
    const b = network.node(B, { asn: 65002 });
    for (const node of [a, b]) node.core.setLocalRoutes([], network.now);
    a.core.setPeers([peer(B, 65009)], network.now);
    b.core.setPeers([peer(A, 65001)], network.now);
    network.run(600_000);
    expect(a.core.peers.get(B)?.session.lastError).toContain(
      "2/2 (OPEN message error: bad peer AS)",
    );
    expect(a.core.peers.get(B)?.session.sent.notification).toBeLessThan(40);
    // Both say it where an operator looks, and say it once.
    const told = (node: Node) =>
      node.events.filter(({ level }) => level === "warn").map(({ fields }) => fields?.["reason"]);
    expect(told(a)).toEqual([
      "The peer is in AS 65002, not in 65009: sent 2/2 (OPEN message error: bad peer AS)",
    ]);
    expect(told(b)).toEqual(["The peer sent 2/2 (OPEN message error: bad peer AS)"]);
    a.core.setPeers([peer(B, 65002)], network.now);
    network.run(120_000);
    expect(state(a, B)).toBe("Established");
  });

  test("two speakers with one router id in one AS say so", () => {
    const network = new Network();
    const a = network.node(A, { routerId: "9.9.9.9" });
    const b = network.node(B, { routerId: "9.9.9.9" });
    for (const node of [a, b]) node.core.setLocalRoutes([], network.now);
    a.core.setPeers([peer(B)], network.now);
    b.core.setPeers([peer(A, 65000, { passive: true })], network.now);
    network.run(30_000);
    const errors = [a, b].map(({ core }) => [...core.peers.values()][0]?.session.lastError ?? "");
    expect(errors.join()).toContain("router id");
    expect(state(a, B)).not.toBe("Established");
  });

  test("AS 0 takes a peer of any AS", () => {
    const network = new Network();
    const a = network.node(A, { asn: 65001 });
    const b = network.node(B, { asn: 65002 });
    for (const node of [a, b]) node.core.setLocalRoutes([], network.now);
    a.core.setPeers([peer(B, 0)], network.now);
    b.core.setPeers([peer(A, 0)], network.now);
    network.run(10_000);
    expect(neighborViews(a.core)[0]).toMatchObject({
      state: "Established",
      asn: 65002,
      type: "external",
    });
  });

  test("no session opens before the local routes are known", () => {
    const network = new Network();
    const a = network.node(A);
    a.core.setPeers([peer(B)], network.now);
    network.run(10_000);
    expect(state(a, B)).toBe("Idle");
    a.core.setLocalRoutes([], network.now);
    expect(state(a, B)).toBe("Active");
  });

  test("garbage ends the connection it came on with its NOTIFICATION, and nothing else", () => {
    const { network, a } = pair();
    network.run(10_000);
    const [connection] = [...a.ends.keys()];
    a.core.data(connection ?? 0, new Uint8Array(64).fill(7), network.now);
    expect(a.core.peers.get(B)?.session.lastError).toContain("1/1");
    network.run(30_000);
    expect(state(a, B)).toBe("Established");
  });
});

describe("setPeers", () => {
  test("touches only peers that changed, and restarts only where the session hangs on the change", () => {
    const network = new Network();
    const [a, b, c] = mesh(network, [65001, 65002, 65003]) as [Node, Node, Node];
    network.run(10_000);
    const established = () =>
      [...a.core.peers.values()].map(({ session }) => session.establishedCount);
    a.core.setPeers([peer(B, 65002, { holdSeconds: 30 }), peer(C, 65003)], network.now);
    network.run(30_000);
    expect(established()).toEqual([2, 1]);
    a.core.setPeers([
      peer(B, 65002, { holdSeconds: 30, maxPrefixes: 10, connectRetrySeconds: 9 }),
      peer(C, 65003, { export: { statements: [], default: "reject" } }),
    ], network.now);
    network.run(30_000);
    expect(established()).toEqual([2, 1]);
    expect(prefixes(c, "in", A)).toEqual([]);
    expect(prefixes(b, "in", A)).toEqual(["10.1.1.0/24"]);
  });

  test("a changed export policy sends the difference, and nothing else", () => {
    const { network, a, b } = pair(65001, 65002);
    a.core.setLocalRoutes(
      [{ prefix: "10.1.1.0/24" }, { prefix: "10.2.0.0/16", class: "vip" }],
      network.now,
    );
    network.run(10_000);
    const updates = () => a.core.peers.get(B)?.session.sent.update ?? 0;
    const before = updates();
    const policy = (communities: readonly string[]): NonNullable<PeerConfig["export"]> => ({
      statements: [{
        name: "vips",
        match: { classes: ["vip"] },
        action: "accept",
        set: { communities },
      }],
      default: "accept",
    });
    a.core.setPeers([peer(B, 65002, { export: policy([]) })], network.now);
    network.run(10);
    expect(updates()).toBe(before);
    b.best.length = 0;
    a.core.setPeers([peer(B, 65002, { export: policy(["65001:7"]) })], network.now);
    network.run(10);
    expect(updates()).toBe(before + 1);
    expect(b.best).toEqual(["10.2.0.0/16"]);
    expect(a.core.peers.get(B)?.session.establishedCount).toBe(1);
  });

  test("a changed import policy is applied to what is held", () => {
    const { network, a } = pair(65001, 65002);
    network.run(10_000);
    const reject = {
      statements: [{
        name: "no pods",
        match: { prefixes: [{ prefix: "10.1.0.0/16", max: 32 }] },
        action: "reject" as const,
      }],
      default: "accept" as const,
    };
    a.core.setPeers([peer(B, 65002, { import: reject })], network.now);
    network.run(1);
    expect(prefixes(a)).toEqual(["10.1.1.0/24"]);
    expect(rib(a, "in")[0]?.rejected).toBe('rejected by import statement "no pods"');
    a.core.setPeers([peer(B, 65002)], network.now);
    network.run(1);
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
    expect(a.core.peers.get(B)?.session.establishedCount).toBe(1);
  });

  test("a peer that is taken away is told so, and its routes are gone at once", () => {
    const { network, a, b } = pair();
    network.run(10_000);
    a.core.setPeers([], network.now);
    network.run(10);
    expect(prefixes(a)).toEqual(["10.1.1.0/24"]);
    expect(b.core.peers.get(A)?.session.lastError).toContain("6/3 (cease: peer de-configured)");
  });

  test.each(
    [
      [{ address: "nowhere", asn: 1 }, 'Peer "nowhere" is no IP address'],
      [{ address: B, asn: 23456 }, "AS number"],
      [{ address: B, asn: 1, holdSeconds: 2 }, "hold time"],
      [{ address: B, asn: 1, password: "" }, "password of 0 bytes"],
      [{ address: B, asn: 1, multihop: 2, ttlSecurity: 1 }, "both multihop and ttlSecurity"],
      [{ address: B, asn: 1, localAddress: "fd00::1" }, "local address"],
      [
        {
          address: B,
          asn: 1,
          import: {
            statements: [{ name: "x", match: { prefixes: [{ prefix: "1/8" }] }, action: "accept" }],
            default: "accept",
          },
        },
        'Statement "x" matches prefix "1/8"',
      ],
    ] as [PeerConfig, string][],
  )("refuses %p as a whole, with its reason", (config, reason) => {
    const { network, a } = pair();
    network.run(10_000);
    expect(() => a.core.setPeers([config], network.now)).toThrow(reason);
    expect(state(a, B)).toBe("Established");
  });

  test("shutdown tells its text, and the other end shows it", () => {
    const { network, a, b } = pair();
    network.run(10_000);
    a.core.setPeers([peer(B, 65000, { shutdown: "swapping the node" })], network.now);
    network.run(10);
    expect(state(a, B)).toBe("Idle");
    expect(b.core.peers.get(A)?.session.lastError).toContain("swapping the node");
    a.core.setPeers([peer(B)], network.now);
    network.run(20_000);
    expect(state(a, B)).toBe("Established");
  });
});

describe("routes", () => {
  test("setLocalRoutes sends the difference, withdrawals included", () => {
    const { network, a, b } = pair(65001, 65002);
    network.run(10_000);
    const updates = () => a.core.peers.get(B)?.session.sent.update;
    const before = updates() ?? 0;
    a.core.setLocalRoutes(
      [{ prefix: "10.1.1.0/24" }, { prefix: "10.9.0.0/16", med: 5 }],
      network.now,
    );
    network.run(10);
    expect(updates()).toBe(before + 1);
    expect(prefixes(b, "in", A)).toEqual(["10.1.1.0/24", "10.9.0.0/16"]);
    a.core.setLocalRoutes([{ prefix: "10.1.1.0/24" }], network.now);
    network.run(10);
    expect(prefixes(b, "in", A)).toEqual(["10.1.1.0/24"]);
    a.core.setLocalRoutes([{ prefix: "10.1.1.0/24" }], network.now);
    network.run(10);
    expect(updates()).toBe(before + 2);
  });

  test("changeLocalRoutes tells of what it names alone, and refuses a wrong route whole", () => {
    const { network, a, b } = pair(65001, 65002);
    network.run(10_000);
    const change = (changes: Readonly<Record<string, LocalRoute | undefined>>) => {
      a.core.changeLocalRoutes(Object.entries(changes), network.now);
      network.run(10);
      return prefixes(b, "in", A);
    };
    expect(change({ "10.9.0.0/16": { prefix: "10.9.0.0/16" }, "10.1.1.0/24": undefined }))
      .toEqual(["10.9.0.0/16"]);
    expect(change({ "10.8.0.0/16": undefined })).toEqual(["10.9.0.0/16"]);
    expect(() => change({ "10.9.0.0/16": undefined, nonsense: { prefix: "nonsense" } }))
      .toThrow("nonsense");
    network.run(10);
    expect(prefixes(b, "in", A)).toEqual(["10.9.0.0/16"]);
  });

  test("import may look at our own route to a prefix, and judges again when it comes or goes", () => {
    const { network, a, b } = pair(65000, 65000);
    const own = { name: "own VIPs", match: { classes: ["vip"] }, action: "reject" } as const;
    const policy = { statements: [own], default: "accept" } as const;
    a.core.setPeers([peer(B, 65000, { import: policy })], network.now);
    const shared = { prefix: "10.96.0.1/32", localPref: 500 };
    b.core.setLocalRoutes([shared], network.now);
    network.run(10_000);
    const used = () => rib(a).map(({ prefix, peer }) => `${prefix} ${peer ?? "own"}`);
    expect(used()).toEqual(["10.1.1.0/24 own", "10.96.0.1/32 10.0.0.2"]);
    a.core.changeLocalRoutes(
      [[shared.prefix, { prefix: shared.prefix, class: "vip" }]],
      network.now,
    );
    network.run(10);
    expect(used()).toEqual(["10.1.1.0/24 own", "10.96.0.1/32 own"]);
    expect(rib(a, "in")[0]?.rejected).toBe('rejected by import statement "own VIPs"');
    a.core.changeLocalRoutes([[shared.prefix, undefined]], network.now);
    network.run(10);
    expect(used()).toEqual(["10.1.1.0/24 own", "10.96.0.1/32 10.0.0.2"]);
  });

  test("between external peers our AS is prepended and the next hop is ours; LOCAL_PREF stays inside", () => {
    const { network, b } = pair(65001, 4_200_000_002);
    network.run(10_000);
    expect(rib(b, "in")[0]).toMatchObject({ asPath: "65001", nextHop: A, localPref: undefined });
  });

  test("between internal peers the path is empty and LOCAL_PREF is 100", () => {
    const { network, b } = pair();
    network.run(10_000);
    expect(rib(b, "in")[0]).toMatchObject({ asPath: "", nextHop: A, localPref: 100 });
  });

  test("what an internal peer told is not told to another one", () => {
    const network = new Network();
    const [a, b, c] = mesh(network, [65000, 65000, 65000]) as [Node, Node, Node];
    b.core.setPeers([peer(A)], network.now);
    c.core.setPeers([peer(A)], network.now);
    network.run(20_000);
    expect(prefixes(b)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
    expect(prefixes(c)).toEqual(["10.1.1.0/24", "10.1.3.0/24"]);
    expect(whyView(a.core, "10.1.2.0/24").peers).toContainEqual({
      peer: C,
      advertised: false,
      reason: "learned from an internal peer, and neither is a client of ours (RFC 4456)",
    });
  });

  test("a route reflector tells clients of each other, with ORIGINATOR_ID and CLUSTER_LIST", () => {
    const network = new Network();
    const [a, b, c, d] = mesh(network, [65000, 65000, 65000, 65000]) as [Node, Node, Node, Node];
    a.core.setPeers([
      peer(B, 65000, { routeReflectorClient: true }),
      peer(C, 65000, { routeReflectorClient: true }),
      peer(D),
    ], network.now);
    for (const node of [b, c, d]) node.core.setPeers([peer(A)], network.now);
    network.run(20_000);
    const all = [1, 2, 3, 4].map((n) => `10.1.${n}.0/24`);
    expect([b, c, d].map((node) => prefixes(node))).toEqual([all, all, all]);
    expect(rib(c, "in").find(({ prefix }) => prefix === "10.1.2.0/24")).toMatchObject({
      nextHop: B,
      originatorId: B,
      clusterList: [A],
    });
    expect(rib(b, "in").find(({ prefix }) => prefix === "10.1.2.0/24")).toBeUndefined();

    // Another cluster touches no session; clients are told, and what went through it before is a loop.
    const sent = network.wire.length;
    a.core.setClusterId("0.0.0.7", network.now);
    network.run(1000);
    expect(rib(c, "in").find(({ prefix }) => prefix === "10.1.2.0/24")?.clusterList).toEqual([
      "0.0.0.7",
    ]);
    expect([b, c, d].map((node) => node.core.peers.get(A)?.flaps)).toEqual([0, 0, 0]);
    expect(network.wire.length).toBeGreaterThan(sent);
    d.core.setPeers([peer(A, 65000, { routeReflectorClient: true })], network.now);
    d.core.setClusterId("0.0.0.7", network.now);
    network.run(20_000);
    expect(rib(d, "in").find(({ prefix }) => prefix === "10.1.2.0/24")?.rejected).toContain(
      "CLUSTER_LIST",
    );
  });

  test("peers that have to know the same get the same bytes, whoever told it gets none", () => {
    const network = new Network();
    const nodes = mesh(network, [65000, 65000, 65000, 65000]) as [Node, Node, Node, Node];
    const [a, b] = nodes;
    const clients = [B, C, D].map((address) =>
      peer(address, 65000, { routeReflectorClient: true })
    );
    a.core.setPeers(clients, network.now);
    for (const node of nodes.slice(1)) node.core.setPeers([peer(A)], network.now);
    network.run(20_000);
    network.wire.length = 0;
    b.core.changeLocalRoutes([["10.9.0.0/16", { prefix: "10.9.0.0/16" }]], network.now);
    network.run(100);
    const sent = network.wire.filter(({ from }) => from === A).map(({ bytes }) => bytes);
    expect(sent).toHaveLength(2);
    expect(sent[0]).toBe(sent[1] as Uint8Array);
    expect(prefixes(nodes[3], "in", A)).toContain("10.9.0.0/16");
    expect(prefixes(b, "in", A)).not.toContain("10.9.0.0/16");
  });

  test("own AS in the path is a loop: kept for people, not used", () => {
    const network = new Network();
    const [a, b] = mesh(network, [65001, 65002]) as [Node, Node];
    const all = { statements: [], default: "accept" as const };
    const c = network.node(C, { asn: 65001, routerId: C });
    c.core.setLocalRoutes([], network.now);
    c.core.setPeers([peer(B, 65002)], network.now);
    b.core.setPeers(
      [peer(A, 65001, { export: all }), peer(C, 65001, { export: all })],
      network.now,
    );
    network.run(20_000);
    expect(a.core.peers.get(B)?.session.state).toBe("Established");
    expect(rib(c, "in").find(({ prefix }) => prefix === "10.1.1.0/24")?.rejected).toBe(
      "our AS 65001 is in its AS_PATH",
    );
    expect(prefixes(c)).toEqual(["10.1.2.0/24"]);
  });

  test("no-advertise and no-export stop at the peer and at the AS", () => {
    const network = new Network();
    const [a, b, c] = mesh(network, [65001, 65002, 65001]) as [Node, Node, Node];
    a.core.setLocalRoutes([
      { prefix: "10.5.0.0/16", communities: ["no-advertise"] },
      { prefix: "10.6.0.0/16", communities: ["no-export"] },
    ], network.now);
    network.run(20_000);
    expect(prefixes(b, "in", A)).toEqual([]);
    expect(prefixes(c, "in", A)).toEqual(["10.1.2.0/24", "10.6.0.0/16"]);
  });

  test("policies prepend, add communities and set the next hop, by class", () => {
    const network = new Network();
    const [a, b] = mesh(network, [65001, 65002]) as [Node, Node];
    a.core.setLocalRoutes([
      { prefix: "10.96.0.10/32", class: "vip", nextHop: "10.0.0.77", communities: ["65001:1"] },
      { prefix: "10.96.0.11/32", class: "vip" },
      { prefix: "10.244.0.0/24", class: "pod" },
    ], network.now);
    a.core.setPeers([peer(B, 65002, {
      export: {
        statements: [{
          name: "vips",
          match: { classes: ["vip"] },
          action: "accept",
          set: {
            prepend: { asn: 65009, count: 2 },
            communities: ["65001:1", "blackhole"],
            largeCommunities: ["1:2:3"],
          },
        }],
        default: "reject",
      },
    })], network.now);
    network.run(20_000);
    const [first, second] = rib(b, "in");
    expect([first?.prefix, second?.prefix]).toEqual(["10.96.0.10/32", "10.96.0.11/32"]);
    expect(first).toMatchObject({
      asPath: "65009 65009 65001",
      nextHop: "10.0.0.77",
      communities: ["65001:1", "blackhole"],
      largeCommunities: ["1:2:3"],
    });
    expect(second?.nextHop).toBe(A);
    expect(whyView(a.core, "10.244.0.0/24").peers[0]?.reason).toBe(
      "rejected by export default reject",
    );
    expect(rib(a, "out", B).map(({ asPath }) => asPath)).toEqual([
      "65009 65009 65001",
      "65009 65009 65001",
    ]);
  });

  test("both families share a session; IPv4 without an IPv4 next hop goes with an IPv6 one (RFC 8950)", () => {
    const network = new Network();
    const a = network.node("fd00::1", { asn: 65001, routerId: A });
    const b = network.node("fd00::2", { asn: 65002, routerId: B });
    a.core.setLocalRoutes([{ prefix: "10.1.1.0/24" }, { prefix: "fd00:244::/64" }], network.now);
    b.core.setLocalRoutes([], network.now);
    a.core.setPeers([peer("fd00::2", 65002, { families: [4, 6] })], network.now);
    b.core.setPeers([peer("fd00::1", 65001, { families: [4, 6] })], network.now);
    network.run(20_000);
    expect(rib(b, "in").map(({ prefix, nextHop }) => [prefix, nextHop])).toEqual([
      ["10.1.1.0/24", "fd00::1"],
      ["fd00:244::/64", "fd00::1"],
    ]);
    a.core.setLocalRoutes([], network.now);
    network.run(10);
    expect(rib(b, "in")).toEqual([]);
  });

  test("more prefixes than allowed end the session with Cease/1 for minutes", () => {
    const { network, a, b } = pair(65001, 65002);
    a.core.setPeers([peer(B, 65002, { maxPrefixes: 2 })], network.now);
    network.run(20_000);
    b.core.setLocalRoutes([1, 2, 3].map((n) => ({ prefix: `10.2.${n}.0/24` })), network.now);
    network.run(60_000);
    expect(state(a, B)).toBe("Idle");
    expect(prefixes(a)).toEqual(["10.1.1.0/24"]);
    expect(b.core.peers.get(A)?.session.lastNotification).toContain("6/1");
  });

  test("a soft reset asks for everything again, and only confirms it", () => {
    const { network, a, b } = pair(65001, 65002);
    network.run(10_000);
    a.best.length = b.best.length = 0;
    expect(a.core.reset(B, true, undefined, network.now)).toBe(true);
    network.run(1000);
    expect(b.core.peers.get(A)?.session.received.refresh).toBeGreaterThan(0);
    expect([...a.best, ...b.best]).toEqual([]);
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
  });

  test("several paths are used side by side, up to the limit, and the change of any is told", () => {
    const network = new Network();
    const nodes = mesh(network, [65001, 65002, 65003, 65004], { multipath: 2 });
    const [a, b, c, d] = nodes as [Node, Node, Node, Node];
    for (const node of [b, c, d]) {
      node.core.setLocalRoutes([{ prefix: "10.96.0.1/32" }], network.now);
    }
    network.run(20_000);
    const used = () =>
      rib(a).filter(({ prefix }) => prefix === "10.96.0.1/32").map(({ nextHop }) => nextHop);
    expect(used()).toEqual([B, C]);
    a.best.length = 0;
    c.core.setLocalRoutes([], network.now);
    network.run(10);
    expect(used()).toEqual([B, D]);
    expect(a.best).toEqual(["10.96.0.1/32"]);
  });

  test("many routes are packed, split into messages, and withdrawn again", () => {
    const { network, a, b } = pair(65001, 65002);
    network.run(10_000);
    const routes = Array.from({ length: 40_000 }, (_, i) => ({
      prefix: `10.${64 + (i >> 14)}.${(i >> 6) & 255}.${(i & 63) * 4}/30`,
    }));
    a.core.setLocalRoutes(routes, network.now);
    network.run(1000);
    expect(b.core.ribs[4].prefixes.count).toBe(40_001);
    expect(a.core.peers.get(B)?.session.sent.update).toBeLessThan(60);
    a.core.setLocalRoutes([], network.now);
    network.run(1000);
    expect(prefixes(b)).toEqual(["10.1.2.0/24"]);
    // The numbers of prefixes that are gone are free again, at both ends.
    expect([a, b].map(({ core }) => core.ribs[4].prefixes.count)).toEqual([1, 1]);
  });
});

describe("back-pressure", () => {
  test("a peer that does not read is skipped, and gets the last state when it does", () => {
    const { network, a, b } = pair(65001, 65002);
    network.run(10_000);
    const [connection = 0] = [...a.ends.keys()];
    a.core.blocked(connection, true, network.now);
    for (let n = 0; n < 50; n++) {
      a.core.setLocalRoutes([{ prefix: `10.3.${n}.0/24` }], network.now);
      network.run(10);
    }
    expect(prefixes(b, "in", A)).toEqual(["10.1.1.0/24"]);
    a.core.blocked(connection, false, network.now);
    network.run(10);
    expect(prefixes(b, "in", A)).toEqual(["10.3.49.0/24"]);
  });

  test("one that never reads again is dropped (RFC 9687)", () => {
    const { network, a } = pair(65001, 65002);
    network.run(10_000);
    const [connection = 0] = [...a.ends.keys()];
    a.core.blocked(connection, true, network.now);
    network.run(481_000);
    expect(a.core.peers.get(B)?.flaps).toBe(1);
  });
});
