import { expect, test } from "bun:test";
import { knownOf, meaningAnswer, namesAnswer } from "../../../../src/kernel/runtime/objects.ts";
import { testCluster } from "../../../support/cluster.ts";
import { node, service } from "../../../support/objects.ts";
import { pod } from "../../../support/policy-world.ts";

function known() {
  const cluster = testCluster();
  cluster.put(
    "nodes",
    node("node1", { addresses: [{ type: "InternalIP", address: "192.168.1.10" }] }),
  );
  cluster.put(
    "services",
    service("default/web"),
    service("default/none", { clusterIPs: ["None"] }),
  );
  cluster.put("pods", pod("default/web", { ips: ["10.1.1.2"] }));
  cluster.sync();
  return knownOf(cluster);
}

const what = (text: string) =>
  meaningAnswer(known(), text).meanings.map((
    { kind, name, addresses },
  ) => [kind, name, ...addresses]);

test("a name means Services before pods, and a word before it says which", () => {
  const asService = ["service", "default/web", "10.96.0.1"];
  const asPod = ["pod", "default/web", "10.1.1.2"];
  expect(what("default/web")).toEqual([asService, asPod]);
  expect(what("svc/default/web")).toEqual([asService]);
  expect(what("service/default/web")).toEqual([asService]);
  expect(what("pod/default/web")).toEqual([asPod]);
  expect(what("web.default")).toEqual([asService]);
  expect(what("web.default.svc.cluster.local")).toEqual([asService]);
  expect(what("node1")).toEqual([["node", "node1", "192.168.1.10"]]);
  expect(what("node/node1")).toEqual([["node", "node1", "192.168.1.10"]]);
  expect(what("default/none")).toEqual([["service", "default/none"]]);
  expect(what("default/other")).toEqual([]);
});

test("an address means itself, and says on which node it is", () => {
  expect(meaningAnswer(known(), "10.1.1.2").meanings).toEqual([
    { kind: "address", name: "10.1.1.2", node: "node1", addresses: ["10.1.1.2"], ports: [] },
  ]);
});

test("what nobody watches is said", () => {
  expect(meaningAnswer({ ...known(), pods: undefined }, "default/web").unwatched).toEqual(["pods"]);
});

test("namesAnswer() names pods and nodes, and follows changes", () => {
  const cluster = testCluster();
  cluster.put("pods", pod("default/a", { ips: ["10.1.1.2"] }));
  cluster.sync();
  const ask = () => namesAnswer(knownOf(cluster), ["10.1.1.2", "10.1.1.3"]);
  expect(ask()).toEqual({ "10.1.1.2": { kind: "pod", name: "default/a", node: "node1" } });
  cluster.remove("pods", "default/a");
  cluster.put("pods", pod("default/b", { ips: ["10.1.1.3"] }));
  expect(ask()).toEqual({ "10.1.1.3": { kind: "pod", name: "default/b", node: "node1" } });
});
