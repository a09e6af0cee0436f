import { describe, expect, test } from "bun:test";
import { parseCidr } from "../../../../src/kernel/ip.ts";
import { externalRanges } from "../../../../src/plugins/proxy/external-ranges.ts";
import {
  bindRanges,
  externalCount,
  obstacle,
  routedKinds,
} from "../../../../src/plugins/proxy/vip-binding.ts";
import { service } from "../../../support/objects.ts";

const cidr = (text: string) => {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`No CIDR: "${text}"`);
  return parsed;
};

describe("which kinds are routed", () => {
  const none = { cluster: false, external: false };
  test("none or all, where that is asked for", () => {
    const many = { cluster: 1e6, external: 1e6 };
    expect(routedKinds("address", many)).toEqual(none);
    expect(routedKinds("route", { cluster: 0, external: 0 }))
      .toEqual({ cluster: true, external: true });
  });

  test("auto counts each kind by itself, and comes back at half", () => {
    const at = (cluster: number, external: number, before = none) =>
      routedKinds("auto", { cluster, external }, before);
    expect(at(2_000, 2_000)).toEqual(none);
    expect(at(2_001, 0)).toEqual({ cluster: true, external: false });
    expect(at(0, 2_001)).toEqual({ cluster: false, external: true });
    const routed = { cluster: true, external: true };
    expect(at(1_001, 2_000, routed)).toEqual(routed);
    expect(at(1_000, 1_001, routed)).toEqual({ cluster: false, external: true });
  });

  test("a Service counts with its external and load balancer IPs", () => {
    const plain = service("default/web", { externalIPs: ["203.0.113.1", "203.0.113.2"] });
    expect(externalCount(plain)).toBe(2);
    const ingress = [{ ip: "198.51.100.1" }];
    expect(externalCount({ ...plain, status: { loadBalancer: { ingress } } })).toBe(3);
  });
});

test("a range is routed unless something forbids it, which is told of; each once", () => {
  const ranges = externalRanges({
    strictExternalIpValidation: true,
    serviceClusterIpRange: ["10.96.0.0/16"],
    serviceExternalIpRange: ["203.0.113.0/24", "192.168.0.0/16"],
    loadbalancerIpRange: ["203.0.113.0/24", "fd00:198::/112"],
  });
  const forbids = ({ text }: { readonly text: string }) =>
    text === "192.168.0.0/16" ? "192.168.1.1, an address of a node" : undefined;
  const bound = (cluster: boolean, external: boolean) => {
    const { routed, problems } = bindRanges(ranges, { cluster, external }, forbids);
    return [routed.map(({ text }) => text), problems.length];
  };
  expect(bound(false, false)).toEqual([[], 0]);
  expect(bound(true, false)).toEqual([["10.96.0.0/16"], 0]);
  expect(bound(true, true)).toEqual([["10.96.0.0/16", "203.0.113.0/24", "fd00:198::/112"], 1]);
});

test("a range with a node's address, or over a network that is not for VIPs, is not routed", () => {
  const around = {
    addresses: ["192.168.1.1", "fd00:50::1"],
    networks: ["10.244.1.0/24", "fd00:244::/64"].map(cidr),
  };
  const table: readonly (readonly [string, string | undefined])[] = [
    ["10.96.0.0/16", undefined],
    ["fd00:96::/112", undefined],
    ["192.168.1.0/24", "192.168.1.1"],
    ["192.168.2.0/24", undefined],
    ["0.0.0.0/0", "192.168.1.1"],
    ["::/0", "fd00:50::1"],
    ["10.0.0.0/8", "10.244.1.0/24"],
    ["10.244.1.128/25", "10.244.1.0/24"],
    ["fd00:244::/112", "fd00:244::/64"],
  ];
  for (const [range, found] of table) {
    const got = obstacle(cidr(range), around);
    expect(got?.split(",")[0]).toBe(found as string);
  }
});
