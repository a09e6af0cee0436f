/** Our speaker and three others, over real sockets: what each of them believes is asked of it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Bird, Frr, Gobgp, lacking, type SpeakerProcess, until, World } from "./bgp/world.ts";

const title = "BGP with BIRD, FRR and GoBGP";

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    let us: SpeakerProcess;
    let bird: Bird;
    let frr: Frr;
    let gobgp: Gobgp;

    beforeAll(async () => {
      world = new World();
      bird = new Bird(
        world,
        world.neighbor(1),
        1,
        `protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; route 10.1.1.0/24 blackhole; }
protocol static s6 { ipv6; route fd01:1::/48 blackhole; }
protocol bgp sp {
  local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000;
  hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address fd00:1::2; };
}`,
      );
      gobgp = new Gobgp(
        world,
        world.neighbor(2),
        2,
        `[global.config]
  as = 4200000002
  router-id = "10.255.0.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "198.18.2.1"
    peer-as = 65000
    auth-password = "s3cret"
  [neighbors.transport.config]
    passive-mode = true
    local-address = "198.18.2.2"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
`,
      );
      frr = new Frr(
        world,
        world.neighbor(3),
        3,
        `router bgp 65003
 bgp router-id 10.255.0.3
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 timers 3 9
 neighbor 198.18.3.1 timers connect 1
 neighbor 198.18.3.1 password s3cret
 address-family ipv4 unicast
  network 10.3.0.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor 198.18.3.1 activate
  network fd03:3::/48
 exit-address-family`,
      );
      us = await world.speaker({
        options: {},
        peers: [
          { address: "198.18.1.2", asn: 65001, families: [4, 6], nextHop: { 6: "fd00:1::1" } },
          {
            address: "198.18.2.2",
            asn: 4200000002,
            families: [4, 6],
            password: "s3cret",
            nextHop: { 6: "fd00:2::1" },
          },
          {
            address: "198.18.3.2",
            asn: 65003,
            families: [4, 6],
            password: "s3cret",
            passive: true,
            nextHop: { 6: "fd00:3::1" },
          },
        ],
        routes: [
          { prefix: "10.244.1.0/24" },
          { prefix: "fd00:244:1::/64" },
        ],
      });
      await until("gobgpd answers", () => gobgp.routes("ipv4"), 10);
      gobgp.ask("global", "rib", "add", "10.2.0.0/24");
      gobgp.ask("global", "rib", "add", "fd02:2::/48", "-a", "ipv6");
    });
    afterAll(() => world?.close());

    test("sessions come up with all three, with and without MD5, dialled and dialling", async () => {
      await until("all are Established", async () => {
        const states = (await us.neighbors()).map(({ state }) => state);
        return states.every((state) => state === "Established");
      });
      expect(bird.ask("show protocols sp")).toContain("Established");
      expect(gobgp.established("198.18.2.1")).toBe(true);
      expect(frr.state("198.18.3.1")).toBe("Established");
    });

    test("routes of both families go both ways, exactly", async () => {
      const theirs = {
        "198.18.1.2": ["10.1.0.0/24", "10.1.1.0/24", "fd01:1::/48"],
        "198.18.2.2": ["10.2.0.0/24", "fd02:2::/48"],
        "198.18.3.2": ["10.3.0.0/24", "fd03:3::/48"],
      };
      for (const [peer, prefixes] of Object.entries(theirs)) {
        await until(`${peer} told its routes`, async () =>
          JSON.stringify(
            (await us.rib("in", peer)).filter(({ rejected }) => rejected === undefined)
              .map(({ prefix }) => prefix).sort(),
          ) === JSON.stringify(prefixes));
      }
      await until(
        "BIRD has ours",
        () => bird.routes().filter((prefix) => /244/.test(prefix)).length === 2,
      );
      await until("GoBGP has ours", () =>
        gobgp.routes("ipv4").includes("10.244.1.0/24") &&
        gobgp.routes("ipv6").includes("fd00:244:1::/64"));
      await until("FRR has ours", () =>
        frr.routes("ipv4").includes("10.244.1.0/24") &&
        frr.routes("ipv6").includes("fd00:244:1::/64"));
      // Nothing that one told us goes to another (RFC 8212).
      expect(frr.routes("ipv4")).toEqual(["10.244.1.0/24", "10.3.0.0/24"]);
    });
  },
);
