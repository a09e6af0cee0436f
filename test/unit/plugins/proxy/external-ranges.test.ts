import { describe, expect, test } from "bun:test";
import {
  type ExternalRanges,
  externalRanges,
  filterAddresses,
} from "../../../../src/plugins/proxy/external-ranges.ts";

function ranges(changes: Partial<Parameters<typeof externalRanges>[0]> = {}): ExternalRanges {
  return externalRanges({
    strictExternalIpValidation: true,
    serviceClusterIpRange: ["10.96.0.0/12"],
    serviceExternalIpRange: [],
    loadbalancerIpRange: [],
    ...changes,
  });
}

const FLAG = { externalIP: "serviceExternalIpRange", loadBalancer: "loadbalancerIpRange" } as const;

/** What kube-router's own tests pin down, for both kinds of address. */
const TABLE: readonly (readonly [
  name: string,
  allowed: readonly string[],
  given: readonly string[],
  kept: readonly string[],
])[] = [
  ["nothing where no range is given", [], ["10.243.0.1"], []],
  ["nothing of nothing", ["10.243.0.0/24"], [], []],
  ["what is in range", ["10.243.0.0/24"], ["10.243.0.1"], ["10.243.0.1"]],
  ["not what is out of range", ["10.243.0.0/24"], ["192.168.100.50"], []],
  ["a mixture in its order", ["10.243.0.0/24"], ["10.243.0.9", "8.8.8.8", "10.243.0.1"], [
    "10.243.0.9",
    "10.243.0.1",
  ]],
  ["never the cluster's", ["10.0.0.0/8"], ["10.96.0.10", "10.243.0.1"], ["10.243.0.1"]],
  ["what any of several ranges has", ["10.243.0.0/24", "10.244.0.0/24"], [
    "10.244.0.1",
    "10.243.0.1",
  ], ["10.244.0.1", "10.243.0.1"]],
  ["IPv6 by its own ranges", ["fd00::/8"], ["fd00::1", "fe80::1"], ["fd00::1"]],
  ["nothing of the other family", ["10.243.0.0/24"], ["fd00::1"], []],
  ["the last address of a range", ["10.243.0.0/30"], ["10.243.0.3", "10.243.0.4"], ["10.243.0.3"]],
];

for (const kind of ["externalIP", "loadBalancer"] as const) {
  describe(kind, () => {
    for (const [name, allowed, given, kept] of TABLE) {
      test(`strict keeps ${name}`, () => {
        const problems: string[] = [];
        const got = filterAddresses(kind, given, ranges({ [FLAG[kind]]: allowed }), problems);
        expect(got).toEqual([...kept]);
        expect(problems.length > 0).toBe(kept.length < given.length);
        // The ranges of the other kind allow nothing.
        const other = kind === "externalIP" ? "loadBalancer" : "externalIP";
        expect(filterAddresses(other, given, ranges({ [FLAG[kind]]: allowed }), [])).toEqual([]);
      });
    }

    test("not strict keeps all, the cluster's too, and says nothing", () => {
      const problems: string[] = [];
      const given = ["10.96.0.10", "8.8.8.8", "fd00::1"];
      const loose = ranges({ strictExternalIpValidation: false });
      expect(filterAddresses(kind, given, loose, problems)).toEqual(given);
      expect(problems).toEqual([]);
    });
  });
}

test("what is refused is told of once for all addresses, with the flag that would allow it", () => {
  const problems: string[] = [];
  const given = ["8.8.8.8", "10.96.0.1", "9.9.9.9"];
  filterAddresses("externalIP", given, ranges({ serviceExternalIpRange: ["5.0.0.0/8"] }), problems);
  expect(problems).toEqual([
    'External IP "10.96.0.1" is inside --service-cluster-ip-range or a ServiceCIDR (10.96.0.0/12) and is not served; ' +
    "choose another, since only --strict-external-ip-validation=false would allow it",
    'External IP "8.8.8.8", "9.9.9.9" is not served, since it is outside of --service-external-ip-range ' +
    "(5.0.0.0/8); add its range to that flag",
  ]);
});
