import { expect, test } from "bun:test";
import { derive, type Input } from "../../../src/kernel/plugin.ts";

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

test("a derived input whose value is of no use yet is not synced, and says why through those behind it", () => {
  const { state, input, fire } = source();
  const node = derive(
    "node",
    [input],
    () => state.value,
    { missing: (value) => value > 1 ? undefined : "no node" },
  );
  const behind = derive("behind", [node], () => node.value);
  expect([node.synced, node.waitsFor]).toEqual([false, undefined]);
  state.synced = true;
  expect([node.synced, node.waitsFor]).toEqual([false, "no node"]);
  expect([behind.synced, behind.waitsFor]).toEqual([false, "no node"]);
  state.value = 2;
  fire();
  expect([node, behind].map(({ synced }) => synced)).toEqual([true, true]);
  expect([node, behind].map(({ waitsFor }) => waitsFor)).toEqual([
    undefined,
    undefined,
  ]);
});

test("values with one text are one value, and the first is kept", () => {
  const { state, input, fire } = source();
  const given = [{ name: "a", at: 1 }, { name: "a", at: 2 }, { name: "b", at: 3 }];
  const named = derive("name", [input], () => given[state.value] ?? { name: "", at: 0 }, {
    textOf: ({ name }) => name,
  });
  const seen: number[] = [];
  named.subscribe((units) => {
    if (units === "all") seen.push(named.value.at);
  });
  state.value = 2;
  fire();
  expect([named.value.at, seen]).toEqual([3, [3]]);
  state.value = 0;
  fire();
  state.value = 1;
  fire();
  expect([named.value.at, seen]).toEqual([1, [3, 1]]);
});
