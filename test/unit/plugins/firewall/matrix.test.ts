import { expect, test } from "bun:test";
import { matrixAnswer } from "../../../../src/plugins/firewall/matrix.ts";
import { indexOf, namespace, pod, policy } from "../../../support/policy-world.ts";

function index() {
  return indexOf({
    namespaces: [namespace("a"), namespace("b")],
    pods: [
      pod("a/web", { ips: ["10.1.1.2"], labels: { app: "web" } }),
      pod("a/db", { ips: ["10.1.1.3"] }),
      pod("b/one", { ips: ["10.1.2.2"], labels: { app: "one" }, node: "node2" }),
      pod("b/two", { ips: ["10.1.2.3"], node: "node2" }),
    ],
    policies: [
      policy("a/closed", {
        podSelector: { matchLabels: { app: "web" } },
        ingress: [{
          from: [{ namespaceSelector: {}, podSelector: { matchLabels: { app: "one" } } }],
        }],
      }),
    ],
    nodes: new Map(),
  }, "node1");
}

test("each pod of this node has a cell for each namespace: all, some or none of its pods", () => {
  const { sources, pods, total } = matrixAnswer(index(), [4], 0, () => false);
  expect(sources).toEqual(["a", "b"]);
  expect(total).toBe(2);
  expect(pods).toEqual([
    { name: "a/db", port: "80/tcp", cells: ["all", "all"] },
    // A pod always reaches itself, so of its own namespace some do.
    { name: "a/web", port: "80/tcp", cells: ["some", "some"] },
  ]);
});

test("pages begin where they are told to", () => {
  expect(matrixAnswer(index(), [4], 1, () => false).pods.map(({ name }) => name)).toEqual([
    "a/web",
  ]);
  expect(matrixAnswer(index(), [4], 9, () => false).pods).toEqual([]);
});
