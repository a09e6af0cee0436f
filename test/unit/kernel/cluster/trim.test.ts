import { expect, test } from "bun:test";
import { KIND_NAMES } from "../../../../src/kernel/cluster/kinds.ts";
import { trim } from "../../../../src/kernel/cluster/trim.ts";

const metadata = { name: "x", namespace: "ns" };

function trimmed<K extends (typeof KIND_NAMES)[number]>(kind: K, raw: unknown) {
  const problems: string[] = [];
  const object = trim(kind, raw, (path, reason) => void problems.push(`${path} ${reason}`));
  return { object, problems };
}

test("an object without a name is none", () => {
  expect(trimmed("services", { metadata: {} })).toEqual({
    object: undefined,
    problems: ["metadata.name is missing"],
  });
});

test("labels stay, annotations only where a plugin may read them, managed fields go", () => {
  const { object } = trimmed("nodes", {
    metadata: {
      name: "n",
      uid: "u",
      resourceVersion: "7",
      managedFields: [{ manager: "kubelet" }],
      labels: { "any/label": "1" },
      annotations: {
        "kube-router.io/peers": "[]",
        "routelet.io/x": "1",
        "kubectl.kubernetes.io/last-applied-configuration": "{…}",
      },
    },
  });
  expect(object?.metadata).toEqual({
    name: "n",
    namespace: "",
    uid: "u",
    resourceVersion: "7",
    labels: { "any/label": "1" },
    annotations: { "kube-router.io/peers": "[]", "routelet.io/x": "1" },
  });
});

test("null is absent without a word, another type is reported with its path", () => {
  const { object, problems } = trimmed("services", {
    metadata,
    spec: {
      clusterIP: null,
      externalIPs: "192.0.2.1",
      ports: [{ port: "80" }, { port: 53, nodePort: "x", name: 3 }, "http"],
      sessionAffinityConfig: { clientIP: { timeoutSeconds: "30" } },
      selector: { app: 1 },
    },
  });
  expect(object?.spec).toMatchObject({
    clusterIPs: [],
    externalIPs: [],
    sessionAffinityTimeout: 10800,
  });
  expect(object?.spec.ports).toEqual([{ name: "", protocol: "TCP", port: 53, nodePort: 0 }]);
  expect(object?.spec.selector).toBeUndefined();
  expect(problems.toSorted()).toEqual([
    'spec.externalIPs must be a list, not "192.0.2.1"',
    'spec.ports[0].port must be an integer, not "80"',
    "spec.ports[1].name must be a text, not 3",
    'spec.ports[1].nodePort must be an integer, not "x"',
    'spec.ports[2] must be an object, not "http"',
    "spec.selector.app must be a text, not 1",
    'spec.sessionAffinityConfig.clientIP.timeoutSeconds must be an integer, not "30"',
  ]);
});

test.each([
  [{ clusterIP: "10.0.0.1" }, ["10.0.0.1"]],
  [{ clusterIPs: ["10.0.0.1", "fd00::1"], clusterIP: "10.0.0.1" }, ["10.0.0.1", "fd00::1"]],
  [{ clusterIP: "None" }, ["None"]],
  [{}, []],
])("the cluster addresses of %j are %j", (spec, ips) => {
  expect(trimmed("services", { metadata, spec }).object?.spec.clusterIPs).toEqual(ips);
});

test.each([
  ["its label", { labels: { "kubernetes.io/service-name": "web" }, generateName: "other-" }, "web"],
  ["its only owner", { ownerReferences: [{ kind: "Service", name: "web" }] }, "web"],
  ["nothing with two owners", {
    ownerReferences: [{ kind: "Service", name: "a" }, { kind: "Service", name: "b" }],
  }, undefined],
  ["no owner of another kind", { ownerReferences: [{ kind: "Node", name: "a" }] }, undefined],
  ["its generated name", { generateName: "web-" }, "web"],
])("a slice's Service is known by %s", (_, more, service) => {
  const raw = { metadata: { ...metadata, ...more }, addressType: "IPv4" };
  expect(trimmed("endpointslices", raw).object?.service).toBe(service as string);
});

test("endpoints keep conditions verbatim and hints by name", () => {
  const { object } = trimmed("endpointslices", {
    metadata,
    addressType: "IPv4",
    endpoints: [
      {
        addresses: ["10.0.0.1"],
        conditions: { ready: true, serving: null },
        nodeName: "n1",
        zone: "a",
        hints: { forZones: [{ name: "a" }] },
      },
      { addresses: ["10.0.0.2"] },
    ],
    ports: [{ port: 80 }, { name: "any" }],
  });
  expect(object?.endpoints).toEqual([
    {
      addresses: ["10.0.0.1"],
      conditions: { ready: true },
      nodeName: "n1",
      zone: "a",
      hints: { forZones: ["a"], forNodes: [] },
    },
    { addresses: ["10.0.0.2"], conditions: {} },
  ]);
  expect(object?.ports).toEqual([
    { name: "", protocol: "TCP", port: 80 },
    { name: "any", protocol: "TCP" },
  ]);
});

test("a pod's ports are those of containers and sidecars, its addresses both families", () => {
  const { object } = trimmed("pods", {
    metadata: { ...metadata, deletionTimestamp: "2026-01-01T00:00:00Z" },
    spec: {
      nodeName: "n1",
      hostNetwork: true,
      terminationGracePeriodSeconds: 5,
      containers: [{ ports: [{ name: "http", containerPort: 80 }] }, {}],
      initContainers: [
        {
          restartPolicy: "Always",
          ports: [{ containerPort: 81, hostPort: 8081, hostIP: "192.0.2.1", protocol: "UDP" }],
        },
        { ports: [{ containerPort: 82 }] },
      ],
    },
    status: {
      phase: "Running",
      podIP: "10.0.0.1",
      podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }],
      hostIP: "192.0.2.1",
      conditions: [{ type: "Other", status: "x" }, { type: "Ready", status: "False" }],
      containerStatuses: [{ containerID: "containerd://a" }, { containerID: "" }],
    },
  });
  expect(object?.spec).toEqual({
    nodeName: "n1",
    hostNetwork: true,
    terminationGracePeriodSeconds: 5,
    ports: [
      { name: "http", protocol: "TCP", containerPort: 80 },
      { name: "", protocol: "UDP", containerPort: 81, hostPort: 8081, hostIP: "192.0.2.1" },
    ],
  });
  expect(object?.status).toEqual({
    phase: "Running",
    podIPs: ["10.0.0.1", "fd00::1"],
    hostIP: "192.0.2.1",
    ready: false,
    containerIDs: ["containerd://a"],
  });
  expect(object?.metadata.deletionTimestamp).toBe("2026-01-01T00:00:00Z");
});

test("a pod that says only podIP has that address", () => {
  const { object } = trimmed("pods", { metadata, status: { podIP: "10.0.0.1" } });
  expect(object?.status.podIPs).toEqual(["10.0.0.1"]);
  expect(object?.status.ready).toBeUndefined();
});

test.each([
  ["absent, without egress rules", {}, ["Ingress"]],
  ["absent, with an empty egress list", { egress: [] }, ["Ingress"]],
  ["absent, with an egress rule", { egress: [{}] }, ["Ingress", "Egress"]],
  ["Egress", { policyTypes: ["Egress"] }, ["Egress"]],
  ["both", { policyTypes: ["Egress", "Ingress"] }, ["Ingress", "Egress"]],
])("policy types that are %s", (_, spec, types) => {
  const { object, problems } = trimmed("networkpolicies", { metadata, spec });
  expect(object?.spec.policyTypes).toEqual(types as never);
  expect(problems).toEqual([]);
});

test("selectors, blocks and ports of a policy come whole", () => {
  const { object, problems } = trimmed("networkpolicies", {
    metadata,
    spec: {
      podSelector: { matchExpressions: [{ key: "a", operator: "In", values: ["1"] }] },
      ingress: [{
        from: [
          { podSelector: {}, namespaceSelector: { matchLabels: { team: "x" } } },
          { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } },
        ],
        ports: [{ port: 80, endPort: 90 }, { protocol: "UDP", port: "dns" }, { protocol: "SCTP" }],
      }, {}],
    },
  });
  expect(problems).toEqual([]);
  const all = { matchLabels: {}, matchExpressions: [] };
  expect(object?.spec).toEqual({
    podSelector: {
      matchLabels: {},
      matchExpressions: [{ key: "a", operator: "In", values: ["1"] }],
    },
    policyTypes: ["Ingress"],
    ingress: [{
      peers: [
        {
          podSelector: all,
          namespaceSelector: { matchLabels: { team: "x" }, matchExpressions: [] },
        },
        { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } },
      ],
      ports: [
        { protocol: "TCP", port: 80, endPort: 90 },
        { protocol: "UDP", port: "dns" },
        { protocol: "SCTP" },
      ],
    }, { peers: [], ports: [] }],
    egress: [],
  });
});

test.each<[string, object]>([
  ["a peer of nothing", { from: [{}] }],
  ["a peer that is no object", { from: ["everyone"] }],
  ["a list of peers that is none", { from: "everyone" }],
  ["a selector of the wrong type", { from: [{ podSelector: "app=web" }] }],
  ["an unknown operator", {
    from: [{ podSelector: { matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] } }],
  }],
  ["an exception of the wrong type", { from: [{ ipBlock: { cidr: "10.0.0.0/8", except: [1] } }] }],
  ["a block without range", { from: [{ ipBlock: {} }] }],
  ["a port of the wrong type", { ports: [{ port: true }] }],
  ["an unknown protocol", { ports: [{ protocol: "ICMP" }] }],
  ["a range that ends before it begins", { ports: [{ port: 90, endPort: 80 }] }],
])("a rule with %s allows nothing, and the other rules stay", (_, rule) => {
  const { object, problems } = trimmed("networkpolicies", {
    metadata,
    spec: { podSelector: {}, ingress: [rule, { ports: [{ port: 1 }] }] },
  });
  expect(object?.spec.ingress).toEqual([{ peers: [], ports: [{ protocol: "TCP", port: 1 }] }]);
  expect(problems.length).toBeGreaterThan(0);
});

test.each<[string, object]>([
  ["a subject", { podSelector: { matchLabels: "x" }, ingress: [{}] }],
  ["policy types", { podSelector: {}, policyTypes: ["Both"], ingress: [{}] }],
])("a policy with %s that cannot be read isolates its namespace and allows nothing", (_, spec) => {
  const { object, problems } = trimmed("networkpolicies", { metadata, spec });
  expect(object?.spec.podSelector).toEqual({ matchLabels: {}, matchExpressions: [] });
  expect(object?.spec.ingress).toEqual([]);
  expect(problems.length).toBeGreaterThan(0);
});

test("objects that say the same share their parts", () => {
  const pod = (name: string) =>
    trim("pods", {
      metadata: { name, namespace: "ns", labels: { app: "web", tier: "1" } },
      spec: { containers: [{ ports: [{ containerPort: 80 }] }] },
    });
  const [one, other] = [pod("a"), pod("b")];
  expect(one?.metadata.labels).toBe(other?.metadata.labels as never);
  expect(one?.spec.ports).toBe(other?.spec.ports as never);
});

/** Deterministic, so that a failure can be repeated. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const KEYS =
  "metadata name namespace labels annotations spec status ports port protocol clusterIPs externalIPs selector endpoints addresses conditions hints forZones targetRef kind taints podCIDRs containers initContainers podIPs podSelector policyTypes ingress egress from to ipBlock cidr except matchLabels matchExpressions key operator values loadBalancer type __proto__ constructor"
    .split(" ");

function garbage(next: () => number, depth = 0): unknown {
  const pick = Math.floor(next() * (depth > 6 ? 6 : 10));
  if (pick === 0) return null;
  if (pick === 1) return next() * 1e9;
  if (pick === 2) return next() < 0.5;
  if (pick === 3) return Math.floor(next() * 70_000);
  if (pick < 6) return ["", "x", "Pod", "In", "None", "10.0.0.1", "Always"][Math.floor(next() * 7)];
  if (pick === 6) {
    return Array.from({ length: Math.floor(next() * 4) }, () => garbage(next, depth + 1));
  }
  const object = Object.fromEntries(
    Array.from({ length: Math.floor(next() * 8) }, () => [
      KEYS[Math.floor(next() * KEYS.length)] ?? "",
      garbage(next, depth + 1),
    ]),
  );
  return depth === 0
    ? { ...object, metadata: { name: "x", ...(object["metadata"] as object) } }
    : object;
}

test("no garbage makes trimming throw, and what it makes is JSON", () => {
  const next = random(7);
  for (let round = 0; round < 3_000; round++) {
    const raw = garbage(next);
    for (const kind of KIND_NAMES) {
      const { object } = trimmed(kind, raw);
      if (object !== undefined) expect(JSON.parse(JSON.stringify(object))).toEqual(object as never);
    }
  }
});
