import { describe, expect, test } from "bun:test";
import {
  createMetrics,
  metricsOn,
  noMetrics,
  serveMetrics,
} from "../../../../src/kernel/observe/metrics.ts";

describe("createMetrics()", () => {
  test("writes counters, gauges and histograms under kube-router's prefix", async () => {
    const metrics = await createMetrics();
    metrics.counter("host_routes_added", "Routes added").inc();
    metrics.counter("host_routes_added", "Routes added").inc(2);
    metrics.gauge("build_info", "Build", ["version"]).set(1, { version: "0.1.0" });
    metrics.histogram("controller_ipvs_services_sync_time", "Sync").observe(0.02);
    const text = await metrics.text();
    expect(text).toContain("kube_router_host_routes_added 3\n");
    expect(text).toContain('kube_router_build_info{version="0.1.0"} 1\n');
    // The default buckets of kube-router's histograms.
    const buckets = [...text.matchAll(/sync_time_bucket\{le="([^"]+)"\} (\d+)/g)]
      .map(([, bound, count]) => `${bound}:${count}`);
    expect(buckets.join(" ")).toBe(
      "0.005:0 0.01:0 0.025:1 0.05:1 0.1:1 0.25:1 0.5:1 1:1 2.5:1 5:1 10:1 +Inf:1",
    );
  });

  test("reads sampled series at each scrape and drops those that are gone", async () => {
    const metrics = await createMetrics();
    let series = [{ labels: { service_name: "a" }, value: 5 }, {
      labels: { service_name: "b" },
      value: 1,
    }];
    metrics.sampled(
      "counter",
      "service_total_connections",
      "Connections",
      ["service_name"],
      () => series,
    );
    expect(await metrics.text()).toContain('{service_name="b"} 1');
    series = [{ labels: { service_name: "a" }, value: 7 }];
    const text = await metrics.text();
    expect(text).toContain('kube_router_service_total_connections{service_name="a"} 7');
    expect(text).not.toContain('service_name="b"');
  });

  test("goes on without a series whose read fails", async () => {
    const metrics = await createMetrics();
    metrics.gauge("controller_ipvs_services", "Services").set(3);
    metrics.sampled("gauge", "service_cps", "Rate", [], () => Promise.reject(new Error("EPERM")));
    expect(await metrics.text()).toContain("kube_router_controller_ipvs_services 3");
  });
});

test("noMetrics takes everything and keeps nothing", () => {
  expect(() => {
    noMetrics.counter("a", "b").inc();
    noMetrics.gauge("a", "b").set(1);
    noMetrics.histogram("a", "b").observe(1);
  }).not.toThrow();
});

test("metricsOn() counts 0 and 65535 as off, as kube-router does", () => {
  expect([0, 1, 8080, 65534, 65535].map(metricsOn)).toEqual([false, true, true, true, false]);
});

test("serveMetrics() answers on its path alone", async () => {
  const registry = await createMetrics();
  registry.gauge("build_info", "Build").set(1);
  const server = serveMetrics({ registry, address: "127.0.0.1", port: 0, path: "/m" });
  const answer = await fetch(`http://${server.address}/m`);
  expect(answer.headers.get("content-type")).toStartWith("text/plain");
  expect(await answer.text()).toContain("kube_router_build_info 1");
  expect((await fetch(`http://${server.address}/metrics`)).status).toBe(404);
  await server.stop();
});
