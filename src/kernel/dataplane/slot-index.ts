/** Slots by key: as a map, or, where a kind has hundreds of thousands of items, without a text for each. */

import { HashTable } from "../hash-table.ts";
import type { Resource } from "./resource.ts";
import type { Slot } from "./slot.ts";

export interface SlotIndex<T> {
  readonly size: number;
  get(key: string): Slot<T> | undefined;
  has(key: string): boolean;
  set(key: string, slot: Slot<T>): void;
  delete(key: string): void;
  values(): Iterable<Slot<T>>;
  entries(): Iterable<readonly [key: string, slot: Slot<T>]>;
  /** Those of one group, where the index has groups. */
  within?(group: string): Iterable<Slot<T>>;
}

/** An empty one, as the kind needs it. */
export function slotIndex<T>({ group, key }: Resource<T>): SlotIndex<T> {
  return group === undefined ? new Map<string, Slot<T>>() : new GroupedSlots(key, group);
}

/** Slots in groups, each a table of the slots alone. Whether a slot is the one is asked of its item. */
export class GroupedSlots<T> implements SlotIndex<T> {
  readonly #keyOf: (item: T) => string;
  readonly #groupOf: (key: string) => string;
  readonly #groups = new Map<string, HashTable<Slot<T>>>();
  #size = 0;

  constructor(keyOf: (item: T) => string, groupOf: (key: string) => string) {
    this.#keyOf = keyOf;
    this.#groupOf = groupOf;
  }

  get size(): number {
    return this.#size;
  }

  get(key: string): Slot<T> | undefined {
    return this.#groups.get(this.#groupOf(key))?.get(key);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  set(key: string, slot: Slot<T>): void {
    const group = this.#groupOf(key);
    let table = this.#groups.get(group);
    if (table === undefined) {
      table = new HashTable<Slot<T>>((each) => this.#keyOf(each.item));
      this.#groups.set(group, table);
    }
    if (table.add(key, slot)) this.#size++;
  }

  delete(key: string): void {
    const group = this.#groupOf(key);
    const table = this.#groups.get(group);
    if (table === undefined || !table.delete(key)) return;
    this.#size--;
    if (table.size === 0) this.#groups.delete(group);
  }

  *values(): Iterable<Slot<T>> {
    for (const table of this.#groups.values()) yield* table.values();
  }

  *entries(): Iterable<readonly [key: string, slot: Slot<T>]> {
    for (const slot of this.values()) yield [slot.key, slot];
  }

  within(group: string): Iterable<Slot<T>> {
    return this.#groups.get(group)?.values() ?? [];
  }
}
