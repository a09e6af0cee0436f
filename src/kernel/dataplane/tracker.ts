/**
 * What should be and what is, of one kind and one owner, kept in memory and changed a key at a time, so that
 * the work of one change is proportional to that change. No I/O: the engine lists and applies.
 *
 * Desired items come in *units* (one Service, say). Several units may want one key: equal wishes are shared and
 * the item lives until the last one goes; different ones, and any on an exclusive kind, are a conflict that the
 * unit with the lowest rank wins.
 */

import { type Conflict, decide, type Decision } from "./plan.ts";
import type { Actual, Drift, Op, Resource } from "./resource.ts";

/** A part of the desired state that is computed as a whole. Identity is the object. */
export interface Unit {
  /** "services default/web", as conflicts name it. */
  readonly label: string;
  /** Lower wins a conflict; compared as text. */
  rank: string;
  /** Keys that it wants now, by tracker. Written by trackers alone. */
  readonly keys: Map<object, readonly string[]>;
}

interface Claim<T> {
  readonly unit: Unit;
  item: T;
  /** The next claim of the same key; nearly always none. */
  next: Claim<T> | undefined;
}

const NO_KEYS: readonly string[] = [];

export class Tracker<T> {
  readonly resource: Resource<T>;
  readonly #actual = new Map<string, Actual<T>>();
  readonly #claims = new Map<string, Claim<T>>();
  readonly #dirty = new Set<string>();
  readonly #conflicts = new Map<string, Conflict>();
  /** Keys whose change came from Linux, for the log: they are repairs. */
  readonly #drifted = new Set<string>();
  readonly #children: Tracker<unknown>[] = [];
  readonly #parent: Tracker<unknown> | undefined;

  /** @param parent the tracker of `resource.parentKind`, if that kind is exclusive */
  constructor(resource: Resource<T>, parent?: Tracker<unknown>) {
    this.resource = resource;
    if (parent?.resource.exclusive === true) {
      this.#parent = parent;
      parent.#children.push(this as Tracker<unknown>);
    }
  }

  get actual(): ReadonlyMap<string, Actual<T>> {
    return this.#actual;
  }

  get conflicts(): Iterable<Conflict> {
    return this.#conflicts.values();
  }

  /** Number of keys that may differ from Linux. */
  get pending(): number {
    return this.#dirty.size;
  }

  /** Replaces all that `unit` wants of this kind. Equal items keep their old object, and cost nothing further. */
  want(unit: Unit, items: readonly T[]): void {
    const before = unit.keys.get(this) ?? NO_KEYS;
    if (before.length === 0 && items.length === 0) return;
    const after: string[] = [];
    const now = new Set<string>();
    for (const item of items) {
      const key = this.resource.key(item);
      if (now.has(key)) continue;
      now.add(key);
      after.push(key);
      this.#claim(key, unit, item);
    }
    for (const key of before) if (!now.has(key)) this.#unclaim(key, unit);
    if (after.length === 0) unit.keys.delete(this);
    else unit.keys.set(this, after);
  }

  /** Replaces all that Linux is known to hold, and looks at every key again. */
  replaceActual(list: readonly Actual<T>[]): void {
    const before = this.#actual.size === 0 ? undefined : new Map(this.#actual);
    this.#actual.clear();
    for (const have of list) {
      const key = this.resource.key(have.item);
      // Keeps the object that is in memory already: a resync must not double what we hold.
      const old = before?.get(key);
      const same = old !== undefined && old.owned === have.owned &&
        this.resource.equal(old.item, have.item) && this.resource.equal(have.item, old.item);
      this.#actual.set(key, same ? old : this.#shared(key, have));
      if (!same && before !== undefined) this.#drifted.add(key);
      this.#dirty.add(key);
      before?.delete(key);
    }
    for (const key of before?.keys() ?? []) {
      this.#drifted.add(key);
      this.#dirty.add(key);
    }
    for (const key of this.#claims.keys()) this.#dirty.add(key);
  }

  /** Notes what moved in Linux without us. Returns whether a key of ours is concerned. */
  drift(changes: readonly Drift<T>[]): boolean {
    let concerned = false;
    for (const { key, actual } of changes) {
      const old = this.#actual.get(key);
      if (old === undefined && actual === undefined) continue;
      if (actual === undefined) this.#actual.delete(key);
      else this.#actual.set(key, actual);
      if (!this.#claims.has(key) && old?.owned !== true && actual?.owned !== true) continue;
      this.#dirty.add(key);
      this.#drifted.add(key);
      concerned = true;
    }
    return concerned;
  }

  /** Looks at a key again, after a failed op. */
  touch(key: string): void {
    this.#dirty.add(key);
  }

  /** Takes the ops that are due: creates and updates, or deletes. What is in order is forgotten. */
  take(verbs: "upserts" | "deletes"): Op<T>[] {
    const ops: Op<T>[] = [];
    for (const key of this.#dirty) {
      const decision = this.#decide(key);
      if (decision !== undefined && "op" in decision) {
        if ((decision.op.verb === "delete") !== (verbs === "deletes")) continue;
        ops.push(decision.op);
      }
      this.#dirty.delete(key);
    }
    return ops;
  }

  /** Whether nothing is to be done at `key`. */
  inOrder(key: string): boolean {
    return this.#decide(key) === undefined;
  }

  /** Whether the last look at `key` found that Linux had moved; forgets it. */
  takeDrifted(key: string): boolean {
    return this.#drifted.delete(key);
  }

  /** An op succeeded: Linux now holds what it said. */
  applied(op: Op<T>): void {
    const key = this.resource.key(op.item);
    if (op.verb === "delete") this.#actual.delete(key);
    else this.#actual.set(key, { item: op.item, owned: true });
    // The wish may have changed while the op ran.
    if (this.#decide(key) !== undefined) this.#dirty.add(key);
  }

  /** The item that the winning unit wants at `key`. */
  desired(key: string): T | undefined {
    return this.#winner(key)?.item;
  }

  /** All wanted items, each key once. */
  *allDesired(): Iterable<T> {
    for (const key of this.#claims.keys()) {
      const winner = this.#winner(key);
      if (winner !== undefined) yield winner.item;
    }
  }

  /** Number of items of ours in Linux. */
  owned(): number {
    let count = 0;
    for (const have of this.#actual.values()) if (have.owned) count++;
    return count;
  }

  /** The unit that holds `key`, if any does. */
  holder(key: string): Unit | undefined {
    return this.#winner(key)?.unit;
  }

  #decide(key: string): Decision<T> {
    const winner = this.#winner(key);
    const decision = decide(this.resource, winner?.item, this.#actual.get(key));
    const lost = winner === undefined ? undefined : this.#loser(key, winner);
    const conflict = decision !== undefined && "conflict" in decision ? decision.conflict : lost;
    if (conflict === undefined) this.#conflicts.delete(key);
    else this.#conflicts.set(key, conflict);
    return decision;
  }

  /** The conflict among units, if there is one: who waits for whom. */
  #loser(key: string, winner: Claim<T>): Conflict | undefined {
    // A lost parent is one conflict, not one for each of its children.
    if (this.#parent !== undefined) return undefined;
    const losers: string[] = [];
    for (let c = this.#claims.get(key); c !== undefined; c = c.next) {
      if (c === winner) continue;
      if (this.resource.exclusive === true || !this.resource.equal(c.item, winner.item)) {
        losers.push(c.unit.label);
      }
    }
    if (losers.length === 0) return undefined;
    return {
      kind: this.resource.kind,
      key,
      reason:
        `wanted by ${losers.toSorted().join(", ")} as well, but held by ${winner.unit.label}, ` +
        "which is older; give one of them another address or port",
    };
  }

  #winner(key: string): Claim<T> | undefined {
    let best: Claim<T> | undefined;
    for (let c = this.#claims.get(key); c !== undefined; c = c.next) {
      if (this.#parent !== undefined && this.resource.parent !== undefined) {
        if (this.#parent.holder(this.resource.parent(c.item)) !== c.unit) continue;
      }
      if (best === undefined || c.unit.rank < best.unit.rank) best = c;
    }
    return best;
  }

  #claim(key: string, unit: Unit, item: T): void {
    const first = this.#claims.get(key);
    for (let c = first; c !== undefined; c = c.next) {
      if (c.unit !== unit) continue;
      if (this.resource.equal(item, c.item) && this.resource.equal(c.item, item)) return;
      c.item = item;
      this.#dirty.add(key);
      return;
    }
    this.#claims.set(key, { unit, item, next: first });
    this.#dirty.add(key);
    if (first !== undefined) this.#dirtyChildren(key);
  }

  #unclaim(key: string, unit: Unit): void {
    const first = this.#claims.get(key);
    if (first?.unit === unit) {
      if (first.next === undefined) this.#claims.delete(key);
      else this.#claims.set(key, first.next);
    } else {
      for (let c = first; c !== undefined; c = c.next) {
        if (c.next?.unit === unit) c.next = c.next.next;
      }
    }
    this.#dirty.add(key);
    if (first?.next !== undefined) this.#dirtyChildren(key);
  }

  /** The holder of an exclusive key may have changed: what hangs below it must be judged again. */
  #dirtyChildren(key: string): void {
    for (const child of this.#children) {
      for (let c = this.#claims.get(key); c !== undefined; c = c.next) {
        for (const childKey of c.unit.keys.get(child) ?? NO_KEYS) child.#dirty.add(childKey);
      }
    }
  }

  /** The wanted object where it equals what Linux holds, so that both maps share it. */
  #shared(key: string, have: Actual<T>): Actual<T> {
    const claimed = this.#claims.get(key)?.item;
    return claimed !== undefined && have.owned && this.resource.equal(claimed, have.item) &&
        this.resource.equal(have.item, claimed)
      ? { item: claimed, owned: true }
      : have;
  }
}
