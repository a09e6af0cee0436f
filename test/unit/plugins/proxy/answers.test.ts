import { expect, test } from "bun:test";
import type { IpvsCounters } from "../../../../src/kernel/plugin.ts";
import { ipvsFwmarkId, ipvsServiceId } from "../../../../src/kernel/plugin.ts";
import {
  admits,
  type Asked,
  concernsRow,
  ipvsRows,
  ipvsSummary,
  proxyWhyAnswer,
  seenBy,
} from "../../../../src/plugins/proxy/answers.ts";
import type { ServiceContext } from "../../../../src/plugins/proxy/service-plan.ts";
import { service, slice } from "../../../support/objects.ts";

const ZERO: IpvsCounters = {
  connections: 0,
  inPackets: 0,
  outPackets: 0,
  inBytes: 0,
  outBytes: 0,
  connectionRate: 0,
  inPacketRate: 0,
  outPacketRate: 0,
  inByteRate: 0,
  outByteRate: 0,
};

const CONTEXT: ServiceContext = {
  node: "node1",
  families: [{ family: 4, address: "192.168.1.10", podCIDRs: ["10.244.1.0/24"] }],
  extraNodeAddresses: [],
  routedRanges: [],
  ranges: { strict: false, cluster: [], external: [], loadBalancer: [] },
  graceful: false,
  excluded: [],
  ownAddresses: [],
  otherNodes: [],
};

function asked(changes: Partial<Asked> = {}): Asked {
  return {
    context: CONTEXT,
    services: [
      service("default/web", { ports: [{ nodePort: 30080 }] }),
      service("default/other", { clusterIPs: ["10.96.0.2"] }),
    ],
    slicesOf: (unit) => unit === "default/web" ? [slice("default/web-1", ["10.244.1.6"])] : [],
    holder: () => undefined,
    marked: () => undefined,
    inside: () => new Map(),
    hairpinAlways: false,
    masqueradeAll: false,
    permitAll: true,
    ...changes,
  };
}

const ask = (address: string, port: number, changes: Partial<Asked> = {}) =>
  proxyWhyAnswer(asked(changes), { address, port, protocol: "tcp" });

test("a VIP's port leads to its Service and endpoints", () => {
  const { frontends, isVip } = ask("10.96.0.1", 80);
  expect(isVip).toBe(true);
  expect(frontends.map(({ service, kind, verdict, key }) => [service, kind, verdict, key])).toEqual(
    [
      ["default/web", "clusterIP", "serve", "tcp 10.96.0.1:80"],
    ],
  );
  expect(frontends[0]?.endpoints.length).toBeGreaterThan(0);
});

test("under a Local policy clients inside have endpoints of their own, by a mark", () => {
  const local = service("default/web", {
    externalTrafficPolicy: "Local",
    ports: [{ nodePort: 30080 }],
  });
  const front = { family: 4, address: "192.168.1.10", protocol: "tcp", port: 30080 } as const;
  const mark = { ...front, mark: 0x1000007 };
  const answer = ask("192.168.1.10", 30080, {
    services: [local],
    inside: () => new Map([["tcp 192.168.1.10:30080", mark]]),
  });
  const [found] = answer.frontends;
  expect([found?.verdict, found?.inside?.key]).toEqual(["drop", "fwmark 16777223 ipv4"]);
  if (found === undefined) throw new Error("No frontend");
  const as = (source: string, isHost = false) =>
    seenBy(found, source, isHost, answer.masquerade).verdict;
  expect([as("10.244.1.9"), as("192.168.1.10", true), as("192.0.2.7")]).toEqual([
    "serve",
    "serve",
    "drop",
  ]);
});

test("a NodePort leads there by the node's address, and no other port of the node does", () => {
  expect(ask("192.168.1.10", 30080).frontends[0]?.kind).toBe("nodePort");
  expect(ask("192.168.1.10", 22)).toMatchObject({ frontends: [], others: [], isVip: false });
});

test("another port of a VIP is none, and names whose address it is", () => {
  expect(ask("10.96.0.1", 99)).toMatchObject({
    frontends: [],
    others: ["default/web"],
    isVip: true,
  });
});

test("a Service without endpoints rejects", () => {
  expect(ask("10.96.0.2", 80).frontends[0]?.verdict).toBe("reject");
});

test("of two Services with one address and port the one that holds it comes first", () => {
  const services = [service("default/b"), service("default/a")];
  const { frontends } = ask("10.96.0.1", 80, { services, holder: () => "default/a" });
  expect(frontends.map(({ service, heldBy }) => [service, heldBy])).toEqual([
    ["default/a", undefined],
    ["default/b", "default/a"],
  ]);
});

test("admits() takes ranges and plain addresses, and all where there are none", () => {
  expect(admits({}, "192.0.2.1")).toBe(true);
  expect(admits({ sources: ["192.0.2.0/24"] }, "192.0.2.1")).toBe(true);
  expect(admits({ sources: ["192.0.2.9", "fd00::/8"] }, "192.0.2.1")).toBe(false);
  expect(admits({ sources: ["192.0.2.9"] }, "192.0.2.9")).toBe(true);
  expect(admits({ sources: [] }, "192.0.2.1")).toBe(false);
});

test("rows carry the Service, its port's name, and what a firewall mark stands for", () => {
  const web = service("default/web", { externalIPs: ["203.0.113.1"] });
  const entry = (id: ReturnType<typeof ipvsServiceId>) => ({
    item: { id, scheduler: "rr", schedulerFlags: 0, persistence: 0 },
    counters: ZERO,
    destinations: [],
  });
  const rows = ipvsRows(
    [
      entry(ipvsServiceId(4, "tcp", "10.96.0.1", 80)),
      entry(ipvsFwmarkId(4, 17)),
      entry(ipvsServiceId(4, "tcp", "10.9.9.9", 80)),
    ],
    ({ address }) => address === "10.9.9.9" ? undefined : "default/web",
    () => ({ address: "203.0.113.1", protocol: "tcp", port: 80 }),
    () => web,
  );
  expect(rows.map(({ service, kind, address, portName }) => [service, kind, address, portName]))
    .toEqual([
      ["default/web", "clusterIP", "10.96.0.1", "http"],
      ["default/web", "externalIP", "203.0.113.1", "http"],
      [undefined, undefined, "10.9.9.9", undefined],
    ]);
});

test("a row is named by its Service, namespace, address or port", () => {
  const row = { key: "tcp 10.96.0.1:80", service: "default/web", address: "10.96.0.1" };
  const named = ["default/web", "default", "10.96.0.1", ":80", "tcp 10.96.0.1:80"];
  expect(named.filter((text) => concernsRow(text, row))).toEqual(named);
  expect(["web", "10.96.0.2", ":8"].filter((text) => concernsRow(text, row))).toEqual([]);
});

test("the summary adds up, and names the busiest Services first", () => {
  const counted = (address: string, connectionRate: number) => ({
    id: ipvsServiceId(4, "tcp", address, 80),
    counters: { ...ZERO, connections: 10, connectionRate },
  });
  const summary = ipvsSummary(
    [
      counted("10.96.0.1", 1),
      counted("10.96.0.2", 5),
      counted("10.96.0.3", 0),
      counted("10.9.9.9", 9),
    ],
    ({ address }) => address === "10.9.9.9" ? undefined : `default/${address}`,
  );
  expect(summary).toMatchObject({ services: 4, ours: 3, connections: 40, connectionRate: 15 });
  expect(summary.busiest).toEqual([
    { service: "default/10.96.0.2", connectionRate: 5 },
    { service: "default/10.96.0.1", connectionRate: 1 },
  ]);
});
