/** What speakers agree on beside RFC 4271, with BIRD, FRR and GoBGP as they are: each is asked what it made of us. */
import { afterEach, describe, expect, test } from "bun:test";
import { bird, BIRD_4, frr, gobgp, TO_BIRD, TO_FRR, TO_GOBGP } from "./bgp/configs.ts";
import {
  Bird,
  established,
  Frr,
  Gobgp,
  lacking,
  type SpeakerProcess,
  until,
  World,
} from "./bgp/world.ts";

const title = "extensions of BGP with other speakers";

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    afterEach(() => world?.close());

    const told = async (us: SpeakerProcess, peer: string) =>
      (await us.rib("in", peer)).map(({ prefix }) => prefix).sort();

    test(
      "route refresh: they ask us after a change of import, we ask them, and nothing is lost on the way",
      async () => {
        world = new World();
        const [one, two, three] = [1, 2, 3].map((n) => world.neighbor(n)) as [
          string,
          string,
          string,
        ];
        const config = (imports: string) =>
          bird(BIRD_4, `ipv4 { import ${imports}; export where source = RTS_STATIC; };`);
        const b = new Bird(world, one, 1, config("where net != 10.244.2.0/24"));
        const g = new Gobgp(world, two, 2, gobgp());
        const f = new Frr(
          world,
          three,
          3,
          `${frr([], ["neighbor 198.18.3.1 route-map IN in"])}
ip prefix-list second permit 10.244.2.0/24
route-map IN deny 10
 match ip address prefix-list second
route-map IN permit 20`,
        );
        const ours = ["10.244.1.0/24", "10.244.2.0/24"];
        const us = await world.speaker({
          options: {},
          peers: [TO_BIRD, TO_GOBGP, TO_FRR],
          routes: ours.map((prefix) => ({ prefix })),
        });
        await established(us);
        await until("gobgpd answers", () => g.routes("ipv4"));
        g.ask("global", "rib", "add", "10.2.0.0/24");
        const mine = (routes: readonly string[]) => routes.filter((p) => p.startsWith("10.244."));
        const first = ours.slice(0, 1);
        await until("BIRD took one", () => Bun.deepEquals(mine(b.routes()), first));
        await until("FRR took one", () => Bun.deepEquals(mine(f.routes("ipv4")), first));
        await until("GoBGP took both", () => Bun.deepEquals(mine(g.routes("ipv4")), ours));
        // They keep nothing of what import refused: only by asking us they get it.
        await Bun.write(
          `${world.folder}/again.conf`,
          `router id 10.255.0.1;\nprotocol device { }\n${config("all")}`,
        );
        expect(b.ask(`configure "${world.folder}/again.conf"`)).toContain("Reconfigur");
        await until("BIRD has both", () => Bun.deepEquals(mine(b.routes()), ours));
        expect(f.configure("no route-map IN deny 10")).toBe("");
        f.ask("clear bgp ipv4 unicast 198.18.3.1 in");
        await until("FRR has both", () => Bun.deepEquals(mine(f.routes("ipv4")), ours));
        for (const { address } of [TO_BIRD, TO_FRR]) {
          expect((await us.neighbor(address)).received.refresh).toBeGreaterThan(0);
        }

        // The other way round. What they say again is confirmed, and what changes of it is told once.
        const before = new Map((await us.neighbors()).map((peer) => [peer.address, peer]));
        for (
          const [address, ask] of [
            ["198.18.1.2", () => b.ask("show protocols all sp")],
            ["198.18.2.2", () => g.ask("neighbor", "198.18.2.1")],
            ["198.18.3.2", () => f.ask("show bgp neighbors 198.18.3.1")],
          ] as const
        ) {
          const theirs = await until(`${address} told its routes`, async () => {
            const prefixes = await told(us, address);
            return prefixes.length > 0 ? prefixes : undefined;
          });
          expect(await us.reset(address, { soft: true })).toBe(true);
          const old = before.get(address)?.received.update ?? 0;
          await until(`${address} told them again`, async () => {
            const now = await us.neighbor(address);
            return now.received.update > old || Promise.reject(ask());
          });
          await until(
            `${address} has nothing left to confirm`,
            async () => (await us.rib("in", address)).every(({ stale }) => !stale),
          );
          expect(await told(us, address)).toEqual(theirs);
        }
        expect((await us.neighbors()).map(({ flaps }) => flaps)).toEqual([0, 0, 0]);
        const { messageStats } = f.json("show bgp neighbors 198.18.3.1")["198.18.3.1"];
        expect(messageStats.routeRefreshRecv).toBeGreaterThan(0);

        // Our own import is applied to what is held: nobody is asked for anything.
        const sent = (await us.neighbors()).map((peer) => peer.sent.refresh);
        const rejecting = {
          statements: [{
            name: "one",
            match: { prefixes: [{ prefix: "10.1.1.0/24" }] },
            action: "reject" as const,
          }],
          default: "accept" as const,
        };
        await us.peers([{ ...TO_BIRD, import: rejecting }, TO_GOBGP, TO_FRR]);
        const used = async () => (await us.rib("local")).map(({ prefix }) => prefix);
        await until("it is not used", async () => !(await used()).includes("10.1.1.0/24"));
        await us.peers([TO_BIRD, TO_GOBGP, TO_FRR]);
        await until("it is used again", async () => (await used()).includes("10.1.1.0/24"));
        expect((await us.neighbors()).map((peer) => peer.sent.refresh)).toEqual(sent);
      },
      60_000,
    );

    test(
      "IPv4 over IPv6 (RFC 8950): prefixes go both ways with IPv6 next hops, to BIRD, FRR and GoBGP",
      async () => {
        world = new World();
        const b = new Bird(
          world,
          world.neighbor(1),
          1,
          bird(
            "local fd00:1::2 as 65001; neighbor fd00:1::1 as 65000;",
            "ipv4 { extended next hop on; import all; export where source = RTS_STATIC; };",
          ),
        );
        const g = new Gobgp(
          world,
          world.neighbor(2),
          2,
          gobgp({
            neighbor: `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
`,
          }).replaceAll("198.18.2.1", "fd00:2::1").replaceAll("198.18.2.2", "fd00:2::2"),
        );
        const f = new Frr(
          world,
          world.neighbor(3),
          3,
          frr(["neighbor 198.18.3.1 capability extended-nexthop"], [
            "neighbor 198.18.3.1 activate",
          ]).replaceAll("198.18.3.1", "fd00:3::1"),
        );
        const families = [4] as const;
        const us = await world.speaker({
          options: {},
          peers: [
            { address: "fd00:1::2", asn: 65001, families, connectRetrySeconds: 1 },
            { address: "fd00:2::2", asn: 4200000002, families, connectRetrySeconds: 1 },
            { address: "fd00:3::2", asn: 65003, families, connectRetrySeconds: 1 },
          ],
          routes: [{ prefix: "10.244.1.0/24" }],
        });
        await established(us);
        await until("gobgpd answers", () => g.routes("ipv4"));
        g.ask("global", "rib", "add", "10.2.0.0/24", "nexthop", "fd00:2::2");
        const hops = async () =>
          (await us.rib("local")).filter(({ source }) => source === "ebgp")
            .map(({ prefix, nextHop }) => `${prefix} by ${nextHop}`).sort();
        await until("we have theirs", async () => (await hops()).length === 4);
        expect(await hops()).toEqual([
          "10.1.0.0/24 by fd00:1::2",
          "10.1.1.0/24 by fd00:1::2",
          "10.2.0.0/24 by fd00:2::2",
          "10.3.0.0/24 by fd00:3::2",
        ]);
        await until("BIRD has ours", () => b.routes().includes("10.244.1.0/24"));
        expect(b.ask("show route 10.244.1.0/24 all")).toContain("BGP.next_hop: fd00:1::1");
        await until("FRR has ours", () => f.routes("ipv4").includes("10.244.1.0/24"));
        const { paths: [path] } = f.json("show bgp ipv4 unicast 10.244.1.0/24");
        expect(path.nexthops[0].ip).toBe("fd00:3::1");
        await until("GoBGP has ours", () => g.routes("ipv4").includes("10.244.1.0/24"));
        expect(g.ask("global", "rib")).toMatch(/10\.244\.1\.0\/24\s+fd00:2::1/);
        // And they go again.
        await us.routes([]);
        await until(
          "nobody has it",
          () =>
            [b.routes(), f.routes("ipv4"), g.routes("ipv4")].every((routes) =>
              !routes.includes("10.244.1.0/24")
            ),
        );
      },
      60_000,
    );
  },
);
