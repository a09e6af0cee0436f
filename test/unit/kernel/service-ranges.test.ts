import { expect, test } from "bun:test";
import { serviceRangeProblems, serviceRanges } from "../../../src/kernel/service-ranges.ts";
import { metadata } from "../../support/objects.ts";

const range = (name: string, ...cidrs: readonly string[]) => ({
  metadata: { ...metadata(name), namespace: "" },
  spec: { cidrs },
});

test("the flag's ranges come first, then those of objects by name, canonical and each once", () => {
  expect(serviceRanges(["10.96.0.0/16"], [
    range("more", "10.200.0.7/24", "FD00:200:0::/112"),
    range("kubernetes", "10.96.0.0/16"),
  ])).toEqual(["10.96.0.0/16", "10.200.0.0/24", "fd00:200::/112"]);
  expect(serviceRanges([], [])).toEqual([]);
});

test("an object counts until it is gone, not only until somebody deletes it", () => {
  const { metadata: given, spec } = range("old", "10.200.0.0/24");
  const ending = { metadata: { ...given, deletionTimestamp: "2030-01-01T00:00:00Z" }, spec };
  expect(serviceRanges([], [ending])).toEqual(["10.200.0.0/24"]);
});

test("what is no CIDR costs itself and is named", () => {
  const objects = [range("odd", "10.200.0.0", "10.201.0.0/16")];
  expect(serviceRanges([], objects)).toEqual(["10.201.0.0/16"]);
  expect(serviceRangeProblems(objects)).toEqual([
    'ServiceCIDR "odd" has "10.200.0.0", which is no CIDR; it is passed over, correct spec.cidrs',
  ]);
});
