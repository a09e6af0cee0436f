/** Inputs that the router sets itself. */

import type { Derived } from "../../kernel/plugin.ts";

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
