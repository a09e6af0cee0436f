/** What is gathered of many objects at the cost of those that change. */

import { type Input, listenersOf, type Store, syncedBy } from "../../kernel/plugin.ts";

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

/** What was computed of each object that matters, and wakes all units when such an object may have changed. */
export interface Collected<T> extends Input {
  /** By unit, in the units' order. Computes anew what was woken since the last call. */
  values(): readonly (readonly [unit: string, value: T])[];
}

/**
 * Gathers one value each of a few units out of many, for a state that belongs to all of them together, such as a chain.
 *
 * @param concerns whether a unit has a value at all; cheap, since it is asked at every change of any unit
 */
export function collect<T>(
  name: string,
  inputs: readonly Input[],
  units: () => Iterable<string>,
  concerns: (unit: string) => boolean,
  compute: (unit: string) => T,
): Collected<T> {
  const { wake, subscribe } = listenersOf(inputs);
  const values = new Map<string, T>();
  const stale = new Set<string>();
  let all = true;
  const mark = (woken: Iterable<string> | "all"): void => {
    if (woken === "all") all = true;
    else for (const unit of woken) if (values.has(unit) || concerns(unit)) stale.add(unit);
    if (all || stale.size > 0) wake();
  };
  for (const input of inputs) input.subscribe(mark);
  const state = syncedBy(inputs);
  return {
    name,
    get synced() {
      return state.synced;
    },
    get waitsFor() {
      return state.waitsFor;
    },
    values() {
      if (all) values.clear();
      for (const unit of all ? units() : stale) {
        if (concerns(unit)) values.set(unit, compute(unit));
        else values.delete(unit);
      }
      all = false;
      stale.clear();
      return [...values].toSorted(([a], [b]) => a < b ? -1 : 1);
    },
    subscribe,
  };
}
