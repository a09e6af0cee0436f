import { expect, test } from "bun:test";
import { createMetrics } from "../../../../src/kernel/observe/metrics.ts";
import {
  ipvsFwmarkId,
  type IpvsServiceId,
  ipvsServiceId,
  type PluginContext,
} from "../../../../src/kernel/plugin.ts";
import { serviceMetrics } from "../../../../src/plugins/proxy/metrics.ts";
import type { ProxyOptions } from "../../../../src/plugins/proxy/options.ts";

const COUNTERS = {
  connections: 7,
  inPackets: 1,
  outPackets: 2,
  inBytes: 3,
  outBytes: 4,
  connectionRate: 5,
  inPacketRate: 6,
  outPacketRate: 8,
  inByteRate: 9,
  outByteRate: 10,
};

async function scrape(ids: readonly IpvsServiceId[]): Promise<readonly string[]> {
  const metrics = await createMetrics();
  const context = {
    metrics,
    statistics: {
      ipvsTable: () => Promise.reject(new Error("nobody asks")),
      ipvsServices: () => Promise.resolve(ids.map((id) => ({ id, counters: COUNTERS }))),
    },
    holder: (_table: unknown, key: string) => key.includes("10.9.9.9") ? undefined : "default/web",
    tables: {},
  };
  serviceMetrics(
    context as unknown as PluginContext<ProxyOptions>,
    (unit, mark, family) =>
      unit === "default/web" && (mark === 16051 || mark === 0x1000007) && family === 4
        ? { address: "203.0.113.10", protocol: "tcp", port: 80 }
        : undefined,
  );
  return (await metrics.text()).split("\n")
    .filter((line) => line.startsWith("kube_router_service_total_connections{"));
}

test("a Service is counted by the address, protocol and port that clients use, a mark or not", async () => {
  const line = (vip: string, protocol: string, port: number) =>
    "kube_router_service_total_connections" +
    `{svc_namespace="default",service_name="web",service_vip="${vip}",protocol="${protocol}",port="${port}"} 7`;
  expect(await scrape([ipvsServiceId(6, "udp", "fd00:96::1", 53), ipvsFwmarkId(4, 16051)]))
    .toEqual([line("fd00:96::1", "udp", 53), line("203.0.113.10", "tcp", 80)]);
});

test("clients outside and inside, who have virtual services of their own, are counted together", async () => {
  const lines = await scrape([
    ipvsServiceId(4, "tcp", "203.0.113.10", 80),
    ipvsFwmarkId(4, 0x1000007),
  ]);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toEndWith('service_vip="203.0.113.10",protocol="tcp",port="80"} 14');
});

test("what no Service of ours has is not counted", async () => {
  expect(await scrape([ipvsServiceId(4, "tcp", "10.9.9.9", 80), ipvsFwmarkId(4, 7)])).toEqual([]);
});
