/** What Kubernetes demands of a policy engine: N1 to N5, policies, rules and peers. */

import { describe, expect, test } from "bun:test";
import { ALL, allowed, cluster, DB, packet, table, WEB } from "../../../../support/policy-table.ts";
import { namespace, policy } from "../../../../support/policy-world.ts";

describe("N1: policies only allow", () => {
  test("a pod that no policy selects is open", () => {
    table(cluster([policy("a/p", { ...DB, ingress: [] })]), ["db>web yes", "world>far yes"]);
  });

  test("a policy isolates the direction that it covers, and no other", () => {
    table(cluster([policy("a/p", { ...DB, policyTypes: ["Ingress"] })]), [
      "web>db no",
      "db>web yes",
    ]);
    table(cluster([policy("a/p", { ...DB, policyTypes: ["Egress"] })]), [
      "web>db yes",
      "db>web no",
    ]);
  });

  test("what any of several policies allows is allowed", () => {
    const world = cluster([
      policy("a/closed", { ...ALL, ingress: [] }),
      policy("a/one", { ...DB, ingress: [{ from: [WEB] }] }),
      policy("a/two", {
        ...DB,
        ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ port: 1 }] }],
      }),
    ]);
    table(world, ["web>db yes", "other>db no", "other>db:1 yes", "db>web no"]);
  });

  test("a policy of another namespace does not count", () => {
    table(cluster([policy("b/p", { ...ALL, ingress: [] })]), ["far>web yes", "web>other no"]);
  });
});

describe("N2: policyTypes left out", () => {
  test("is Ingress", () => {
    table(cluster([policy("a/p", DB)]), ["web>db no", "db>web yes"]);
  });

  test("is Ingress and Egress where there are egress rules", () => {
    table(cluster([policy("a/p", { ...DB, egress: [{ to: [WEB] }] })]), [
      "web>db no",
      "db>web yes",
      "db>other no",
    ]);
  });
});

describe("N3: both ends must allow", () => {
  test("ingress of the one does not pay for egress of the other, in one policy with both", () => {
    // The trap measured with kube-router: one chain for both directions let this pass.
    const both = { ...ALL, policyTypes: ["Ingress", "Egress"] };
    table(cluster([policy("a/p", { ...both, ingress: [{}] })]), ["web>db no", "other>db yes"]);
    table(cluster([policy("a/p", { ...both, egress: [{}] })]), ["web>db no", "web>other yes"]);
    table(cluster([policy("a/p", { ...both, ingress: [{}], egress: [{}] })]), ["web>db yes"]);
  });

  test("answers pass, whatever the policies", () => {
    const world = cluster([policy("a/p", { ...ALL, policyTypes: ["Ingress", "Egress"] })]);
    expect([...world.rulesets.keys()].toSorted()).toEqual(["node1", "node2"]);
    expect(world.walk("node1", "FORWARD", packet("web", "db"), { state: "established" }))
      .toBe("accept");
    expect(world.walk("node1", "FORWARD", packet("web", "db"), { state: "related" }))
      .toBe("accept");
    expect(world.walk("node1", "FORWARD", packet("web", "db"), { state: "new" }))
      .toBe("reject");
  });

  test("a pod's egress binds what it sends to its own node", () => {
    table(cluster([policy("a/p", { ...ALL, policyTypes: ["Egress"] })]), ["web>node1 no"]);
  });
});

describe("N4: rules", () => {
  test.each(
    [
      ["an empty rule allows all", [{}], true],
      ["no rule allows nothing", [], false],
      ["no list allows nothing", undefined, false],
      ["empty lists in a rule are everyone and all ports", [{ from: [], ports: [] }], true],
      ["peers and ports must both match", [{ from: [WEB], ports: [{ port: 81 }] }], false],
      ["one of several peers and ports is enough", [
        { from: [DB, WEB], ports: [{ port: 81 }, { port: 80 }] },
      ], true],
      ["one of several rules is enough", [{ from: [DB] }, { from: [WEB] }], true],
      ["a peer that matches no pod is not everyone", [
        { from: [{ podSelector: { matchLabels: { app: "nobody" } } }] },
      ], false],
    ] as const,
  )("%s", (_, ingress, expected) => {
    const world = cluster([policy("a/p", { ...DB, ingress, policyTypes: ["Ingress"] })]);
    expect(allowed(world, "web", "db")).toBe(expected);
  });
});

describe("N5: peers", () => {
  const from = (peers: readonly object[]) =>
    cluster([policy("a/p", { ...DB, ingress: [{ from: peers }] })]);

  test("a pod selector means the policy's own namespace", () => {
    table(from([WEB]), ["web>db yes", "far>db yes", "other>db no"]);
    table(from([ALL]), ["web>db yes", "other>db no", "world>db no"]);
  });

  test("a namespace selector means all pods there", () => {
    table(from([{ namespaceSelector: { matchLabels: { env: "test" } } }]), [
      "other>db yes",
      "web>db no",
    ]);
    table(from([{ namespaceSelector: {} }]), ["other>db yes", "web>db yes", "world>db no"]);
  });

  test("both in one item must both hold", () => {
    const test = { namespaceSelector: { matchLabels: { env: "test" } } };
    table(from([{ ...test, ...DB }]), ["other>db no", "web>db no"]);
    table(from([{ ...test, ...WEB }]), ["other>db yes", "web>db no"]);
  });

  test("two items are either", () => {
    table(from([{ namespaceSelector: { matchLabels: { env: "test" } } }, WEB]), [
      "other>db yes",
      "web>db yes",
    ]);
  });

  test.each(
    [
      [{ key: "app", operator: "In", values: ["web", "x"] }, true],
      [{ key: "app", operator: "NotIn", values: ["web"] }, false],
      [{ key: "tier", operator: "NotIn", values: ["front"] }, true],
      [{ key: "app", operator: "Exists" }, true],
      [{ key: "app", operator: "DoesNotExist" }, false],
      // No label, though every JavaScript object has it.
      [{ key: "toString", operator: "Exists" }, false],
      [{ key: "toString", operator: "DoesNotExist" }, true],
    ] as const,
  )("an expression holds as the API says: %j", (expression, expected) => {
    const world = from([{ podSelector: { matchExpressions: [expression] } }]);
    expect(allowed(world, "web", "db")).toBe(expected);
  });

  test("a namespace without an object matches no selector", () => {
    const world = cluster(
      [policy("a/p", { ...DB, ingress: [{ from: [{ namespaceSelector: {} }] }] })],
      { namespaces: [namespace("a")] },
    );
    table(world, ["web>db yes", "other>db no"]);
  });
});
