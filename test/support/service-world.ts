/** The proxy on a cluster that uses all that the proxy can want, for tests of the whole way to Linux. */

import { tables } from "../../src/kernel/dataplane/resources/mod.ts";
import type { FakeDataplane } from "../../src/kernel/dataplane/fake.ts";
import type { HostAddress, Plugin, Service } from "../../src/kernel/plugin.ts";
import proxy from "../../src/plugins/proxy/mod.ts";
import type { ProxyOptions } from "../../src/plugins/proxy/options.ts";
import { type TestCluster, testCluster } from "./cluster.ts";
import { destination, ipvs, vip } from "./items.ts";
import { node, service, slice } from "./objects.ts";

export const proxyPlugin = proxy as unknown as Plugin<never>;

export function proxyOptions(changes: Partial<ProxyOptions> = {}): ProxyOptions {
  return {
    masqueradeAll: false,
    ipvsPermitAll: true,
    hairpinMode: false,
    nodeportBindonAllIp: false,
    vipBinding: "auto",
    serviceClusterIpRange: ["10.96.0.0/12"],
    serviceExternalIpRange: [],
    loadbalancerIpRange: [],
    strictExternalIpValidation: true,
    excludedCidrs: [],
    serviceTcpTimeout: 0,
    serviceTcpfinTimeout: 0,
    serviceUdpTimeout: 0,
    enableIpv4: true,
    enableIpv6: true,
    ipvsGracefulTermination: false,
    ipvsGracefulPeriod: 30_000,
    ...changes,
  };
}

/** A dual-stack node with three Services: one with a NodePort and affinity, one plain, one with direct server return. */
export function smallCluster(): TestCluster {
  const cluster = testCluster();
  cluster.put(
    "nodes",
    node("node1", {
      addresses: [
        { type: "InternalIP", address: "192.168.1.10" },
        { type: "InternalIP", address: "fd00::10" },
      ],
      podCIDRs: ["10.244.1.0/24", "fd00:1::/64"],
    }),
  );
  cluster.put(
    "services",
    service("default/web", {
      clusterIPs: ["10.96.0.1", "fd00:96::1"],
      sessionAffinity: "ClientIP",
      ports: [{ nodePort: 30080 }],
    }),
    service("default/direct", {
      metadata: { annotations: { "kube-router.io/service.dsr": "tunnel" } },
      clusterIPs: ["10.96.0.30", "fd00:96::30"],
      externalIPs: ["203.0.113.10", "fd00:33::10"],
      ports: [{ port: 8080 }],
    }),
    service("default/dns", {
      clusterIPs: ["10.96.0.10"],
      ports: [{ name: "dns", port: 53 }, { name: "dns-udp", protocol: "UDP", port: 53 }],
    }),
    balanced("default/lb", "10.96.0.30", 32000),
    balanced("default/lb2", "10.96.0.31", 32002),
  );
  cluster.put(
    "endpointslices",
    slice("default/lb-1", [{ addresses: ["10.244.1.7"], nodeName: "node1" }]),
    slice("default/web-1", ["10.244.1.2", "10.244.2.2"]),
    slice("default/web-2", ["fd00:1::2"], { addressType: "IPv6" }),
    slice("default/direct-1", [{ addresses: ["10.244.1.4"], nodeName: "node1" }]),
    slice("default/direct-2", [{ addresses: ["fd00:1::4"], nodeName: "node1" }], {
      addressType: "IPv6",
    }),
    slice("default/dns-1", ["10.244.1.3"], {
      ports: [{ name: "dns", port: 53 }, { name: "dns-udp", protocol: "UDP", port: 53 }],
    }),
  );
  cluster.sync();
  return cluster;
}

/** The bridge that the pods of `smallCluster` hang on. */
export const podBridge: readonly HostAddress[] = [
  { link: "kube-bridge", family: 4, address: "10.244.1.1" },
];

function balanced(key: string, clusterIP: string, healthCheckNodePort: number): Service {
  return service(key, {
    type: "LoadBalancer",
    clusterIPs: [clusterIP],
    externalTrafficPolicy: "Local",
    healthCheckNodePort,
  });
}

/** What `smallCluster` becomes: Services, ports and endpoints come, go and change. */
export function changeCluster(cluster: TestCluster): void {
  cluster.put(
    "services",
    service("default/web", {
      clusterIPs: ["10.96.0.1"],
      metadata: { annotations: { "kube-router.io/service.scheduler": "lc" } },
      ports: [{ port: 8080, nodePort: 30081 }],
    }),
    service("default/new", {
      clusterIPs: ["10.96.0.20"],
      metadata: { annotations: { "kube-router.io/service.hairpin": "" } },
    }),
    service("default/direct", {
      metadata: { annotations: { "kube-router.io/service.dsr": "tunnel" } },
      clusterIPs: ["10.96.0.30"],
      externalIPs: ["203.0.113.11"],
      ports: [{ port: 8080 }],
    }),
    balanced("default/lb2", "10.96.0.31", 32001),
  );
  cluster.remove("services", "default/dns");
  cluster.put(
    "endpointslices",
    slice("default/web-1", ["10.244.2.2", "10.244.3.2"]),
    slice("default/new-1", [{ addresses: ["10.244.1.9"], nodeName: "node1" }]),
    slice("default/direct-1", [{ addresses: ["10.244.1.5"], nodeName: "node1" }]),
    slice("default/lb-1", [
      { addresses: ["10.244.1.7"], nodeName: "node1" },
      { addresses: ["10.244.1.8"], nodeName: "node1" },
    ]),
  );
  cluster.put(
    "nodes",
    node("node1", { addresses: [{ type: "InternalIP", address: "192.168.1.11" }] }),
  );
}

/** Puts into Linux what is not ours, beside and in the way of what the proxy wants. Returns it, as `dump` prints it. */
export function seedForeign(linux: FakeDataplane): readonly string[] {
  linux.seed("link", { name: "eth0", type: "dummy", up: true });
  linux.seed("address", vip("192.168.1.10", "eth0"));
  linux.seed("ipvs.service", ipvs("10.96.0.10:53", { scheduler: "sh" }));
  linux.seed("ipvs.destination", destination("10.96.0.10:53", "10.9.9.9:53"));
  linux.seed("ipvs.service", ipvs("10.99.0.1:443"));
  linux.seed("route", {
    family: 4,
    table: 254,
    type: "unicast",
    destination: "0.0.0.0/0",
    metric: 0,
    nextHops: [{ gateway: "192.168.1.1" }],
  });
  return foreignLines(linux);
}

export function foreignLines(linux: FakeDataplane): readonly string[] {
  return linux.dump().split("\n").filter((line) => line.endsWith("(foreign)"));
}

/** The kinds that the proxy writes. */
export const PROXY_KINDS: readonly string[] = proxy.tables.map((name) =>
  tables[name].resource.kind
);
