import { expect, test } from "bun:test";
import { layOut, podSteps, type Step } from "../../../lab/topology/layout.ts";
import { readTopology } from "../../../lab/topology/topology.ts";

const node = (name: string, address: string, podCIDR: string) => ({
  name,
  addresses: [address],
  podCIDRs: [podCIDR],
});

const TOPOLOGY = {
  nodes: [
    node("n1", "10.0.0.1/24", "10.244.1.0/24"),
    node("n2", "10.0.0.2/24", "10.244.2.0/24"),
    node("n3", "10.0.1.3/24", "10.244.3.0/24"),
  ],
  clients: [{ name: "c", addresses: ["10.0.0.254/24"], gateway: "10.0.0.253" }],
};

function lay(extra: object = {}) {
  return layOut(readTopology({ ...TOPOLOGY, ...extra }, () => {}));
}

function of(steps: readonly Step[], name: string, namespace: string): readonly Step[] {
  return steps.filter((step) => step[0] === name && step[1] === namespace);
}

test("the lab's router takes the last address of each subnet that nobody has or uses as gateway", () => {
  expect([...lay().gateways]).toEqual([["10.0.0.0/24", "10.0.0.252"], [
    "10.0.1.0/24",
    "10.0.1.254",
  ]]);
});

test("nodes of one subnet route to each other, others by the lab's router", () => {
  expect(of(lay().steps, "route", "node-n1")).toEqual([
    ["route", "node-n1", "0.0.0.0/0", "10.0.0.252", null],
    ["route", "node-n1", "10.244.2.0/24", "10.0.0.2", null],
  ]);
  expect(of(lay().steps, "route", "@").map((step) => [step[2], step[3]])).toEqual([
    ["10.244.1.0/24", "10.0.0.1"],
    ["10.244.2.0/24", "10.0.0.2"],
    ["10.244.3.0/24", "10.0.1.3"],
  ]);
});

test("with podRoutes agent nobody but the agent routes pod CIDRs", () => {
  const { steps } = lay({ podRoutes: "agent" });
  const routes = steps.filter(([name]) => name === "route");
  expect(routes.filter((step) => String(step[2]).startsWith("10.244."))).toEqual([]);
});

test("a client goes out by its own gateway", () => {
  expect(of(lay().steps, "route", "client-c"))
    .toEqual([["route", "client-c", "0.0.0.0/0", "10.0.0.253", null]]);
});

test("the lab's own namespace forwards after the others were made, which would inherit it", () => {
  const { steps } = lay();
  const forward = steps.findIndex((step) => step[1] === "@" && step[2] === "net/ipv4/ip_forward");
  const created = steps.findLastIndex(([name]) => name === "create");
  expect(forward).toBeGreaterThan(created);
});

test("subnets that share a host are on one wire, others are not", () => {
  const dual = {
    nodes: [
      { name: "n1", addresses: ["10.0.0.1/24", "fd00::1/64"] },
      { name: "n2", addresses: ["10.0.9.2/24", "fd00::2/64"] },
      { name: "n3", addresses: ["10.0.5.3/24"] },
    ],
  };
  const { steps } = layOut(readTopology(dual, () => {}));
  expect(steps.filter(([name]) => name === "master").map((step) => step[3]))
    .toEqual(["sn0", "sn0", "sn1"]);
});

test("a pod gets its address of the node's range, one from elsewhere a route on the node", () => {
  const [first] = readTopology(TOPOLOGY, () => {}).nodes;
  if (first === undefined) throw new Error("No node");
  const steps = podSteps("pod-default-a", first, "veth1", ["10.244.1.7", "172.31.0.1"]);
  expect(steps.filter(([name]) => name === "address" || name === "route")).toEqual([
    ["address", "pod-default-a", "eth0", "10.244.1.7/24"],
    ["route", "pod-default-a", "0.0.0.0/0", "10.244.1.1", null],
    ["address", "pod-default-a", "eth0", "172.31.0.1/32"],
    ["route", "node-n1", "172.31.0.1/32", null, "kube-bridge"],
    ["route", "pod-default-a", "0.0.0.0/0", "10.244.1.1", "eth0"],
  ]);
});
