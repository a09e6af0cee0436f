import { expect, test } from "bun:test";
import {
  deriveEndpointSlices,
  type EndpointSlice,
  type SlicePod,
  type SliceService,
} from "../../../../src/kernel/cluster/derive-slices.ts";

type ServiceSpec = NonNullable<SliceService["spec"]>;

function service(spec: ServiceSpec = {}): SliceService {
  return {
    metadata: { name: "web", namespace: "shop", uid: "u1", labels: { team: "a" } },
    spec: {
      clusterIP: "10.96.0.1",
      selector: { app: "web" },
      ports: [{ name: "http", port: 80, targetPort: 8080 }],
      ...spec,
    },
  };
}

function pod(
  name: string,
  ips: readonly string[],
  more: { readonly spec?: SlicePod["spec"]; readonly status?: SlicePod["status"] } = {},
  metadata: object = {},
): SlicePod {
  return {
    metadata: { name, namespace: "shop", uid: `uid-${name}`, labels: { app: "web" }, ...metadata },
    spec: { nodeName: "n1", ...more.spec },
    status: { phase: "Running", podIPs: ips.map((ip) => ({ ip })), ...more.status },
  };
}

function addresses(slices: readonly EndpointSlice[]): readonly string[] {
  return slices.flatMap(({ endpoints }) => endpoints.flatMap((endpoint) => endpoint.addresses));
}

function conditions(subject: SlicePod, spec: ServiceSpec = {}): unknown {
  return deriveEndpointSlices(service(spec), [subject])[0]?.endpoints[0]?.conditions;
}

test("a slice says whose it is and what its endpoints are", () => {
  const nodes = [{ metadata: { name: "n1", labels: { "topology.kubernetes.io/zone": "z1" } } }];
  const [slice, ...others] = deriveEndpointSlices(service(), [pod("a", ["10.1.0.1"])], nodes);
  expect(others).toEqual([]);
  expect(slice).toEqual({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: expect.stringMatching(/^web-[0-9a-z]{7}$/),
      namespace: "shop",
      labels: {
        team: "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
      },
      ownerReferences: [{
        apiVersion: "v1",
        kind: "Service",
        name: "web",
        uid: "u1",
        controller: true,
        blockOwnerDeletion: true,
      }],
    },
    addressType: "IPv4",
    endpoints: [{
      addresses: ["10.1.0.1"],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: "n1",
      zone: "z1",
      targetRef: { kind: "Pod", namespace: "shop", name: "a", uid: "uid-a" },
    }],
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  });
});

test.each<[string, ServiceSpec]>([
  ["without a selector", { selector: undefined }],
  ["with an empty selector", { selector: {} }],
  ["of type ExternalName", { type: "ExternalName" }],
])("a Service %s has no derived slice", (_name, spec) => {
  expect(deriveEndpointSlices(service(spec), [pod("a", ["10.1.0.1"])])).toEqual([]);
});

test("only pods of the namespace that have all labels of the selector are endpoints", () => {
  const spec = { selector: { app: "web", tier: "front" } };
  const pods = [
    pod("a", ["10.1.0.1"], {}, { labels: { app: "web", tier: "front", more: "1" } }),
    pod("b", ["10.1.0.2"], {}, { labels: { app: "web" } }),
    pod("c", ["10.1.0.3"], {}, { labels: { app: "web", tier: "front" }, namespace: "other" }),
    pod("d", ["10.1.0.4"], {}, { labels: undefined }),
  ];
  expect(addresses(deriveEndpointSlices(service(spec), pods))).toEqual(["10.1.0.1"]);
});

test("pods that have ended and pods without an address are no endpoints", () => {
  const pods = [
    pod("a", ["10.1.0.1"], { status: { phase: "Succeeded" } }),
    pod("b", ["10.1.0.2"], { status: { phase: "Failed" } }),
    pod("c", []),
    pod("d", ["10.1.0.4"], { status: { phase: "Pending" } }),
  ];
  expect(addresses(deriveEndpointSlices(service(), pods))).toEqual(["10.1.0.4"]);
});

test("a Service that selects no pod has one empty slice a family", () => {
  const slices = deriveEndpointSlices(service({ ipFamilies: ["IPv4", "IPv6"] }), []);
  expect(slices.map(({ addressType, endpoints, ports }) => ({ addressType, endpoints, ports })))
    .toEqual([
      { addressType: "IPv4", endpoints: [], ports: [] },
      { addressType: "IPv6", endpoints: [], ports: [] },
    ]);
});

test.each<[string, SlicePod["status"], object, ServiceSpec, [boolean, boolean, boolean]]>([
  ["ready", { conditions: [{ type: "Ready", status: "True" }] }, {}, {}, [true, true, false]],
  ["not ready", { conditions: [{ type: "Ready", status: "False" }] }, {}, {}, [
    false,
    false,
    false,
  ]],
  ["unknown", { conditions: [{ type: "Ready", status: "Unknown" }] }, {}, {}, [
    false,
    false,
    false,
  ]],
  ["running and silent", {}, {}, {}, [true, true, false]],
  ["of no phase", { phase: undefined }, {}, {}, [true, true, false]],
  ["pending and silent", { phase: "Pending" }, {}, {}, [false, false, false]],
  ["ready and terminating", {}, { deletionTimestamp: "2026-01-01T00:00:00Z" }, {}, [
    false,
    true,
    true,
  ]],
  ["not ready, but published", { conditions: [{ type: "Ready", status: "False" }] }, {}, {
    publishNotReadyAddresses: true,
  }, [true, false, false]],
  ["terminating, but published", {}, { deletionTimestamp: "2026-01-01T00:00:00Z" }, {
    publishNotReadyAddresses: true,
  }, [true, true, true]],
])(
  "the conditions of a pod that is %s",
  (_name, status, metadata, spec, [ready, serving, terminating]) => {
    const subject = pod("a", ["10.1.0.1"], status === undefined ? {} : { status }, metadata);
    expect(conditions(subject, spec)).toEqual({ ready, serving, terminating });
  },
);

test.each<[string, ServiceSpec, readonly string[]]>([
  ["ipFamilies", { ipFamilies: ["IPv6"] }, ["IPv6"]],
  ["the cluster IPs", { clusterIP: "fd00::1", clusterIPs: ["fd00::1", "10.0.0.1"] }, [
    "IPv6",
    "IPv4",
  ]],
  ["the one cluster IP", { clusterIP: "10.0.0.1" }, ["IPv4"]],
  ["nothing, when headless", { clusterIP: "None" }, ["IPv4", "IPv6"]],
])("the families follow from %s", (_name, spec, expected) => {
  const slices = deriveEndpointSlices(service(spec), [pod("a", ["10.1.0.1", "fd01::1"])]);
  expect(slices.map(({ addressType }) => addressType as string)).toEqual([...expected]);
  for (const { addressType, endpoints } of slices) {
    expect(endpoints[0]?.addresses).toEqual([addressType === "IPv4" ? "10.1.0.1" : "fd01::1"]);
  }
});

test("podIP alone is read where podIPs are not given", () => {
  const subject = pod("a", [], { status: { podIP: "10.1.0.7", podIPs: [] } });
  expect(addresses(deriveEndpointSlices(service(), [subject]))).toEqual(["10.1.0.7"]);
});

test("a headless Service's slices carry the label that says so", () => {
  const [slice] = deriveEndpointSlices(service({ clusterIP: "None" }), []);
  expect(slice?.metadata.labels["service.kubernetes.io/headless"]).toBe("");
});

test("a hostname is shown where the pod's subdomain is the Service", () => {
  const spec = { hostname: "db-0", subdomain: "web" };
  const [slice] = deriveEndpointSlices(service(), [pod("a", ["10.1.0.1"], { spec })]);
  expect(slice?.endpoints[0]?.hostname).toBe("db-0");
  const other = { hostname: "db-0", subdomain: "other" };
  const [none] = deriveEndpointSlices(service(), [pod("a", ["10.1.0.1"], { spec: other })]);
  expect(none?.endpoints[0]?.hostname).toBeUndefined();
});

test("a target port of zero or none is the port itself, and protocols are kept", () => {
  const ports = [
    { name: "a", port: 80 },
    { name: "b", port: 53, targetPort: 0, protocol: "UDP", appProtocol: "dns" },
  ];
  const [slice] = deriveEndpointSlices(service({ ports }), [pod("a", ["10.1.0.1"])]);
  expect(slice?.ports).toEqual([
    { name: "a", port: 80, protocol: "TCP" },
    { name: "b", port: 53, protocol: "UDP", appProtocol: "dns" },
  ]);
});

test("pods that resolve a named port differently are in slices of their own", () => {
  const named = (containerPort: number) => ({
    spec: { containers: [{ ports: [{ name: "web", containerPort }] }] },
  });
  const ports = [{ name: "http", port: 80, targetPort: "web" }];
  const slices = deriveEndpointSlices(service({ ports }), [
    pod("a", ["10.1.0.1"], named(8080)),
    pod("b", ["10.1.0.2"], named(9090)),
    pod("c", ["10.1.0.3"], named(8080)),
    pod("d", ["10.1.0.4"]),
  ]);
  expect(slices.map((slice) => [slice.ports.map(({ port }) => port), addresses([slice])])).toEqual([
    [[8080], ["10.1.0.1", "10.1.0.3"]],
    [[9090], ["10.1.0.2"]],
    [[], ["10.1.0.4"]],
  ]);
  expect(new Set(slices.map(({ metadata }) => metadata.name)).size).toBe(3);
});

test("a named port is found by its protocol too, and in sidecars", () => {
  const spec = {
    containers: [{ ports: [{ name: "dns", containerPort: 53 }] }],
    initContainers: [
      { ports: [{ name: "dns", containerPort: 1, protocol: "UDP" }] },
      { restartPolicy: "Always", ports: [{ name: "dns", containerPort: 5353, protocol: "UDP" }] },
    ],
  };
  const ports = [{ port: 53, targetPort: "dns", protocol: "UDP" }];
  const [slice] = deriveEndpointSlices(service({ ports }), [pod("a", ["10.1.0.1"], { spec })]);
  expect(slice?.ports).toEqual([{ name: "", port: 5353, protocol: "UDP" }]);
});

test("a slice holds at most 100 endpoints", () => {
  const pods = Array.from(
    { length: 250 },
    (_, index) => pod(`p${String(index).padStart(3, "0")}`, [`10.1.${index >> 8}.${index & 255}`]),
  );
  const slices = deriveEndpointSlices(service(), pods);
  expect(slices.map(({ endpoints }) => endpoints.length)).toEqual([100, 100, 50]);
  expect(new Set(slices.map(({ metadata }) => metadata.name)).size).toBe(3);
  expect(new Set(addresses(slices)).size).toBe(250);
});

test("the order in which pods come does not matter, and a slice keeps its name as pods come and go", () => {
  const pods = ["c", "a", "b"].map((name, index) => pod(name, [`10.1.0.${index}`]));
  const slices = deriveEndpointSlices(service(), pods);
  expect(deriveEndpointSlices(service(), pods.toReversed())).toEqual(slices);
  const names = [[], pods.slice(1), pods].map((some) =>
    deriveEndpointSlices(service(), some).map(({ metadata }) => metadata.name)
  );
  expect(names[0]).toEqual(names[1] ?? []);
  expect(names[1]).toEqual(names[2] ?? []);
});

test.each<[string, unknown, unknown]>([
  ["PreferSameZone", { forZones: [{ name: "z1" }] }, undefined],
  ["PreferClose", { forZones: [{ name: "z1" }] }, undefined],
  ["PreferSameNode", { forZones: [{ name: "z1" }], forNodes: [{ name: "n1" }] }, undefined],
])(
  "trafficDistribution %s gives ready endpoints their hints",
  (trafficDistribution, hints, none) => {
    const nodes = [{ metadata: { name: "n1", labels: { "topology.kubernetes.io/zone": "z1" } } }];
    const late = { status: { conditions: [{ type: "Ready", status: "False" }] } };
    const [slice] = deriveEndpointSlices(
      service({ trafficDistribution }),
      [pod("a", ["10.1.0.1"]), pod("b", ["10.1.0.2"], late)],
      nodes,
    );
    expect(slice?.endpoints.map((endpoint) => endpoint.hints as unknown)).toEqual([hints, none]);
  },
);
