/** A cluster in memory: stores whose objects are frozen, so that whoever writes into one is caught. */

import {
  createStore,
  keyOf,
  type KindName,
  type KindState,
  type KindTypes,
  type KubeObject,
} from "../../src/kernel/cluster/mod.ts";
import { KIND_NAMES } from "../../src/kernel/cluster/kinds.ts";
import type { WritableStore } from "../../src/kernel/cluster/store.ts";
import type { ClusterSource, Stores } from "../../src/kernel/cluster/source.ts";

export interface TestCluster extends ClusterSource {
  /** Creates or replaces objects, as one batch. */
  put(kind: KindName, ...objects: KubeObject[]): void;
  remove(kind: KindName, ...keys: string[]): void;
  /** Ends the first lists: of one kind, or of all that are not synced yet. */
  sync(kind?: KindName): void;
  /** From now on these could not be read since the start; tells the subscribers as a source does. */
  unreadable(...texts: string[]): void;
  /** The resourceVersion that all kinds share. */
  readonly version: string;
}

/** An empty cluster. Objects that are put before `sync` make up the first list. */
export function testCluster(): TestCluster {
  const stores = Object.fromEntries(
    KIND_NAMES.map((kind) => [kind, createStore(kind, { freeze: true })]),
  ) as unknown as { readonly [K in KindName]: WritableStore<KindTypes[K]> };
  const storeOf = (kind: KindName): WritableStore<KubeObject> =>
    stores[kind] as unknown as WritableStore<KubeObject>;
  const first = new Map<KindName, Map<string, KubeObject>>();
  let version = 1;
  let unread: readonly string[] = [];

  const change = (kind: KindName, events: readonly (readonly [string, KubeObject?])[]): void => {
    version++;
    const store = storeOf(kind);
    if (store.synced) {
      store.update(events.map(([key, object]) => [key, object] as const), String(version));
      return;
    }
    const list = first.get(kind) ?? new Map<string, KubeObject>();
    first.set(kind, list);
    for (const [key, object] of events) {
      if (object === undefined) list.delete(key);
      else list.set(key, object);
    }
  };
  const stateOf = (kind: KindName): KindState => ({
    kind,
    synced: stores[kind].synced,
    objects: stores[kind].size,
    resourceVersion: stores[kind].resourceVersion,
    connected: true,
    lastEventAt: 0,
    relists: 0,
  });

  return {
    stores: stores as unknown as Stores,
    get state() {
      return { from: "test", connected: true, kinds: KIND_NAMES.map(stateOf) };
    },
    get unread() {
      return unread;
    },
    unreadable(...texts) {
      unread = texts;
      version++;
      for (const name of KIND_NAMES) {
        if (stores[name].synced) storeOf(name).replace([...stores[name].values()], String(version));
      }
    },
    get version() {
      return String(version);
    },
    start() {},
    stop: () => Promise.resolve(),
    put: (kind, ...objects) => change(kind, objects.map((object) => [keyOf(object), object])),
    remove: (kind, ...keys) => change(kind, keys.map((key) => [key])),
    sync(kind) {
      for (const name of kind === undefined ? KIND_NAMES : [kind]) {
        if (stores[name].synced) continue;
        storeOf(name).replace(first.get(name)?.values() ?? [], String(version));
      }
    },
  };
}
