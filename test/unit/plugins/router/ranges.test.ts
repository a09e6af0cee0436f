import { describe, expect, test } from "bun:test";
import { contains, parseCidr } from "../../../../src/kernel/ip.ts";
import { announcedRanges, rangeWithout } from "../../../../src/plugins/router/ranges.ts";
import { random } from "../../../support/random.ts";
import { routerOptions } from "../../../support/router-world.ts";

function without(range: string, ...addresses: readonly string[]): readonly string[] {
  const cidr = parseCidr(range);
  return cidr === undefined ? [] : rangeWithout(cidr, addresses).map(({ text }) => text);
}

describe("a range without some addresses", () => {
  test("is the range where none is inside", () => {
    expect(without("10.96.0.0/12")).toEqual(["10.96.0.0/12"]);
    expect(without("10.96.0.0/12", "10.112.0.0", "fd00::1")).toEqual(["10.96.0.0/12"]);
  });

  test("is the networks around them, of two addresses and more", () => {
    expect(without("10.0.0.0/29", "10.0.0.5")).toEqual(["10.0.0.0/30", "10.0.0.6/31"]);
    expect(without("10.0.0.0/30", "10.0.0.0", "10.0.0.3")).toEqual([]);
    expect(without("fd00::/125", "fd00::1")).toEqual(["fd00::2/127", "fd00::4/126"]);
  });

  test("never holds one of them, and all others but the neighbours of one", () => {
    const next = random(3);
    for (let round = 0; round < 50; round++) {
      const taken = Array.from({ length: next.below(6) }, () => next.below(256));
      const networks = without("10.0.7.0/24", ...taken.map((last) => `10.0.7.${last}`));
      for (let last = 0; last < 256; last++) {
        const inside = networks.filter((network) => contains(network, `10.0.7.${last}`));
        const alone = taken.includes(last) || taken.includes(last ^ 1);
        expect([last, inside.length]).toEqual([last, alone ? 0 : 1]);
      }
    }
  });
});

test("ranges are announced where the addresses in them are, and somebody asks for it", () => {
  const flags = {
    advertiseServiceRanges: true,
    advertiseClusterIp: true,
    serviceExternalIpRange: ["10.33.1.0/24", "10.33.2.7/32"],
    loadbalancerIpRange: ["10.34.0.0/16"],
  };
  const texts = (changes: Parameters<typeof routerOptions>[0] = {}) =>
    announcedRanges(routerOptions({ ...flags, ...changes })).map(({ text }) => text);
  expect(texts()).toEqual(["10.96.0.0/12"]);
  expect(texts({ advertiseExternalIp: true, advertiseLoadbalancerIp: true }))
    .toEqual(["10.96.0.0/12", "10.33.1.0/24", "10.34.0.0/16"]);
  expect(texts({ advertiseServiceRanges: false })).toEqual([]);
  expect(texts({ loadbalancerIpRange: ["10.96.0.0/12"], advertiseLoadbalancerIp: true }))
    .toEqual(["10.96.0.0/12"]);
});
