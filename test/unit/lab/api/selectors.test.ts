import { expect, test } from "bun:test";
import { BUILT_IN, type Kind } from "../../../lab/api/kinds.ts";
import { fieldSelector, labelSelector } from "../../../lab/api/selectors.ts";
import { StatusError } from "../../../lab/api/status.ts";

const POD = BUILT_IN.find(({ kind }) => kind === "Pod") as Kind;
const pod = {
  metadata: { name: "p", namespace: "n", labels: { app: "web", "x.y/tier": "front" } },
  spec: { nodeName: "node1" },
};

test.each<[string, boolean]>([
  ["", true],
  ["app=web", true],
  ["app==web", true],
  ["app=other", false],
  ["app!=other", true],
  ["app!=web", false],
  ["missing!=web", true],
  ["app", true],
  ["missing", false],
  ["!missing", true],
  ["!app", false],
  ["app in (web, db)", true],
  ["app in (db)", false],
  ["app notin (db,cache)", true],
  ["missing notin (db)", true],
  ["missing in (db)", false],
  ["x.y/tier=front,app in (web,db)", true],
  ["app=web,missing", false],
  ["app=", false],
])("label selector %p matches: %p", (selector, expected) => {
  expect(labelSelector(selector)?.(pod) ?? true).toBe(expected);
});

test.each(["app=a=b", "app in web", "=x", "a b"])("label selector %p is refused", (selector) => {
  expect(() => labelSelector(selector)).toThrow(StatusError);
});

test.each<[string, boolean]>([
  ["metadata.name=p", true],
  ["metadata.namespace=n,spec.nodeName=node1", true],
  ["spec.nodeName!=node1", false],
  ["spec.nodeName=node2", false],
  ["status.phase=", true],
  ["status.phase!=Running", true],
  ["spec.hostNetwork=false", true],
])("field selector %p matches: %p", (selector, expected) => {
  expect(fieldSelector(POD, selector)?.(pod) ?? true).toBe(expected);
});

test("a field that the API server does not index is refused", () => {
  expect(() => fieldSelector(POD, "spec.priority=1"))
    .toThrow("field label not supported: spec.priority");
});
