/** What speakers agree on beside RFC 4271, with BIRD, FRR and GoBGP as they are: each of them is asked what it made of us. */
import { afterEach, describe, expect, test } from "bun:test";
import {
  Bird,
  Frr,
  Gobgp,
  lacking,
  query,
  type SpeakerProcess,
  until,
  World,
} from "./bgp/world.ts";

const title = "extensions of BGP with other speakers";

const bird = (bgp: string, channels: string, more = "") =>
  `${more}
protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; route 10.1.1.0/24 blackhole; }
protocol bgp sp {
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ${bgp}
  ${channels}
}`;
const BIRD_4 = "local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000;";
const BIRD_STATIC = "ipv4 { import all; export where source = RTS_STATIC; };";

const frr = (lines: readonly string[], family4: readonly string[] = [], as = 65003) =>
  `router bgp ${as}
 bgp router-id 10.255.0.3
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 timers connect 1
${lines.map((line) => ` ${line}\n`).join("")} address-family ipv4 unicast
  network 10.3.0.0/24
${family4.map((line) => `  ${line}\n`).join("")} exit-address-family`;

const gobgp = (more: { readonly global?: string; readonly neighbor?: string } = {}) =>
  `[global.config]
  as = 4200000002
  router-id = "10.255.0.2"
${more.global ?? ""}
[[neighbors]]
  [neighbors.config]
    neighbor-address = "198.18.2.1"
    peer-as = 65000
  [neighbors.transport.config]
    passive-mode = true
    local-address = "198.18.2.2"
${more.neighbor ?? ""}
`;

const TO_BIRD = { address: "198.18.1.2", asn: 65001, connectRetrySeconds: 1 };
const TO_GOBGP = { address: "198.18.2.2", asn: 4200000002, connectRetrySeconds: 1 };
const TO_FRR = { address: "198.18.3.2", asn: 65003, connectRetrySeconds: 1 };

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    afterEach(() => world?.close());

    const established = (us: SpeakerProcess) =>
      until("all sessions are Established", async () => {
        const neighbors = await us.neighbors();
        return neighbors.every(({ state }) => state === "Established") ||
          Promise.reject(neighbors.map(({ address, lastError }) => `${address}: ${lastError}`));
      });
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
