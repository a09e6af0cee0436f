import { describe, expect, test } from "bun:test";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import { tables } from "../../../../src/kernel/dataplane/resources/mod.ts";
import type { NextHop, Plugin, Route } from "../../../../src/kernel/plugin.ts";
import { routerPlugin } from "../../../../src/plugins/router/mod.ts";
import type { RouterOptions } from "../../../../src/plugins/router/options.ts";
import { tunnelName } from "../../../../src/plugins/router/tunnels.ts";
import { testCluster } from "../../../support/cluster.ts";
import { fakeSpeakers } from "../../../support/fake-speaker.ts";
import { service, slice } from "../../../support/objects.ts";
import { type Bench, bench, type BenchOptions, running } from "../../../support/runtime.ts";
import { onLink, routerNode, routerOptions } from "../../../support/router-world.ts";

const HOST = [onLink("eth0", "10.0.0.1/24", 1480), onLink("eth0", "fd00::1/64", 1480)];

function world({ synced = true } = {}) {
  const cluster = testCluster();
  cluster.put(
    "nodes",
    routerNode("node1", ["10.0.0.1", "fd00::1"], {}, ["10.244.1.0/24", "fd01::/64"]),
    routerNode("near", ["10.0.0.2", "fd00::2"], {}, ["10.244.2.0/24", "fd02::/64"]),
    routerNode("far", ["10.9.0.3", "fd09::3"], {}, ["10.244.3.0/24", "fd03::/64"]),
  );
  cluster.put("services", service("default/web", { clusterIPs: ["10.96.0.1"] }));
  cluster.put("endpointslices", slice("default/web-1", ["10.244.1.7"]));
  if (synced) cluster.sync();
  return cluster;
}

async function start(
  changes: Partial<RouterOptions> = {},
  given: BenchOptions = {},
  speakers = fakeSpeakers(),
) {
  const plugin = routerPlugin(speakers.create) as unknown as Plugin<never>;
  const options = routerOptions({ enableIpv6: true, advertiseClusterIp: true, ...changes });
  const cluster = given.cluster ?? world();
  const linux = given.linux ?? fakeDataplane();
  linux.seed("link", { name: "eth0", type: "dummy", up: true });
  const made = await running([plugin], { host: HOST, options, ...given, linux, cluster });
  await passed(made);
  return { ...made, cluster, speakers };
}

/** Speakers with a peer that has told nothing yet. */
function silentPeer() {
  const speakers = fakeSpeakers();
  speakers.neighbors.push({
    state: "Active",
    families: [4, 6],
    prefixes: { 4: COUNTERS, 6: COUNTERS },
  });
  return speakers;
}

/** Lets timers of the moment and the rounds that they cause happen. */
async function passed({ settle }: Pick<Bench, "settle">): Promise<void> {
  await Bun.sleep(2);
  await settle();
}

const linesOf = (made: Bench, ...kinds: readonly string[]) =>
  made.linux.dump().split("\n").filter((line) => !line.endsWith("(foreign)"))
    .filter((line) => kinds.some((kind) => line.startsWith(kind)));

describe("pod networking", () => {
  test("is in Linux before any route is learned", async () => {
    const made = await start();
    expect(made.runtime.ready).toBe(true);
    expect(linesOf(made, "bridge", "CNI", "sysctl", "rule", "ipset", "chain", "jump")).toEqual([
      "bridge kube-bridge mtu 1480 up",
      "sysctl net/bridge/bridge-nf-call-ip6tables = 1",
      "sysctl net/bridge/bridge-nf-call-iptables = 1",
      "sysctl net/ipv4/ip_forward = 1",
      "sysctl net/ipv6/conf/all/disable_ipv6 = 0",
      "sysctl net/ipv6/conf/all/forwarding = 1",
      "rule ipv4 32765: from 10.244.1.0/24 lookup 77",
      "rule ipv6 32765: from fd01::/64 lookup 77",
      "ipset inet6:kube-router-node-ips hash:ip family inet6",
      "ipset inet6:kube-router-pod-subnets hash:net family inet6",
      "ipset kube-router-node-ips hash:ip family inet",
      "ipset kube-router-pod-subnets hash:net family inet",
      ...["node-ips fd00::1", "node-ips fd00::2", "node-ips fd09::3"]
        .map((text) => `ipset inet6:kube-router-${text.replace(" ", " member ")}`),
      ...["pod-subnets fd01::/64", "pod-subnets fd02::/64", "pod-subnets fd03::/64"]
        .map((text) => `ipset inet6:kube-router-${text.replace(" ", " member ")}`),
      ...["node-ips 10.0.0.1", "node-ips 10.0.0.2", "node-ips 10.9.0.3"]
        .map((text) => `ipset kube-router-${text.replace(" ", " member ")}`),
      ...["pod-subnets 10.244.1.0/24", "pod-subnets 10.244.2.0/24", "pod-subnets 10.244.3.0/24"]
        .map((text) => `ipset kube-router-${text.replace(" ", " member ")}`),
      "chain ipv4 filter KUBE-ROUTER-RT-FORWARD with 3 rules",
      "chain ipv4 nat KUBE-ROUTER-RT-EGRESS with 1 rule",
      "chain ipv6 filter KUBE-ROUTER-RT-FORWARD with 3 rules",
      "chain ipv6 nat KUBE-ROUTER-RT-EGRESS with 1 rule",
      "jump ipv4 filter FORWARD -> KUBE-ROUTER-RT-FORWARD",
      "jump ipv4 nat POSTROUTING -> KUBE-ROUTER-RT-EGRESS",
      "jump ipv6 filter FORWARD -> KUBE-ROUTER-RT-FORWARD",
      "jump ipv6 nat POSTROUTING -> KUBE-ROUTER-RT-EGRESS",
      "CNI configuration /etc/cni/net.d/10-kuberouter.conf with 10.244.1.0/24, fd01::/64 mtu 1480",
    ]);
    expect(made.status().problems).toEqual([]);
  });

  test("follows nodes that come and go, and leaves the rest alone", async () => {
    const made = await start();
    made.linux.resetCounts();
    made.cluster.put("nodes", routerNode("new", ["10.0.0.9"], {}, ["10.244.9.0/24"]));
    await passed(made);
    expect(made.linux.count("ipset.member", "create")).toBe(2);
    expect(made.linux.count()).toBe(2);
    made.cluster.remove("nodes", "new");
    await passed(made);
    expect(made.linux.count("ipset.member", "delete")).toBe(2);
    expect(made.linux.count()).toBe(4);
  });
});

describe("the own Node", () => {
  test("that loses one of its pod CIDRs gives it up in the CNI configuration at once", async () => {
    const made = await start();
    made.cluster.put("nodes", routerNode("node1", ["10.0.0.1", "fd00::1"], {}, ["10.244.1.0/24"]));
    await passed(made);
    expect(linesOf(made, "CNI")).toEqual([
      "CNI configuration /etc/cni/net.d/10-kuberouter.conf with 10.244.1.0/24 mtu 1480",
    ]);
  });

  test("that is gone leaves all in Linux and the speaker as it is, and comes back without a change", async () => {
    const made = await start();
    made.speakers.now().learn("10.244.3.0/24", "10.9.0.3");
    await passed(made);
    const own = made.cluster.stores.nodes.get("node1");
    const before = made.linux.dump();
    made.linux.resetCounts();
    made.cluster.remove("nodes", "node1");
    await passed(made);
    expect(made.linux.dump()).toBe(before);
    expect(made.status().problems.map(({ reason }) => reason)).toEqual([
      'Node "node1" not found; what was last known of it stays in use; if that is not this node\'s name, correct ' +
      "--hostname-override, or NODE_NAME, or the host's name",
    ]);
    if (own !== undefined) made.cluster.put("nodes", own);
    await passed(made);
    expect(made.linux.count()).toBe(0);
    expect(made.speakers.all).toHaveLength(1);
    expect(made.status().problems).toEqual([]);
  });

  test("that was never seen makes the router wait, with the reason", async () => {
    const cluster = testCluster();
    cluster.put("nodes", routerNode("near", ["10.0.0.2"], {}, ["10.244.2.0/24"]));
    cluster.sync();
    const made = await start({}, { cluster });
    expect(linesOf(made, "bridge", "sysctl", "chain")).toEqual([]);
    expect(made.runtime.ready).toBe(false);
    expect(made.runtime.waitingFor().join()).toContain('Node "node1" not found; if that is not');
    cluster.put("nodes", routerNode("node1", ["10.0.0.1"], {}, ["10.244.1.0/24"]));
    await passed(made);
    expect(linesOf(made, "bridge")).toEqual(["bridge kube-bridge mtu 1480 up"]);
  });

  test("without a pod CIDR is one problem, and BGP announces Services", async () => {
    const cluster = testCluster();
    cluster.put("nodes", routerNode("node1", ["10.0.0.1"], {}, []));
    cluster.put("services", service("default/web", { clusterIPs: ["10.96.0.1"] }));
    cluster.put("endpointslices", slice("default/web-1", ["10.244.1.7"]));
    cluster.sync();
    const made = await start({}, { cluster });
    expect(made.runtime.ready).toBe(true);
    expect(linesOf(made, "bridge", "sysctl", "chain", "ipset")).toEqual([]);
    expect(made.status().problems.map(({ reason }) => reason?.slice(0, 29))).toEqual([
      'Node "node1" has no pod CIDR ',
    ]);
    expect(made.speakers.now().routes.map(({ prefix }) => prefix)).toContain("10.96.0.1/32");
  });
});

describe("learned routes", () => {
  test("become routes, with a tunnel where it takes one, and go again", async () => {
    const made = await start();
    const speaker = made.speakers.now();
    speaker.learn("10.244.2.0/24", "10.0.0.2");
    speaker.learn("10.244.3.0/24", "10.9.0.3");
    speaker.learn("10.244.33.0/24", "10.9.0.3");
    await passed(made);
    const tunnel = tunnelName("10.9.0.3");
    expect(linesOf(made, "link", "route")).toEqual([
      `link ${tunnel} type ipip local 10.0.0.1 remote 10.9.0.3 ttl inherit up`,
      "route unicast 10.244.2.0/24 via 10.0.0.2 dev eth0 table 254",
      `route unicast 10.244.3.0/24 dev ${tunnel} table 254 src 10.0.0.1`,
      `route unicast 10.244.33.0/24 dev ${tunnel} table 254 src 10.0.0.1`,
      `route unicast 10.9.0.3/32 dev ${tunnel} table 77`,
    ]);
    speaker.learn("10.244.3.0/24");
    await passed(made);
    // The other prefix still needs the tunnel.
    expect(linesOf(made, "link")).toHaveLength(1);
    speaker.learn("10.244.33.0/24");
    await passed(made);
    expect(linesOf(made, "link", "route")).toEqual([
      "route unicast 10.244.2.0/24 via 10.0.0.2 dev eth0 table 254",
    ]);
  });

  test("that cannot be reached are reported, and cost only themselves", async () => {
    const made = await start();
    made.speakers.now().learn("10.5.0.0/16", "10.8.0.254");
    made.speakers.now().learn("10.244.2.0/24", "10.0.0.2");
    await passed(made);
    expect(linesOf(made, "route")).toHaveLength(1);
    expect(made.status().problems).toMatchObject([{
      type: "problem",
      subject: "route 10.5.0.0/16",
      reason:
        'Route to "10.5.0.0/16": next hop "10.8.0.254" is on no link of this node, and no node of the cluster',
    }]);
  });

  test("of an earlier life stay until the peers have told theirs", async () => {
    const speakers = silentPeer();
    const first = await start({}, {}, speakers);
    speakers.now().learn("10.244.2.0/24", "10.0.0.2");
    speakers.now().learn("10.244.3.0/24", "10.9.0.3");
    await passed(first);
    expect(linesOf(first, "route")).toHaveLength(3);
    await first.runtime.stop();
    const again = await start({}, { linux: first.linux }, speakers);
    // Nothing is learned yet, and nothing is removed.
    expect(linesOf(again, "route", "link")).toHaveLength(4);
    expect(speakers.now().options.restarting).toEqual([4, 6]);
    speakers.now().learn("10.244.2.0/24", "10.0.0.2");
    speakers.neighbors[0] = {
      state: "Established",
      families: [4, 6],
      prefixes: { 4: { ...COUNTERS, endOfRib: true }, 6: { ...COUNTERS, endOfRib: true } },
    };
    await Bun.sleep(300);
    await passed(again);
    expect(linesOf(again, "route", "link")).toEqual([
      "route unicast 10.244.2.0/24 via 10.0.0.2 dev eth0 table 254",
    ]);
  });

  test("of an earlier life stay while the nodes are not known, whatever list comes last", async () => {
    const speakers = silentPeer();
    const first = await start({}, {}, speakers);
    speakers.now().learn("10.244.2.0/24", "10.0.0.2");
    await passed(first);
    const before = linesOf(first, "route", "link");
    await first.runtime.stop();
    const cluster = world({ synced: false });
    const again = await start({}, { linux: first.linux, cluster }, speakers);
    for (const kind of ["services", "endpointslices", "servicecidrs", "nodes"] as const) {
      cluster.sync(kind);
    }
    await passed(again);
    expect(again.runtime.ready).toBe(true);
    expect(linesOf(again, "route", "link")).toEqual(before);
  });

  test("that kube-router left are taken over in place where they are what is wanted, and no others", async () => {
    const linux = fakeDataplane();
    const tunnel = tunnelName("10.9.0.3");
    const link = { name: tunnel, type: "ipip", up: true } as const;
    const ends = { local: "10.0.0.1", remote: "10.9.0.3", ttl: 0 };
    linux.seed("link", { ...link, mtu: 1480, tunnel: ends });
    const route = (destination: string, nextHop: NextHop, more: Partial<Route> = {}) => ({
      family: 4,
      table: 254,
      type: "unicast",
      destination,
      metric: 0,
      nextHops: [nextHop],
      ...more,
    });
    const near = { gateway: "10.0.0.2", link: "eth0" };
    const far = { link: tunnel };
    linux.seed("route", route("10.244.2.0/24", near), { protocol: 17 });
    linux.seed("route", route("10.244.3.0/24", far, { source: "10.0.0.1" }), { protocol: 17 });
    linux.seed("route", route("10.9.0.3/32", far, { table: 77 }), { protocol: 3 });
    // Nobody wants this one, another program made that one, and the last one is not what we want.
    linux.seed("route", route("10.244.9.0/24", near), { protocol: 17 });
    linux.seed("route", route("10.244.4.0/24", near), { protocol: 4 });
    const elsewhere = { gateway: "10.0.0.77", link: "eth0" };
    linux.seed("route", route("10.244.5.0/24", elsewhere), { protocol: 17 });
    const made = await start({}, { linux });
    linux.resetCounts();
    // Where forwarding goes on, peers keep what kube-router told them.
    expect(made.speakers.now().options.restarting).toEqual([4, 6]);
    for (const n of [2, 4, 5]) made.speakers.now().learn(`10.244.${n}.0/24`, "10.0.0.2");
    made.speakers.now().learn("10.244.3.0/24", "10.9.0.3");
    await passed(made);
    expect([linux.count("link"), linux.count("route"), linux.count("route", "update")])
      .toEqual([1, 3, 3]);
    expect(linux.dump().split("\n").filter((line) => /^(link tun|route)/.test(line))).toEqual([
      `link ${tunnel} type ipip local 10.0.0.1 remote 10.9.0.3 ttl inherit up`,
      "route unicast 10.244.2.0/24 via 10.0.0.2 dev eth0 table 254",
      `route unicast 10.244.3.0/24 dev ${tunnel} table 254 src 10.0.0.1`,
      "route unicast 10.244.4.0/24 via 10.0.0.2 dev eth0 table 254 (foreign)",
      "route unicast 10.244.5.0/24 via 10.0.0.77 dev eth0 table 254 (foreign)",
      "route unicast 10.244.9.0/24 via 10.0.0.2 dev eth0 table 254 (foreign)",
      `route unicast 10.9.0.3/32 dev ${tunnel} table 77`,
    ]);
    expect(made.status().problems.map(({ type, subject }) => `${type} ${subject}`)).toEqual([
      "conflict route 10.244.4.0/24 table 254 metric 0",
      "conflict route 10.244.5.0/24 table 254 metric 0",
    ]);
    // What is ours now goes when nobody wants it any more.
    made.speakers.now().learn("10.244.2.0/24");
    await passed(made);
    expect(linux.dump()).not.toContain("route unicast 10.244.2.0/24");
  });

  test("that somebody deletes come back", async () => {
    const made = await start();
    made.speakers.now().learn("10.244.2.0/24", "10.0.0.2");
    await passed(made);
    const before = linesOf(made, "route");
    made.linux.drift("route", "10.244.2.0/24 table 254 metric 0", undefined);
    expect(linesOf(made, "route")).toEqual([]);
    await passed(made);
    expect(linesOf(made, "route")).toEqual(before);
  });
});

const COUNTERS = { received: 0, accepted: 0, advertised: 0, stale: 0, endOfRib: false };

describe("the speaker", () => {
  test("is started with what flags and nodes say", async () => {
    const { speakers } = await start({ peerRouterIps: ["10.0.0.254"], peerRouterAsns: [64640] });
    const speaker = speakers.now();
    expect(speaker.options).toMatchObject({
      asn: 64512,
      routerId: "10.0.0.1",
      listen: [{ address: "10.0.0.1", port: 179 }, { address: "fd00::1", port: 179 }],
      hostname: "node1",
    });
    expect(speaker.options.restarting).toBeUndefined();
    expect(speaker.peers.map(({ address, asn }) => [address, asn])).toEqual([
      ["10.0.0.254", 64640],
      ["10.9.0.3", 64512],
      ["10.0.0.2", 64512],
    ]);
    expect(speaker.routes).toEqual([
      { prefix: "10.244.1.0/24", nextHop: "10.0.0.1", class: "pod", origin: "igp" },
      { prefix: "fd01::/64", nextHop: "fd00::1", class: "pod", origin: "igp" },
      { prefix: "10.96.0.1/32", nextHop: "10.0.0.1", class: "vip", origin: "igp" },
    ]);
    expect(speaker.told).toEqual(["start"]);
  });

  test("is told of changes without a new start", async () => {
    const made = await start();
    const speaker = made.speakers.now();
    made.cluster.put("services", service("default/more", { clusterIPs: ["10.96.0.2"] }));
    made.cluster.remove("nodes", "far");
    await passed(made);
    expect(made.speakers.all).toHaveLength(1);
    expect(speaker.routes.map(({ prefix }) => prefix)).toContain("10.96.0.2/32");
    expect(speaker.peers.map(({ address }) => address)).toEqual(["10.0.0.2"]);
    made.cluster.remove("services", "default/more");
    await passed(made);
    expect(speaker.routes.map(({ prefix }) => prefix)).not.toContain("10.96.0.2/32");
  });

  test("becomes a reflector of a cluster, and stops being one, without a new start", async () => {
    const made = await start();
    const node = (annotations: Record<string, string>) =>
      routerNode("node1", ["10.0.0.1", "fd00::1"], annotations, ["10.244.1.0/24"]);
    made.cluster.put("nodes", node({ "kube-router.io/rr.server": "7" }));
    await passed(made);
    expect(made.speakers.now().clusterId).toBe("0.0.0.7");
    made.cluster.put("nodes", node({}));
    await passed(made);
    expect(made.speakers.now().clusterId).toBeUndefined();
    expect(made.speakers.all.map(({ told }) => told)).toEqual([["start"]]);
  });

  test("listens elsewhere without a new start, and as before where that is refused", async () => {
    const made = await start();
    const node = (addresses: string) =>
      routerNode("node1", ["10.0.0.1", "fd00::1"], {
        "kube-router.io/bgp-local-addresses": addresses,
      }, ["10.244.1.0/24"]);
    made.cluster.put("nodes", node("10.0.0.9"));
    await passed(made);
    expect(made.speakers.now().listening).toEqual(["10.0.0.9"]);
    made.speakers.refuse("10.0.0.8");
    made.cluster.put("nodes", node("10.0.0.8"));
    await passed(made);
    expect(made.speakers.now().listening).toEqual(["10.0.0.9"]);
    expect(made.status().problems.map(({ reason }) => reason)).toEqual([
      'BGP listens as before: Peer "10.0.0.8" cannot be: it was refused',
    ]);
    expect(made.speakers.all.map(({ told }) => told)).toEqual([["start"]]);
    await made.runtime.stop();
  });

  test("announces a VIP of two Services until both let it go", async () => {
    const made = await start({ strictExternalIpValidation: false, advertiseExternalIp: true });
    const shared = (name: string) =>
      service(name, { clusterIPs: ["10.96.0.7"], externalIPs: ["203.0.113.7"] });
    const announced = () =>
      made.speakers.now().routes.some(({ prefix }) => prefix === "203.0.113.7/32");
    made.cluster.put("services", shared("default/a"), shared("default/b"));
    await passed(made);
    expect(announced()).toBe(true);
    made.cluster.remove("services", "default/a");
    await passed(made);
    expect(announced()).toBe(true);
    made.cluster.remove("services", "default/b");
    await passed(made);
    expect(announced()).toBe(false);
  });

  test("announces a service range, and what is not forwarded for it, while that stands for VIPs", async () => {
    const made = await start({ advertiseServiceRanges: true });
    const prefixes = () => made.speakers.now().routes.map(({ prefix }) => prefix).toSorted();
    const rules = () =>
      made.linux.dump().split("\n").filter((line) => line.includes("KUBE-ROUTER-RT-FORWARD with"));
    expect(prefixes()).toEqual(["10.244.1.0/24", "10.96.0.0/12", "fd01::/64"]);
    expect(rules()).toEqual([
      "chain ipv4 filter KUBE-ROUTER-RT-FORWARD with 4 rules",
      "chain ipv6 filter KUBE-ROUTER-RT-FORWARD with 3 rules",
    ]);
    const local = { clusterIPs: ["10.96.0.1"], internalTrafficPolicy: "Local" } as const;
    made.cluster.put("services", service("default/web", local));
    made.cluster.put(
      "endpointslices",
      slice("default/web-1", [{ addresses: ["10.244.1.7"], nodeName: "node1" }]),
    );
    await passed(made);
    expect(prefixes()).toEqual(["10.244.1.0/24", "10.96.0.1/32", "fd01::/64"]);
    expect(rules()[0]).toEndWith("with 3 rules");
  });

  test("is another where its AS number is, and what it learned goes", async () => {
    const made = await start({ nodesFullMesh: false });
    expect(made.speakers.all).toEqual([]);
    expect(made.status().problems[0]?.reason).toContain("kube-router.io/node.asn is missing");
    const withAsn = (asn: string) =>
      routerNode("node1", ["10.0.0.1"], { "kube-router.io/node.asn": asn }, ["10.244.1.0/24"]);
    made.cluster.put("nodes", withAsn("64600"));
    await passed(made);
    // It comes late, when there are sysctls of this life: that is no restart.
    expect(made.speakers.now().options.restarting).toBeUndefined();
    made.speakers.now().learn("10.244.2.0/24", "10.0.0.2");
    await passed(made);
    expect(linesOf(made, "route")).toHaveLength(1);
    made.cluster.put("nodes", withAsn("64601"));
    await passed(made);
    expect(made.speakers.all.map(({ told }) => told)).toEqual([["start", "stop"], ["start"]]);
    expect(made.speakers.now().options.asn).toBe(64601);
    expect(linesOf(made, "route")).toEqual([]);
  });

  test("stops with the agent, gracefully where that is on", async () => {
    for (const [bgpGracefulRestart, how] of [[false, "stop"], [true, "stop gracefully"]] as const) {
      const { runtime, speakers } = await start({ bgpGracefulRestart });
      await runtime.stop();
      expect(speakers.now().told).toEqual(["start", how]);
    }
  });

  test("that refuses a peer keeps the others, and says so", async () => {
    const speakers = fakeSpeakers();
    speakers.refuse("10.0.0.2");
    const made = await start({}, {}, speakers);
    expect(speakers.now().peers.map(({ address }) => address)).toEqual(["10.9.0.3"]);
    expect(made.status().problems.map(({ reason }) => reason))
      .toEqual(['Peer "10.0.0.2" cannot be: it was refused']);
  });

  test("that cannot listen is a problem of BGP alone", async () => {
    const speakers = fakeSpeakers();
    speakers.refuseStart('cannot listen on "10.0.0.1:179": EADDRINUSE');
    const made = await start({}, {}, speakers);
    expect(made.runtime.ready).toBe(true);
    expect(made.status().problems.map(({ reason }) => reason))
      .toEqual(['BGP cannot start: cannot listen on "10.0.0.1:179": EADDRINUSE']);
    expect(linesOf(made, "bridge")).toHaveLength(1);
    await made.runtime.stop();
  });

  test("is not begun by a dry run", async () => {
    const speakers = fakeSpeakers();
    const plugin = routerPlugin(speakers.create) as unknown as Plugin<never>;
    const made = bench([plugin], { cluster: world(), host: HOST, options: routerOptions() });
    made.linux.seed(
      "route",
      {
        family: 4,
        table: 254,
        type: "unicast",
        destination: "10.244.2.0/24",
        metric: 0,
        nextHops: [{ gateway: "10.0.0.2", link: "eth0" }],
      },
      { owner: "router" },
    );
    await made.runtime.setup();
    const [preview] = await made.runtime.preview();
    expect(speakers.all).toEqual([]);
    const planned = preview?.tables.find(({ resource }) =>
      resource.kind === tables.routes.resource.kind
    );
    // What the running agent learned is not known here, so nothing is said of it.
    expect(planned?.deletes).toEqual([]);
    await made.runtime.stop();
  });
});
