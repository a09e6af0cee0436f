/** Keys that are held back until their parent is in Linux, by that parent. */

import type { Slot } from "./slot.ts";

export class Waiting<T> {
  readonly #byParent = new Map<string, Set<Slot<T>>>();
  readonly #parentOf = new Map<Slot<T>, string>();

  get isEmpty(): boolean {
    return this.#byParent.size === 0;
  }

  /** Notes that a key waits for a parent, and for no other any more. */
  add(slot: Slot<T>, parent: string): void {
    if (this.#parentOf.get(slot) === parent) return;
    this.stop(slot);
    this.#parentOf.set(slot, parent);
    const others = this.#byParent.get(parent);
    if (others === undefined) this.#byParent.set(parent, new Set([slot]));
    else others.add(slot);
  }

  stop(slot: Slot<T>): void {
    const parent = this.#parentOf.get(slot);
    if (parent === undefined) return;
    this.#parentOf.delete(slot);
    const others = this.#byParent.get(parent);
    others?.delete(slot);
    if (others?.size === 0) this.#byParent.delete(parent);
  }

  /** All that waits for a parent, which then waits no more. */
  take(parent: string): Iterable<Slot<T>> {
    const waiting = this.#byParent.get(parent);
    if (waiting === undefined) return [];
    this.#byParent.delete(parent);
    for (const slot of waiting) this.#parentOf.delete(slot);
    return waiting;
  }
}
