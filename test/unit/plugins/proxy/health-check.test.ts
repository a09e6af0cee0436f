import { describe, expect, test } from "bun:test";
import { healthCheckResponse } from "../../../../src/kernel/dataplane/linux/health-check.ts";
import { healthCheckOf } from "../../../../src/plugins/proxy/health-check.ts";
import { testCluster } from "../../../support/cluster.ts";
import { node, service, slice } from "../../../support/objects.ts";
import { bench } from "../../../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../../../support/service-world.ts";

const LOCAL = {
  type: "LoadBalancer",
  externalTrafficPolicy: "Local",
  healthCheckNodePort: 32000,
} as const;
const here = (address: string, conditions: object = {}) => ({
  addresses: [address],
  nodeName: "node1",
  conditions,
});

describe("S9: a health check node port", () => {
  test("counts the endpoints of this node alone", () => {
    const slices = [
      slice("default/web-1", [here("10.244.1.2"), {
        addresses: ["10.244.2.2"],
        nodeName: "node2",
      }]),
    ];
    expect(healthCheckOf(service("default/web", LOCAL), slices, "node1")).toEqual({
      port: 32000,
      namespace: "default",
      name: "web",
      localEndpoints: 1,
    });
  });

  test("S5: leaves out endpoints that terminate, though they still serve", () => {
    const slices = [
      slice("default/web-1", [
        here("10.244.1.2", { ready: false, serving: true, terminating: true }),
        here("10.244.1.3", { ready: false }),
      ]),
    ];
    expect(healthCheckOf(service("default/web", LOCAL), slices, "node1")?.localEndpoints).toBe(0);
  });

  test("counts a dual-stack pod and an endpoint in two slices once", () => {
    const slices = [
      slice("default/web-1", [here("10.244.1.2")]),
      slice("default/web-2", [here("10.244.1.2")]),
      slice("default/web-3", [here("fd00:1::2")], { addressType: "IPv6" }),
    ];
    expect(healthCheckOf(service("default/web", LOCAL), slices, "node1")?.localEndpoints).toBe(1);
  });

  test("counts beyond 127, where kube-router's counter turns negative (trap T17)", () => {
    const many = Array.from({ length: 200 }, (_, i) => here(`10.244.1.${i + 2}`));
    expect(
      healthCheckOf(service("default/web", LOCAL), [slice("default/web-1", many)], "node1")
        ?.localEndpoints,
    ).toBe(200);
  });

  test("is served for external policy Local of load balancers only", () => {
    for (
      const spec of [
        { ...LOCAL, externalTrafficPolicy: "Cluster" },
        { ...LOCAL, type: "NodePort" },
        { ...LOCAL, healthCheckNodePort: 0 },
      ]
    ) expect(healthCheckOf(service("default/web", spec), [], "node1")).toBeUndefined();
  });
});

describe("the answer of a health check", () => {
  const check = { port: 32000, namespace: "default", name: "web", localEndpoints: 2 };

  test("is 200 with kube-proxy's body and weight while there are local endpoints", async () => {
    const response = healthCheckResponse(check, true);
    expect(response.status).toBe(200);
    expect(response.headers.get("X-Load-Balancing-Endpoint-Weight")).toBe("2");
    expect(await response.json()).toEqual({
      service: { namespace: "default", name: "web" },
      localEndpoints: 2,
      serviceProxyHealthy: true,
    });
  });

  test("is 503 without local endpoints, and while the proxy does not work", () => {
    expect(healthCheckResponse({ ...check, localEndpoints: 0 }, true).status).toBe(503);
    expect(healthCheckResponse(check, false).status).toBe(503);
  });
});

test("S9: a dry run says nothing of health checks, which are the running agent's own sockets", async () => {
  const cluster = testCluster();
  cluster.put("nodes", node("node1"));
  cluster.put("services", service("default/web", { ...LOCAL, clusterIPs: ["10.96.0.1"] }));
  cluster.sync();
  const { runtime } = bench([proxyPlugin], { cluster, options: proxyOptions() });
  await runtime.setup();
  const [preview] = await runtime.preview();
  const kinds = preview?.tables.filter(({ upserts }) => upserts.length > 0)
    .map(({ resource }) => resource.kind);
  expect(kinds).toContain("ipvs.service");
  expect(kinds).not.toContain("health.check");
});
