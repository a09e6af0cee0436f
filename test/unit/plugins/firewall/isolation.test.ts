/** The annotation of 2017. */

import { describe, expect, test } from "bun:test";
import type { NetworkPolicy } from "../../../../src/kernel/plugin.ts";
import { ALL, cluster, DB, table, WEB } from "../../../support/policy-table.ts";
import { namespace, policy } from "../../../support/policy-world.ts";

describe("the annotation of 2017", () => {
  const KEY = "net.beta.kubernetes.io/network-policy";
  const annotated = (value: string, policies: readonly NetworkPolicy[] = []) =>
    cluster(policies, { namespaces: [namespace("a", {}, { [KEY]: value }), namespace("b")] });
  const DENY = '{"ingress":{"isolation":"DefaultDeny"}}';

  test("closes the ingress of all pods of its namespace, and of no other", () => {
    table(annotated(DENY), ["other>web no", "web>db no", "web>other yes", "node1>web yes"]);
  });

  test("lets pass what policies allow", () => {
    const world = annotated(DENY, [policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })]);
    table(world, ["web>db yes", "db>web no"]);
  });

  test("does not switch policies of v1 off where it is not", () => {
    const world = annotated('{"ingress":{"isolation":"DefaultAllow"}}', [policy("a/p", DB)]);
    table(world, ["web>db no", "db>web yes"]);
  });

  test("with a peer that matches nobody stays closed", () => {
    const nobody = { podSelector: { matchLabels: { app: "nobody" } } };
    table(annotated(DENY, [policy("a/p", { ...ALL, ingress: [{ from: [nobody] }] })]), [
      "web>db no",
    ]);
  });

  test.each(["{", "", "null", "[]", '"DefaultDeny"', '{"ingress":null}'])(
    "that says something else, %j, closes nothing and costs nobody else anything",
    (value) => {
      const world = annotated(value, [policy("b/p", ALL)]);
      table(world, ["other>web yes", "web>other no"]);
    },
  );

  test("that is no JSON is reported", () => {
    expect(annotated("{").rulesets.get("node1")?.problems.join()).toContain(
      `Annotation "${KEY}" is no JSON, and isolates nothing`,
    );
  });
});
