import { describe, expect, test } from "bun:test";
import { tables } from "../../../../src/kernel/dataplane/resources/mod.ts";
import type { Node, Service } from "../../../../src/kernel/plugin.ts";
import { wantsDsr } from "../../../../src/plugins/proxy/dsr.ts";
import { testCluster } from "../../../support/cluster.ts";
import {
  type EndpointLike,
  node,
  service,
  type ServiceChanges,
  slice,
} from "../../../support/objects.ts";
import { running } from "../../../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../../../support/service-world.ts";

const DSR = { annotations: { "kube-router.io/service.dsr": "tunnel" } };
const options = proxyOptions({ serviceExternalIpRange: ["203.0.113.0/24", "fd00:33::/64"] });
const NEAR = { addresses: ["10.244.1.5"], nodeName: "node1" };
const FAR = { addresses: ["10.244.2.7"], nodeName: "node2" };

function direct(changes: ServiceChanges = {}, key = "default/web"): Service {
  return service(key, {
    clusterIPs: ["10.96.10.20"],
    externalIPs: ["203.0.113.10"],
    ports: [{ port: 80 }],
    ...changes,
    metadata: { ...DSR, ...changes.metadata },
  });
}

const nodes: readonly Node[] = [
  node("node1", {
    addresses: [
      { type: "InternalIP", address: "192.0.2.11" },
      { type: "InternalIP", address: "fd00::11" },
    ],
    podCIDRs: ["10.244.1.0/24", "fd00:1::/64"],
  }),
  node("node2", { addresses: [{ type: "InternalIP", address: "192.0.2.12" }] }),
];
const host = [
  { link: "eth0", family: 4, address: "192.0.2.11", mtu: 1500 },
  { link: "eth0", family: 6, address: "fd00::11", mtu: 1500 },
] as const;

async function world(
  services: readonly Service[] = [direct()],
  endpoints: readonly EndpointLike[] = [NEAR, FAR],
  port = 80,
) {
  const cluster = testCluster();
  cluster.put("nodes", ...nodes);
  cluster.put("services", ...services);
  for (const { metadata: { name } } of services) {
    cluster.put("endpointslices", slice(`default/${name}-1`, endpoints, { ports: [{ port }] }));
  }
  cluster.sync();
  const made = await running([proxyPlugin], { cluster, options, host });
  return {
    ...made,
    /** Lines of Linux that have to do with direct server return. */
    traces: () =>
      made.linux.dump().split("\n").filter((line) =>
        /fwmark|table 78|in pod|DSR|rp_filter|203\.0\.113\.|fd00:33::|sloppy/.test(line)
      ),
    rules: async () => {
      const chains = await made.linux.open(tables.chains, { name: "proxy", protocol: 201 }).list();
      return chains.filter(({ item }) => item.name.includes("DSR")).flatMap(({ item }) =>
        item.rules
      );
    },
    problems: () => made.status().problems.map(({ reason }) => reason),
  };
}

describe("the worked example", () => {
  test("leaves the external IP off the node, and tunnels by mark", async () => {
    const { traces } = await world();
    expect(traces()).toEqual([
      "sysctl net/ipv4/conf/all/rp_filter = 2",
      "sysctl net/ipv4/conf/kube-bridge/rp_filter = 2",
      "route local 0.0.0.0/0 dev lo table 78",
      "rule ipv4 32764: from all fwmark 0x3eb3 lookup 78",
      "link kube-tunnel-if type ipip local 10.244.1.5 up rp_filter loose in pod 10.244.1.5",
      "address 203.0.113.10/32 dev kube-tunnel-if in pod 10.244.1.5",
      "ipset kube-router-svip member 203.0.113.10",
      "ipset kube-router-svip-prt member 203.0.113.10,tcp:80",
      "chain ipv4 mangle KUBE-ROUTER-DSR-41D689BB with 2 rules",
      "jump ipv4 mangle OUTPUT -> KUBE-ROUTER-DSR-41D689BB",
      "jump ipv4 mangle PREROUTING -> KUBE-ROUTER-DSR-41D689BB",
      "ipvs service fwmark 16051 ipv4 rr",
      "ipvs destination fwmark 16051 ipv4 -> 10.244.1.5:80 tunnel weight 1",
      "ipvs destination fwmark 16051 ipv4 -> 10.244.2.7:80 tunnel weight 1",
    ]);
  });

  test("keeps the ClusterIP as it is for any Service", async () => {
    const { linux } = await world();
    expect(linux.dump()).toContain("address 10.96.10.20/32 dev kube-dummy-if");
    expect(linux.dump()).toContain("-> 10.244.2.7:80 masq weight 1");
  });

  test("marks requests and leaves room in answers of local pods", async () => {
    const { rules } = await world();
    const prefix = "203.0.113.10/32";
    expect((await rules()).map(({ matches, target }) => ({ matches, target }))).toEqual([
      {
        matches: [
          { kind: "destination", prefix },
          { kind: "protocol", protocol: "tcp" },
          { kind: "ports", side: "destination", ports: "80" },
        ],
        target: { kind: "mark", set: 16051 },
      },
      {
        matches: [
          { kind: "source", prefix },
          { kind: "protocol", protocol: "tcp" },
          { kind: "ports", side: "source", ports: "80" },
          { kind: "input", link: "kube-bridge" },
          { kind: "tcpFlags", mask: "SYN,RST", set: "SYN" },
        ],
        target: { kind: "tcpmss", mss: 1440 },
      },
    ]);
  });

  test("is the same for IPv6, with its own tunnel and no reverse path filter", async () => {
    const six = { clusterIPs: ["fd00:96::1"], externalIPs: ["fd00:33::10"] };
    const made = await world([direct(six)], []);
    made.cluster.put(
      "endpointslices",
      slice("default/web-1", [{ addresses: ["FD00:1:0::5"], nodeName: "node1" }], {
        addressType: "IPv6",
        ports: [{ port: 80 }],
      }),
    );
    await made.settle();
    const lines = made.traces();
    expect(lines).toContain("route local ::/0 dev lo table 78 metric 1024");
    expect(lines).toContain("link kube-tunnel-v6 type ip6tnl local fd00:1::5 up in pod fd00:1::5");
    expect(lines).toContain("address fd00:33::10/128 dev kube-tunnel-v6 in pod fd00:1::5");
    expect(lines.filter((line) => line.includes("rp_filter"))).toEqual([]);
    expect((await made.rules()).map(({ target }) => target)).toContainEqual({
      kind: "tcpmss",
      mss: 1400,
    });
  });

  test("without TCP there is no MSS to lower", async () => {
    const { rules } = await world([direct({ ports: [{ port: 80, protocol: "UDP" }] })], []);
    expect((await rules()).map(({ target }) => target.kind)).toEqual(["mark"]);
  });
});

describe("nothing is left", () => {
  const ends: Readonly<Record<string, (made: Awaited<ReturnType<typeof world>>) => void>> = {
    "when the annotation goes": ({ cluster }) =>
      cluster.put("services", service("default/web", { clusterIPs: ["10.96.10.20"] })),
    "when the Service goes": ({ cluster }) => cluster.remove("services", "default/web"),
    "when the external IP goes": ({ cluster }) =>
      cluster.put("services", direct({ externalIPs: [] })),
  };
  for (const [when, end] of Object.entries(ends)) {
    test(when, async () => {
      const made = await world();
      end(made);
      await made.settle();
      expect(made.traces()).toEqual([]);
      expect(made.problems()).toEqual([]);
    });
  }

  test("but the external IP by NAT, when only the annotation goes", async () => {
    const made = await world();
    made.cluster.put("services", {
      ...direct(),
      metadata: { ...direct().metadata, annotations: {} },
    });
    await made.settle();
    expect(made.traces()).toEqual([
      "address 203.0.113.10/32 dev kube-dummy-if",
      "route local 203.0.113.10/32 dev kube-dummy-if table 255 src 192.0.2.11",
      "ipset kube-router-svip member 203.0.113.10",
      "ipset kube-router-svip-prt member 203.0.113.10,tcp:80",
      "ipvs service tcp 203.0.113.10:80 rr",
      "ipvs destination tcp 203.0.113.10:80 -> 10.244.1.5:80 masq weight 1",
      "ipvs destination tcp 203.0.113.10:80 -> 10.244.2.7:80 masq weight 1",
    ]);
  });
});

describe("policies and endpoints", () => {
  const local = { externalTrafficPolicy: "Local" };

  test("without endpoints the virtual service stands, and nothing comes and goes (trap T5)", async () => {
    const { traces, linux, settle } = await world([direct()], []);
    expect(traces()).toContain("ipvs service fwmark 16051 ipv4 rr");
    linux.resetCounts();
    await settle();
    expect(linux.count()).toBe(0);
  });

  test("Local takes this node's, and the ClusterIP keeps all", async () => {
    const { linux, traces } = await world([direct(local)]);
    expect(traces().filter((line) => line.includes("tunnel weight"))).toEqual([
      "ipvs destination fwmark 16051 ipv4 -> 10.244.1.5:80 tunnel weight 1",
    ]);
    expect(linux.dump()).toContain("tcp 10.96.10.20:80 -> 10.244.2.7:80");
  });

  test("Local without any here drops", async () => {
    const { rules } = await world([direct(local)], [FAR]);
    expect((await rules())[0]?.target).toEqual({ kind: "drop" });
  });

  test("a pod is prepared before it is ready, and stays so while it ends", async () => {
    const conditions = { ready: false, serving: false, terminating: true };
    const { traces } = await world([direct()], [{ ...NEAR, conditions }]);
    expect(traces().filter((line) => line.includes("in pod"))).toHaveLength(2);
    expect(traces().filter((line) => line.includes("tunnel weight"))).toEqual([
      "ipvs destination fwmark 16051 ipv4 -> 10.244.1.5:80 tunnel weight 0 (draining)",
    ]);
  });

  test("an endpoint without a node is local by its address", async () => {
    const { traces } = await world([direct()], ["10.244.1.9", "10.244.2.9"]);
    expect(traces().filter((line) => line.startsWith("link"))).toEqual([
      "link kube-tunnel-if type ipip local 10.244.1.9 up rp_filter loose in pod 10.244.1.9",
    ]);
  });

  test("the annotated scheduler and affinity count from the first (trap T21)", async () => {
    const annotations = { ...DSR.annotations, "kube-router.io/service.scheduler": "mh" };
    const { traces } = await world([
      direct({
        metadata: { annotations },
        sessionAffinity: "ClientIP",
        sessionAffinityTimeout: 60,
      }),
    ]);
    expect(traces()).toContain("ipvs service fwmark 16051 ipv4 mh persistent 60");
    expect(traces()).toContain("sysctl net/ipv4/vs/sloppy_tcp = 1");
  });
});

describe("what a tunnel cannot do is done by NAT, and said", () => {
  test("another target port", async () => {
    const { traces, problems, rules } = await world([direct()], [NEAR], 8080);
    expect(traces()).toContain(
      "ipvs destination fwmark 16051 ipv4 -> 10.244.1.5:8080 masq weight 1",
    );
    expect(traces().filter((line) => line.includes("in pod"))).toEqual([]);
    expect(problems()).toEqual([
      "Port 80 has target port 8080, and direct server return cannot change ports; it is served by NAT, make port " +
      "and targetPort equal",
    ]);
    // After NAT the mark would lead the packet back.
    expect((await rules())[1]).toMatchObject({
      matches: [{ kind: "protocol" }, { kind: "mark", mark: 16051 }, { negate: true }],
      target: { kind: "mark", set: 0 },
    });
  });

  test("a pod on its node's network, on this node or another (traps T22, T23)", async () => {
    const onNode1 = { addresses: ["192.0.2.11"], nodeName: "node1" };
    const onNode2 = { addresses: ["192.0.2.12"], nodeName: "node2" };
    const { traces, problems } = await world([direct()], [onNode1, onNode2, NEAR]);
    expect(traces().filter((line) => line.includes("weight"))).toEqual([
      "ipvs destination fwmark 16051 ipv4 -> 10.244.1.5:80 tunnel weight 1",
      "ipvs destination fwmark 16051 ipv4 -> 192.0.2.11:80 masq weight 1",
      "ipvs destination fwmark 16051 ipv4 -> 192.0.2.12:80 masq weight 1",
    ]);
    expect(traces().filter((line) => line.startsWith("link"))).toHaveLength(1);
    expect(problems()).toHaveLength(2);
    expect(problems()[0]).toStartWith(
      'Endpoint "192.0.2.11" is on its node\'s own network (hostNetwork)',
    );
  });

  test("an external IP that is the node's own address", async () => {
    const cluster = testCluster();
    cluster.put("nodes", ...nodes);
    cluster.put("services", direct({ externalIPs: ["192.0.2.11"] }));
    cluster.sync();
    const { linux } = await running([proxyPlugin], {
      cluster,
      options: proxyOptions({ serviceExternalIpRange: ["192.0.2.0/24"] }),
      host,
    });
    expect(linux.dump()).toContain("ipvs service tcp 192.0.2.11:80 rr");
    expect(linux.dump()).not.toContain("fwmark");
  });

  test("another value of the annotation is reported, and ignored", async () => {
    const { traces, problems } = await world([
      direct({ metadata: { annotations: { "kube-router.io/service.dsr": "true" } } }),
    ]);
    expect(traces()).toContain("ipvs service tcp 203.0.113.10:80 rr");
    expect(problems()).toEqual([
      'Annotation kube-router.io/service.dsr is "true"; allowed is "tunnel"; it is ignored, and the Service served by NAT',
    ]);
    expect(wantsDsr(direct())).toBe(true);
  });
});

describe("Services that share an address", () => {
  const beside = service("default/beside", {
    clusterIPs: ["10.96.10.21"],
    externalIPs: ["203.0.113.10"],
    ports: [{ port: 81 }],
  });

  test("one without the annotation is reached by a mark too, since the node must not have the address", async () => {
    const made = await world([direct(), beside]);
    const ours = made.traces();
    expect(ours.filter((line) => line.includes("kube-dummy-if"))).toEqual([]);
    expect(ours.filter((line) => /masq weight/.test(line))).toHaveLength(2);
    made.cluster.remove("services", "default/web");
    await made.settle();
    expect(made.traces()).toContain("address 203.0.113.10/32 dev kube-dummy-if");
    expect(made.traces()).toContain("ipvs service tcp 203.0.113.10:81 rr");
    expect(made.traces().filter((line) => /fwmark|in pod|DSR/.test(line))).toEqual([]);
  });

  test("the older one has an address and port that both want; the other is told, and takes over", async () => {
    const metadata = { creationTimestamp: "2020-01-01T00:00:00Z" };
    const old = direct({ clusterIPs: ["10.96.10.22"], metadata }, "default/z");
    const made = await world([direct(), old]);
    const conflicts = made.status().problems.filter(({ type }) => type === "conflict");
    expect(conflicts.map(({ reason }) => reason)).toEqual([
      "wanted by service default/web as well, but held by service default/z, which is older; give one of them another " +
      "address or port",
    ]);
    expect(made.traces().filter((line) => line.startsWith("chain"))).toHaveLength(1);
    made.cluster.remove("services", "default/z");
    await made.settle();
    expect(made.status().problems).toEqual([]);
    expect(made.traces().filter((line) => line.startsWith("chain"))).toHaveLength(1);
  });

  test("marks that collide follow age, not arrival, and do not move", async () => {
    const at = (name: string, year: number, protocol: string, port: number) =>
      direct({
        externalIPs: ["147.160.180.44"],
        ports: [{ port, protocol }],
        metadata: { creationTimestamp: `${year}-01-01T00:00:00Z` },
      }, `default/${name}`);
    const [younger, older] = [at("a", 2025, "TCP", 8080), at("b", 2024, "UDP", 80)];
    for (const order of [[younger, older], [older, younger]]) {
      const cluster = testCluster();
      cluster.put("nodes", ...nodes);
      for (const each of order) cluster.put("services", each);
      cluster.sync();
      const { linux } = await running([proxyPlugin], {
        cluster,
        options: proxyOptions({ strictExternalIpValidation: false }),
        host,
      });
      const text = linux.dump();
      expect(text).toContain("ipvs service fwmark 15688 ipv4 rr");
      expect(text).toContain("ipvs service fwmark 842 ipv4 rr");
    }
  });

  test("a mark stays with who has it when an older Service comes to want it", async () => {
    const at = (name: string, year: number, changes: ServiceChanges) =>
      direct({
        externalIPs: ["147.160.180.44"],
        ...changes,
        metadata: { ...DSR, creationTimestamp: `${year}-01-01T00:00:00Z` },
      }, `default/${name}`);
    const cluster = testCluster();
    cluster.put("nodes", ...nodes);
    cluster.put("services", at("young", 2025, { ports: [{ port: 80, protocol: "UDP" }] }));
    cluster.put(
      "endpointslices",
      slice("default/young-1", [NEAR], { ports: [{ port: 80, protocol: "UDP" }] }),
    );
    cluster.sync();
    const { linux, settle } = await running([proxyPlugin], {
      cluster,
      options: proxyOptions({ strictExternalIpValidation: false }),
      host,
    });
    const reached =
      () => [...linux.dump().match(/^ipvs destination fwmark \d+ ipv4 -> \S+/gm) ?? []];
    const before = ["ipvs destination fwmark 15688 ipv4 -> 10.244.1.5:80"];
    expect(reached()).toEqual(before);
    cluster.put("services", at("old", 2024, { ports: [{ port: 8080 }] }));
    await settle();
    expect(reached()).toEqual(before);
  });
});

test("a Service without direct server return costs nothing more, whatever the others do", async () => {
  const others = Array.from(
    { length: 50 },
    (_, i) => service(`default/s${i}`, { clusterIPs: [`10.96.0.${i}`] }),
  );
  const made = await world(others);
  made.linux.resetCounts();
  made.cluster.put("services", direct());
  made.cluster.put("endpointslices", slice("default/web-1", [NEAR], { ports: [{ port: 80 }] }));
  await made.settle();
  expect(made.traces()).toContain("ipvs service fwmark 16051 ipv4 rr");
  expect(made.linux.count(undefined, "list")).toBe(0);
});
