/**
 * The objects, one global resourceVersion, and a bounded log of changes for each kind, from which
 * watches resume and past states are rebuilt for the pages of a list.
 */

import { apiVersionOf, type Kind } from "./kinds.ts";
import { expired } from "./status.ts";
import type { ChangeType, KubeObject } from "./types.ts";

/** One stored object. Immutable; its JSON is made once, for all lists and watches. */
export class Entry {
  readonly key: string;
  readonly object: KubeObject;
  readonly revision: number;
  #json: string | undefined;

  constructor(key: string, object: KubeObject, revision: number) {
    this.key = key;
    this.object = object;
    this.revision = revision;
  }

  get json(): string {
    return this.#json ??= JSON.stringify(this.object);
  }
}

export interface Logged {
  readonly type: ChangeType;
  readonly revision: number;
  /** For DELETED the last state, with the resourceVersion of the deletion. */
  readonly entry: Entry;
  readonly old: Entry | undefined;
}

export type LogListener = (logged: Logged) => void;

/** Everything of one kind. */
export class Shelf {
  readonly kind: Kind;
  readonly entries = new Map<string, Entry>();
  readonly watchers = new Set<LogListener>();
  log: Logged[] = [];
  /** Changes up to this revision are forgotten. */
  floor = 0;
  #sorted: readonly Entry[] | undefined;
  #snapshots = new Map<number, readonly Entry[]>();
  readonly #historySize: number;

  constructor(kind: Kind, historySize: number) {
    this.kind = kind;
    this.#historySize = historySize;
  }

  record(logged: Logged): void {
    const { entry, type } = logged;
    if (type === "DELETED") this.entries.delete(entry.key);
    else this.entries.set(entry.key, entry);
    this.#sorted = undefined;
    this.log.push(logged);
    const surplus = this.log.length - this.#historySize;
    if (surplus > 0) this.floor = this.log[surplus - 1]?.revision ?? this.floor;
    // Trimmed in large steps, so that the cost for each change stays constant.
    if (surplus > this.#historySize + 64) this.log = this.log.slice(surplus);
  }

  forget(revision: number): void {
    this.log = [];
    this.floor = revision;
    this.#snapshots.clear();
  }

  /** In etcd's order, by namespace and name. */
  sorted(): readonly Entry[] {
    return this.#sorted ??= sort(this.entries.values());
  }

  /** Changes after a revision; throws 410 where they are forgotten. */
  since(revision: number): readonly Logged[] {
    if (revision < this.floor) throw expired();
    return this.log.slice(this.#indexAfter(revision));
  }

  /** The objects as they were at a revision; throws 410 where that is forgotten. */
  snapshotAt(revision: number): readonly Entry[] {
    const later = this.since(revision);
    if (later.length === 0) return this.sorted();
    const kept = this.#snapshots.get(revision);
    if (kept !== undefined) return kept;
    const entries = new Map(this.entries);
    for (const { entry, old } of later.toReversed()) {
      if (old === undefined) entries.delete(entry.key);
      else entries.set(entry.key, old);
    }
    const snapshot = sort(entries.values());
    this.#snapshots.set(revision, snapshot);
    if (this.#snapshots.size > 8) {
      for (const oldest of this.#snapshots.keys()) {
        this.#snapshots.delete(oldest);
        break;
      }
    }
    return snapshot;
  }

  #indexAfter(revision: number): number {
    let low = 0;
    let high = this.log.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.log[middle]?.revision ?? Infinity) <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function sort(entries: Iterable<Entry>): readonly Entry[] {
  return [...entries].sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

export class Store {
  revision = 1;
  readonly shelves = new Map<string, Shelf>();
  readonly #byKind = new Map<string, Shelf>();
  readonly #listeners = new Set<(shelf: Shelf, logged: Logged) => void>();
  readonly #settled = new Set<() => void>();
  readonly #queue: [Shelf, Logged][] = [];
  readonly #historySize: number;
  #depth = 0;
  #telling = false;

  constructor(kinds: Iterable<Kind>, historySize: number) {
    this.#historySize = historySize;
    for (const kind of kinds) this.add(kind);
  }

  /** A kind that is there already keeps its objects. */
  add(kind: Kind): void {
    const path = `${apiVersionOf(kind)}/${kind.plural}`;
    if (this.shelves.has(path)) return;
    const shelf = new Shelf(kind, this.#historySize);
    this.shelves.set(path, shelf);
    this.#byKind.set(`${apiVersionOf(kind)}/${kind.kind}`, shelf);
  }

  byPlural(apiVersion: string, plural: string): Shelf | undefined {
    return this.shelves.get(`${apiVersion}/${plural}`);
  }

  byKind(apiVersion: string, kind: string): Shelf | undefined {
    return this.#byKind.get(`${apiVersion}/${kind}`);
  }

  /** Stores an object that carries everything but its resourceVersion, which it gets in place. */
  put(shelf: Shelf, key: string, object: KubeObject): Entry {
    const old = shelf.entries.get(key);
    const entry = this.#stamp(key, object);
    this.#record(shelf, {
      type: old === undefined ? "ADDED" : "MODIFIED",
      revision: entry.revision,
      entry,
      old,
    });
    return entry;
  }

  remove(shelf: Shelf, key: string): Entry | undefined {
    const old = shelf.entries.get(key);
    if (old === undefined) return undefined;
    const entry = this.#stamp(key, { ...old.object, metadata: { ...old.object.metadata } });
    this.#record(shelf, { type: "DELETED", revision: entry.revision, entry, old });
    return entry;
  }

  /** Runs writes as one: `settled` listeners are called once, after the outermost. */
  batch<T>(write: () => T): T {
    this.#depth++;
    try {
      return write();
    } finally {
      if (this.#depth === 1) {
        // Still inside the batch, so that what the listeners write settles with it.
        let before: number;
        do {
          before = this.revision;
          for (const listener of this.#settled) listener();
        } while (this.revision !== before);
      }
      this.#depth--;
    }
  }

  on(listener: (shelf: Shelf, logged: Logged) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onSettled(listener: () => void): () => void {
    this.#settled.add(listener);
    return () => this.#settled.delete(listener);
  }

  compact(): void {
    for (const shelf of this.shelves.values()) shelf.forget(this.revision);
  }

  #stamp(key: string, object: KubeObject): Entry {
    const revision = ++this.revision;
    const metadata = object.metadata as Record<string, unknown>;
    metadata.resourceVersion = String(revision);
    return new Entry(key, object, revision);
  }

  /** A listener may write: the queue keeps the order of what watchers and listeners see. */
  #record(shelf: Shelf, logged: Logged): void {
    shelf.record(logged);
    this.#queue.push([shelf, logged]);
    if (this.#telling) return;
    this.#telling = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        for (const watcher of next[0].watchers) watcher(next[1]);
        for (const listener of this.#listeners) listener(next[0], next[1]);
      }
    } finally {
      this.#telling = false;
    }
  }
}
