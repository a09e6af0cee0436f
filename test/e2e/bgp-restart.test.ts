/** Graceful restart over real sockets: our process is killed, theirs is, and nobody forgets what should be kept. */
import { afterEach, describe, expect, test } from "bun:test";
import { Bird, Frr, lacking, type Start, until, World } from "./bgp/world.ts";

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
