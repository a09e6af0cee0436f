import { expect, test } from "bun:test";
import {
  type Change,
  createApi,
  type LabApi,
  startEndpointController,
} from "../../../lab/api/mod.ts";

function lab(): LabApi {
  return createApi({ listen: false, bookmarkSeconds: 0 });
}

function pod(name: string, ip: string, labels: Readonly<Record<string, string>> = { app: "web" }) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels },
    spec: { nodeName: "n1" },
    status: { phase: "Running", podIP: ip },
  };
}

function service(name: string, spec: object = {}) {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: { clusterIP: "10.96.0.1", selector: { app: "web" }, ports: [{ port: 80 }], ...spec },
  };
}

interface Shown {
  readonly metadata: { readonly name: string };
  readonly endpoints: readonly { readonly addresses: readonly string[]; readonly zone?: string }[];
}

function slices(api: LabApi): readonly Shown[] {
  return api.list("EndpointSlice") as unknown as readonly Shown[];
}

function addresses(api: LabApi): readonly string[] {
  return slices(api).flatMap(({ endpoints }) =>
    endpoints.flatMap((endpoint) => endpoint.addresses)
  );
}

function writes(api: LabApi): readonly string[] {
  const seen: string[] = [];
  api.on(({ type, object }: Change) => {
    if (object.kind === "EndpointSlice") seen.push(type);
  });
  return seen;
}

test("slices follow services and pods within each write", () => {
  const api = lab();
  startEndpointController(api);
  api.apply(service("s"));
  expect(slices(api)).toHaveLength(1);
  api.apply(pod("a", "10.1.0.1"));
  api.apply(pod("b", "10.1.0.2"));
  api.apply(pod("c", "10.1.0.3", { app: "other" }));
  expect(addresses(api)).toEqual(["10.1.0.1", "10.1.0.2"]);
  api.apply(pod("c", "10.1.0.3"));
  api.apply(pod("a", "10.1.0.1", { app: "other" }));
  expect(addresses(api)).toEqual(["10.1.0.2", "10.1.0.3"]);
  api.delete({ apiVersion: "v1", kind: "Pod", namespace: "default", name: "b" });
  expect(addresses(api)).toEqual(["10.1.0.3"]);
  api.delete({ apiVersion: "v1", kind: "Service", namespace: "default", name: "s" });
  expect(slices(api)).toEqual([]);
});

test("what is there when the controller starts counts as well", () => {
  const api = lab();
  api.applyAll([service("s"), pod("a", "10.1.0.1")]);
  startEndpointController(api);
  expect(addresses(api)).toEqual(["10.1.0.1"]);
});

test("a whole load is written once for each slice", () => {
  const api = lab();
  startEndpointController(api);
  const seen = writes(api);
  api.applyAll([service("s"), pod("a", "10.1.0.1"), pod("b", "10.1.0.2"), pod("c", "10.1.0.3")]);
  expect(seen).toEqual(["ADDED"]);
});

test("a change that does not show in a slice writes none", () => {
  const api = lab();
  startEndpointController(api);
  api.applyAll([service("s"), pod("a", "10.1.0.1")]);
  const seen = writes(api);
  api.apply({ ...pod("a", "10.1.0.1"), metadata: { name: "a", labels: { app: "web", v: "2" } } });
  api.apply(service("s", { externalIPs: ["192.0.2.1"] }));
  expect(seen).toEqual([]);
});

test("a node's zone reaches the endpoints on it", () => {
  const api = lab();
  startEndpointController(api);
  api.applyAll([service("s"), pod("a", "10.1.0.1")]);
  const node = (zone: string) => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1", labels: { "topology.kubernetes.io/zone": zone } },
  });
  api.apply(node("a"));
  expect(slices(api)[0]?.endpoints[0]?.zone).toBe("a");
  api.apply(node("b"));
  expect(slices(api)[0]?.endpoints[0]?.zone).toBe("b");
});

test("a Service without a selector keeps the slices that are applied for it", () => {
  const api = lab();
  startEndpointController(api);
  const slice = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name: "own", labels: { "kubernetes.io/service-name": "s" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["192.0.2.9"] }],
    ports: [{ port: 80 }],
  };
  api.applyAll([service("s", { selector: undefined }), slice, pod("a", "10.1.0.1")]);
  expect(addresses(api)).toEqual(["192.0.2.9"]);
});

test("a Service that loses its selector loses the derived slices, not those of others", () => {
  const api = lab();
  startEndpointController(api);
  api.applyAll([service("s"), pod("a", "10.1.0.1")]);
  api.apply(service("s", { selector: undefined }));
  expect(slices(api)).toEqual([]);
});

test("a derived slice that another deletes or changes is put right", () => {
  const api = lab();
  startEndpointController(api);
  api.applyAll([service("s"), pod("a", "10.1.0.1")]);
  const [slice] = slices(api);
  if (slice === undefined) throw new Error("No slice was derived");
  const identity = {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    namespace: "default",
  };
  api.apply({ ...slice, endpoints: [] });
  expect(addresses(api)).toEqual(["10.1.0.1"]);
  api.delete({ ...identity, name: slice.metadata.name });
  expect(addresses(api)).toEqual(["10.1.0.1"]);
});

test("deleting a namespace leaves no slice behind", () => {
  const api = lab();
  startEndpointController(api);
  api.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "x" } });
  const within = <T extends { metadata: object }>(object: T) => ({
    ...object,
    metadata: { ...object.metadata, namespace: "x" },
  });
  api.applyAll([within(service("s")), within(pod("a", "10.1.0.1"))]);
  expect(slices(api)).toHaveLength(1);
  api.delete({ apiVersion: "v1", kind: "Namespace", name: "x" });
  expect(slices(api)).toEqual([]);
});

test("a controller that is stopped writes no more", () => {
  const api = lab();
  const stop = startEndpointController(api);
  stop();
  api.applyAll([service("s"), pod("a", "10.1.0.1")]);
  expect(slices(api)).toEqual([]);
});
