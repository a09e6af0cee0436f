/** The parts of a tracker's memory: keys, and the units that want them. */

import type { Actual, ActualItems } from "./resource.ts";
import type { SlotIndex } from "./slot-index.ts";
import type { Tracker } from "./tracker.ts";

/** A part of the desired state that is computed as a whole. Identity is the object. */
export interface Unit {
  /** "services default/web", as conflicts name it. */
  readonly label: string;
  /** Lower wins a conflict; compared as text. Changed by `rerank` alone. */
  rank: string;
  /** What it wants now, of all kinds. Written by trackers alone. */
  slots: readonly Slot[];
}

/** One unit's wish at a key. */
export interface Claim<T> {
  /** Absent, in a slot alone: nobody wants it. */
  unit: Unit | undefined;
  item: T;
  /** The next claim of the same key; nearly always none. */
  next: Claim<T> | undefined;
}

const OWNED = 1;
const DIRTY = 2;
const WAS_WANTED = 4;
const FORGOTTEN = 8;

/**
 * One key: what Linux holds and who wants what, the first claim inside. One small object a key, and no text, for there are
 * 200,000 of them in a large cluster.
 */
export class Slot<T = unknown> implements Claim<T> {
  readonly tracker: Tracker<T>;
  have: T | undefined = undefined;
  unit: Unit | undefined = undefined;
  /** What `unit` wants. Without one, any item of this key: it says which key that is. */
  item: T;
  next: Claim<T> | undefined = undefined;
  #flags = 0;

  constructor(tracker: Tracker<T>, item: T) {
    this.tracker = tracker;
    this.item = item;
  }

  /** Made for each call. */
  get key(): string {
    return this.tracker.resource.key(this.item);
  }

  /** What Linux holds is ours. */
  get owned(): boolean {
    return (this.#flags & OWNED) !== 0;
  }

  set owned(value: boolean) {
    this.#flags = value ? this.#flags | OWNED : this.#flags & ~OWNED;
  }

  /** Its tracker has it among those to look at. */
  get dirty(): boolean {
    return (this.#flags & DIRTY) !== 0;
  }

  set dirty(value: boolean) {
    this.#flags = value ? this.#flags | DIRTY : this.#flags & ~DIRTY;
  }

  /** Somebody has wanted it since the start. */
  get wasWanted(): boolean {
    return (this.#flags & WAS_WANTED) !== 0;
  }

  noteWanted(): void {
    this.#flags |= WAS_WANTED;
  }

  /** Its tracker has it no more, and may have another one of its key. */
  get forgotten(): boolean {
    return (this.#flags & FORGOTTEN) !== 0;
  }

  noteForgotten(): void {
    this.#flags |= FORGOTTEN;
  }
}

/** Whether there is anything to be known of a key. A slot that says nothing is forgotten, and never says anything again. */
export function says({ have, unit, dirty }: Slot): boolean {
  return have !== undefined || unit !== undefined || dirty;
}

/** Gives a unit another rank, and judges again all that it wants. */
export function rerank(unit: Unit, rank: string): void {
  if (unit.rank === rank) return;
  unit.rank = rank;
  for (const slot of unit.slots) slot.tracker.contest(slot);
}

/** The slots that Linux has something in, as a map. */
export class ActualView<T> implements ActualItems<T> {
  readonly #slots: SlotIndex<T>;

  constructor(slots: SlotIndex<T>) {
    this.#slots = slots;
  }

  get size(): number {
    let count = 0;
    for (const slot of this.#slots.values()) if (slot.have !== undefined) count++;
    return count;
  }

  get(key: string): Actual<T> | undefined {
    const slot = this.#slots.get(key);
    return slot?.have === undefined ? undefined : { item: slot.have, owned: slot.owned };
  }

  has(key: string): boolean {
    return this.#slots.get(key)?.have !== undefined;
  }

  *entries(): MapIterator<[string, Actual<T>]> {
    for (const [key, { have, owned }] of this.#slots.entries()) {
      if (have !== undefined) yield [key, { item: have, owned }];
    }
  }

  *keys(): MapIterator<string> {
    for (const [key, { have }] of this.#slots.entries()) if (have !== undefined) yield key;
  }

  *values(): MapIterator<Actual<T>> {
    for (const { have, owned } of this.#slots.values()) {
      if (have !== undefined) yield { item: have, owned };
    }
  }

  *keysWithin(group: string): Iterable<string> {
    for (const slot of this.#slots.within?.(group) ?? []) {
      if (slot.have !== undefined) yield slot.key;
    }
  }

  [Symbol.iterator](): MapIterator<[string, Actual<T>]> {
    return this.entries();
  }

  forEach(run: (value: Actual<T>, key: string, map: ReadonlyMap<string, Actual<T>>) => void): void {
    for (const [key, actual] of this.entries()) run(actual, key, this);
  }
}
