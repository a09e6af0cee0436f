/**
 * What should be and what is, of one kind and one owner, kept in memory and changed a key at a time, so that
 * the work of one change is proportional to that change. No I/O: the engine lists and applies. 610 lines because a
 * key's claims, what it waits for and what Linux holds of it change together.
 *
 * Desired items come in *units* (one Service, say). Several units may want one key: equal wishes are shared and
 * the item lives until the last one goes; different ones, and any on an exclusive kind, are a conflict that the
 * unit with the lowest rank wins.
 *
 * A child is held back while its parent is not in Linux, or is another's: nothing is hung below what is not ours,
 * and one failed parent is one failure.
 */

import { type Conflict, contested, decide, type Decision, orphaned } from "./plan.ts";
import type { Actual, Drift, Op, Resource } from "./resource.ts";
import { ActualView, type Claim, says, Slot, type Unit } from "./slot.ts";
import { type SlotIndex, slotIndex } from "./slot-index.ts";
import { Waiting } from "./waiting.ts";

/** Items up to which looking through them beats a set of them. */
const FEW = 16;
const NO_KEYS: ReadonlySet<string> = new Set();

export class Tracker<T> {
  readonly resource: Resource<T>;
  readonly #slots: SlotIndex<T>;
  /** Slots to look at, each marked as `dirty`: a set of 50,000 would cost more than the looking. */
  #dirty: Slot<T>[] = [];
  readonly #conflicts = new Map<string, Conflict>();
  /** Conflicts that nobody was told of yet. */
  #news: Conflict[] = [];
  /** Keys whose change came from Linux, for the log: they are repairs. */
  readonly #drifted = new Set<Slot<T>>();
  readonly #children: Tracker<unknown>[] = [];
  readonly #parent: Tracker<unknown> | undefined;
  /** The tracker of `resource.subjectKind`, and those whose subjects are here. */
  #subjects: Tracker<unknown> | undefined;
  readonly #judges: Tracker<unknown>[] = [];
  readonly #waiting = new Waiting<T>();
  /** The ops of the last `take` with their slots, in order, so that `applied` makes no key for each. */
  #taken: readonly Op<T>[] = [];
  #takenSlots: readonly Slot<T>[] = [];
  #nextTaken = 0;
  /** What Linux holds there is another's and may be taken over; few, if any. */
  readonly #adoptable = new Set<Slot<T>>();
  /** Keys that stay in Linux although nobody wants them. */
  #kept: ReadonlySet<string> = NO_KEYS;
  #listed = false;
  #owned = 0;
  /**
   * Set while objects are missing of which an earlier run may have known: what is ours in Linux and was never wanted since
   * the start stays. Keys must be looked at again (`replaceActual`) when it ends.
   */
  keepsUnknown = false;
  /** Linux as it is believed to be now. Live view; what it hands out is made when asked for. */
  readonly actual: ActualView<T>;

  /** @param parent the tracker of `resource.parentKind`, if there is one */
  constructor(resource: Resource<T>, parent?: Tracker<unknown>) {
    this.resource = resource;
    this.#slots = slotIndex(resource);
    this.actual = new ActualView(this.#slots);
    if (parent !== undefined && resource.parent !== undefined) {
      this.#parent = parent;
      parent.#children.push(this as Tracker<unknown>);
    }
  }

  /** Says where the keys are that items of this kind judge. */
  judge(subjects: Tracker<unknown>): void {
    this.#subjects = subjects;
    subjects.#judges.push(this as Tracker<unknown>);
  }

  get conflicts(): Iterable<Conflict> {
    return this.#conflicts.values();
  }

  /** The conflicts that came up since the last call. */
  takeNewConflicts(): readonly Conflict[] {
    const news = this.#news.filter((conflict) => this.#conflicts.get(conflict.key) === conflict);
    this.#news = [];
    return news;
  }

  /** Number of keys that may differ from Linux. */
  get pending(): number {
    return this.#dirty.length;
  }

  /** Whether other kinds hang below this one. */
  get isParent(): boolean {
    return this.#children.length > 0;
  }

  /**
   * Replaces all that `unit` wants of this kind. Equal items keep their old object, and cost nothing further.
   *
   * @param keys those of the items, where the caller has them already
   */
  want(unit: Unit, items: readonly T[], keys?: readonly string[]): void {
    const had = unit.slots.some(this.#isOwn);
    if (!had && items.length === 0) return;
    if (had && keys !== undefined && this.#wantSame(unit, items, keys)) return;
    const now = this.#claimAll(unit, items, keys);
    if (had) this.#letGo(unit, now);
    // A copy has no room for more, which 100,000 units would keep.
    else unit.slots = [...unit.slots, ...now as unknown as Slot[]];
  }

  /** The slots of items, each once. */
  #claimAll(unit: Unit, items: readonly T[], keys?: readonly string[]): readonly Slot<T>[] {
    const now: Slot<T>[] = [];
    const seen = items.length > FEW ? new Set<Slot<T>>() : undefined;
    for (let i = 0; i < items.length; i++) {
      const item = items[i] as T;
      const slot = this.#slot(keys?.[i] ?? this.resource.key(item), item);
      if (seen === undefined ? now.includes(slot) : seen.has(slot)) continue;
      seen?.add(slot);
      now.push(slot);
      this.#claim(slot, unit, item);
    }
    return now;
  }

  /** What the unit wanted of this kind and is not among `now`. Apart from `want`, which every unit passes for every kind. */
  #letGo(unit: Unit, now: readonly Slot<T>[]): void {
    const kept = new Set(now);
    const before = unit.slots.filter(this.#isOwn) as unknown as Slot<T>[];
    for (const slot of before) if (!kept.has(slot)) this.#unclaim(slot, unit);
    if (before.length === now.length && before.every((slot) => kept.has(slot))) return;
    const others = unit.slots.filter((slot) => slot.tracker !== this);
    unit.slots = [...others, ...now as unknown as Slot[]];
  }

  /** Takes items whose keys are those that the unit wants already, in the same order; false where they are not. */
  #wantSame(unit: Unit, items: readonly T[], keys: readonly string[]): boolean {
    const first = unit.slots.findIndex(this.#isOwn);
    for (let i = 0; i < keys.length; i++) {
      const slot = unit.slots[first + i];
      if (slot?.tracker !== this || slot.key !== keys[i]) return false;
    }
    // The slots of one kind stand together.
    if (unit.slots[first + keys.length]?.tracker === this) return false;
    for (let i = 0; i < items.length; i++) {
      this.#claim(unit.slots[first + i] as unknown as Slot<T>, unit, items[i] as T);
    }
    return true;
  }

  readonly #isOwn = (slot: Slot): boolean => slot.tracker === this;

  /**
   * Replaces all that Linux is known to hold, and looks at every key again. Returns whether anything came to be
   * ours, or is ours no more: what hangs below such a key is not known.
   */
  replaceActual(list: readonly Actual<T>[]): boolean {
    const seen = new Set<Slot<T>>();
    let turned = false;
    for (const { item, owned, adoptable } of list) {
      const slot = this.#slot(this.resource.key(item), item);
      seen.add(slot);
      if (this.#moved(slot, item, owned, adoptable) === "turned") turned = true;
    }
    for (const slot of this.#slots.values()) {
      if (slot.have !== undefined && !seen.has(slot)) {
        if (this.#moved(slot, undefined, false) === "turned") turned = true;
      }
      this.#mark(slot);
    }
    this.#listed = true;
    return turned;
  }

  /**
   * Notes what moved in Linux without us: whether a key of ours is concerned, and whether anything came to be ours or
   * is ours no more.
   */
  drift(changes: readonly Drift<T>[]): { readonly concerned: boolean; readonly turned: boolean } {
    let concerned = false;
    let turned = false;
    for (const { key, actual } of changes) {
      const slot = actual === undefined ? this.#slots.get(key) : this.#slot(key, actual.item);
      if (slot === undefined) continue;
      const ours = slot.owned || actual?.owned === true || slot.unit !== undefined;
      const what = this.#moved(slot, actual?.item, actual?.owned === true, actual?.adoptable);
      if (what === "turned") turned = true;
      if (what !== "same" && ours) {
        this.#mark(slot);
        concerned = true;
      }
      this.#forget(slot);
    }
    return { concerned, turned };
  }

  /** Looks at a key again, after a failed op. */
  touch(key: string): void {
    const slot = this.#slots.get(key);
    if (slot !== undefined) this.#mark(slot);
  }

  /** Takes the ops that are due: creates and updates, or deletes. What is in order is forgotten. */
  take(verbs: "upserts" | "deletes"): Op<T>[] {
    const ops: Op<T>[] = [];
    const queue = this.#dirty;
    this.#dirty = [];
    let at = 0;
    // Those of the ops are gathered at the front of the queue.
    let taken = 0;
    try {
      for (; at < queue.length; at++) {
        const slot = queue[at] as Slot<T>;
        const decision = this.#decide(slot);
        const op = decision?.verb === "conflict" ? undefined : decision;
        if (op !== undefined && (op.verb === "delete") !== (verbs === "deletes")) {
          this.#dirty.push(slot);
          continue;
        }
        slot.dirty = false;
        if (op === undefined) {
          // It moved, and needs nothing: a later change is no repair of that.
          this.#drifted.delete(slot);
        } else {
          ops.push(op);
          queue[taken++] = slot;
        }
        this.#forget(slot);
      }
    } finally {
      // Something threw: the rest is still to be looked at.
      for (; at < queue.length; at++) this.#dirty.push(queue[at] as Slot<T>);
    }
    queue.length = taken;
    this.#taken = ops;
    this.#takenSlots = queue;
    this.#nextTaken = 0;
    return ops;
  }

  /** Items that are to be deleted, as far as is known: those of keys that may differ from Linux. */
  unwanted(): readonly T[] {
    const items: T[] = [];
    for (const slot of this.#dirty) {
      const decision = this.#decide(slot);
      if (decision?.verb === "delete") items.push(decision.item);
    }
    return items;
  }

  /**
   * Replaces the keys whose items stay in Linux, in the form that the kind has for it, although nobody wants them. Nothing is
   * made for their sake.
   */
  keep(keys: ReadonlySet<string>): void {
    const before = this.#kept;
    this.#kept = keys;
    for (const key of before) if (!keys.has(key)) this.touch(key);
    for (const key of keys) if (!before.has(key)) this.touch(key);
  }

  /** All outcomes of the last `take` are in. */
  release(): void {
    this.#taken = [];
    this.#takenSlots = [];
  }

  /** The slot of an op. Outcomes come in the order of the ops, so it is nearly always the next one. */
  #slotOf(op: Op<T>): Slot<T> {
    for (let at = this.#nextTaken; at < this.#taken.length; at++) {
      if (this.#taken[at] !== op) continue;
      this.#nextTaken = at + 1;
      const slot = this.#takenSlots[at];
      if (slot?.forgotten === false) return slot;
      break;
    }
    return this.#slot(this.resource.key(op.item), op.item);
  }

  /** Whether there is nothing to do at `key`, be it for a conflict. */
  inOrder(key: string): boolean {
    const slot = this.#slots.get(key);
    const decision = slot === undefined ? undefined : this.#decide(slot);
    return decision === undefined || decision.verb === "conflict";
  }

  /** An op succeeded: Linux now holds what it said. Returns whether that was a repair. */
  applied(op: Op<T>): boolean {
    const slot = this.#slotOf(op);
    const repaired = this.#drifted.delete(slot);
    this.#hold(slot, op.verb === "delete" ? undefined : op.item, op.verb !== "delete");
    // The wish may have changed while the op ran.
    const granted = slot.unit !== undefined && op.item === slot.item && op.verb !== "delete" &&
      slot.next === undefined;
    if (!granted && this.#decide(slot) !== undefined) this.#mark(slot);
    this.#forget(slot);
    return repaired;
  }

  /** An op failed, and Linux holds `made` at its key in the item's stead. */
  stoodIn(op: Op<T>, made: T): void {
    const slot = this.#slotOf(op);
    this.#drifted.delete(slot);
    this.#hold(slot, made, true);
  }

  /** The item that the winning unit wants at `key`. */
  desired(key: string): T | undefined {
    const slot = this.#slots.get(key);
    return slot === undefined ? undefined : this.#winner(slot)?.item;
  }

  /** All wanted items, and those that are kept, each key once. */
  *allDesired(): Iterable<T> {
    for (const slot of this.#slots.values()) {
      const item = this.#winner(slot)?.item ?? this.#retired(slot);
      if (item !== undefined && !this.#foreignParent(item)) yield item;
    }
  }

  /** What is kept at a key that nobody wants. */
  #retired(slot: Slot<T>): T | undefined {
    const { have, owned } = slot;
    if (this.#kept.size === 0 || have === undefined || !owned || !this.#kept.has(slot.key)) {
      return undefined;
    }
    return this.resource.retire?.(have) ?? have;
  }

  /** Number of items of ours in Linux. */
  owned(): number {
    return this.#owned;
  }

  /** The unit that holds `key`, if any does. */
  holder(key: string): Unit | undefined {
    const slot = this.#slots.get(key);
    return slot === undefined ? undefined : this.#winner(slot)?.unit;
  }

  /** The claims of a slot, or their order, may have changed. */
  contest(slot: Slot<T>): void {
    this.#mark(slot);
    if (this.resource.exclusive === true) this.#reassess(slot);
  }

  /** What hangs below a key, or judges it, may be wanted by others now. */
  #reassess(slot: Slot<T>): void {
    for (let c: Claim<T> | undefined = slot; c !== undefined; c = c.next) {
      if (c.unit !== undefined) this.#dirtyChildren(c.unit);
    }
  }

  #mark(slot: Slot<T>): void {
    if (slot.dirty) return;
    slot.dirty = true;
    this.#dirty.push(slot);
  }

  /** @param item any of that key, where there is no slot yet */
  #slot(key: string, item: T): Slot<T> {
    const old = this.#slots.get(key);
    if (old !== undefined) return old;
    const slot = new Slot(this, item);
    this.#slots.set(key, slot);
    return slot;
  }

  /** Drops a slot that says nothing any more. */
  #forget(slot: Slot<T>): void {
    if (says(slot)) return;
    const { key } = slot;
    slot.noteForgotten();
    this.#slots.delete(key);
    this.#drifted.delete(slot);
    this.#adoptable.delete(slot);
    this.#conflicts.delete(key);
    this.#waiting.stop(slot);
  }

  /** Takes in what Linux holds at a key; "turned" where that came to be ours, or is ours no more. */
  #moved(
    slot: Slot<T>,
    item: T | undefined,
    owned: boolean,
    adoptable = false,
  ): "same" | "moved" | "turned" {
    const { have } = slot;
    // Keeps the object that is in memory already: a resync must not double what we hold.
    const same = have === undefined || item === undefined
      ? have === item
      : slot.owned === owned && this.#same(have, item);
    if (same && this.#adoptable.has(slot) === adoptable) return "same";
    if (adoptable) this.#adoptable.add(slot);
    else this.#adoptable.delete(slot);
    const turned = slot.owned !== owned;
    if (this.#listed && (slot.owned || owned || slot.unit !== undefined)) this.#drifted.add(slot);
    const wanted = slot.unit === undefined ? undefined : slot.item;
    const shared = item !== undefined && owned && wanted !== undefined && this.#same(wanted, item);
    this.#hold(slot, shared ? wanted : item, owned);
    return turned ? "turned" : "moved";
  }

  #hold(slot: Slot<T>, have: T | undefined, owned: boolean): void {
    const changed = slot.owned !== owned || (slot.have === undefined) !== (have === undefined);
    const foreign = slot.have !== undefined && !slot.owned;
    if (slot.owned !== owned) this.#owned += owned ? 1 : -1;
    slot.have = have;
    slot.owned = owned;
    if (owned || have === undefined) this.#adoptable.delete(slot);
    if (!changed) return;
    this.#releaseBelow(slot);
    if (foreign !== (have !== undefined && !owned)) this.#reassess(slot);
  }

  #same(one: T, other: T): boolean {
    return one === other || (this.resource.equal(one, other) && this.resource.equal(other, one));
  }

  #decide(slot: Slot<T>): Decision<T> {
    const winner = this.#winner(slot);
    const decision = decide(this.resource, winner?.item ?? this.#retired(slot), this.#have(slot));
    if (this.#isUnknown(slot, decision)) return undefined;
    const upsert = decision?.verb === "create" || decision?.verb === "update";
    const held = upsert && this.#heldBack(slot, decision.item);
    if (!held) this.#waiting.stop(slot);
    const conflict = decision?.verb === "conflict" ? decision.conflict : this.#lost(slot, winner) ??
      (held || winner === undefined ? this.#orphaned(slot) : undefined);
    this.#note(slot, conflict);
    return held ? undefined : decision;
  }

  #have(slot: Slot<T>): Actual<T> | undefined {
    if (slot.have === undefined) return undefined;
    const { have: item, owned } = slot;
    return this.#adoptable.has(slot) ? { item, owned, adoptable: true } : { item, owned };
  }

  #isUnknown(slot: Slot<T>, decision: Decision<T>): boolean {
    if (!this.keepsUnknown || slot.wasWanted) return false;
    return decision?.verb === "delete" && this.resource.isLitter?.(decision.item) !== true;
  }

  /** Whether the deletion of a key is not to be planned now. */
  keeps(op: Op<T>): boolean {
    const slot = this.#slots.get(this.resource.key(op.item));
    return slot !== undefined && this.#isUnknown(slot, op);
  }

  #note(slot: Slot<T>, conflict: Conflict | undefined): void {
    // No key is made where it is not needed.
    if (conflict === undefined) {
      if (this.#conflicts.size > 0) this.#conflicts.delete(slot.key);
    } else if (this.#conflicts.get(conflict.key)?.reason !== conflict.reason) {
      this.#conflicts.set(conflict.key, conflict);
      this.#news.push(conflict);
    }
  }

  /** Whether an item must wait until its parent is in Linux, as ours; notes that it does. */
  #heldBack(slot: Slot<T>, item: T): boolean {
    if (this.#parent === undefined || this.resource.parent === undefined) return false;
    const key = this.resource.parent(item);
    if (this.#standsAlone(key)) return false;
    if (this.#parent.#slots.get(key)?.owned === true) return false;
    this.#waiting.add(slot, key);
    return true;
  }

  /** Whether a parent is none of the plugin's business. */
  #standsAlone(parent: string): boolean {
    if (this.resource.parentMayBeOthers !== true || this.#parent === undefined) return false;
    return this.#parent.#slots.get(parent)?.unit === undefined;
  }

  #releaseBelow(parent: Slot<T>): void {
    for (const child of this.#children) {
      if (!child.#waiting.isEmpty) child.#release(parent.key);
    }
  }

  /** A parent moved: what waits for it is looked at again. */
  #release(parent: string): void {
    for (const slot of this.#waiting.take(parent)) this.#mark(slot);
  }

  /** The conflict of an item whose parent nobody wants. Where somebody does, the parent's own trouble says enough. */
  #orphaned(slot: Slot<T>): Conflict | undefined {
    if (this.#parent === undefined || slot.unit === undefined) return undefined;
    if (this.resource.parentMayBeOthers === true) return undefined;
    const parent = this.resource.parent?.(slot.item) ?? "";
    if (this.#parent.holder(parent) !== undefined) return undefined;
    return orphaned(this.resource.kind, slot.key, this.#parent.resource.kind, parent);
  }

  #foreignParent(item: T): boolean {
    if (this.#parent === undefined || this.resource.parent === undefined) return false;
    const key = this.resource.parent(item);
    const parent = this.#standsAlone(key) ? undefined : this.#parent.#slots.get(key);
    return parent?.have !== undefined && !parent.owned && !this.#parent.#adopts(parent);
  }

  /** Whether what another left at a key becomes ours. */
  #adopts(slot: Slot<T>): boolean {
    const item = this.#adoptable.has(slot) ? this.#winner(slot)?.item : undefined;
    return item !== undefined && this.resource.equal(item, slot.have as T);
  }

  /** The conflict among units, if there is one: who waits for whom. */
  #lost(slot: Slot<T>, winner: Claim<T> | undefined): Conflict | undefined {
    // Nearly always there is one claim. A lost parent is one conflict, not one for each of its children.
    if (winner === undefined || slot.next === undefined || this.#hangsOnHolder) {
      return undefined;
    }
    const losers: string[] = [];
    for (let c: Claim<T> | undefined = slot; c !== undefined; c = c.next) {
      if (c === winner || c.unit === undefined) continue;
      if (this.resource.exclusive === true || !this.#same(c.item, winner.item)) {
        losers.push(c.unit.label);
      }
    }
    if (losers.length === 0) return undefined;
    return contested(this.resource.kind, slot.key, losers, winner.unit?.label ?? "");
  }

  /** Whether only the unit that holds the parent may want an item. */
  get #hangsOnHolder(): boolean {
    return this.#parent?.resource.exclusive === true;
  }

  #winner(slot: Slot<T>): Claim<T> | undefined {
    let best: Claim<T> | undefined;
    for (let c: Claim<T> | undefined = slot; c !== undefined; c = c.next) {
      if (c.unit === undefined) continue;
      if (this.#hangsOnHolder && this.resource.parent !== undefined) {
        if (this.#parent?.holder(this.resource.parent(c.item)) !== c.unit) continue;
      }
      if (!this.#mayJudge(c.unit, c.item)) continue;
      if (best?.unit === undefined || c.unit.rank < best.unit.rank) best = c;
    }
    return best;
  }

  #mayJudge(unit: Unit, item: T): boolean {
    const key = this.resource.subject?.(item);
    const subjects = this.#subjects;
    if (key === undefined || subjects === undefined) return true;
    const subject = subjects.#slots.get(key);
    if (subject === undefined || (subject.have !== undefined && !subject.owned)) return false;
    return subjects.#winner(subject)?.unit === unit;
  }

  #claim(slot: Slot<T>, unit: Unit, item: T): void {
    const { subject } = this.resource;
    slot.noteWanted();
    for (let c: Claim<T> | undefined = slot; c !== undefined; c = c.next) {
      if (c.unit !== unit) continue;
      const same = this.#same(item, c.item) && subject?.(item) === subject?.(c.item);
      if (same) return;
      c.item = item;
      this.#mark(slot);
      return;
    }
    // What Linux was read to hold may be the same: one object is enough.
    if (slot.have !== undefined && slot.owned && this.#same(item, slot.have)) slot.have = item;
    if (slot.unit === undefined) {
      slot.unit = unit;
      slot.item = item;
      this.#mark(slot);
    } else {
      slot.next = { unit, item, next: slot.next };
      this.contest(slot);
    }
  }

  #unclaim(slot: Slot<T>, unit: Unit): void {
    if (slot.unit === unit) {
      const { next } = slot;
      slot.unit = next?.unit;
      slot.item = next?.item ?? slot.item;
      slot.next = next?.next;
    } else {
      for (let c: Claim<T> | undefined = slot; c !== undefined; c = c.next) {
        if (c.next?.unit === unit) c.next = c.next.next;
      }
    }
    this.contest(slot);
    if (this.resource.exclusive === true) this.#dirtyChildren(unit);
    // Nobody wants it any more: others' is as good.
    if (slot.unit === undefined) this.#releaseBelow(slot);
  }

  /** The holder of an exclusive key may have changed: what hangs below it must be judged again. */
  #dirtyChildren(unit: Unit): void {
    for (const other of [...this.#children, ...this.#judges]) {
      for (const slot of unit.slots) {
        if (slot.tracker === other) other.#mark(slot);
      }
    }
  }
}

export type { Unit };
