import { expect, test } from "bun:test";
import type { Input } from "../../../../src/kernel/plugin.ts";
import { derive } from "../../../../src/plugins/proxy/inputs.ts";

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
