import { expect, test } from "bun:test";
import { derive, type Input } from "../../../../src/kernel/plugin.ts";
import { collect } from "../../../../src/plugins/proxy/inputs.ts";

test("a collection computes what matters alone, what was woken alone, and wakes only for that", () => {
  const listeners = new Set<(units: Iterable<string> | "all") => void>();
  const input: Input = {
    name: "objects",
    synced: true,
    subscribe(wake) {
      listeners.add(wake);
      return () => void listeners.delete(wake);
    },
  };
  const wake = (units: readonly string[] | "all") => listeners.forEach((each) => each(units));
  const objects = new Map([["a", 1], ["b", -1], ["c", 3]]);
  const computed: string[] = [];
  const collected = collect(
    "positive",
    [input],
    () => objects.keys(),
    (unit) => (objects.get(unit) ?? 0) > 0,
    (unit) => {
      computed.push(unit);
      return objects.get(unit);
    },
  );
  let woken = 0;
  collected.subscribe((units) => void (woken += units === "all" ? 1 : 0));
  const values = () => {
    computed.length = 0;
    return collected.values();
  };
  expect([values(), computed]).toEqual([[["a", 1], ["c", 3]], ["a", "c"]]);
  objects.set("b", -2);
  wake(["b"]);
  expect([woken, values(), computed]).toEqual([0, [["a", 1], ["c", 3]], []]);
  objects.set("b", 2);
  objects.delete("c");
  wake(["b"]);
  wake(["c"]);
  expect([woken, values(), computed]).toEqual([2, [["a", 1], ["b", 2]], ["b"]]);
  wake("all");
  expect([woken, values(), computed]).toEqual([3, [["a", 1], ["b", 2]], ["a", "b"]]);
});

test("a collection waits for what its inputs wait for", () => {
  const input: Input = { name: "source", synced: true, subscribe: () => () => {} };
  const state = { value: 1 };
  const node = derive("node", [input], () => state.value, { missing: () => "no node" });
  const collected = collect("all", [node], () => [], () => true, () => 0);
  expect([collected.synced, collected.waitsFor]).toEqual([false, "no node"]);
});
