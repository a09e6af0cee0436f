/**
 * The one shape that every kind of Linux state has, so that one planner, one fake, one recorder and one
 * dry-run printer serve all of them.
 *
 * A *resource* describes a kind (identity, equality, words). A *table* is access to that kind for one
 * owner: the owner's marks go on every write and its test on every read.
 */

import type { KernelError } from "./errors.ts";

/** IP family of an item: 4 or 6. */
export type Family = 4 | 6;

/** Describes one kind of Linux state. Everything here is pure. */
export interface Resource<T> {
  /** Name of the kind, as logs, metrics and plans print it: "route", "ipvs.service". */
  readonly kind: string;
  /** Identity as Linux indexes it, not as we think of it. Readable: plans are sorted by it and print it. */
  key(item: T): string;
  /** Set where there may be hundreds of thousands of items: a part of a key that many share, and that no other group has. */
  readonly group?: (key: string) => string;
  /** Whether `have` already is what `want` asks for: only fields that we set, never counters. */
  equal(want: T, have: T): boolean;
  /** The item on one line, in the words of the native tool (`ip`, `ipvsadm`, `ipset`). */
  describe(item: T): string;
  /**
   * Set where two wanters of one key are a conflict even if they want the same value, because what
   * hangs below the item would mix: two Services on one VIP and port would share their destinations.
   */
  readonly exclusive?: boolean;
  /** Set where several plugins may each hold one item of the same value; it goes with the last of them. */
  readonly shared?: boolean;
  /** Set where each plugin has items of its own, whatever others have at the same key. */
  readonly perPlugin?: boolean;
  /** Set where nothing of a plugin works without its items: one that fails makes the plugin degraded. */
  readonly foundation?: boolean;
  /** Of a foundation: whether the plugin works without this item. */
  isDispensable?(want: T): boolean;
  /** Set where items live in the agent's own process and go with it: no other process can read them, nor what is to change. */
  readonly inProcess?: boolean;
  /**
   * The form in which an item of ours is kept for a while after nobody wants it any more: it goes on with what it has begun
   * and takes nothing new. The same object where it has that form already. Absent: it stays as it is.
   */
  retire?(have: T): T;
  /** What stands there when an item of ours is removed, where that is not nothing: "back to 0". */
  after?(have: T): string | undefined;
  /** What a user does about an item that stands at a wanted key and is not ours. Absent: "remove it". */
  remedy?(have: T): string;
  /** Whether Linux made an item by itself beside one of ours: nobody has ever wanted it. */
  isLitter?(have: T): boolean;
  /** The parent's kind and key. An item is wanted only through the unit that holds its parent. */
  readonly parentKind?: string;
  parent?(item: T): string;
  /** Set where an item may as well stand on a parent that the plugin does not want: a route on anybody's link. */
  readonly parentMayBeOthers?: boolean;
  /**
   * A kind, and the key of it that an item judges, such as the virtual service whose clients a firewall entry refuses. Only the
   * unit that holds that key may want the item, and only while Linux holds nothing of others there.
   */
  readonly subjectKind?: string;
  subject?(item: T): string | undefined;
}

/** What a plugin holds: enough to want items, not to write them. */
export interface TableRef<T> {
  readonly resource: Resource<T>;
}

/** An item read from Linux, with the answer to "is it ours?" by its mark. */
export interface Actual<T> {
  readonly item: T;
  readonly owned: boolean;
  /** Not ours, but left by a program whose place the owner takes: ours to take where it is what is wanted. */
  readonly adoptable?: true;
}

/** One change to make. `have` is what Linux holds now, for updates and deletes. */
export type Op<T> =
  | { readonly verb: "create"; readonly item: T }
  | { readonly verb: "update"; readonly item: T; readonly have: T }
  | { readonly verb: "delete"; readonly item: T };

/** The item of an op on one line; of a deletion with what stands there afterwards. */
export function described<T>(resource: Resource<T>, { verb, item }: Op<T>): string {
  const after = verb === "delete" ? resource.after?.(item) : undefined;
  return `${resource.describe(item)}${after === undefined ? "" : ` (${after})`}`;
}

/** What became of one op. */
export interface Outcome<T> {
  readonly op: Op<T>;
  readonly error?: KernelError;
  /** What was left out on purpose, e.g. a sysctl that Linux lacks. */
  readonly note?: string;
  /** Beside an error: what Linux now holds at the key in the item's stead, so that what hangs below it works meanwhile. */
  readonly made?: T;
}

/** One key of Linux moved without us; no `actual` means that it is gone. */
export interface Drift<T> {
  readonly key: string;
  readonly actual?: Actual<T>;
}

/** What Linux holds, by key. */
export interface ActualItems<T> extends ReadonlyMap<string, Actual<T>> {
  /** The keys of one group, of a kind that has groups; absent: nothing but a walk through all finds them. */
  keysWithin?(group: string): Iterable<string>;
}

/** What `Table.watch` is given. */
export interface WatchContext<T> {
  /** Linux as the runtime believes it to be now, by key. Live view, never to be kept. */
  readonly actual: ActualItems<T>;
  /**
   * Called with what moved, or "unknown" when events were lost and only a full list can tell.
   * Changes made through `apply` of this dataplane are not reported.
   */
  readonly drift: (changes: readonly Drift<T>[] | "unknown") => void;
}

/** What a table knows of items that are kept for a while after nobody wants them. */
export interface Retirements<T> {
  /** When each of them has to go at the latest, by key: ms since boot. Outlives this process. */
  deadlines(): ReadonlyMap<string, number>;
  /** Notes deadlines; when it returns they are safe. @throws {KernelError} when they cannot be kept */
  note(deadlines: Iterable<readonly [key: string, deadline: number]>): void;
  forget(keys: Iterable<string>): void;
  /** The keys of those of `items` that nothing uses any more. @throws {KernelError} when Linux cannot be read */
  idle(items: readonly T[]): Promise<ReadonlySet<string>>;
}

/** Access to one kind of Linux state for one owner. */
export interface Table<T> extends TableRef<T> {
  /**
   * Everything of this kind that an owner's key could meet, owned or not.
   *
   * @throws {KernelError} when Linux cannot be read; nobody plans against a guess
   */
  list(): Promise<readonly Actual<T>[]>;
  /** Carries out the ops, in order where order matters; one outcome each, in the order of the ops. Never throws for one op. */
  apply(ops: readonly Op<T>[]): Promise<readonly Outcome<T>[]>;
  /** Why this owner may not want `item`, or `undefined` if it may. */
  refuse?(item: T): string | undefined;
  /** Starts reporting drift; the returned function stops it. Absent: the kind is only read back in full rounds. */
  watch?(context: WatchContext<T>): () => void;
  /** Absent: what nobody wants goes at once. */
  readonly retirements?: Retirements<T>;
}
