import { describe, expect, test } from "bun:test";
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
import { random } from "../../../../support/random.ts";

const A = "10.0.0.1";
const B = "10.0.0.2";
const C = "10.0.0.3";
const D = "10.0.0.4";
const GRACEFUL = { restartSeconds: 90, deferralSeconds: 360 };

describe("graceful restart (RFC 4724)", () => {
  const options = { gracefulRestart: GRACEFUL };

  function restarted(network: Network, more: Parameters<Network["node"]>[1]): Node {
    const b = network.node(B, { asn: 65002, ...options, ...more });
    b.core.setLocalRoutes([{ prefix: "10.1.2.0/24" }], network.now);
    b.core.setPeers([peer(A, 65001)], network.now);
    return b;
  }

  test("a first start sends neither the restart bit nor the forwarding bit", () => {
    const { network, a } = pair(65001, 65002, options);
    network.run(10_000);
    const graceful = a.core.peers.get(B)?.negotiated?.gracefulRestart;
    expect(graceful).toMatchObject({ restarting: false, seconds: 90 });
    expect(graceful?.families).toEqual([{ family: 4, forwarding: false }]);
  });

  test("routes of a peer that restarts stay, are confirmed, and what is not goes at its End-of-RIB", () => {
    const { network, a, b } = pair(65001, 65002, options);
    b.core.setLocalRoutes([{ prefix: "10.1.2.0/24" }, { prefix: "10.7.0.0/16" }], network.now);
    network.run(10_000);
    a.best.length = 0;
    network.kill(b);
    network.run(30_000);
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24", "10.7.0.0/16"]);
    expect(rib(a, "in").every(({ stale }) => stale)).toBe(true);
    const again = restarted(network, { restarting: [4] });
    network.run(30_000);
    expect(a.core.peers.get(B)?.negotiated?.gracefulRestart).toMatchObject({ restarting: true });
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
    expect(rib(a, "in").some(({ stale }) => stale)).toBe(false);
    expect(a.best).toEqual(["10.7.0.0/16"]);
    expect(again.settled).toEqual([4]);
  });

  test("routes of a peer that comes back without its forwarding state go at once", () => {
    const { network, a, b } = pair(65001, 65002, options);
    network.run(10_000);
    a.best.length = 0;
    network.kill(b);
    network.run(10_000);
    restarted(network, {});
    network.run(30_000);
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
    // Withdrawn, then announced anew.
    expect(a.best.filter((prefix) => prefix === "10.1.2.0/24").length).toBeGreaterThanOrEqual(1);
    expect(rib(a, "in")[0]?.stale).toBe(false);
  });

  test("routes of a peer that does not come back go after its restart time", () => {
    const { network, a, b } = pair(65001, 65002, options);
    network.run(10_000);
    network.kill(b);
    network.run(80_000);
    expect(prefixes(a)).toContain("10.1.2.0/24");
    network.run(15_000);
    expect(prefixes(a)).toEqual(["10.1.1.0/24"]);
  });

  test("without graceful restart they go when the connection is lost", () => {
    const { network, a, b } = pair(65001, 65002);
    network.run(10_000);
    network.kill(b);
    network.run(100);
    expect(prefixes(a)).toEqual(["10.1.1.0/24"]);
  });

  test("a NOTIFICATION ends them too: that was no restart", () => {
    const { network, a, b } = pair(65001, 65002, options);
    network.run(10_000);
    b.core.stop(false, "bye", network.now);
    network.run(100);
    expect(prefixes(a)).toEqual(["10.1.1.0/24"]);
  });

  test("a graceful stop says nothing, and the routes stay", () => {
    const { network, a, b } = pair(65001, 65002, options);
    network.run(10_000);
    b.core.stop(true, undefined, network.now);
    network.run(100);
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
  });

  test("a peer that died without a sign and dials again is taken at once, its routes kept", () => {
    const { network, a, b } = pair(65001, 65002, options);
    network.run(20_000);
    network.kill(b, true);
    network.run(1000);
    expect(state(a, B)).toBe("Established");
    a.best.length = 0;
    restarted(network, { restarting: [4] });
    network.run(10_000);
    expect(state(a, B)).toBe("Established");
    expect(a.best).toEqual([]);
    expect(prefixes(a)).toEqual(["10.1.1.0/24", "10.1.2.0/24"]);
  });

  test("a restarted speaker waits for its peers' End-of-RIB with what it learned, not with its own", () => {
    const network = new Network();
    const [a, , c] = mesh(network, [65001, 65002, 65003], options) as [Node, Node, Node];
    const transit = { statements: [], default: "accept" as const };
    network.run(20_000);
    const old = [...network.wire].length;
    expect(old).toBeGreaterThan(0);
    const b = network.node(B, { asn: 65002, ...options, restarting: [4] });
    b.core.setLocalRoutes([{ prefix: "10.1.2.0/24" }], network.now);
    // D is dead: it is waited for no longer than the restart time.
    b.core.setPeers([
      peer(A, 65001, { export: transit }),
      peer(C, 65003, { export: transit }),
      peer(D, 65004),
    ], network.now);
    network.run(30_000);
    expect(b.core.settled(4)).toBe(false);
    expect(prefixes(a, "in", B)).toEqual(["10.1.2.0/24"]);
    network.run(65_000);
    expect(b.core.settled(4)).toBe(true);
    expect(prefixes(a, "in", B)).toContain("10.1.3.0/24");
    expect(prefixes(c, "in", B)).toContain("10.1.1.0/24");
  });

  test("a family without End-of-RIB does not hold back the other", () => {
    const network = new Network();
    const a = network.node(A, { asn: 65001, ...options });
    const b = network.node(B, { asn: 65002, ...options, restarting: [4, 6] });
    const silent = network.node(C, { asn: 65003, ...options, restarting: [6] });
    for (const node of [a, b, silent]) node.core.setLocalRoutes([], network.now);
    const both = { families: [4, 6] } as const;
    a.core.setPeers([peer(B, 65002, both)], network.now);
    b.core.setPeers([peer(A, 65001, both), peer(D, 65003, { families: [6] })], network.now);
    network.run(20_000);
    expect(b.core.settled(4)).toBe(true);
    expect(b.core.settled(6)).toBe(false);
    network.run(360_000);
    expect(b.core.settled(6)).toBe(true);
  });
});

test(
  "nodes that are killed and started together, on hosts that stall, end with all routes of all",
  () => {
    const addresses = [A, B, C, D];
    /** The last one is a router outside, which is never restarted. */
    const asnOf = (i: number): number => i === 3 ? 65009 : 65000;
    const make = (network: Network, i: number, isRestart: boolean): Node => {
      const node = network.node(addresses[i] ?? "", {
        asn: asnOf(i),
        gracefulRestart: GRACEFUL,
        ...(isRestart ? { restarting: [4 as const] } : {}),
      });
      node.core.setLocalRoutes([{ prefix: `10.1.${i}.0/24` }], network.now);
      const others = addresses.flatMap((address, j) => j === i ? [] : [peer(address, asnOf(j))]);
      node.core.setPeers(others, network.now);
      return node;
    };
    for (let seed = 1; seed <= 40; seed++) {
      const dice = random(seed);
      const network = new Network();
      const nodes = addresses.map((_, i) => make(network, i, false));
      network.run(20_000);
      for (let round = 0; round < 3; round++) {
        const killed = [0, 1, 2].filter(() => dice.below(4) > 0);
        for (const i of killed) network.kill(nodes[i] as Node);
        network.run(1000 + dice.below(3000));
        for (const i of killed) {
          const node = nodes[i] = make(network, i, true);
          network.run(dice.below(3) === 0 ? dice.below(8000) : dice.below(50));
          if (dice.below(2) === 0) network.stall(node, dice.below(6000));
        }
        for (let stalls = 0; stalls < 12; stalls++) {
          network.stall(dice.pick(nodes), dice.below(2500));
          network.run(dice.below(1500));
        }
      }
      network.run(30_000);
      const seen = nodes.map((node, i) => ({
        settled: node.core.settled(4),
        // The router's come from other nodes too.
        paths: [
          ...new Set(
            rib(node, "in").map(({ prefix, stale }) => `${prefix}${stale ? " stale" : ""}`),
          ),
        ].sort(),
        ended: addresses.filter((address, j) =>
          j !== i && node.core.peers.get(address)?.endOfRib[4] !== true
        ),
      }));
      expect({ seed, seen }).toEqual({
        seed,
        seen: nodes.map((_, i) => ({
          settled: true,
          paths: [0, 1, 2, 3].filter((j) => j !== i).map((j) => `10.1.${j}.0/24`),
          ended: [],
        })),
      });
    }
  },
  30_000,
);
