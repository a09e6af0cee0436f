import { expect, test } from "bun:test";
import { overlaySource } from "../../../../src/kernel/cluster/overlay-source.ts";
import { readObjects } from "../../../../src/kernel/cluster/manifests/objects.ts";
import { testCluster } from "../../../support/cluster.ts";
import { node, service, slice } from "../../../support/objects.ts";
import { pod } from "../../../support/policy-world.ts";

const WATCHES = [{ kind: "services" }, { kind: "endpointslices" }, { kind: "nodes" }] as const;

function over(...values: readonly object[]) {
  const cluster = testCluster();
  cluster.put("nodes", node("node1"));
  cluster.put(
    "services",
    service("default/web", {
      type: "NodePort",
      selector: { app: "web" },
      ports: [{ nodePort: 30080, targetPort: 8080 }],
    }),
    service("default/other", { clusterIPs: ["10.96.0.2"] }),
  );
  cluster.put("endpointslices", slice("default/web-1", ["10.244.1.6"], { service: "web" }));
  cluster.put("pods", pod("default/new", { labels: { app: "new" }, ips: ["10.244.1.9"] }));
  const { objects, problems } = readObjects(values.map((value) => ({ line: 1, value })));
  expect(problems).toEqual([]);
  const source = overlaySource(cluster, objects);
  source.start(WATCHES);
  cluster.sync();
  return source;
}

const web = (spec: object) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "web", namespace: "default" },
  spec,
});
const ports = [{ name: "http", port: 80, targetPort: 8080 }];

function addresses(source: ReturnType<typeof over>): readonly string[] {
  return [...source.stores.endpointslices.values()].flatMap(({ endpoints }) =>
    endpoints.flatMap(({ addresses }) => addresses)
  );
}

test("without manifests it holds what lies below, once that is synced", () => {
  const source = over();
  expect([...source.stores.services.keys()].toSorted()).toEqual(["default/other", "default/web"]);
  expect(source.stores.services.synced).toBe(true);
  expect(addresses(source)).toEqual(["10.244.1.6"]);
});

test("a Service that is applied keeps what the API server gave it", () => {
  const source = over(
    web({ type: "NodePort", selector: { app: "web" }, ports, externalIPs: ["203.0.113.1"] }),
  );
  const { metadata, spec } = source.stores.services.get("default/web") ?? {};
  expect(spec?.clusterIPs).toEqual(["10.96.0.1"]);
  expect(spec?.externalIPs).toEqual(["203.0.113.1"]);
  expect(spec?.ports[0]?.nodePort).toBe(30080);
  expect(metadata?.creationTimestamp).toBe("2026-01-01T00:00:00Z");
  expect(addresses(source)).toEqual(["10.244.1.6"]);
  expect(source.notes()).toEqual([]);
});

test("with another selector it gets the endpoints that a controller would make", () => {
  expect(addresses(over(web({ selector: { app: "new" }, ports })))).toEqual(["10.244.1.9"]);
});

test("a new Service has no cluster IP yet, which is said", () => {
  const fresh = { ...web({ ports }), metadata: { name: "fresh", namespace: "default" } };
  expect(over(fresh).notes()).toEqual([
    'Service "default/fresh" gets its cluster IP when it is applied: what it will be is not in this plan',
  ]);
});
