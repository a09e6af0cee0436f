/** Inputs that wake only when what the router reads of something has changed. */

import type { Input } from "../../kernel/plugin.ts";

/** A value computed from inputs. */
export interface Derived<T> extends Input {
  readonly value: T;
}

/**
 * Computes `compute()` after each wake of the inputs, and wakes all units when its text is another: the heartbeat of a Node
 * changes nothing.
 *
 * @param textOf what two values are compared by; absent: JSON
 * @param missing why a value is of no use yet, with the remedy: the input counts as not synced until there is nothing
 */
export function derive<T>(
  name: string,
  inputs: readonly Input[],
  compute: () => T,
  textOf: (value: T) => string = (value) => JSON.stringify(value),
  missing: (value: T) => string | undefined = () => undefined,
): Derived<T> {
  const listeners = new Set<() => void>();
  let value = compute();
  let text = textOf(value);
  const update = (): void => {
    const next = compute();
    const nextText = textOf(next);
    if (nextText === text) return;
    value = next;
    text = nextText;
    for (const listener of listeners) listener();
  };
  for (const input of inputs) input.subscribe(update);
  return {
    name,
    get synced() {
      return inputs.every((input) => input.synced) && missing(value) === undefined;
    },
    get waitsFor() {
      const waiting = inputs.find((input) => !input.synced);
      return waiting === undefined ? missing(value) : waiting.waitsFor;
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

/** A value that is set, synced from the first time on, and wakes all units when it becomes another. */
export interface Settable<T> extends Derived<T> {
  set(value: T): void;
}

/** @param synced false: not before it is set */
export function settable<T>(name: string, first: T, synced = true): Settable<T> {
  const listeners = new Set<(units: "all" | []) => void>();
  let value = first;
  let isSynced = synced;
  return {
    name,
    get synced() {
      return isSynced;
    },
    get value() {
      return value;
    },
    set(next) {
      const same = next === value || JSON.stringify(next) === JSON.stringify(value);
      if (same && isSynced) return;
      isSynced = true;
      value = next;
      for (const listener of listeners) listener(same ? [] : "all");
    },
    subscribe(wake) {
      const listener = (units: "all" | []): void => wake(units);
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
