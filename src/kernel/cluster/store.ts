/** The objects of one kind: immutable, indexed, swapped as a whole, and never shown half built. */

import { equal } from "./equal.ts";
import { keyOf, type KindName, type KubeObject } from "./kinds.ts";

export type {
  Endpoint,
  EndpointSlice,
  KindName,
  KubeObject,
  Namespace,
  NetworkPolicy,
  Node,
  Pod,
  Service,
  ServiceCIDR,
} from "./kinds.ts";
export type { ClusterSource, KindState, SourceState, Stores, Watch } from "./source.ts";

export interface StoreChange<T> {
  readonly key: string;
  /** Absent: the object is new. */
  readonly previous?: T;
  /** Absent: the object is gone. */
  readonly current?: T;
}

/** Read-only view. Objects are deeply immutable and trimmed. */
export interface Store<T> {
  readonly kind: KindName;
  /** The first full list is in. Never becomes false again. */
  readonly synced: boolean;
  /** The highest that the store has reached, bookmarks included; "" before the first list. */
  readonly resourceVersion: string;
  /** When the first bytes of the last change came, by `performance.now()`; undefined where nobody noted it. */
  readonly receivedAt: number | undefined;
  readonly size: number;
  /** By "namespace/name", or "name" for kinds without a namespace. */
  get(key: string): T | undefined;
  values(): Iterable<T>;
  /** The keys of all objects, as `get` takes them. */
  keys(): Iterable<string>;
  /** Objects of an index's value, in no particular order. Throws where there is no such index. */
  by(index: string, value: string): readonly T[];
  /** Adds an index; a second one of the same name is ignored. The function must be pure. */
  addIndex(name: string, values: (object: T) => readonly string[]): void;
  /**
   * Calls synchronously for each batch of changes, after the store holds all of them; with an empty
   * batch where only `synced` or `resourceVersion` changed. Returns the function that ends it.
   */
  subscribe(listener: (changes: readonly StoreChange<T>[]) => void): () => void;
}

/** The side that the source writes. */
export interface WritableStore<T> extends Store<T> {
  /** Makes the store hold exactly these, and synced. Only real changes reach the listeners, as one batch. */
  replace(objects: Iterable<T>, resourceVersion: string): readonly StoreChange<T>[];
  /** Applies events in order, as one batch. An undefined object is a deletion. */
  update(
    events: Iterable<readonly [key: string, object: T | undefined]>,
    resourceVersion: string,
    receivedAt?: number,
  ): readonly StoreChange<T>[];
}

export interface StoreOptions {
  /** Freezes what is stored, all the way down; for tests. */
  readonly freeze?: boolean;
  /** Told what a listener threw; one listener's error stops neither the store nor the others. */
  readonly onListenerError?: (error: unknown) => void;
}

interface Index<T> {
  readonly values: (object: T) => readonly string[];
  readonly members: Map<string, Members<T>>;
}

/** A list while there are few, as nearly everywhere: a Set is ten times as large. It is replaced, never changed. */
type Members<T> = readonly T[] | Crowd<T>;

interface Crowd<T> {
  readonly set: Set<T>;
  /** What `by` hands out; made when asked for, so that filling an index is linear. */
  list: readonly T[] | undefined;
}

/** Members of one value that are kept as a list. */
const FEW = 8;
const NONE: readonly never[] = Object.freeze([]);

export function createStore<T extends KubeObject>(
  kind: KindName,
  { freeze = false, onListenerError = rethrowLater }: StoreOptions = {},
): WritableStore<T> {
  let objects: Map<string, T> = new Map();
  let resourceVersion = "";
  let receivedAt: number | undefined;
  let synced = false;
  const indexes = new Map<string, Index<T>>();
  const listeners = new Set<(changes: readonly StoreChange<T>[]) => void>();

  function index(change: StoreChange<T>): void {
    for (const one of indexes.values()) {
      if (change.previous !== undefined) unindex(one, change.previous);
      if (change.current !== undefined) enter(one, change.current);
    }
  }

  function tell(changes: readonly StoreChange<T>[]): void {
    for (const listener of [...listeners]) {
      try {
        listener(changes);
      } catch (error) {
        onListenerError(error);
      }
    }
  }

  /** The change from what is held to `next`, or none where they say the same. */
  function changeOf(key: string, next: T | undefined): StoreChange<T> | undefined {
    const previous = objects.get(key);
    if (next === undefined) return previous === undefined ? undefined : { key, previous };
    if (previous === undefined) return { key, current: next };
    return sameObject(previous, next) ? undefined : { key, previous, current: next };
  }

  return {
    kind,
    get synced() {
      return synced;
    },
    get resourceVersion() {
      return resourceVersion;
    },
    get receivedAt() {
      return receivedAt;
    },
    get size() {
      return objects.size;
    },
    get: (key) => objects.get(key),
    // A snapshot is not needed: a batch is applied without a pause, so a loop that does not await
    // sees one state.
    values: () => objects.values(),
    keys: () => objects.keys(),
    by(name, value) {
      const found = indexes.get(name);
      if (found === undefined) {
        throw new Error(
          `Store of ${kind} has no index "${name}": call addIndex("${name}", …) before by()`,
        );
      }
      const members = found.members.get(value) ?? NONE;
      return isFew(members) ? members : members.list ??= [...members.set];
    },
    addIndex(name, values) {
      if (indexes.has(name)) return;
      const added: Index<T> = { values, members: new Map() };
      for (const object of objects.values()) enter(added, object);
      indexes.set(name, added);
    },
    subscribe(listener) {
      const own: typeof listener = (changes) => listener(changes);
      listeners.add(own);
      return () => void listeners.delete(own);
    },
    replace(list, version) {
      const next = new Map<string, T>();
      for (const object of list) next.set(keyOf(object), object);
      const changes: StoreChange<T>[] = [];
      for (const [key, object] of next) {
        const change = changeOf(key, object);
        if (change !== undefined) changes.push(change);
        // An unchanged object keeps its identity, on which memoised results hang.
        next.set(key, change === undefined ? objects.get(key) ?? object : frozen(object, freeze));
      }
      for (const [key, previous] of objects) if (!next.has(key)) changes.push({ key, previous });
      const moved = !synced || version !== resourceVersion;
      objects = next;
      resourceVersion = version;
      receivedAt = undefined;
      synced = true;
      for (const change of changes) index(change);
      if (changes.length > 0 || moved) tell(changes);
      return changes;
    },
    update(events, version, received) {
      const before = new Map<string, T | undefined>();
      for (const [key, object] of events) {
        const change = changeOf(key, object);
        if (change === undefined) continue;
        if (!before.has(key)) before.set(key, change.previous);
        if (change.current === undefined) objects.delete(key);
        else objects.set(key, frozen(change.current, freeze));
        index(change);
      }
      const changes: StoreChange<T>[] = [];
      for (const [key, previous] of before) {
        const current = objects.get(key);
        if (previous === undefined && current === undefined) continue;
        changes.push({
          key,
          ...(previous === undefined ? {} : { previous }),
          ...(current === undefined ? {} : { current }),
        });
      }
      const moved = version !== resourceVersion;
      resourceVersion = version;
      receivedAt = received;
      if (changes.length > 0 || moved) tell(changes);
      return changes;
    },
  };
}

/**
 * Whether a plugin could tell them apart. The resourceVersion alone does not count: heartbeats and
 * changes in fields that are trimmed away wake nobody.
 */
function sameObject(one: KubeObject, other: KubeObject): boolean {
  if (one.metadata.uid !== other.metadata.uid) return false;
  if (one.metadata.resourceVersion === other.metadata.resourceVersion && one.metadata.uid !== "") {
    return true;
  }
  return equal(one, other, "resourceVersion");
}

function enter<T>(index: Index<T>, object: T): void {
  for (const value of index.values(object)) {
    const members = index.members.get(value);
    if (members === undefined) {
      index.members.set(value, [object]);
    } else if (!isFew(members)) {
      members.set.add(object);
      members.list = undefined;
    } else if (!members.includes(object)) {
      const more = [...members, object];
      index.members.set(value, more.length > FEW ? { set: new Set(more), list: more } : more);
    }
  }
}

function isFew<T>(members: Members<T>): members is readonly T[] {
  return Array.isArray(members);
}

function unindex<T>(index: Index<T>, object: T): void {
  for (const value of index.values(object)) {
    const members = index.members.get(value);
    if (members === undefined) continue;
    if (isFew(members)) {
      const fewer = members.filter((member) => member !== object);
      if (fewer.length === 0) index.members.delete(value);
      else index.members.set(value, fewer);
    } else {
      members.set.delete(object);
      members.list = undefined;
      if (members.set.size === 0) index.members.delete(value);
    }
  }
}

function frozen<T>(object: T, freeze: boolean): T {
  return freeze ? deepFreeze(object) : object;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}

function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
