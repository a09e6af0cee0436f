import { expect, test } from "bun:test";
import { directRules } from "../../../../src/cli/migrate/direct-return.ts";
import { doable, type Left, thingsLeft } from "../../../../src/cli/migrate/found.ts";
import { migrateText, phaseOf } from "../../../../src/cli/migrate/mod.ts";
import { proxyRemoval } from "../../../../src/cli/migrate/netfilter-text.ts";
import { ipvsFwmarkId, ipvsServiceId } from "../../../../src/kernel/dataplane/resources/ipvs.ts";

const SAVE = `*nat
:PREROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-ROUTER-MASQUERADE - [0:0]
:MINE - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -j MINE
-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-A
-A KUBE-SVC-A -j KUBE-SEP-A
-A KUBE-SEP-A -p tcp -j DNAT --to-destination 10.244.1.6:8080
-A MINE -j KUBE-MARK-MASQ
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
COMMIT
*filter
:INPUT ACCEPT [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
-A INPUT -j KUBE-FIREWALL
COMMIT
`;

test("kube-proxy's chains go with the jumps to them; others', ours, the kubelet's and what others use stay", () => {
  const { lines, text } = proxyRemoval(SAVE);
  expect(text).toBe(`*nat
:KUBE-SERVICES - [0:0]
:KUBE-SVC-A - [0:0]
:KUBE-SEP-A - [0:0]
:KUBE-POSTROUTING - [0:0]
-D PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-X KUBE-SERVICES
-X KUBE-SVC-A
-X KUBE-SEP-A
-X KUBE-POSTROUTING
COMMIT
`);
  expect(lines).toHaveLength(5);
  expect(proxyRemoval("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")).toEqual({ lines: [], text: "" });
});

function left(changes: Partial<Left> = {}): Left {
  return {
    links: [],
    addresses: [{ link: "eth0", address: "192.168.1.10" }],
    ipvs: [],
    nodePorts: { from: 30_000, to: 32_767 },
    saves: [],
    sets: [],
    nftTables: [],
    rules: [],
    tunnels: [],
    ...changes,
  };
}

function link(name: string, alias = "") {
  return { index: 7, name, type: "dummy", up: false, mtu: 1500, alias };
}

function service(id: ReturnType<typeof ipvsServiceId>, owned = false) {
  return { item: { id, scheduler: "rr", schedulerFlags: 0, persistence: 0 }, owned };
}

const IPVS = [
  service(ipvsServiceId(4, "tcp", "10.96.0.1", 80)),
  service(ipvsServiceId(4, "tcp", "192.168.1.10", 30080)),
  service(ipvsServiceId(4, "tcp", "192.168.1.10", 8080)),
  service(ipvsServiceId(4, "tcp", "203.0.113.9", 80)),
  service(ipvsServiceId(4, "tcp", "10.96.0.2", 80), true),
  service(ipvsFwmarkId(4, 17)),
];

const texts = (things: ReturnType<typeof thingsLeft>) =>
  things.map(({ do: verb, text }) => `${verb} ${text}`);

test("of IPVS only what was kube-router's is adopted: by the VIPs on its link, and its node ports", () => {
  const addresses = [
    { link: "eth0", address: "192.168.1.10" },
    { link: "kube-dummy-if", address: "10.96.0.1" },
    { link: "kube-dummy-if", address: "10.96.0.2" },
  ];
  const links = [link("kube-dummy-if")];
  expect(texts(thingsLeft("kube-router", left({ links, addresses, ipvs: IPVS })))).toEqual([
    "adopt ipvs service tcp 10.96.0.1:80 rr",
    "adopt ipvs service tcp 192.168.1.10:30080 rr",
    "adopt link kube-dummy-if with 2 addresses",
  ]);
  const ours = [link("kube-dummy-if", "routelet:proxy")];
  expect(thingsLeft("kube-router", left({ links: ours, addresses, ipvs: IPVS }))).toEqual([]);
});

const DSR = `*mangle
:PREROUTING ACCEPT [0:0]
:MINE - [0:0]
-A PREROUTING -d 203.0.113.10/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x3eb3/0xffffffff
-A PREROUTING -s 203.0.113.10/32 -i kube-bridge -p tcp -m tcp --sport 80 --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440
-A PREROUTING -s 192.0.2.9/32 -i kube-bridge -p tcp -m tcp --sport 80 --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440
-A PREROUTING -d 203.0.113.10/32 -p tcp -m tcp --dport 81 -j MARK --set-xmark 0x11/0xffffffff
-A PREROUTING -d 147.160.180.44/32 -p tcp -m tcp --dport 8080 -j MARK --set-xmark 0x3d48/0xffffffff
-A PREROUTING -d 147.160.180.44/32 -p udp -m udp --dport 80 -j MARK --set-xmark 0x34a/0xffffffff
-A OUTPUT -d 203.0.113.10/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x3eb3/0xffffffff
-A MINE -d 203.0.113.10/32 -p tcp -m tcp --dport 80 -j MARK --set-xmark 0x3eb3/0xffffffff
COMMIT
`;

test("kube-router's direct server return is known by marks that are the hash of what they stand for", () => {
  const { marks, rules } = directRules(4, DSR);
  expect(marks).toEqual([
    { family: 4, address: "203.0.113.10", protocol: "tcp", port: 80, mark: 16051, first: true },
    { family: 4, address: "147.160.180.44", protocol: "tcp", port: 8080, mark: 15688, first: true },
    // Both have one hash: kube-router's detour.
    { family: 4, address: "147.160.180.44", protocol: "udp", port: 80, mark: 842, first: false },
  ]);
  expect(rules.map((rule) => rule.split(" ").slice(0, 3).join(" "))).toEqual([
    "PREROUTING -d 203.0.113.10/32",
    "PREROUTING -d 147.160.180.44/32",
    "PREROUTING -d 147.160.180.44/32",
    "OUTPUT -d 203.0.113.10/32",
    "PREROUTING -s 203.0.113.10/32",
  ]);
  expect(directRules(6, "")).toEqual({ marks: [], rules: [] });
});

test("of it services, policy rules and tunnels are adopted, and its rules removed beside the agent", () => {
  const namespace = { inode: 9, path: "/run/netns/web" };
  const tunnel = { namespace, name: "kube-tunnel-if", alias: "", pod: "10.244.1.5" };
  const rule = (mark: number, table = 78) => ({
    rule: { family: 4 as const, priority: 32764, mark, table },
    protocol: 3,
  });
  const things = thingsLeft(
    "kube-router",
    left({
      saves: [{ family: 4, text: DSR }],
      ipvs: [
        service(ipvsFwmarkId(4, 16051)),
        service(ipvsFwmarkId(4, 15688), true),
        service(ipvsFwmarkId(4, 842)),
        service(ipvsFwmarkId(4, 17)),
      ],
      rules: [rule(16051), rule(842), rule(17), rule(16051, 77)],
      tunnels: [
        { ...tunnel, addresses: ["203.0.113.10"] },
        { ...tunnel, addresses: ["203.0.113.10"], alias: "routelet:proxy:9" },
        { ...tunnel, addresses: ["192.0.2.9"] },
        { ...tunnel, addresses: ["203.0.113.10"], name: "mine" },
      ],
    }),
  );
  expect(texts(things).filter((text) => text.startsWith("adopt"))).toEqual([
    "adopt ipvs service fwmark 16051 ipv4 rr, direct server return of tcp 203.0.113.10:80",
    "adopt rule ipv4 32764: from all fwmark 0x3eb3 lookup 78",
    "adopt tunnel kube-tunnel-if in pod 10.244.1.5 with 203.0.113.10",
  ]);
  const removed = things.filter((thing) => thing.do === "remove");
  expect(removed.map(({ what, text }) => [what, text.split("\n").length])).toEqual([["rules", 5]]);
  expect(removed[0]).toMatchObject({
    restore: expect.stringMatching(
      /^\*mangle\n-D PREROUTING -d 203\.0\.113\.10\/32 .*0x3eb3\/0xffffffff\n(-D .*\n){4}COMMIT\n$/,
    ),
  });
});

test("of kube-proxy the services are adopted, and rules, sets, tables and link removed", () => {
  const things = thingsLeft(
    "kube-proxy",
    left({
      links: [link("kube-ipvs0")],
      addresses: [{ link: "kube-ipvs0", address: "10.96.0.1" }],
      ipvs: IPVS,
      saves: [{ family: 4, text: SAVE }, { family: 6, text: "" }],
      sets: ["KUBE-CLUSTER-IP", "KUBE-6-LOOP-BACK", "KUBE-SRC-ABC", "mine"],
      nftTables: [{ family: "ip", name: "kube-proxy" }, { family: "inet", name: "filter" }],
    }),
  );
  expect(texts(things).filter((text) => !text.startsWith("remove iptables"))).toEqual([
    "adopt ipvs service tcp 10.96.0.1:80 rr",
    "remove ipset destroy KUBE-CLUSTER-IP",
    "remove ipset destroy KUBE-6-LOOP-BACK",
    "remove nft delete table ip kube-proxy",
    "remove ip link delete kube-ipvs0",
  ]);
  expect(texts(things).filter((text) => text.startsWith("remove iptables"))).toHaveLength(1);
});

test("adoption waits for the agent's end, removal for its start", () => {
  const things = thingsLeft(
    "kube-proxy",
    left({
      links: [link("kube-ipvs0")],
      addresses: [{ link: "kube-ipvs0", address: "10.96.0.1" }],
      ipvs: IPVS,
    }),
  );
  const verbs = (agent: "none" | "starting" | "ready") =>
    doable(things, agent).now.map(({ do: verb }) => verb);
  expect([verbs("none"), verbs("starting"), verbs("ready")]).toEqual([["adopt"], [], ["remove"]]);
  expect(doable(things, "starting").later).toHaveLength(2);
});

test("migrateText() says what would be done, what was, and what comes then", () => {
  const things = thingsLeft("kube-proxy", left({ links: [link("kube-ipvs0")] }));
  const { now, later } = doable(things, "ready");
  expect(migrateText("kube-proxy", { things, now, done: [], later, dry: true }))
    .toBe("- ip link delete kube-ipvs0\nnothing was changed; with --yes 1 removed\n");
  expect(migrateText("kube-proxy", { things, now, done: now, later, dry: false }))
    .toBe("- ip link delete kube-ipvs0\ndone: 1 removed\n");
  expect(migrateText("kube-router", { things: [], now: [], done: [], later: [], dry: true }))
    .toBe("kube-router left nothing here\n");
});

test("a rule whose comment only reads like a jump to kube-proxy's is somebody's own, and stays", () => {
  const save = `*filter
:INPUT ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A INPUT -m comment --comment "was \\" -j KUBE-SERVICES once" -j ACCEPT
COMMIT
`;
  expect(proxyRemoval(save).text).not.toContain("-D INPUT");
});

test("an agent without the service proxy is not ready to serve in kube-proxy's place", () => {
  const plugin = (name: string, phase: string) => ({ name, phase }) as never;
  expect(phaseOf({ ready: true, plugins: [plugin("firewall", "ready")] } as never)).toBe(
    "starting",
  );
  expect(phaseOf({ ready: true, plugins: [plugin("proxy", "ready")] } as never)).toBe("ready");
  expect(phaseOf({ ready: false, plugins: [plugin("proxy", "ready")] } as never)).toBe("starting");
});
