/** Inputs that wake only when what the proxy reads of something has changed. */

import type { Input, Store } from "../../kernel/plugin.ts";

/** A sum over a store that costs what has changed, and not the store. */
export function tally<T>(store: Store<T>, weigh: (object: T) => number): () => number {
  let sum = 0;
  for (const object of store.values()) sum += weigh(object);
  store.subscribe((changes) => {
    for (const { previous, current } of changes) {
      if (previous !== undefined) sum -= weigh(previous);
      if (current !== undefined) sum += weigh(current);
    }
  });
  return () => sum;
}

/** A value computed from an input, that wakes all units when the value changes. */
export interface Derived<T> extends Input {
  readonly value: T;
}

/**
 * Computes `compute()` after each wake of `input`. Heartbeats of a Node object, or one Service more, must not make
 * the proxy look at 10,000 Services again.
 */
export function derive<T>(name: string, inputs: readonly Input[], compute: () => T): Derived<T> {
  const listeners = new Set<() => void>();
  let value = compute();
  let text = JSON.stringify(value);
  const update = (): void => {
    const next = compute();
    const nextText = JSON.stringify(next);
    const changed = nextText !== text;
    value = next;
    text = nextText;
    if (changed) { for (const listener of listeners) listener(); }
  };
  for (const input of inputs) input.subscribe(update);
  return {
    name,
    get synced() {
      return inputs.every((input) => input.synced);
    },
    get value() {
      return value;
    },
    subscribe(wake) {
      const listener = (): void => wake("all");
      listeners.add(listener);
      // Being synced is news as well.
      const unsubscribe = inputs.map((input) => input.subscribe(() => wake([])));
      return () => {
        listeners.delete(listener);
        for (const end of unsubscribe) end();
      };
    },
  };
}
