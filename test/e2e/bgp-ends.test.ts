/** How sessions begin and end with BIRD, FRR and GoBGP: both dial at once, somebody says why it leaves, or too much is told. */
import { afterEach, describe, expect, test } from "bun:test";
import {
  Bird,
  established,
  Frr,
  Gobgp,
  lacking,
  query,
  type SpeakerProcess,
  until,
  World,
} from "./bgp/world.ts";

const title = "how BGP sessions begin and end";

const bird = (options = "") => `
protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; route 10.1.1.0/24 blackhole; route 10.1.2.0/24 blackhole; }
protocol bgp sp {
  local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000; ${options}
  connect retry time 1; connect delay time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; };
}`;

const frr = (family: readonly string[] = [], id = "10.255.0.3") =>
  `router bgp 65003
 bgp router-id ${id}
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 timers connect 1
 address-family ipv4 unicast
  network 10.3.0.0/24
${family.map((line) => `  ${line}\n`).join("")} exit-address-family`;

const gobgp = (neighbor = "") =>
  `[global.config]
  as = 65002
  router-id = "10.255.0.2"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "198.18.2.1"
    peer-as = 65000
  [neighbors.transport.config]
    passive-mode = true
    local-address = "198.18.2.2"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
${neighbor}
`;

const TO_BIRD = { address: "198.18.1.2", asn: 65001, connectRetrySeconds: 1 };
const TO_GOBGP = { address: "198.18.2.2", asn: 65002, connectRetrySeconds: 1 };
const TO_FRR = { address: "198.18.3.2", asn: 65003, connectRetrySeconds: 1 };
const ALL = [TO_BIRD, TO_GOBGP, TO_FRR];

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    afterEach(() => world?.close());

    /** Why it ended last, as soon as it has. */
    const ended = (us: SpeakerProcess, address: string, word: string) =>
      until(`the session with ${address} ended by ${word}`, async () => {
        const { lastNotification, state } = await us.neighbor(address);
        return state !== "Established" && lastNotification?.includes(word) && lastNotification;
      });

    test(
      "who leaves says why (RFC 9003), and the other end shows it",
      async () => {
        world = new World();
        const b = new Bird(world, world.neighbor(1), 1, bird());
        const g = new Gobgp(world, world.neighbor(2), 2, gobgp());
        const f = new Frr(world, world.neighbor(3), 3, frr());
        const us = await world.speaker({ options: {}, peers: ALL, routes: [] });
        await established(us);
        // Of ours: BIRD and FRR show it on demand, GoBGP in its log.
        await us.peers(ALL.map((peer) => ({ ...peer, shutdown: "Knoten geht für 5 min" })));
        await until(
          "BIRD shows it",
          () => b.ask("show protocols all sp").includes("Knoten geht für 5 min"),
        );
        // FRR writes octets beyond ASCII as numbers.
        await until(
          "FRR shows it",
          () =>
            f.json("show bgp neighbors 198.18.3.1")["198.18.3.1"].lastShutdownDescription ===
              "Knoten geht f\\xc3\\xbcr 5 min",
        );
        await until("GoBGP logs it", () => world.log("gobgp2").includes("Knoten geht für 5 min"));
        await us.peers(ALL);
        await established(us);
        // Of theirs.
        b.ask('disable sp "BIRD leaves"');
        g.ask("neighbor", "198.18.2.1", "shutdown", "--reason", "GoBGP leaves");
        f.configure("router bgp 65003", "neighbor 198.18.3.1 shutdown message FRR leaves");
        const said = await Promise.all(
          ALL.map(({ address }) => ended(us, address, "administrative shutdown")),
        );
        expect(said).toEqual(
          ["BIRD leaves", "GoBGP leaves", "FRR leaves"].map((text) =>
            `The peer sent 6/2 (cease: administrative shutdown), "${text}"`
          ),
        );
      },
      60_000,
    );

    test(
      "too many prefixes end that session alone, whoever counts them",
      async () => {
        world = new World();
        const b = new Bird(world, world.neighbor(1), 1, bird());
        const g = new Gobgp(
          world,
          world.neighbor(2),
          2,
          gobgp(`    [neighbors.afi-safis.prefix-limit.config]
      max-prefixes = 2`),
        );
        const f = new Frr(
          world,
          world.neighbor(3),
          3,
          frr(["neighbor 198.18.3.1 maximum-prefix 2"]),
        );
        const prefixes = (count: number) =>
          Array.from({ length: count }, (_, i) => ({ prefix: `10.244.${i}.0/24` }));
        const us = await world.speaker({ options: {}, peers: ALL, routes: prefixes(2) });
        await established(us);
        await until("BIRD told three", async () => (await us.rib("in", "198.18.1.2")).length === 3);
        // Theirs: FRR and GoBGP take two. FRR counts again when the next one comes.
        await us.routes(prefixes(3));
        await until("FRR has three", () => f.routes("ipv4").length === 4);
        await us.routes(prefixes(4));
        expect(await ended(us, "198.18.3.2", "maximum number of prefixes")).toContain(
          "The peer sent 6/1",
        );
        expect(await ended(us, "198.18.2.2", "maximum number of prefixes")).toContain(
          "The peer sent 6/1",
        );
        await until(
          "BIRD has four",
          () => b.routes().filter((prefix) => prefix.startsWith("10.244.")).length === 4,
        );
        expect((await us.neighbor("198.18.1.2")).flaps).toBe(0);
        expect(f.ask("show bgp neighbors 198.18.3.1")).toContain("Maximum Number of Prefixes");
        // Ours: with two routes all are back, and BIRD has one more than it may.
        await us.routes(prefixes(2));
        expect(f.ask("clear bgp 198.18.3.1")).toBe("");
        g.ask("neighbor", "198.18.2.1", "enable");
        await us.peers([{ ...TO_BIRD, maxPrefixes: 2 }, TO_GOBGP, TO_FRR]);
        b.ask("restart sp");
        expect(await ended(us, "198.18.1.2", "maximum number of prefixes")).toContain(
          "sent 6/1 (cease: maximum number of prefixes reached)",
        );
        await until("BIRD shows it", () => b.ask("show protocols all sp").includes("Maximum"));
        await established(us, "198.18.1.2");
        // It rests for minutes; there is nothing left of what it told.
        expect((await us.neighbor("198.18.1.2")).state).toBe("Idle");
        expect(await us.rib("in", "198.18.1.2")).toEqual([]);
        expect((await us.neighbor("198.18.3.2")).state).toBe("Established");
      },
      60_000,
    );

    /** Drops what matches, until it is let through again. */
    const drop = (namespaces: readonly string[], on: boolean, match: string) => {
      for (const port of ["--dport", "--sport"]) {
        const rule = `OUTPUT -p tcp ${port} 179 ${match} -j DROP`;
        for (const namespace of namespaces) {
          query(namespace, `iptables -w -t mangle ${on ? "-A" : "-D"} ${rule}`.split(" "));
        }
      }
    };
    /** Connections are made, and nobody can say a word. */
    const WORDS = "--tcp-flags PSH PSH";
    /** OPENs pass, and sessions stay in OpenConfirm, where collisions are decided: 20 + 32 + 19 octets. */
    const KEEPALIVES = "-m length --length 71";

    test.each([
      ["we are higher", "203.0.113.1"],
      ["they are higher", "1.2.3.4"],
    ])(
      "both dial at the same moment, and one connection stays (RFC 4271 section 6.8): %s",
      async (_who, routerId) => {
        world = new World();
        const [one, three] = [world.neighbor(1), world.neighbor(3)];
        const hosts = [world.us, one, three];
        // What is sent again is sent as it was, or an OPEN would take the KEEPALIVE behind it along.
        for (const host of hosts) query(host, ["sysctl", "-qw", "net.ipv4.tcp_retrans_collapse=0"]);
        drop(hosts, true, WORDS);
        const b = new Bird(world, one, 1, bird());
        const f = new Frr(world, three, 3, frr());
        const peers = [TO_BIRD, TO_FRR];
        const us = await world.speaker({ options: { routerId }, peers, routes: [] });
        /** Connections that we dialled, and that were dialled. */
        const connections = (peer: string) => {
          const lines = query(world.us, ["ss", "-Htn", "state", "established"]).split("\n")
            .filter((line) => line.includes(`${peer}:`));
          return lines.map((line) => line.includes(`${peer}:179`) ? "ours" : "theirs").sort();
        };
        for (const { address } of peers) {
          await until(
            `there are two connections with ${address}`,
            () =>
              Bun.deepEquals(connections(address), ["ours", "theirs"]) ||
              Promise.reject(connections(address)),
          );
        }
        drop(hosts, true, KEEPALIVES);
        drop(hosts, false, WORDS);
        /** Those of which both connections got their OPENs while neither was Established. */
        const met = new Set<string>();
        for (const { address } of peers) {
          await until(`one connection with ${address} is left`, async () => {
            const { received, state } = await us.neighbor(address);
            if (state === "OpenConfirm" && received.open >= 2) met.add(address);
            return (connections(address).length === 1 &&
              (met.has(address) || state === "Established")) ||
              Promise.reject(`${received.open} OPENs, ${state}, ${connections(address)}`);
          });
        }
        drop(hosts, false, KEEPALIVES);
        await established(us);
        await until("BIRD says so", () => b.ask("show protocols sp").includes("Established"));
        await until("FRR says so", () => f.state("198.18.3.1") === "Established");
        for (const { address } of peers) {
          const { flaps, remotePort } = await us.neighbor(address);
          expect(flaps).toBeLessThan(2);
          await until("both ends have one", () => connections(address).length === 1);
          // The higher identifier keeps the one it dialled; where one was Established before the other had an OPEN, that one stays.
          if (!met.has(address)) continue;
          expect(remotePort === 179 ? "ours" : "theirs").toBe(
            routerId === "203.0.113.1" ? "ours" : "theirs",
          );
        }
        await until("routes are there", async () => (await us.rib("local")).length === 4);
      },
      60_000,
    );
  },
);
