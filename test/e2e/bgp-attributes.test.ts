/** Path attributes between us and BIRD, FRR and GoBGP: each is asked what it has. */
import { afterEach, describe, expect, test } from "bun:test";
import { bird, BIRD_4, BIRD_STATIC, frr, gobgp, TO_BIRD, TO_FRR, TO_GOBGP } from "./bgp/configs.ts";
import { Bird, established, Frr, Gobgp, lacking, query, until, World } from "./bgp/world.ts";

const title = "path attributes with other speakers";

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    afterEach(() => world?.close());

    /** Behind the daemon on link `n`, one of an AS of four octets. */
    const behind = (router: string) => {
      const far = world.namespace("behind");
      query(router, ["ip", "link", "add", "e9", "type", "veth", "peer", "e0", "netns", far]);
      world.address(router, "e9", ["198.18.9.1/24"]);
      world.address(far, "e0", ["198.18.9.2/24"]);
      return far;
    };
    const ALL = { statements: [], default: "accept" as const };

    test(
      "AS numbers of two octets (RFC 6793), BIRD without the capability: both ways paths and aggregators are whole",
      async () => {
        world = new World();
        const one = world.neighbor(1);
        const b = new Bird(
          world,
          one,
          1,
          `protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; }
template bgp t {
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export all; };
}
protocol bgp sp from t {
  local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000; enable as4 off;
}
protocol bgp far from t { local 198.18.9.1 as 65001; neighbor 198.18.9.2 as 4200000009; }`,
        );
        const f = new Frr(
          world,
          behind(one),
          9,
          frr([], ["aggregate-address 10.9.0.0/16 summary-only", "network 10.9.7.0/24"], 4200000009)
            .replaceAll("198.18.3.1", "198.18.9.1").replaceAll("as 65000", "as 65001"),
        );
        const g = new Gobgp(world, world.neighbor(2), 2, gobgp());
        const us = await world.speaker({
          options: {},
          peers: [{ ...TO_BIRD, export: ALL }, TO_GOBGP],
          routes: [{ prefix: "10.244.1.0/24" }],
        });
        await established(us);
        await until("gobgpd answers", () => g.routes("ipv4"));
        g.ask("global", "rib", "add", "10.2.0.0/24", "aggregator", "4200000002:10.255.0.2");
        const { capabilities } = await us.neighbor("198.18.1.2");
        expect(capabilities.sent).toContain("4-octet-as");
        expect(capabilities.received).not.toContain("4-octet-as");
        await until(
          "BIRD has both",
          () => b.routes().includes("10.244.1.0/24") && b.routes().includes("10.2.0.0/24"),
        );
        const passedOn = b.ask("show route 10.2.0.0/24 all");
        expect(passedOn).toContain("BGP.as_path: 65000 4200000002\n");
        expect(passedOn).toContain("BGP.aggregator: 10.255.0.2 AS4200000002\n");
        await until("FRR behind has its aggregate", () => f.routes("ipv4").includes("10.9.0.0/16"));
        const aggregate = await until(
          "we have it",
          async () =>
            (await us.rib("in", "198.18.1.2")).find(({ prefix }) => prefix === "10.9.0.0/16"),
        );
        expect([aggregate.asPath, aggregate.aggregator]).toEqual([
          "65001 4200000009",
          "4200000009 10.255.0.3",
        ]);
      },
      60_000,
    );

    test(
      "and FRR without any capability, where our own number is AS_TRANS",
      async () => {
        world = new World();
        const three = world.neighbor(3);
        // FRR 8.4 writes UPDATEs once for all peers that are told the same, whatever they can read: a policy keeps them apart.
        const f = new Frr(
          world,
          three,
          3,
          `${
            frr(
              [
                "neighbor 198.18.3.1 dont-capability-negotiate",
                "neighbor 198.18.9.2 remote-as 4200000009",
                "neighbor 198.18.9.2 timers connect 1",
              ],
              ["neighbor 198.18.9.2 route-map ALL out"],
            ).replace("as 65000", "as 4200000000")
          }
route-map ALL permit 10`,
        );
        new Bird(
          world,
          behind(three),
          9,
          bird("local 198.18.9.2 as 4200000009; neighbor 198.18.9.1 as 65003;", BIRD_STATIC),
        );
        const g = new Gobgp(world, world.neighbor(2), 2, gobgp().replace("65000", "4200000000"));
        const us = await world.speaker({
          options: { asn: 4200000000 },
          peers: [{ ...TO_FRR, export: ALL }, TO_GOBGP],
          routes: [{ prefix: "10.244.1.0/24" }],
        });
        await established(us);
        await until("gobgpd answers", () => g.routes("ipv4"));
        g.ask("global", "rib", "add", "10.2.0.0/24");
        expect((await us.neighbor("198.18.3.2")).capabilities.received).toEqual([]);
        const path = (prefix: string) =>
          f.json(`show bgp ipv4 unicast ${prefix}`).paths[0].aspath.string;
        await until(
          "FRR has both",
          () =>
            f.routes("ipv4").includes("10.244.1.0/24") && f.routes("ipv4").includes("10.2.0.0/24"),
        );
        // It has read our capability, so it ignores AS4_PATH and shows what two octets say.
        expect(path("10.244.1.0/24")).toBe("23456");
        expect(path("10.2.0.0/24")).toBe("23456 23456");
        const paths = async () =>
          Object.fromEntries(
            (await us.rib("in", "198.18.3.2")).map(({ prefix, asPath }) => [prefix, asPath]),
          );
        await until(
          "we have theirs",
          async () => "10.1.0.0/24" in await paths() || Promise.reject(JSON.stringify(us.events)),
        );
        expect(await paths()).toMatchObject({
          "10.1.0.0/24": "65003 4200000009",
          "10.3.0.0/24": "65003",
        });
      },
      60_000,
    );

    test(
      "route reflection (RFC 4456): clients of other makes know whom a route comes from, and by which cluster",
      async () => {
        world = new World();
        const b = new Bird(
          world,
          world.neighbor(1),
          1,
          bird(BIRD_4.replace("65001", "65000"), BIRD_STATIC),
        );
        const g = new Gobgp(world, world.neighbor(2), 2, gobgp().replace("4200000002", "65000"));
        const f = new Frr(world, world.neighbor(3), 3, frr([], [], 65000));
        const peers = [TO_BIRD, TO_GOBGP, TO_FRR].map((peer) => ({ ...peer, asn: 65000 }));
        const us = await world.speaker({
          options: {},
          // FRR is no client: it is told of clients, and of nobody else.
          peers: peers.map((peer, i) => i < 2 ? { ...peer, routeReflectorClient: true } : peer),
          routes: [{ prefix: "10.244.1.0/24" }],
        });
        await established(us);
        await until("gobgpd answers", () => g.routes("ipv4"));
        g.ask("global", "rib", "add", "10.2.0.0/24");
        await until(
          "FRR has the clients' routes",
          () =>
            ["10.1.0.0/24", "10.2.0.0/24", "10.244.1.0/24"].every((prefix) =>
              f.routes("ipv4").includes(prefix)
            ),
        );
        const { paths: [path] } = f.json("show bgp ipv4 unicast 10.1.0.0/24");
        expect([path.originatorId, path.clusterList.list, path.nexthops[0].ip, path.locPrf])
          .toEqual(["10.255.0.1", ["198.18.0.1"], "198.18.1.2", 100]);
        const inBird = await until("BIRD has FRR's", () => {
          const text = b.ask("show route 10.3.0.0/24 all");
          return text.includes("cluster_list") ? text : undefined;
        });
        expect(inBird).toContain("BGP.originator_id: 10.255.0.3");
        expect(inBird).toContain("BGP.cluster_list: 198.18.0.1");
        await until("GoBGP has BIRD's", () => g.routes("ipv4").includes("10.1.0.0/24"));
        expect(g.ask("global", "rib", "10.1.0.0/24")).toMatch(
          /\{Originator: 10\.255\.0\.1\} \{ClusterList: \[198\.18\.0\.1\]\}/,
        );
      },
      60_000,
    );

    test(
      "communities, standard and large, are what each end says they are; a message of 6 KB reaches who takes such",
      async () => {
        world = new World();
        const [one, two, three] = [1, 2, 3].map((n) => world.neighbor(n)) as [
          string,
          string,
          string,
        ];
        const b = new Bird(
          world,
          one,
          1,
          bird(
            `${BIRD_4} enable extended messages on;`,
            `ipv4 { import all; export filter {
    if source != RTS_STATIC then reject;
    bgp_community.add((65001, 5)); bgp_large_community.add((65001, 6, 4294967295));
    accept;
  }; };`,
          ),
        );
        const g = new Gobgp(world, two, 2, gobgp());
        const f = new Frr(
          world,
          three,
          3,
          `${frr([], ["neighbor 198.18.3.1 route-map OUT out"])}
route-map OUT permit 10
 set community 65003:5 no-export
 set large-community 65003:6:7`,
        );
        const many = Array.from({ length: 1500 }, (_, i) => `64512:${i}`);
        const set = { communities: ["65000:7"], largeCommunities: ["4200000000:1:2"] };
        const accept = {
          statements: [{
            name: "own",
            match: { source: ["local" as const] },
            action: "accept" as const,
            set,
          }],
          default: "reject" as const,
        };
        const us = await world.speaker({
          options: {},
          peers: [TO_BIRD, TO_GOBGP, TO_FRR].map((peer) => ({ ...peer, export: accept })),
          routes: [
            { prefix: "10.244.1.0/24", communities: ["65000:8"], largeCommunities: ["65000:1:3"] },
            { prefix: "10.244.9.0/24", communities: many },
          ],
        });
        await established(us);
        await until("gobgpd answers", () => g.routes("ipv4"));
        g.ask(
          "global",
          "rib",
          "add",
          "10.2.0.0/24",
          "community",
          "64000:5",
          "large-community",
          "9:8:7",
        );

        const inBird = await until("BIRD has it", () => {
          const text = b.ask("show route 10.244.1.0/24 all");
          return text.includes("BGP.community") && text;
        });
        expect(inBird).toContain("BGP.community: (65000,8) (65000,7)");
        expect(inBird).toContain("BGP.large_community: (65000, 1, 3) (4200000000, 1, 2)");
        await until("FRR has it", () => f.routes("ipv4").includes("10.244.1.0/24"));
        const { paths: [path] } = f.json("show bgp ipv4 unicast 10.244.1.0/24");
        expect(path.community.list).toEqual(["65000:7", "65000:8"]);
        expect(path.largeCommunity.list).toEqual(["65000:1:3", "4200000000:1:2"]);
        const inGobgp = await until("GoBGP has it", () => {
          const text = g.ask("global", "rib", "10.244.1.0/24");
          return text.includes("Communities") && text;
        });
        expect(inGobgp).toContain("{Communities: 65000:8, 65000:7}");
        expect(inGobgp).toMatch(/\{LargeCommunity: \[ ?65000:1:3, ?4200000000:1:2 ?\]\}/);

        // Two speakers take long messages. The third cannot be told, and keeps its session.
        const offer = async (address: string) =>
          (await us.neighbor(address)).capabilities.received.includes("extended-message");
        expect([await offer("198.18.1.2"), await offer("198.18.2.2"), await offer("198.18.3.2")])
          .toEqual([true, false, true]);
        await until("BIRD has the long one", () => b.routes().includes("10.244.9.0/24"));
        expect(b.ask("show route 10.244.9.0/24 all").match(/\(64512,\d+\)/g)?.length).toBe(1500);
        await until("FRR has the long one", () => f.routes("ipv4").includes("10.244.9.0/24"));
        expect(f.json("show bgp ipv4 unicast 10.244.9.0/24").paths[0].community.list.length)
          .toBe(1501);
        expect(g.routes("ipv4")).not.toContain("10.244.9.0/24");
        expect((await us.neighbors()).map(({ flaps }) => flaps)).toEqual([0, 0, 0]);

        const theirs = async (prefix: string) => {
          const found = await until(
            `we have ${prefix}`,
            async () => (await us.rib("in")).find((each) => each.prefix === prefix),
          );
          return [found.communities, found.largeCommunities];
        };
        expect(await theirs("10.1.0.0/24")).toEqual([["65001:5"], ["65001:6:4294967295"]]);
        expect(await theirs("10.2.0.0/24")).toEqual([["64000:5"], ["9:8:7"]]);
        expect(await theirs("10.3.0.0/24")).toEqual([["65003:5", "no-export"], ["65003:6:7"]]);
      },
      60_000,
    );
  },
);
