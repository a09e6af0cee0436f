/** What Kubernetes demands of a policy engine: N6, ipBlock. */

import { describe, expect, test } from "bun:test";
import { cluster, DB, table } from "../../../../support/policy-table.ts";
import { policy } from "../../../../support/policy-world.ts";

describe("N6: ipBlock", () => {
  const from = (...blocks: readonly object[]) =>
    cluster([
      policy("a/p", { ...DB, ingress: [{ from: blocks.map((ipBlock) => ({ ipBlock })) }] }),
    ]);
  const v6 = (cidr: string, except: readonly string[] = []) => ({ cidr, except });

  test("matches pods too", () => {
    table(from(v6("10.1.1.0/24"), v6("fd01:1::/64")), ["web>db yes", "far>db no", "world>db no"]);
  });

  test("leaves out what it excepts", () => {
    const world = from(v6("10.1.0.0/16", ["10.1.1.0/24"]), v6("fd01::/16", ["fd01:1::/64"]));
    table(world, ["far>db yes", "web>db no"]);
  });

  test("what one block excepts another may allow, in one rule", () => {
    const world = from(
      v6("10.0.0.0/8", ["10.1.1.0/24"]),
      v6("10.1.1.0/24"),
      v6("fd01::/16", ["fd01:1::/64"]),
      v6("fd01:1::/64"),
    );
    table(world, ["web>db yes", "far>db yes"]);
  });

  test("of everything is everything, link-local and multicast too", () => {
    const world = from(v6("0.0.0.0/0"), v6("::/0"));
    table(world, ["web>db yes", "world>db yes"]);
    for (const source of ["fe80::5", "fc00::1", "4000::1", "ff02::1", "::1:2:3"]) {
      const packet = { source, destination: "fd01:1::3", protocol: "TCP", port: 1 } as const;
      expect(world.oracle(packet).allowed).toBe(true);
      expect(world.passes(packet)).toBe(true);
    }
  });

  test("of everything but something is complete", () => {
    const world = from(v6("0.0.0.0/0", ["10.1.1.2/32"]), v6("::/0", ["fd01:1::2/128"]));
    table(world, ["web>db no", "far>db yes", "world>db yes"]);
  });

  test("that excepts all of itself matches nothing", () => {
    table(from(v6("0.0.0.0/0", ["0.0.0.0/0"]), v6("::/0", ["::/0"])), ["web>db no"]);
    table(from(v6("10.1.0.0/16", ["10.1.0.0/16"])), ["world>db no"]);
  });

  test("that excepts half of everything allows the other half", () => {
    const world = from(v6("0.0.0.0/0", ["0.0.0.0/1"]), v6("::/0", ["8000::/1"]));
    const packet = (source: string, destination: string) =>
      ({ source, destination, protocol: "TCP", port: 1 }) as const;
    for (
      const [source, destination, expected] of [
        ["9.9.9.9", "10.1.1.3", false],
        ["200.0.0.1", "10.1.1.3", true],
        ["2001:db8::1", "fd01:1::3", true],
        ["fd99::1", "fd01:1::3", false],
      ] as const
    ) {
      expect(world.passes(packet(source, destination))).toBe(expected);
      expect(world.oracle(packet(source, destination)).allowed).toBe(expected);
    }
  });

  test("that is no network matches nothing, is reported, and costs only itself", () => {
    const world = from(v6("10.1.0.0/99"), v6("10.1.1.2/32"), v6("fd01:1::2/128"));
    table(world, ["web>db yes", "far>db no"]);
    expect(world.rulesets.get("node1")?.problems).toEqual([
      'ingress[0].from[0].ipBlock.cidr "10.1.0.0/99" is no network, and matches nothing',
    ]);
  });
});
