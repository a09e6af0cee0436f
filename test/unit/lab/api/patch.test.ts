import { expect, test } from "bun:test";
import { applyPatch } from "../../../lab/api/patch.ts";

function strategic(target: unknown, patch: unknown): unknown {
  return applyPatch("application/strategic-merge-patch+json", target, patch);
}

function json(target: unknown, ...operations: readonly object[]): unknown {
  return applyPatch("application/json-patch+json", target, operations);
}

// RFC 7386, appendix A.
test.each<[unknown, unknown, unknown]>([
  [{ a: "b" }, { a: "c" }, { a: "c" }],
  [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
  [{ a: "b" }, { a: null }, {}],
  [{ a: ["b"] }, { a: "c" }, { a: "c" }],
  [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
  [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
  [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
  [["a", "b"], ["c", "d"], ["c", "d"]],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
])("merging into %j the patch %j gives %j", (target, patch, expected) => {
  expect(applyPatch("application/merge-patch+json", target, patch)).toEqual(expected);
});

test("strategic merge pairs conditions by type and ports by number", () => {
  expect(strategic(
    {
      spec: { ports: [{ port: 80, name: "a" }] },
      status: { conditions: [{ type: "A", status: "1" }] },
    },
    {
      spec: { ports: [{ port: 80, nodePort: 1 }, { port: 81 }] },
      status: { conditions: [{ type: "B" }] },
    },
  )).toEqual({
    spec: { ports: [{ port: 80, name: "a", nodePort: 1 }, { port: 81 }] },
    status: { conditions: [{ type: "A", status: "1" }, { type: "B" }] },
  });
});

test("strategic merge deletes, replaces and ignores by its directives", () => {
  const target = {
    spec: { taints: [{ key: "a" }, { key: "b" }] },
    metadata: { finalizers: ["x", "y"] },
  };
  expect(strategic(target, {
    "$setElementOrder/spec": [],
    spec: { taints: [{ key: "a", $patch: "delete" }] },
    metadata: { "$deleteFromPrimitiveList/finalizers": ["x"] },
  })).toEqual({ spec: { taints: [{ key: "b" }] }, metadata: { finalizers: ["y"] } });
  expect(strategic(target, { spec: { $patch: "replace", podCIDR: "x" } }))
    .toMatchObject({ spec: { podCIDR: "x" } });
  expect(strategic(target, { metadata: { finalizers: ["y", "z"] } }))
    .toMatchObject({ metadata: { finalizers: ["x", "y", "z"] } });
});

test("strategic merge replaces a list that has no merge key", () => {
  expect(strategic({ endpoints: [1, 2] }, { endpoints: [3] })).toEqual({ endpoints: [3] });
});

test("a JSON patch adds, replaces, removes, moves, copies and tests", () => {
  expect(json(
    { a: { "b/c": 1 }, list: [1, 3] },
    { op: "test", path: "/a/b~1c", value: 1 },
    { op: "replace", path: "/a/b~1c", value: 2 },
    { op: "add", path: "/list/1", value: 2 },
    { op: "add", path: "/list/-", value: 4 },
    { op: "copy", from: "/list/0", path: "/first" },
    { op: "move", from: "/a", path: "/z" },
    { op: "remove", path: "/list/0" },
  )).toEqual({ list: [2, 3, 4], first: 1, z: { "b/c": 2 } });
});

test.each([
  { op: "test", path: "/a", value: 2 },
  { op: "remove", path: "/none" },
  { op: "replace", path: "/none", value: 1 },
  { op: "add", path: "/none/below", value: 1 },
  { op: "add", path: "/list/9", value: 1 },
  { op: "dance", path: "/a" },
  { op: "add", path: "a", value: 1 },
])("the JSON patch operation %j is refused", (operation) => {
  expect(() => json({ a: 1, list: [] }, operation)).toThrow();
});

test("a JSON patch that fails changes nothing", () => {
  const target = { a: 1 };
  const operations = [{ op: "add", path: "/b", value: 2 }, { op: "remove", path: "/none" }];
  expect(() => json(target, ...operations)).toThrow();
  expect(target).toEqual({ a: 1 });
});
