import { describe, expect, test } from "bun:test";
import type { Flow } from "../../../../src/kernel/plugin.ts";
import { flowRule } from "../../../../src/plugins/firewall/flows.ts";
import { PolicyIndex } from "../../../../src/plugins/firewall/policy-index.ts";
import { namespace, pod, policy } from "../../../support/policy-world.ts";

const POD = "10.1.1.2";
const NODE = ["192.168.1.11", "10.1.1.1"];

/** A pod that lets nobody in and may go nowhere. */
function closedPod(): PolicyIndex {
  const index = new PolicyIndex("node1", [4]);
  index.changeNamespaces([{ current: namespace("a") }]);
  index.changePods([{ current: pod("a/web", { ips: [POD] }) }]);
  index.changePolicies([{
    current: policy("a/closed", { podSelector: {}, policyTypes: ["Ingress", "Egress"] }),
  }]);
  return index;
}

function denied(source: string, destination: string, port: number, answers = destination): boolean {
  const host = {
    values: () => NODE.map((address) => ({ link: "eth0", family: 4 as const, address })),
  };
  const rule = flowRule(closedPod(), host, () => ({
    serviceRanges: [{ cidr: "10.96.0.0/16" }],
    nodePorts: { from: 30000, to: 32767 },
  }));
  const flow: Flow = {
    family: 4,
    protocol: 6,
    source: { address: source, port: 40000 },
    destination: { address: destination, port },
    answers: { address: answers, port },
    mark: 0,
    zone: 0,
  };
  return rule.begin()(flow);
}

describe("a connection that is there already", () => {
  test("is denied where a policy would deny it now", () => {
    expect(denied("10.1.2.2", POD, 80)).toBe(true);
    expect(denied(POD, "10.1.2.2", 80)).toBe(true);
    expect(denied(POD, "192.168.1.11", 10250)).toBe(true);
  });

  test("goes on where the rules judge none: from the node, to a Service's address, to a node port", () => {
    for (const address of NODE) expect(denied(address, POD, 80)).toBe(false);
    expect(denied(POD, "10.96.0.10", 53)).toBe(false);
    expect(denied(POD, "192.168.1.11", 30080)).toBe(false);
    expect(denied(POD, "192.168.1.12", 30080)).toBe(true);
  });

  test("to a node port is judged by the endpoint behind it", () => {
    expect(denied(POD, "192.168.1.11", 30080, "10.1.2.2")).toBe(true);
  });
});
