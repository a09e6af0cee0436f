/**
 * Captures what BIRD, FRR and GoBGP send to a BGP speaker, as the fixture of bgp.test.ts. Runs as root, with the daemons and
 * tcpdump installed:
 *
 *   bun test/wire/bgp-capture.ts >test/wire/bgp.json
 *
 * Each daemon does the same: it opens a session with all that it offers, tells routes of both families with attributes,
 * withdraws one, is asked to refresh and asks itself, and leaves with a text.
 */
import { readFileSync } from "node:fs";
import { Bird, Frr, Gobgp, until, World } from "../e2e/bgp/world.ts";

const world = new World();
const links = [1, 2, 3].map((n) => world.neighbor(n)) as [string, string, string];
links.forEach((_, i) =>
  world.spawn(
    world.us,
    ["tcpdump", "-i", `e${i + 1}`, "-w", `${world.folder}/e${i + 1}.pcap`, "-U", "tcp port 179"],
    `tcpdump${i + 1}`,
  )
);
await until(
  "tcpdump listens",
  () => [1, 2, 3].every((n) => /listening/.test(world.log(`tcpdump${n}`))),
);

const bird = new Bird(
  world,
  links[0],
  1,
  `protocol static s4 { ipv4; route 10.1.0.0/24 blackhole; route 10.1.1.0/24 blackhole; }
protocol static s6 { ipv6; route fd01:1::/48 blackhole; }
protocol bgp sp {
  local 198.18.1.2 as 65001; neighbor 198.18.1.1 as 65000;
  passive on; graceful restart on; enable extended messages on;
  ipv4 { extended next hop on; import all; export filter {
    if source != RTS_STATIC then reject;
    if net = 10.1.1.0/24 then { bgp_next_hop = fd00:1::2; accept; }
    bgp_path.prepend(4200000001); bgp_med = 7;
    bgp_community.add((65001, 5)); bgp_large_community.add((65001, 6, 4294967295));
    bgp_ext_community.add((rt, 65001, 8));
    accept;
  }; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address fd00:1::2; };
}`,
);
const gobgp = new Gobgp(
  world,
  links[1],
  2,
  `[global.config]
  as = 4200000002
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
${
    ["ipv4-unicast", "ipv6-unicast"].map((name) =>
      `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${name}"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
`
    ).join("")
  }`,
);
const frr = new Frr(
  world,
  links[2],
  3,
  `router bgp 65003
 bgp router-id 10.255.0.3
 bgp graceful-restart
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 198.18.3.1 remote-as 65000
 neighbor 198.18.3.1 passive
 address-family ipv4 unicast
  network 10.3.7.0/24
  aggregate-address 10.3.0.0/16 as-set
  neighbor 198.18.3.1 route-map OUT out
 exit-address-family
 address-family ipv6 unicast
  neighbor 198.18.3.1 activate
  network fd03:3::/48
 exit-address-family
route-map OUT permit 10
 set community 65003:5 no-export
 set large-community 65003:6:7
 set metric 9`,
);
await until("gobgpd answers", () => gobgp.routes("ipv4"));
gobgp.ask(
  ..."global rib add 10.2.0.0/24 med 8 community 64000:5 large-community 9:8:7 aggregator 4200000002:10.255.0.2"
    .split(" "),
);
gobgp.ask("global", "rib", "add", "10.2.1.0/24");
gobgp.ask("global", "rib", "add", "fd02:2::/48", "-a", "ipv6", "nexthop", "fd00:2::2");

const peers = [
  { address: "198.18.1.2", asn: 65001 },
  { address: "198.18.2.2", asn: 4200000002 },
  { address: "198.18.3.2", asn: 65003 },
].map((peer, i) => ({
  ...peer,
  families: [4, 6] as const,
  nextHop: { 6: `fd00:${i + 1}::1` },
}));
const us = await world.speaker({
  options: { gracefulRestart: { restartSeconds: 60, deferralSeconds: 60 } },
  peers,
  routes: [{ prefix: "10.244.1.0/24" }],
});
const ends = async () =>
  (await us.neighbors()).every(({ prefixes }) => prefixes[4].endOfRib && prefixes[6].endOfRib);
await until("all have said End-of-RIB", ends, 60);
const has = async (prefix: string) => (await us.rib("in")).some((path) => path.prefix === prefix);
for (
  const prefix of [
    "fd01:1::/48",
    "10.1.1.0/24",
    "10.2.1.0/24",
    "fd02:2::/48",
    "10.3.7.0/24",
    "fd03:3::/48",
  ]
) {
  await until(`${prefix} is told`, () => has(prefix));
}
// Withdrawals.
bird.ask("disable s6");
bird.ask("disable s4");
gobgp.ask("global", "rib", "del", "10.2.1.0/24");
frr.configure("router bgp 65003", "address-family ipv4 unicast", "no network 10.3.7.0/24");
for (const gone of ["fd01:1::/48", "10.1.1.0/24", "10.2.1.0/24", "10.3.7.0/24"]) {
  await until(`${gone} is withdrawn`, async () => !(await has(gone)));
}
// Refresh, both ways.
for (const { address } of peers) await us.reset(address, { soft: true });
bird.ask("reload in sp");
frr.ask("clear bgp ipv4 unicast 198.18.3.1 in");
await Bun.sleep(2000);
bird.ask('disable sp "BIRD leaves"');
gobgp.ask("neighbor", "198.18.2.1", "shutdown", "--reason", "GoBGP leaves");
frr.configure("router bgp 65003", "neighbor 198.18.3.1 shutdown message FRR leaves");
await until(
  "all have left",
  async () =>
    (await us.neighbors()).every(({ lastNotification }) => lastNotification?.includes("leaves")),
);
await Bun.sleep(500);

const version = (...command: string[]): string =>
  Bun.spawnSync(command, { stderr: "pipe" }).stdout.toString().split("\n")[0] ||
  Bun.spawnSync(command, { stderr: "pipe" }).stderr.toString().split("\n")[0] || "";
const daemons = [
  version("bird", "--version"),
  version("gobgpd", "--version"),
  version("/usr/lib/frr/bgpd", "--version").replace("bgpd version", "FRR version"),
];
const captured = daemons.map((daemon, i) => ({
  daemon,
  messages: messages(streams(readFileSync(`${world.folder}/e${i + 1}.pcap`), `198.18.${i + 1}.2`)),
}));
console.log(JSON.stringify(captured, null, 2));
await world.close();
process.exit(0);

/** What an address sent over TCP, by connection, each octet once (segments that come again are left out). */
function streams(pcap: Uint8Array, from: string): Uint8Array[] {
  const view = new DataView(pcap.buffer, pcap.byteOffset, pcap.length);
  const connections = new Map<number, { next: number; parts: Uint8Array[] }>();
  for (let at = 24; at + 16 <= pcap.length;) {
    const length = view.getUint32(at + 8, true);
    const ip = at + 16 + 14;
    at += 16 + length;
    if (pcap.subarray(ip + 12, ip + 16).join(".") !== from) continue;
    const tcp = ip + 4 * ((pcap[ip] ?? 0) & 15);
    const data = tcp + 4 * ((pcap[tcp + 12] ?? 0) >> 4);
    const end = ip + view.getUint16(ip + 2);
    const port = view.getUint16(tcp) === 179 ? view.getUint16(tcp + 2) : view.getUint16(tcp);
    const sequence = view.getUint32(tcp + 4);
    const isSyn = ((pcap[tcp + 13] ?? 0) & 2) !== 0;
    if (isSyn) connections.set(port, { next: sequence + 1, parts: [] });
    const known = connections.get(port);
    if (known === undefined || end === data || sequence !== known.next) continue;
    known.next += end - data;
    known.parts.push(pcap.slice(data, end));
  }
  return [...connections.values()].map(({ parts }) => Buffer.concat(parts));
}

/** Each message once, in hexadecimal. */
function messages(of: readonly Uint8Array[]): string[] {
  const found = new Set<string>();
  for (const stream of of) {
    for (let at = 0; at + 19 <= stream.length;) {
      const length = (stream[at + 16] ?? 0) << 8 | (stream[at + 17] ?? 0);
      found.add(Buffer.from(stream.subarray(at, at + length)).toString("hex"));
      at += length;
    }
  }
  return [...found];
}
