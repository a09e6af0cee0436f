import { expect, test } from "bun:test";
import { merge, nodeObject, readObjects } from "../../../lab/guest/objects.ts";
import { readTopology } from "../../../lab/topology/topology.ts";

test("files hold documents, lists and JSON, in order", () => {
  const text =
    "kind: A\n---\n---\nkind: List\nitems: [{kind: B}, {kind: CList, items: [{kind: C}]}]\n";
  expect(readObjects(text, "x.yaml")).toEqual([{ kind: "A" }, { kind: "B" }, { kind: "C" }]);
  expect(readObjects('{"kind":"A"}', "x.json")).toEqual([{ kind: "A" }]);
  expect(readObjects('{"kind":"A"}\n---\n{"kind":"B"}', "x.json"))
    .toEqual([{ kind: "A" }, { kind: "B" }]);
  expect(readObjects("", "x.yaml")).toEqual([]);
});

test("a file that does not parse is named", () => {
  expect(() => readObjects("a: [", "x.yaml")).toThrow("x.yaml: ");
  expect(() => readObjects("just text", "x.yaml")).toThrow("x.yaml: a document is not an object");
});

test("merging takes objects by field, lists whole, and drops nulls", () => {
  expect(merge({ a: { b: 1, c: 2 }, d: [1, 2], e: 5 }, { a: { c: 3 }, d: [9], e: null }))
    .toEqual({ a: { b: 1, c: 3 }, d: [9] });
});

test("a node of the topology becomes a Node object", () => {
  const [node] = readTopology({
    nodes: [{
      name: "n1",
      addresses: ["10.0.0.1/24", "fd00::1/64"],
      podCIDRs: ["10.244.1.0/24"],
      labels: { zone: "a" },
    }],
  }, () => {}).nodes;
  if (node === undefined) throw new Error("No node");
  expect(nodeObject(node)).toMatchObject({
    kind: "Node",
    metadata: { name: "n1", labels: { zone: "a", "kubernetes.io/hostname": "n1" } },
    spec: { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24"] },
    status: {
      addresses: [
        { type: "InternalIP", address: "10.0.0.1" },
        { type: "InternalIP", address: "fd00::1" },
        { type: "Hostname", address: "n1" },
      ],
    },
  });
});
