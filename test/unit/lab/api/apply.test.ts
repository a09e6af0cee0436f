import { expect, test } from "bun:test";
import { createApi, type KubeObject } from "../../../lab/api/mod.ts";
import { configMap, service } from "./client.ts";

function store(options = {}) {
  return createApi({ listen: false, bookmarkSeconds: 0, ...options });
}

test("apply writes status as given and drops nulls", () => {
  const applied = store().apply({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "p", labels: null },
    spec: { nodeName: "n", containers: [{ name: "c", ports: [{ containerPort: 80 }], env: null }] },
    status: { phase: "Running", podIP: "10.0.0.1" },
  });
  expect(applied).toMatchObject({
    metadata: { name: "p", namespace: "default" },
    spec: { nodeName: "n", containers: [{ ports: [{ containerPort: 80, protocol: "TCP" }] }] },
    status: { phase: "Running", podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }] },
  });
  expect(JSON.stringify(applied)).not.toContain("null");
  expect(applied.metadata).not.toHaveProperty("labels");
});

test("apply replaces, and keeps uid and creationTimestamp", () => {
  const api = store();
  const first = api.apply({ ...configMap("a"), data: { x: "1" }, extra: 1 });
  const second = api.apply({ ...configMap("a"), data: { y: "1" } });
  expect(second.data).toEqual({ y: "1" });
  expect(second).not.toHaveProperty("extra");
  expect(second.metadata?.uid).toBe(first.metadata?.uid as string);
  expect(second.metadata?.creationTimestamp).toBe(first.metadata?.creationTimestamp as string);
  expect(Number(second.metadata?.resourceVersion))
    .toBeGreaterThan(Number(first.metadata?.resourceVersion));
});

test("an object that is deleted and applied again has another uid", () => {
  const api = store();
  const first = api.apply(configMap("a"));
  api.delete({ apiVersion: "v1", kind: "ConfigMap", namespace: "default", name: "a" });
  expect(api.apply(configMap("a")).metadata?.uid).not.toBe(first.metadata?.uid as string);
});

test("an object that is stored does not change with what was given", () => {
  const api = store();
  const given = { ...configMap("a"), data: { x: "1" } };
  api.apply(given);
  given.data.x = "2";
  expect(api.list("ConfigMap")[0]?.data).toEqual({ x: "1" });
});

test.each<[string, object, object]>([
  ["ClusterIP by default", { clusterIP: "10.0.0.1", ports: [{ port: 80 }] }, {
    type: "ClusterIP",
    clusterIPs: ["10.0.0.1"],
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
    sessionAffinity: "None",
    internalTrafficPolicy: "Cluster",
    ports: [{ port: 80, targetPort: 80, protocol: "TCP" }],
  }],
  ["ClientIP affinity", { sessionAffinity: "ClientIP" }, {
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } },
  }],
  ["an affinity with a time-out of its own", {
    sessionAffinity: "ClientIP",
    sessionAffinityConfig: { clientIP: { timeoutSeconds: 5 } },
  }, { sessionAffinityConfig: { clientIP: { timeoutSeconds: 5 } } }],
  ["NodePort", { type: "NodePort" }, { externalTrafficPolicy: "Cluster" }],
  ["LoadBalancer", { type: "LoadBalancer" }, {
    externalTrafficPolicy: "Cluster",
    allocateLoadBalancerNodePorts: true,
  }],
  ["external IPs", { externalIPs: ["192.0.2.1"] }, { externalTrafficPolicy: "Cluster" }],
  ["two families", { clusterIPs: ["fd00::1", "10.0.0.1"] }, {
    clusterIP: "fd00::1",
    ipFamilies: ["IPv6", "IPv4"],
    ipFamilyPolicy: "RequireDualStack",
  }],
])("a Service with %s gets the API server's defaults", (_name, spec, expected) => {
  expect(store().apply(service("s", { spec })).spec).toMatchObject(expected);
});

test("ExternalName and headless Services get no families and no traffic policy of others", () => {
  const api = store();
  const external = api.apply(service("e", { spec: { type: "ExternalName", externalName: "x.y" } }));
  expect(external.spec).toEqual({
    type: "ExternalName",
    externalName: "x.y",
    sessionAffinity: "None",
  });
  const headless = api.apply(service("h", { spec: { clusterIP: "None" } }));
  expect(headless.spec).toMatchObject({ clusterIP: "None", clusterIPs: ["None"] });
  expect(headless.spec).not.toHaveProperty("ipFamilies");
});

test("a load balancer's address gets its mode", () => {
  const status = {
    loadBalancer: { ingress: [{ ip: "192.0.2.1" }, { ip: "192.0.2.2", ipMode: "Proxy" }] },
  };
  expect(store().apply(service("s", { status })).status).toEqual({
    loadBalancer: {
      ingress: [{ ip: "192.0.2.1", ipMode: "VIP" }, { ip: "192.0.2.2", ipMode: "Proxy" }],
    },
  });
});

test.each<[object, readonly string[]]>([
  [{}, ["Ingress"]],
  [{ ingress: [{}] }, ["Ingress"]],
  [{ egress: [] }, ["Ingress"]],
  [{ egress: [{}] }, ["Ingress", "Egress"]],
  [{ policyTypes: ["Egress"] }, ["Egress"]],
])("a NetworkPolicy with %j has policyTypes %j", (spec, policyTypes) => {
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "p" },
  };
  expect(store().apply({ ...policy, spec: { podSelector: {}, ...spec } }).spec)
    .toMatchObject({ policyTypes });
});

test("a NetworkPolicy's ports get TCP", () => {
  const spec = { ingress: [{ ports: [{ port: 80 }, { port: 53, protocol: "UDP" }] }] };
  const policy = {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "p" },
  };
  expect(store().apply({ ...policy, spec }).spec).toMatchObject({
    ingress: [{ ports: [{ port: 80, protocol: "TCP" }, { port: 53, protocol: "UDP" }] }],
  });
});

test("an endpoint's conditions stay as they are given", () => {
  const slice = store().apply({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "s" },
    endpoints: [{ addresses: ["10.0.0.1"] }, {
      addresses: ["10.0.0.2"],
      conditions: { ready: null },
    }],
    ports: [{ port: 80 }],
  });
  expect(slice.endpoints).toEqual([{ addresses: ["10.0.0.1"] }, {
    addresses: ["10.0.0.2"],
    conditions: {},
  }]);
  expect(slice.ports).toEqual([{ port: 80, protocol: "TCP" }]);
});

test("a Namespace gets its name as a label; deleting it deletes what is in it", () => {
  const api = store();
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "x" } };
  expect(api.apply(namespace).metadata?.labels).toEqual({ "kubernetes.io/metadata.name": "x" });
  api.apply({ ...configMap("a"), metadata: { name: "a", namespace: "x" } });
  api.apply({ ...configMap("a"), metadata: { name: "a", namespace: "xy" } });
  const deleted: string[] = [];
  api.on(({ type, object }) => void deleted.push(`${type} ${object.kind}`));
  api.delete({ apiVersion: "v1", kind: "Namespace", name: "x" });
  expect(deleted).toEqual(["DELETED ConfigMap", "DELETED Namespace"]);
  expect(api.list("ConfigMap").map(({ metadata }) => metadata?.namespace)).toEqual(["xy"]);
});

test("a Node that is applied is merged into the one that is there", () => {
  const api = store();
  const node = { apiVersion: "v1", kind: "Node" };
  api.apply({
    ...node,
    metadata: { name: "n", labels: { a: "1" } },
    spec: { podCIDR: "10.1.0.0/24" },
    status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] },
  });
  const merged = api.apply({
    ...node,
    metadata: { name: "n", annotations: { b: "2" } },
    spec: { taints: [{ key: "t" }] },
  });
  expect(merged).toMatchObject({
    metadata: { labels: { a: "1" }, annotations: { b: "2" } },
    spec: { podCIDR: "10.1.0.0/24", podCIDRs: ["10.1.0.0/24"], taints: [{ key: "t" }] },
    status: { addresses: [{ type: "InternalIP", address: "192.0.2.1" }] },
  });
});

test("a List is applied by its items, and settles once", () => {
  const api = store();
  let settled = 0;
  api.onSettled(() => void settled++);
  const items = [configMap("a"), configMap("b")];
  api.apply({ apiVersion: "v1", kind: "List", items });
  expect(api.list("configmaps")).toHaveLength(2);
  // Once after the writes; again only where a listener writes.
  expect(settled).toBe(1);
});

test("an object without a name or of an unknown kind is refused with the reason", () => {
  const api = store();
  expect(() => api.apply({ apiVersion: "v1", kind: "Pod" })).toThrow("metadata.name");
  expect(() => api.apply({ apiVersion: "v1", kind: "Pot", metadata: { name: "p" } }))
    .toThrow('Cannot apply "p": no kind "Pot" in "v1"');
});

test("listeners see writes in order, also those of other listeners", () => {
  const api = store();
  const seen: string[] = [];
  api.on(({ object }) => {
    if (object.metadata?.name === "a") api.apply(configMap("made-by-listener"));
  });
  api.on(({ object }) => void seen.push(object.metadata?.name ?? ""));
  api.apply(configMap("a"));
  expect(seen).toEqual(["a", "made-by-listener"]);
});

test("Services get addresses and node ports from the service CIDRs, where there are any", () => {
  const api = store({ serviceCIDRs: ["10.96.0.0/12", "fd00:96::/112"] });
  const spec = (name: string, given: object): KubeObject["spec"] =>
    api.apply(service(name, { spec: { ports: [{ port: 80 }], ...given } })).spec;
  expect(spec("a", {})).toMatchObject({ clusterIP: "10.96.1.0", ipFamilies: ["IPv4"] });
  expect(spec("b", { type: "NodePort", ipFamilyPolicy: "PreferDualStack" })).toMatchObject({
    clusterIPs: ["10.96.1.1", "fd00:96::100"],
    ports: [{ nodePort: 30_000 }],
  });
  expect(spec("c", { clusterIP: "None" })).toMatchObject({ clusterIPs: ["None"] });
  expect(spec("d", { ipFamilies: ["IPv6"] })).toMatchObject({ clusterIP: "fd00:96::101" });
});

test("a Service that is replaced without its address keeps it", () => {
  const api = store({ serviceCIDRs: ["10.96.0.0/12"] });
  const given = service("a", { spec: { ports: [{ port: 80 }] } });
  const first = api.apply(given);
  expect(api.apply(given).spec).toEqual(first.spec);
});
