/** The units of one reconciler: which exist, which must be looked at again, what each of them reported. */

import { rerank, type Slot, type Unit } from "../dataplane/slot.ts";
import type { Reconciler } from "../plugin.ts";

/** Shared: at 10,000 units nearly all have nothing to say. */
export const NO_REPORTS: ReadonlySet<string> = new Set();
const NO_SLOTS: readonly Slot[] = [];

interface Said {
  readonly reports: ReadonlySet<string>;
  readonly failure: string | undefined;
}

/** A unit and what its last evaluation said. */
export class UnitState implements Unit {
  readonly name: string;
  slots: readonly Slot[] = NO_SLOTS;
  /** What it reported, and the text of what `desired` threw: together, and hardly ever there, in each of 100,000 units. */
  #said: Said | undefined;
  /** The last time that all units were taken and this one was among them. */
  turn = 0;
  readonly #reconciler: Reconciler;
  #rank: string | undefined;

  constructor(reconciler: Reconciler, name: string) {
    this.#reconciler = reconciler;
    this.name = name;
  }

  get reports(): ReadonlySet<string> {
    return this.#said?.reports ?? NO_REPORTS;
  }

  /** Text of what `desired` threw, while it does. */
  get failure(): string | undefined {
    return this.#said?.failure;
  }

  say(reports: ReadonlySet<string>, failure?: string): void {
    this.#said = reports.size === 0 && failure === undefined ? undefined : { reports, failure };
  }

  /** Made when two units want one key, which is rare. */
  get rank(): string {
    return this.#rank ??= this.#currentRank();
  }

  set rank(rank: string) {
    this.#rank = rank;
  }

  /** The rank may have changed: where somebody has compared it, that is judged again. */
  rerank(): void {
    if (this.#rank !== undefined) rerank(this, this.#currentRank());
  }

  #currentRank(): string {
    return this.#reconciler.rank?.(this.name) ?? this.name;
  }

  get label(): string {
    return this.name === "" ? this.#reconciler.name : `${this.#reconciler.name} ${this.name}`;
  }
}

export class Units {
  readonly reconciler: Reconciler;
  readonly #units = new Map<string, UnitState>();
  #dirty = new Set<string>();
  #all = true;
  /** Counts the times that all were taken. */
  #turn = 0;

  constructor(reconciler: Reconciler) {
    this.reconciler = reconciler;
  }

  get synced(): boolean {
    return this.reconciler.inputs.every((input) => input.synced);
  }

  get dirty(): boolean {
    return this.#all || this.#dirty.size > 0;
  }

  /** Units to be looked at; where that is all of them, those that were known the last time, and at least one. */
  get pending(): number {
    return this.#all ? Math.max(1, this.#units.size) : this.#dirty.size;
  }

  mark(units: Iterable<string> | "all"): void {
    if (units === "all") this.#all = true;
    else if (!this.#all) { for (const unit of units) this.#dirty.add(unit); }
  }

  /**
   * Takes the units that must be evaluated now, those that are gone included. Where the plugin's own code throws,
   * none is taken.
   */
  take(): readonly UnitState[] {
    const taken: UnitState[] = [];
    if (this.#all) {
      this.#turn++;
      for (const name of this.reconciler.units()) this.#takeOnce(this.#state(name), taken);
      for (const unit of this.#units.values()) {
        if (unit.turn !== this.#turn) this.#takeOnce(this.#state(unit.name), taken);
      }
    } else {
      for (const name of this.#dirty) taken.push(this.#state(name));
    }
    this.#all = false;
    if (this.#dirty.size > 0) this.#dirty = new Set();
    return taken;
  }

  #takeOnce(unit: UnitState, taken: UnitState[]): void {
    if (unit.turn === this.#turn) return;
    unit.turn = this.#turn;
    taken.push(unit);
  }

  /** Forgets a unit that wants nothing and has nothing to say. */
  settle(unit: UnitState): void {
    if (unit.slots.length === 0 && unit.reports.size === 0 && unit.failure === undefined) {
      this.#units.delete(unit.name);
    }
  }

  values(): Iterable<UnitState> {
    return this.#units.values();
  }

  #state(name: string): UnitState {
    const old = this.#units.get(name);
    if (old !== undefined) {
      old.rerank();
      return old;
    }
    const unit = new UnitState(this.reconciler, name);
    this.#units.set(name, unit);
    return unit;
  }
}
