/** The parts of a tracker's memory: keys, and the units that want them. */

import type { Actual } from "./resource.ts";
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
  unit: Unit | undefined;
  item: T | undefined;
  /** The next claim of the same key; nearly always none. */
  next: Claim<T> | undefined;
}

/**
 * One key: what Linux holds and who wants what. One object and one text a key, and the first claim inside:
 * there are 100,000 of them in a large cluster.
 */
export class Slot<T = unknown> implements Claim<T> {
  readonly tracker: Tracker<T>;
  readonly key: string;
  have: T | undefined = undefined;
  owned = false;
  /** Its tracker has it among those to look at. */
  dirty = false;
  /** Somebody has wanted it since the start. */
  wasWanted = false;
  unit: Unit | undefined = undefined;
  item: T | undefined = undefined;
  next: Claim<T> | undefined = undefined;

  constructor(tracker: Tracker<T>, key: string) {
    this.tracker = tracker;
    this.key = key;
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
export class ActualView<T> implements ReadonlyMap<string, Actual<T>> {
  readonly #slots: ReadonlyMap<string, Slot<T>>;

  constructor(slots: ReadonlyMap<string, Slot<T>>) {
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
    for (const [key, { have, owned }] of this.#slots) {
      if (have !== undefined) yield [key, { item: have, owned }];
    }
  }

  *keys(): MapIterator<string> {
    for (const [key, { have }] of this.#slots) if (have !== undefined) yield key;
  }

  *values(): MapIterator<Actual<T>> {
    for (const [, actual] of this.entries()) yield actual;
  }

  [Symbol.iterator](): MapIterator<[string, Actual<T>]> {
    return this.entries();
  }

  forEach(run: (value: Actual<T>, key: string, map: ReadonlyMap<string, Actual<T>>) => void): void {
    for (const [key, actual] of this.entries()) run(actual, key, this);
  }
}
