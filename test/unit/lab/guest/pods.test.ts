import { expect, test } from "bun:test";
import { planPod, signature } from "../../../lab/guest/pods.ts";

const isNode = (name: string) => name === "n1";

function pod(spec: object, status: object) {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "a", namespace: "shop" },
    spec: { nodeName: "n1", containers: [{ ports: [{ containerPort: 80 }] }], ...spec },
    status: { podIP: "10.244.1.7", ...status },
  };
}

test("a pod with a node and an address runs in its own namespace and serves its ports", () => {
  const containers = [
    { ports: [{ containerPort: 80 }, { containerPort: 53, protocol: "UDP" }] },
    { ports: [{ containerPort: 80 }] },
    {},
  ];
  const status = { podIPs: [{ ip: "10.244.1.7" }, { ip: "fd00::7" }] };
  expect(planPod(pod({ containers }, status), isNode)).toEqual({
    key: "shop/a",
    namespace: "pod-shop-a",
    node: "n1",
    hostNetwork: false,
    addresses: ["10.244.1.7", "fd00::7"],
    ports: [{ port: 80, protocol: "TCP" }, { port: 53, protocol: "UDP" }],
  });
});

test("a pod on the host's network serves in its node's namespace, address or not", () => {
  const plan = planPod(pod({ hostNetwork: true }, { podIP: undefined }), isNode);
  expect([plan?.namespace, plan?.addresses]).toEqual(["node-n1", []]);
});

const NOT_RUNNING: readonly (readonly [string, object, object])[] = [
  ["it has no node", { nodeName: undefined }, {}],
  ["its node is not of the lab", { nodeName: "n2" }, {}],
  ["it has no address", {}, { podIP: undefined }],
  ["its address is none", {}, { podIP: "soon" }],
  ["it succeeded", {}, { phase: "Succeeded" }],
  ["it failed", {}, { phase: "Failed" }],
];

for (const [why, spec, status] of NOT_RUNNING) {
  test(`a pod does not run while ${why}`, () => {
    expect(planPod(pod(spec, status), isNode)).toBeUndefined();
  });
}

test("a pod is replaced when its node, address or ports change, and not when its labels do", () => {
  const plan = (spec: object, status: object) => {
    const made = planPod(pod(spec, status), () => true);
    return made === undefined ? "" : signature(made);
  };
  const before = plan({}, {});
  expect(plan({ priority: 3 }, { phase: "Running" })).toBe(before);
  for (
    const [spec, status] of [
      [{ nodeName: "n2" }, {}],
      [{ containers: [] }, {}],
      [{}, { podIP: "10.244.1.8" }],
    ] as const
  ) {
    expect(plan(spec, status)).not.toBe(before);
  }
});
