/** Stores of which only those that a plugin asked for can be used. */

import { KIND_NAMES, type KindName, type KindTypes } from "./kinds.ts";
import type { Stores } from "./source.ts";
import { createStore, type Store, type StoreOptions, type WritableStore } from "./store.ts";

export type WritableStores = { readonly [K in KindName]: WritableStore<KindTypes[K]> };

export interface GatedStores {
  /** What plugins get. */
  readonly stores: Stores;
  /** What the source writes. */
  readonly writable: WritableStores;
  readonly open: (kind: KindName) => void;
}

export function createStores(options: StoreOptions = {}): GatedStores {
  const opened = new Set<KindName>();
  const writable = Object.fromEntries(
    KIND_NAMES.map((kind) => [kind, createStore(kind, options)]),
  ) as unknown as WritableStores;
  const stores = Object.fromEntries(
    KIND_NAMES.map((kind) => [kind, gated(writable[kind] as Store<unknown>, opened)]),
  ) as unknown as Stores;
  return { stores, writable, open: (kind) => void opened.add(kind) };
}

function gated<T>(store: Store<T>, opened: ReadonlySet<KindName>): Store<T> {
  const { kind } = store;
  const use = (): Store<T> => {
    if (opened.has(kind)) return store;
    throw new Error(
      `Store of ${kind} is not filled, for no plugin asked for it: add { kind: "${kind}" } to the ` +
        `plugin's "watches"`,
    );
  };
  return {
    kind,
    get synced() {
      return use().synced;
    },
    get resourceVersion() {
      return use().resourceVersion;
    },
    get receivedAt() {
      return use().receivedAt;
    },
    get size() {
      return use().size;
    },
    get: (key) => use().get(key),
    keys: () => use().keys(),
    values: () => use().values(),
    by: (index, value) => use().by(index, value),
    addIndex: (name, values) => use().addIndex(name, values),
    subscribe: (listener) => use().subscribe(listener),
  };
}
