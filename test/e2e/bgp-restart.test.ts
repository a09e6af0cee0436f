/** Graceful restart over real sockets: our process is killed, theirs is, and nobody forgets what should be kept. */
import { afterEach, describe, expect, test } from "bun:test";
import type { PeerConfig } from "../../src/plugins/router/bgp/mod.ts";
import { Bird, Frr, Gobgp, lacking, type Start, until, World } from "./bgp/world.ts";

const title = "graceful restart of BGP";
const GRACEFUL = { restartSeconds: 60, deferralSeconds: 60 };

const bird = (graceful: string) => `
protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; }
protocol static s6 { ipv6; route fd01:1::/48 blackhole; }
protocol bgp sp {
  local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000;
  hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  graceful restart ${graceful};
  ipv4 { import all; export where source = RTS_STATIC; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address fd00:1::2; };
}`;

const frr = `router bgp 65003
 bgp router-id 10.255.0.3
 bgp graceful-restart
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 timers 3 9
 neighbor 198.18.3.1 timers connect 1
 address-family ipv4 unicast
  network 10.3.0.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor 198.18.3.1 activate
  network fd03:3::/48
 exit-address-family`;

const family = (name: string) =>
  `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${name}"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
`;
const gobgp = `[global.config]
  as = 65002
  router-id = "10.255.0.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "198.18.2.1"
    peer-as = 65000
  [neighbors.transport.config]
    passive-mode = true
    local-address = "198.18.2.2"
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 60
    deferral-time = 20
${family("ipv4-unicast")}${family("ipv6-unicast")}`;

const start = (restarting: readonly (4 | 6)[]): Start => ({
  options: { gracefulRestart: GRACEFUL, restarting },
  peers: [
    { address: "198.18.1.2", asn: 65001, families: [4, 6], nextHop: { 6: "fd00:1::1" } },
    { address: "198.18.3.2", asn: 65003, families: [4, 6], nextHop: { 6: "fd00:3::1" } },
  ],
  routes: [{ prefix: "10.244.1.0/24" }, { prefix: "fd00:244:1::/64" }],
});

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    afterEach(() => world?.close());

    const ours = (daemon: Bird | Frr): number =>
      daemon instanceof Bird
        ? daemon.routes().filter((prefix) => prefix.includes("244")).length
        : [...daemon.routes("ipv4"), ...daemon.routes("ipv6")].filter((prefix) =>
          prefix.includes("244")
        ).length;

    test(
      "killed and started again, our routes never leave the peers, and theirs come back",
      async () => {
        world = new World();
        const b = new Bird(world, world.neighbor(1), 1, bird("on"));
        const f = new Frr(world, world.neighbor(3), 3, frr);
        const first = await world.speaker(start([]));
        await until("both have ours", () => ours(b) === 2 && ours(f) === 2);
        await until("we have theirs", async () => (await first.rib("in")).length >= 4);
        await first.kill();
        // Both have noticed, and both keep them.
        await until("BIRD has noticed", () => !b.ask("show protocols sp").includes("Established"));
        await until("FRR has noticed", () => f.state("198.18.3.1") !== "Established");
        expect([ours(b), ours(f)]).toEqual([2, 2]);
        const second = await world.speaker(start([4, 6]));
        let least = 2;
        await until("both are Established", async () => {
          least = Math.min(least, ours(b), ours(f));
          return (await second.neighbors()).every(({ state }) => state === "Established");
        });
        await until("both families are settled", () => second.settled.length === 2);
        least = Math.min(least, ours(b), ours(f));
        expect(least).toBe(2);
        expect(ours(b) + ours(f)).toBe(4);
        expect(b.ask("show route all")).not.toContain("stale");
        const theirs = ["10.1.0.0/24", "10.3.0.0/24", "fd01:1::/48", "fd03:3::/48"];
        await until("theirs are back", async () => {
          const back = (await second.rib("local")).map(({ prefix }) => prefix);
          return theirs.every((prefix) => back.includes(prefix));
        });
      },
      60_000,
    );

    test("killed without graceful restart, our routes leave the peers", async () => {
      world = new World();
      const b = new Bird(world, world.neighbor(1), 1, bird("on"));
      const plain = start([]);
      const us = await world.speaker({
        ...plain,
        options: {},
        peers: plain.peers.slice(0, 1),
      });
      await until("BIRD has ours", () => ours(b) === 2);
      await us.kill();
      await until("BIRD has none of ours", () => ours(b) === 0);
    }, 60_000);

    test(
      "a peer that is killed keeps its routes with us until it is back and says End-of-RIB",
      async () => {
        world = new World();
        const namespace = world.neighbor(1);
        const old = new Bird(world, namespace, 1, bird("on"));
        const us = await world.speaker({
          ...start([]),
          peers: start([]).peers.slice(0, 1),
        });
        const theirs = async () =>
          (await us.rib("local")).filter(({ source }) => source === "ebgp").length;
        await until("we have theirs", async () => (await theirs()) === 2);
        await old.kill();
        await until("we have noticed", async () => (await us.neighbor("198.18.1.2")).flaps === 1);
        expect((await us.rib("in")).map(({ prefix, stale }) => [prefix, stale])).toEqual([
          ["10.1.0.0/24", true],
          ["fd01:1::/48", true],
        ]);
        expect(await theirs()).toBe(2);
        new Bird(world, namespace, 11, bird("on").replace("route fd01:1::/48 blackhole;", ""));
        await until("what it no longer says is gone", async () => (await theirs()) === 1);
        expect((await us.rib("in")).map(({ prefix, stale }) => [prefix, stale])).toEqual([
          ["10.1.0.0/24", false],
        ]);
      },
      60_000,
    );

    test(
      "FRR is killed: its routes stay, and the session it comes back with confirms them",
      async () => {
        world = new World();
        const namespace = world.neighbor(3);
        const config = frr.replace(
          " bgp graceful-restart\n",
          " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n",
        );
        const old = new Frr(world, namespace, 3, config);
        const us = await world.speaker({
          ...start([]),
          peers: [{ ...start([]).peers[1], connectRetrySeconds: 1 } as PeerConfig],
        });
        const theirs = async () =>
          (await us.rib("local")).filter(({ source }) => source === "ebgp")
            .map(({ prefix, stale }) => `${prefix}${stale ? " stale" : ""}`);
        await until("we have theirs", async () => (await theirs()).length === 2);
        await old.kill();
        await until("we have noticed", async () => (await us.neighbor("198.18.3.2")).flaps === 1);
        expect(await theirs()).toEqual(["10.3.0.0/24 stale", "fd03:3::/48 stale"]);
        const back = new Frr(world, namespace, 31, config.replace("  network fd03:3::/48\n", ""));
        await until("both families ended", async () => {
          const { prefixes } = await us.neighbor("198.18.3.2");
          return prefixes[4].endOfRib && prefixes[6].endOfRib;
        });
        await until(
          "what it says is confirmed, what it does not has gone",
          async () => Bun.deepEquals(await theirs(), ["10.3.0.0/24"]),
        );
        await until("it has ours", () => ours(back) === 2);
      },
      60_000,
    );

    const toGobgp = (restarting: readonly (4 | 6)[]): Start => ({
      ...start(restarting),
      peers: [{
        address: "198.18.2.2",
        asn: 65002,
        families: [4, 6],
        nextHop: { 6: "fd00:2::1" },
        connectRetrySeconds: 1,
      }],
    });

    test(
      "GoBGP keeps our routes while we are away, and confirms them by our End-of-RIB of each family",
      async () => {
        world = new World();
        const g = new Gobgp(world, world.neighbor(2), 2, gobgp);
        const has = () =>
          [...g.routes("ipv4"), ...g.routes("ipv6")].filter((p) => p.includes("244")).length;
        const first = await world.speaker({
          ...toGobgp([]),
          routes: [...start([]).routes ?? [], { prefix: "10.244.9.0/24" }],
        });
        await until("GoBGP has ours", () => has() === 3);
        g.ask("global", "rib", "add", "10.2.0.0/24");
        await until("we have its route and both its ends", async () => {
          const { prefixes } = await first.neighbor("198.18.2.2");
          return prefixes[4].received === 1 && prefixes[4].endOfRib && prefixes[6].endOfRib;
        });
        await first.kill();
        await until("it has noticed", () => !g.established("198.18.2.1"));
        expect(has()).toBe(3);
        const second = await world.speaker(toGobgp([4, 6]));
        let least = 2;
        await until("both families are settled", () => {
          least = Math.min(least, has());
          return second.settled.length === 2;
        });
        // The one that we no longer have goes by End-of-RIB, the others were never away.
        await until("what we did not say again has gone", () => has() === 2);
        expect(least).toBe(2);
        expect(g.routes("ipv4")).not.toContain("10.244.9.0/24");
        await until(
          "its route is back",
          async () => (await second.rib("local")).some(({ prefix }) => prefix === "10.2.0.0/24"),
        );
      },
      60_000,
    );

    test(
      "GoBGP is killed and comes back with the restart bit: its routes stay here until its End-of-RIB",
      async () => {
        world = new World();
        const namespace = world.neighbor(2);
        const old = new Gobgp(world, namespace, 2, gobgp);
        const us = await world.speaker(toGobgp([]));
        await until("it is Established", () => old.established("198.18.2.1"));
        for (const prefix of ["10.2.0.0/24", "10.2.1.0/24"]) {
          old.ask("global", "rib", "add", prefix);
        }
        old.ask("global", "rib", "add", "fd02:2::/48", "-a", "ipv6");
        await until("we have its routes", async () => (await us.rib("in")).length === 3);
        await old.kill();
        await until("we have noticed", async () => (await us.neighbor("198.18.2.2")).flaps === 1);
        const used = async () =>
          (await us.rib("local")).filter(({ source }) => source === "ebgp")
            .map(({ prefix, stale }) => `${prefix}${stale ? " stale" : ""}`).sort();
        expect(await used()).toEqual([
          "10.2.0.0/24 stale",
          "10.2.1.0/24 stale",
          "fd02:2::/48 stale",
        ]);
        const back = new Gobgp(world, namespace, 2, gobgp, true);
        await until("gobgpd answers", () => back.routes("ipv4"));
        back.ask("global", "rib", "add", "10.2.0.0/24");
        await until("it has ended both families", async () => {
          const { prefixes, state } = await us.neighbor("198.18.2.2");
          return state === "Established" && prefixes[4].endOfRib && prefixes[6].endOfRib;
        }, 40);
        await until(
          "what it did not say again has gone",
          async () => Bun.deepEquals(await used(), ["10.2.0.0/24"]),
        );
        // Nor did it forget ours.
        await until("it has ours", () =>
          back.routes("ipv4").includes("10.244.1.0/24") &&
          back.routes("ipv6").includes("fd00:244:1::/64"));
      },
      90_000,
    );

    test("a stop with a reason is shown by the peers, and takes the routes away", async () => {
      world = new World();
      const b = new Bird(world, world.neighbor(1), 1, bird("on"));
      const f = new Frr(world, world.neighbor(3), 3, frr);
      const us = await world.speaker(start([]));
      await until("both have ours", () => ours(b) === 2 && ours(f) === 2);
      await us.stop({ reason: "node drains" });
      await until("both have none", () => ours(b) === 0 && ours(f) === 0);
      expect(b.ask("show protocols all sp")).toContain("node drains");
      expect(f.ask("show bgp neighbors 198.18.3.1")).toContain("Administrative Shutdown");
    }, 60_000);
  },
);
