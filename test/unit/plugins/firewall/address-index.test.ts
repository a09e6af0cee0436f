import { describe, expect, test } from "bun:test";
import { AddressIndex } from "../../../../src/plugins/firewall/address-index.ts";
import type { PodFacts } from "../../../../src/plugins/firewall/pods.ts";

function pod(name: string, ...addresses: readonly string[]): PodFacts {
  return {
    key: `shop/${name}`,
    namespace: "shop",
    name,
    node: "node1",
    labels: {},
    addresses,
    ports: [],
  };
}

function keys(index: AddressIndex, address: string): readonly string[] {
  return index.at(address).map(({ name }) => name).toSorted();
}

describe("pods by address", () => {
  test("are found by each of their addresses", () => {
    const index = new AddressIndex();
    index.add(pod("a", "10.0.0.1", "fd00::1"));
    index.add(pod("b", "fd00::2"));
    expect(keys(index, "10.0.0.1")).toEqual(["a"]);
    expect(keys(index, "fd00::1")).toEqual(["a"]);
    expect(keys(index, "fd00::2")).toEqual(["b"]);
    expect(keys(index, "10.0.0.2")).toEqual([]);
  });

  test("may share one for a moment, in whatever order they go", () => {
    for (const order of [["a", "b", "c"], ["b", "a", "c"], ["c", "b", "a"], ["b", "c", "a"]]) {
      const index = new AddressIndex();
      const all = new Map(["a", "b", "c"].map((name) => [name, pod(name, "10.0.0.1", "fd00::1")]));
      for (const each of all.values()) index.add(each);
      const left = new Set(all.keys());
      for (const name of order) {
        expect(keys(index, "10.0.0.1")).toEqual([...left].toSorted());
        expect(keys(index, "fd00::1")).toEqual([...left].toSorted());
        index.remove(all.get(name) as PodFacts);
        left.delete(name);
      }
      expect(keys(index, "10.0.0.1")).toEqual([]);
    }
  });

  test("share one whatever its place in their lists", () => {
    const index = new AddressIndex();
    index.add(pod("a", "10.0.0.1", "fd00::1"));
    index.add(pod("b", "fd00::1"));
    expect(keys(index, "fd00::1")).toEqual(["a", "b"]);
    index.remove(pod("a", "10.0.0.1", "fd00::1"));
    expect(keys(index, "fd00::1")).toEqual(["b"]);
  });

  test("are the last state of each", () => {
    const index = new AddressIndex();
    const before = pod("a", "10.0.0.1");
    const after = pod("a", "10.0.0.1", "fd00::1");
    index.add(before);
    index.remove(before);
    index.add(after);
    expect(index.at("10.0.0.1")).toEqual([after]);
  });
});
