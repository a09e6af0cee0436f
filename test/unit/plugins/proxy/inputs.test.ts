import { expect, test } from "bun:test";
import type { Input } from "../../../../src/kernel/plugin.ts";
import { collect, derive } from "../../../../src/plugins/proxy/inputs.ts";

function source() {
  const listeners = new Set<(units: Iterable<string> | "all") => void>();
  const state = { synced: false, value: 1 };
  const input: Input = {
    name: "source",
    get synced() {
      return state.synced;
    },
    subscribe(wake) {
      listeners.add(wake);
      return () => void listeners.delete(wake);
    },
  };
  const fire = () => listeners.forEach((listener) => listener([]));
  return { state, input, fire };
}

test("a derived input wakes all when its value changes, and else only says that something was synced", () => {
  const { state, input, fire } = source();
  const derived = derive("twice", [input], () => ({ value: state.value * 2 }));
  const woken: unknown[] = [];
  const end = derived.subscribe((units) => void woken.push(units === "all" ? "all" : [...units]));
  expect(derived.value).toEqual({ value: 2 });
  fire();
  expect(woken).toEqual([[]]);
  state.value = 3;
  fire();
  expect(woken).toEqual([[], "all", []]);
  expect(derived.value).toEqual({ value: 6 });
  expect(derived.synced).toBe(false);
  state.synced = true;
  expect(derived.synced).toBe(true);
  end();
  state.value = 4;
  fire();
  expect(woken).toHaveLength(3);
});

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

test("a derived input whose value is of no use yet is not synced, and says why through those behind it", () => {
  const { state, input, fire } = source();
  const node = derive(
    "node",
    [input],
    () => state.value,
    (value) => value > 1 ? undefined : "no node",
  );
  const behind = derive("behind", [node], () => node.value);
  const collected = collect("all", [behind], () => [], () => true, () => 0);
  expect([node.synced, node.waitsFor]).toEqual([false, undefined]);
  state.synced = true;
  expect([node.synced, node.waitsFor]).toEqual([false, "no node"]);
  expect([behind.synced, behind.waitsFor]).toEqual([false, "no node"]);
  expect([collected.synced, collected.waitsFor]).toEqual([false, "no node"]);
  state.value = 2;
  fire();
  expect([node, behind, collected].map(({ synced }) => synced)).toEqual([true, true, true]);
  expect([node, behind, collected].map(({ waitsFor }) => waitsFor)).toEqual(
    Array(3).fill(undefined),
  );
});
