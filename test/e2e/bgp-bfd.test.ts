/** BFD with FRR's bfdd and with BIRD: up, and down by time alone when the link drops everything without a sign. */
import { afterEach, describe, expect, test } from "bun:test";
import { Bird, Frr, lacking, query, until, World } from "./bgp/world.ts";

const title = "BFD";
const FAST = { detectMultiplier: 3, desiredMinTx: 100_000, requiredMinRx: 100_000 };

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    afterEach(() => world?.close());

    /** Drops all that comes in there: the link stays up, TCP would need its hold time. */
    const silence = (namespace: string) =>
      ["iptables", "ip6tables"].map((tool) => query(namespace, [tool, "-I", "INPUT", "-j", "DROP"]))
        .join("") +
      ["iptables", "ip6tables"].map((tool) =>
        query(namespace, [tool, "-I", "OUTPUT", "-j", "DROP"])
      ).join("");

    test(
      "with FRR: both ends are Up with fast timers, and silence ends the BGP session long before its hold time",
      async () => {
        world = new World();
        const them = world.neighbor(3);
        const frr = new Frr(
          world,
          them,
          3,
          `router bgp 65003
 bgp router-id 10.255.0.3
 no bgp ebgp-requires-policy
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 timers 30 90
 neighbor 198.18.3.1 timers connect 1`,
          `bfd
 peer 198.18.3.1 local-address 198.18.3.2 interface e0
  receive-interval 100
  transmit-interval 100
  detect-multiplier 3
 exit
exit`,
        );
        const us = await world.speaker({
          options: {},
          peers: [{ address: "198.18.3.2", asn: 65003, bfd: FAST }],
        });
        await until("BFD is up here", async () => (await us.neighbor("198.18.3.2")).bfd === "up");
        await until(
          "BFD is up there",
          () => frr.json("show bfd peers", "bfdd")[0]?.status === "up",
        );
        const [peer] = frr.json("show bfd peers", "bfdd");
        expect([peer["remote-receive-interval"], peer["remote-transmit-interval"]]).toEqual([
          100,
          100,
        ]);
        // It stays up.
        await Bun.sleep(2000);
        expect((await us.neighbor("198.18.3.2")).flaps).toBe(0);
        silence(them);
        await until(
          "the BGP session is down",
          async () => (await us.neighbor("198.18.3.2")).flaps === 1,
          5,
        );
        expect((await us.neighbor("198.18.3.2")).lastNotification ?? "").toContain("BFD");
        expect((await us.neighbor("198.18.3.2")).bfd).toBe("down");
      },
      60_000,
    );

    test.each([["single hop", "198.18.1", ""], ["IPv6", "fd00:1:", ""], [
      "multihop",
      "198.18.1",
      "multihop",
    ]])(
      "with BIRD, %s: Up, down by silence",
      async (_name, net, multihop) => {
        world = new World();
        const them = world.neighbor(1);
        const dot = net.includes(":") ? ":" : ".";
        const [mine, theirs] = [`${net}${dot}1`, `${net}${dot}2`];
        const timers = "min rx interval 100 ms; min tx interval 100 ms; multiplier 3;";
        const bird = new Bird(
          world,
          them,
          1,
          `protocol bfd { interface "e0" { ${timers} }; multihop { ${timers} }; }
protocol bgp sp {
  local ${theirs} as 65001; neighbor ${mine} as 65000; ${multihop};
  hold time 90; connect retry time 1; connect delay time 1; bfd on;
  ipv4 { import all; export all; };
}`.replace(" ;", ""),
        );
        const us = await world.speaker({
          options: {},
          peers: [{
            address: theirs,
            asn: 65001,
            families: [4],
            bfd: FAST,
            ...(multihop === "" ? {} : { multihop: 2 }),
          }],
        });
        await until("BFD is up here", async () => (await us.neighbor(theirs)).bfd === "up");
        await until("BFD is up there", () => / Up /.test(bird.ask("show bfd sessions")));
        await Bun.sleep(1500);
        expect((await us.neighbor(theirs)).flaps).toBe(0);
        silence(them);
        await until(
          "the BGP session is down",
          async () => (await us.neighbor(theirs)).flaps === 1,
          5,
        );
      },
      60_000,
    );
  },
);
