/** Audit mode, and the reasons of verdicts. */

import { describe, expect, test } from "bun:test";
import { ALL, cluster, DB, packet, table, WEB } from "../../../support/policy-table.ts";
import { policy } from "../../../support/policy-world.ts";

describe("audit", () => {
  const AUDIT = { "routelet.io/audit": "true" };

  test("of a policy denies nothing, and logs and counts what it would deny", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [] }, AUDIT)]);
    table(world, ["web>db yes"]);
    expect(world.oracle(packet("web", "db")).judgements[1]?.audited).toEqual(["a/p"]);
    const [walk] = world.walks(packet("web", "db"));
    expect(walk?.logged).toEqual(["audit a/p"]);
    expect(walk?.trace).toContain("a/p audit");
  });

  test("does not log what the policy allows", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] }, AUDIT)]);
    expect(world.walks(packet("web", "db"))[0]?.logged).toEqual([]);
  });

  test("keeps what the policy allows allowed, beside one that isolates", () => {
    const world = cluster([
      policy("a/p", { ...DB, ingress: [{ from: [WEB] }] }, AUDIT),
      policy("a/closed", { ...DB, ingress: [] }),
    ]);
    table(world, ["web>db yes", "other>db no"]);
    expect(world.walks(packet("other", "db")).flatMap(({ logged }) => logged))
      .toContain("a/closed");
  });

  test("with another value than true or false is reported, and the policy is enforced", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [] }, { "routelet.io/audit": "yes" })]);
    table(world, ["web>db no"]);
    expect(world.rulesets.get("node1")?.problems).toHaveLength(1);
  });
});

describe("a verdict", () => {
  test("names the policy and the rule that allow", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [DB] }, { from: [WEB] }] })]);
    expect(world.oracle(packet("web", "db"))).toEqual({
      allowed: true,
      judgements: [
        {
          direction: "egress",
          pod: "a/web",
          allowed: true,
          reason: { kind: "not isolated" },
          audited: [],
        },
        {
          direction: "ingress",
          pod: "a/db",
          allowed: true,
          reason: { kind: "rule", policy: "a/p", rule: 1 },
          audited: [],
        },
      ],
    });
  });

  test("names the policies that isolate", () => {
    const world = cluster([policy("a/p", ALL), policy("a/q", DB)]);
    expect(world.oracle(packet("web", "db")).judgements[1]?.reason).toEqual({
      kind: "isolated",
      by: ["a/p", "a/q"],
    });
  });

  test("on strangers judges nothing", () => {
    const world = cluster([policy("a/p", ALL)]);
    expect(world.oracle(packet("world", "node1"))).toEqual({
      allowed: true,
      judgements: [],
    });
  });
});
