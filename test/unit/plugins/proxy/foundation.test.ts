import { describe, expect, test } from "bun:test";
import { parseCidr } from "../../../../src/kernel/ip.ts";
import type { FilterRule } from "../../../../src/kernel/plugin.ts";
import {
  masquerade,
  rangeRoutes,
  sysctls,
  timeouts,
} from "../../../../src/plugins/proxy/foundation.ts";
import type { NodeFamily } from "../../../../src/plugins/proxy/node.ts";

const family = (podCIDRs: readonly string[]): NodeFamily => ({
  family: 4,
  address: "192.168.1.10",
  podCIDRs,
});

/** What becomes of a connection: the first rule that matches decides. */
function verdict(rules: readonly FilterRule[], source: string, destination: string): string {
  const inside = (prefix: string, address: string) =>
    address.startsWith(`${prefix.split(".").slice(0, 3).join(".")}.`);
  for (const { matches, target } of rules) {
    const all = matches.every((match) =>
      (match.kind === "source" && inside(match.prefix, source)) ||
      (match.kind === "destination" && inside(match.prefix, destination))
    );
    if (all) return target.kind;
  }
  return "kept";
}

describe("masquerade", () => {
  const outside = "203.0.113.9";
  const remote = "10.9.9.9";

  test("is hooked behind routing, for what IPVS translates on its way there", () => {
    const { chain, jump } = masquerade(family(["10.1.0.0/24"]), false);
    expect(jump).toMatchObject({ family: 4, table: "nat", from: "POSTROUTING", to: chain.name });
    expect(jump.matches).toEqual([{ kind: "ipvs", direction: "original", method: "masq" }]);
    expect(chain.rules.at(-1)?.target).toEqual({
      kind: "snat",
      to: "192.168.1.10",
      fullyRandom: true,
    });
  });

  test("hides who comes from outside to a pod of another node, and nobody else", () => {
    const { chain } = masquerade(family(["10.1.0.0/24"]), false);
    expect(verdict(chain.rules, outside, remote)).toBe("snat");
    expect(verdict(chain.rules, outside, "10.1.0.7")).toBe("return");
    expect(verdict(chain.rules, "10.1.0.7", remote)).toBe("return");
    expect(verdict(chain.rules, "10.1.0.7", "10.1.0.8")).toBe("return");
  });

  test("with several pod CIDRs keeps the source between and of all of them (T14)", () => {
    const { chain } = masquerade(family(["10.1.0.0/24", "10.2.0.0/24"]), false);
    for (const pod of ["10.1.0.7", "10.2.0.7"]) {
      expect(verdict(chain.rules, pod, remote)).toBe("return");
      expect(verdict(chain.rules, outside, pod)).toBe("return");
    }
    expect(verdict(chain.rules, outside, remote)).toBe("snat");
  });

  test("hides everybody where no pod CIDR is known, and where that is asked for (T12)", () => {
    for (
      const { chain } of [masquerade(family([]), false), masquerade(family(["10.1.0.0/24"]), true)]
    ) {
      expect(verdict(chain.rules, "10.1.0.7", "10.1.0.8")).toBe("snat");
      expect(chain.rules).toHaveLength(1);
    }
  });
});

describe("sysctls", () => {
  const six: NodeFamily = { family: 6, address: "fd00::1", podCIDRs: [] };
  const paths = (families: readonly NodeFamily[]) => sysctls(families).map(({ path }) => path);

  test("are those of the node's families", () => {
    expect(paths([family([])]).some((path) => /ipv6|ip6tables/.test(path))).toBe(false);
    expect(paths([six])).not.toContain("net/ipv4/ip_forward");
    expect(paths([six])).toContain("net/ipv6/conf/all/forwarding");
    expect(paths([family([]), six])).toContain("net/ipv4/ip_forward");
  });

  test("are each given once", () => {
    const both = paths([family([]), six]);
    expect(new Set(both).size).toBe(both.length);
  });
});

test("rangeRoutes() makes a route from the node's address for each range of a family that it has", () => {
  const ranges = ["10.96.0.0/12", "fd00:96::/112"].flatMap((text) => parseCidr(text) ?? []);
  expect(rangeRoutes(ranges, [family([])])).toMatchObject([
    { family: 4, type: "local", table: 255, destination: "10.96.0.0/12", source: "192.168.1.10" },
  ]);
});

test("timeouts() are those that are set, in whole seconds and never none", () => {
  const given = { serviceTcpTimeout: 300_000, serviceTcpfinTimeout: 0, serviceUdpTimeout: 1 };
  expect(timeouts(given)).toEqual([{ name: "tcp", seconds: 300 }, { name: "udp", seconds: 1 }]);
});
