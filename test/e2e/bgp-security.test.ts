/** Passwords, TTL security, several hops, source addresses and malformed messages, over real sockets. */
import { afterEach, describe, expect, test } from "bun:test";
import { Bird, Frr, lacking, query, until, World } from "./bgp/world.ts";

const title = "BGP sessions and who may have one";

const bird = (options: string) => `
protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; }
protocol bgp sp {
  hold time 9; connect retry time 1; connect delay time 1; error wait time 1, 2;
  ${options}
  ipv4 { import all; export where source = RTS_STATIC; };
}`;
const DIRECT = "local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000;";

describe.skipIf(lacking !== undefined)(
  lacking === undefined ? title : `${title} (${lacking})`,
  () => {
    let world: World;
    afterEach(() => world?.close());

    const isUp = (bird: Bird) => bird.ask("show protocols sp").includes("Established");

    test(
      "a password may be changed while everything runs, and only that session starts anew",
      async () => {
        world = new World();
        const b = new Bird(
          world,
          world.neighbor(1),
          1,
          bird(`${DIRECT} password "one"; passive on;`),
        );
        const f = new Frr(
          world,
          world.neighbor(3),
          3,
          `router bgp 65003
 bgp router-id 10.255.0.3
 no bgp ebgp-requires-policy
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 timers connect 1
 neighbor 198.18.3.1 password two`,
        );
        const frr = { address: "198.18.3.2", asn: 65003, password: "two", passive: true };
        const us = await world.speaker({
          options: {},
          peers: [{ address: "198.18.1.2", asn: 65001, password: "wrong" }, frr],
        });
        await until("FRR is Established", () => f.state("198.18.3.1") === "Established");
        expect(isUp(b)).toBe(false);
        await us.peers([{ address: "198.18.1.2", asn: 65001, password: "one" }, frr]);
        await until("BIRD is Established", () => isUp(b));
        expect((await us.neighbor("198.18.3.2")).established).toBe(1);
        // No password is in anything that is said.
        expect(JSON.stringify(us.events)).not.toContain('"one"');
      },
      60_000,
    );

    test.each(["198.18.1", "fd00:1:"])("TTL security holds on both ends, over %s", async (net) => {
      world = new World();
      const [mine, theirs] = [
        `${net}${net.includes(":") ? ":" : "."}1`,
        `${net}${net.includes(":") ? ":" : "."}2`,
      ];
      const b = new Bird(
        world,
        world.neighbor(1),
        1,
        bird(`local ${theirs} as 65001; neighbor ${mine} as 65000; ttl security on; password "k";`),
      );
      const us = await world.speaker({
        options: {},
        peers: [{ address: theirs, asn: 65001, families: [4], ttlSecurity: 1, password: "k" }],
      });
      await until("it is Established", () => isUp(b));
      expect((await us.neighbor(theirs)).state).toBe("Established");
    }, 60_000);

    test(
      "a peer two hops away needs multihop, and a source address is ours to choose",
      async () => {
        world = new World();
        const router = world.neighbor(1);
        // Behind the first neighbour there is a second one; our own address lies on loopback.
        const far = world.namespace("far");
        const { us: here } = world;
        const ip = (...words: string[]) => query(words[0] ?? "", ["ip", ...words.slice(1)]);
        ip(router, "link", "add", "e9", "type", "veth", "peer", "e0", "netns", far);
        world.address(router, "e9", ["198.18.9.1/24"]);
        world.address(far, "e0", ["198.18.9.2/24"]);
        ip(here, "address", "add", "198.18.100.1/32", "dev", "lo");
        ip(here, "route", "add", "198.18.9.0/24", "via", "198.18.1.2");
        ip(router, "route", "add", "198.18.100.1/32", "via", "198.18.1.1");
        ip(far, "route", "add", "default", "via", "198.18.9.1");
        query(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
        const b = new Bird(
          world,
          far,
          9,
          bird(
            "local 198.18.9.2 as 65001; neighbor 198.18.100.1 as 65000; multihop 3; passive on;",
          ),
        );
        const peer = { address: "198.18.9.2", asn: 65001, localAddress: "198.18.100.1" };
        const us = await world.speaker({ options: {}, peers: [peer] });
        await Bun.sleep(3000);
        expect(isUp(b)).toBe(false);
        await us.peers([{ ...peer, multihop: 3 }]);
        await until("it is Established", () => isUp(b));
        expect((await us.neighbor("198.18.9.2")).localAddress).toBe("198.18.100.1");
      },
      60_000,
    );

    test("who is not configured is not taken, whatever it says", async () => {
      world = new World();
      const them = world.neighbor(1);
      const b = new Bird(world, them, 1, bird(DIRECT));
      const us = await world.speaker({ options: {}, peers: [] });
      await until(
        "it was told so",
        () => us.events.some(({ fields }) => fields?.reason === "no such peer is configured"),
      );
      // It tries again and again, and is told of once.
      const knock = `import socket
for _ in range(3):
  try:
    with socket.create_connection(("198.18.1.1", 179), 3) as s: assert s.recv(1) == b""
  except ConnectionResetError: pass
print("refused")`;
      expect(query(them, ["python3", "-c", knock])).toBe("refused\n");
      // Gone again before anybody looks at it.
      const pass = `import socket, struct
for _ in range(3):
  s = socket.create_connection(("198.18.1.1", 179), 3)
  s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
  s.close()
print("gone")`;
      process.kill(us.pid, "SIGSTOP");
      const passed = query(them, ["python3", "-c", pass]);
      process.kill(us.pid, "SIGCONT");
      expect(passed).toBe("gone\n");
      expect(await us.neighbors()).toEqual([]);
      expect(isUp(b)).toBe(false);
      expect(
        us.events.filter(({ fields }) => fields?.reason === "no such peer is configured").length,
      ).toBe(1);
      expect(us.events.filter(({ message }) => message.includes("reported an error"))).toEqual([]);
    }, 60_000);

    test(
      "a malformed attribute withdraws its route and the session stays; what cannot be read ends it",
      async () => {
        world = new World();
        const them = world.neighbor(1);
        const us = await world.speaker({
          options: {},
          peers: [{ address: "198.18.1.2", asn: 65001, passive: true }],
        });
        const raw = world.spawn(them, [
          "python3",
          "-c",
          `
import socket, struct, time
def message(kind, body): return b"\\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body
def update(attributes, nlri):
    return message(2, struct.pack("!HH", 0, len(attributes)) + attributes + nlri)
s = socket.create_connection(("198.18.1.1", 179))
capabilities = b"\\x01\\x04\\x00\\x01\\x00\\x01" + b"\\x41\\x04" + struct.pack("!I", 65001)
s.sendall(message(1, struct.pack("!BHH4sBBB", 4, 65001, 90, b"\\x0a\\xff\\x00\\x01", 2 + len(capabilities), 2, len(capabilities)) + capabilities))
s.sendall(message(4, b""))
good = b"\\x40\\x01\\x01\\x00" + b"\\x40\\x02\\x06\\x02\\x01" + struct.pack("!I", 65001) + b"\\x40\\x03\\x04\\xc6\\x12\\x01\\x02"
s.sendall(update(good, b"\\x18\\x0a\\x01\\x00") + update(good, b"\\x18\\x0a\\x01\\x01"))
time.sleep(1.5)
# COMMUNITIES with five octets, for a route that was good before.
s.sendall(update(good + b"\\xc0\\x08\\x05\\x00\\x01\\x00\\x02\\x03", b"\\x18\\x0a\\x01\\x01"))
time.sleep(1.5)
# A prefix of 33 bits: nobody knows where the next one begins.
s.sendall(update(good, b"\\x21\\x0a\\x01\\x00\\x00\\x00"))
time.sleep(30)
`,
        ], "raw");
        const prefixes = async () => (await us.rib("in")).map(({ prefix }) => prefix);
        await until("both routes are there", async () => (await prefixes()).length === 2);
        await until("one is withdrawn", async () => (await prefixes()).length === 1);
        expect(await prefixes()).toEqual(["10.1.0.0/24"]);
        expect((await us.neighbor("198.18.1.2")).state).toBe("Established");
        expect(us.events.map(({ fields }) => fields?.reason)).toContain("COMMUNITIES has 5 octets");
        await until(
          "the session is ended",
          async () => (await us.neighbor("198.18.1.2")).flaps === 1,
        );
        expect((await us.neighbor("198.18.1.2")).lastNotification).toContain(
          "3/10 (UPDATE message error: invalid network field)",
        );
        raw.kill();
      },
      60_000,
    );
  },
);
