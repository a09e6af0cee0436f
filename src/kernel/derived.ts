/** Inputs that wake only when what a plugin makes of others has changed: the heartbeat of a Node changes nothing. */

import type { Input } from "./plugin.ts";

type Synced = Pick<Input, "synced" | "waitsFor">;

/** Synced when all inputs are, and waiting for what the first of the others waits for. */
export function syncedBy(inputs: readonly Input[], missing?: () => string | undefined): Synced {
  return {
    get synced() {
      return inputs.every((input) => input.synced) && missing?.() === undefined;
    },
    get waitsFor() {
      const waiting = inputs.find((input) => !input.synced);
      return waiting === undefined ? missing?.() : waiting.waitsFor;
    },
  };
}

/** Who listens to what is made of inputs. */
export interface Listeners {
  /** Wakes all their units. */
  wake(): void;
  readonly subscribe: Input["subscribe"];
}

/** Those of an input made of others: they are told when the others come to be synced as well. */
export function listenersOf(inputs: readonly Input[]): Listeners {
  const listeners = new Set<() => void>();
  return {
    wake() {
      for (const listener of listeners) listener();
    },
    subscribe(wake) {
      const listener = (): void => wake("all");
      listeners.add(listener);
      const unsubscribe = inputs.map((input) => input.subscribe(() => wake([])));
      return () => {
        listeners.delete(listener);
        for (const end of unsubscribe) end();
      };
    },
  };
}

/** A value computed from inputs, that wakes all units when the value changes. */
export interface Derived<T> extends Input {
  readonly value: T;
}

export interface DeriveOptions<T> {
  /** What two values are compared by; absent: JSON. */
  readonly textOf?: (value: T) => string;
  /** Why a value is of no use yet, with the remedy: the input counts as not synced until there is nothing. */
  readonly missing?: (value: T) => string | undefined;
}

/** Computes `compute()` after each wake of the inputs, and takes what it gives where that is another value than before. */
export function derive<T>(
  name: string,
  inputs: readonly Input[],
  compute: () => T,
  { textOf = (value) => JSON.stringify(value), missing = () => undefined }: DeriveOptions<T> = {},
): Derived<T> {
  const { wake, subscribe } = listenersOf(inputs);
  let value = compute();
  let text = textOf(value);
  const update = (): void => {
    const next = compute();
    const nextText = textOf(next);
    if (nextText === text) return;
    value = next;
    text = nextText;
    wake();
  };
  for (const input of inputs) input.subscribe(update);
  const state = syncedBy(inputs, () => missing(value));
  return {
    name,
    get synced() {
      return state.synced;
    },
    get waitsFor() {
      return state.waitsFor;
    },
    get value() {
      return value;
    },
    subscribe,
  };
}
