/** The units of one reconciler: which exist, which must be looked at again, what each of them reported. */

import type { Unit } from "../dataplane/tracker.ts";
import type { Reconciler } from "../plugin.ts";

/** A unit and what its last evaluation said. */
export interface UnitState extends Unit {
  readonly name: string;
  reports: ReadonlySet<string>;
  /** Text of what `desired` threw, while it does. */
  failure: string | undefined;
}

/** Shared: at 10,000 units nearly all have nothing to say. */
export const NO_REPORTS: ReadonlySet<string> = new Set();

export class Units {
  readonly reconciler: Reconciler;
  readonly #units = new Map<string, UnitState>();
  #dirty = new Set<string>();
  #all = true;

  constructor(reconciler: Reconciler) {
    this.reconciler = reconciler;
  }

  get synced(): boolean {
    return this.reconciler.inputs.every((input) => input.synced);
  }

  get dirty(): boolean {
    return this.#all || this.#dirty.size > 0;
  }

  mark(units: Iterable<string> | "all"): void {
    if (units === "all") this.#all = true;
    else for (const unit of units) this.#dirty.add(unit);
  }

  /** Takes the units that must be evaluated now, those that are gone included. */
  take(): readonly UnitState[] {
    const names = this.#all
      ? new Set([...this.reconciler.units(), ...this.#units.keys()])
      : this.#dirty;
    this.#all = false;
    this.#dirty = new Set();
    const taken: UnitState[] = [];
    for (const name of names) taken.push(this.#state(name));
    return taken;
  }

  /** Forgets a unit that wants nothing and has nothing to say. */
  settle(unit: UnitState): void {
    if (unit.keys.size === 0 && unit.reports.size === 0 && unit.failure === undefined) {
      this.#units.delete(unit.name);
    }
  }

  values(): Iterable<UnitState> {
    return this.#units.values();
  }

  #state(name: string): UnitState {
    const rank = this.reconciler.rank?.(name) ?? name;
    const old = this.#units.get(name);
    if (old !== undefined) {
      old.rank = rank;
      return old;
    }
    const label = name === "" ? this.reconciler.name : `${this.reconciler.name} ${name}`;
    const unit: UnitState = {
      name,
      label,
      rank,
      keys: new Map(),
      reports: NO_REPORTS,
      failure: undefined,
    };
    this.#units.set(name, unit);
    return unit;
  }
}
