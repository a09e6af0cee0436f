import { describe, expect, test } from "bun:test";
import type { Stores } from "../../../../src/kernel/plugin.ts";
import { type TestCluster, testCluster } from "../../../support/cluster.ts";
import { node, service, slice } from "../../../support/objects.ts";
import { bench, running } from "../../../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../../../support/service-world.ts";

const many = (count: number) =>
  Array.from(
    { length: count },
    (_, i) => service(`default/s${i}`, { clusterIPs: [`10.96.${i >> 8}.${i & 255}`] }),
  );

/** A cluster of `count` Services, and how often the proxy looked for the slices of one: once a unit. */
function counted(count: number) {
  const cluster = testCluster();
  cluster.put("nodes", node("node1"));
  cluster.put("services", ...many(count));
  cluster.put("endpointslices", slice("default/s7-1", ["10.1.0.1"]));
  cluster.sync();
  let looks = 0;
  const slices = new Proxy(cluster.stores.endpointslices, {
    get(target, property) {
      if (property === "by") looks++;
      const value: unknown = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const stores: Stores = { ...cluster.stores, endpointslices: slices };
  const watched: TestCluster = Object.create(cluster, { stores: { value: stores } });
  return {
    cluster: watched,
    takeLooks() {
      const now = looks;
      looks = 0;
      return now;
    },
  };
}

const options = proxyOptions({ enableIpv6: false });

describe("the work of one change is that change, not the cluster", () => {
  test("a slice, a Service and a node's heartbeat", async () => {
    const { cluster, takeLooks } = counted(300);
    const { linux, settle, runtime } = await running([proxyPlugin], { cluster, options });
    expect(runtime.ready).toBe(true);
    expect(takeLooks()).toBe(300);
    linux.resetCounts();
    cluster.put("endpointslices", slice("default/s7-1", ["10.1.0.1", "10.1.0.2"]));
    await settle();
    expect([takeLooks(), linux.count()]).toEqual([1, 1]);
    cluster.put(
      "services",
      service("default/s8", { clusterIPs: ["10.96.0.8"], ports: [{ port: 81 }] }),
    );
    await settle();
    // The port moves in IPVS, and in the sets of what is served and of what has no endpoints.
    expect([takeLooks(), linux.count()]).toEqual([1, 7]);
    cluster.put("nodes", node("node1", { metadata: { labels: { beat: "1" } } }));
    cluster.put("services", service("default/s900", { clusterIPs: ["None"] }));
    cluster.remove("services", "default/s900");
    await settle();
    expect([takeLooks(), linux.count()]).toEqual([0, 7]);
    expect(linux.count(undefined, "list")).toBe(0);
  });

  test("an object whose fields that we read stay the same wakes nobody", async () => {
    const { cluster, takeLooks } = counted(10);
    const { settle, status } = await running([proxyPlugin], { cluster, options });
    takeLooks();
    const { rounds } = status();
    for (const each of cluster.stores.services.values()) {
      cluster.put("services", {
        ...each,
        metadata: { ...each.metadata, resourceVersion: `${each.metadata.resourceVersion}9` },
      });
    }
    await settle();
    expect([takeLooks(), status().rounds]).toEqual([0, rounds]);
  });
});

test("--vip-binding=auto serves the range by one route past 2,000 Services, and goes back below 1,000", async () => {
  const cluster = testCluster();
  cluster.put("nodes", node("node1"));
  cluster.put("services", ...many(2_000));
  cluster.sync();
  const { linux, settle, status } = await running([proxyPlugin], { cluster, options });
  const range = "route local 10.96.0.0/12 dev lo table 255 src 192.168.1.10";
  expect(status().owned).toMatchObject({ address: 2_000, route: 2_000 });
  cluster.put("services", service("default/one-more", { clusterIPs: ["10.97.0.1"] }));
  await settle();
  expect(status().owned).toMatchObject({ address: 0, route: 1, "ipvs.service": 2_001 });
  expect(linux.dump()).toContain(range);
  cluster.remove("services", "default/one-more");
  await settle();
  expect(status().owned).toMatchObject({ address: 0, route: 1, "ipvs.service": 2_000 });
  cluster.remove("services", ...many(2_000).slice(1_000).map((s) => `default/${s.metadata.name}`));
  await settle();
  expect(status().owned).toMatchObject({ address: 1_000, route: 1_000, "ipvs.service": 1_000 });
  expect(linux.dump()).not.toContain(range);
});

test("an option that is missing is named", async () => {
  const { vipBinding: _left, ...others } = options;
  const { runtime, status } = bench([proxyPlugin], { options: others });
  await runtime.start();
  expect(status().reason).toBe('Proxy option "vipBinding" is missing');
});
