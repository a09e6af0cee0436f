/** A few pods with short names, and tables of who reaches whom by both opinions, for tests of what policies mean. */

import { expect } from "bun:test";
import type { NetworkPolicy } from "../../src/kernel/plugin.ts";
import type { Packet } from "../../src/plugins/firewall/oracle.ts";
import { type Judged, judged, namespace, pod, type PolicyCluster } from "./policy-world.ts";

const NODES: ReadonlyMap<string, readonly string[]> = new Map([
  ["node1", ["192.168.1.11", "fd00:1::11", "10.1.1.1", "fd01:1::1"]],
  ["node2", ["192.168.1.12", "fd00:1::12", "10.1.2.1", "fd01:2::1"]],
]);

/** Pods by a short name: IPv4 and IPv6 addresses. */
export const IPS = {
  web: ["10.1.1.2", "fd01:1::2"],
  db: ["10.1.1.3", "fd01:1::3"],
  far: ["10.1.2.2", "fd01:2::2"],
  other: ["10.1.2.3", "fd01:2::3"],
  host: ["192.168.1.12", "fd00:1::12"],
  node1: ["192.168.1.11", "fd00:1::11"],
  node2: ["192.168.1.12", "fd00:1::12"],
  bridge: ["10.1.1.1", "fd01:1::1"],
  world: ["8.8.8.8", "2001:db8::8"],
} as const;
export type Place = keyof typeof IPS;

const HTTP = { name: "http", containerPort: 80 };

export function cluster(
  policies: readonly NetworkPolicy[],
  changes: Partial<PolicyCluster> = {},
): Judged {
  return judged({
    namespaces: [namespace("a", { env: "prod" }), namespace("b", { env: "test" })],
    pods: [
      pod("a/web", { labels: { app: "web" }, ips: IPS.web, ports: [HTTP] }),
      pod("a/db", {
        labels: { app: "db" },
        ips: IPS.db,
        ports: [{ name: "http", containerPort: 8080 }, { name: "sql", containerPort: 5432 }],
      }),
      pod("a/far", { labels: { app: "web" }, ips: IPS.far, ports: [HTTP], node: "node2" }),
      pod("b/other", { labels: { app: "web" }, ips: IPS.other, node: "node2" }),
      pod("b/host", { labels: { app: "web" }, ips: IPS.host, node: "node2", hostNetwork: true }),
    ],
    policies,
    nodes: NODES,
    ...changes,
  });
}

/** Packets between two places, of both families. */
export function packets(
  from: Place,
  to: Place,
  port = 80,
  protocol: Packet["protocol"] = "TCP",
): readonly Packet[] {
  return [0, 1].map((family) => ({
    source: IPS[from][family] ?? "",
    destination: IPS[to][family] ?? "",
    protocol,
    port,
  }));
}

/** Both opinions on both families, which must be one. */
export function allowed(world: Judged, ...way: Parameters<typeof packets>): boolean {
  const opinions = packets(...way).flatMap((packet) => [
    world.oracle(packet).allowed,
    world.passes(packet),
  ]);
  expect(new Set(opinions).size).toBe(1);
  return opinions[0] ?? false;
}

/** "web>db:80 yes": who reaches whom. */
export function table(world: Judged, lines: readonly string[]): void {
  const found = lines.map((line) => {
    const [, from, to, port, protocol] = /^(\w+)>(\w+)(?::(\d+))?(?:\/(\w+))? /.exec(line) ?? [];
    const answer = allowed(
      world,
      from as Place,
      to as Place,
      Number(port ?? 80),
      (protocol ?? "TCP") as Packet["protocol"],
    );
    return `${line.slice(0, line.indexOf(" "))} ${answer ? "yes" : "no"}`;
  });
  expect(found).toEqual([...lines]);
}

export const ALL = { podSelector: {} };
export const WEB = { podSelector: { matchLabels: { app: "web" } } };
export const DB = { podSelector: { matchLabels: { app: "db" } } };

/** The first packet between two places in IPv4. */
export function packet(...way: Parameters<typeof packets>): Packet {
  const [first] = packets(...way);
  if (first === undefined) throw new Error("No packet");
  return first;
}
