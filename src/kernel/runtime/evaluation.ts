/**
 * Asks a plugin what one unit wants, and hands that to the trackers. What is needed for the asking is made once, not
 * for each unit: at 10,000 units, what is made and thrown away costs more than all the rest.
 */

import type { Resource, Table, TableRef } from "../dataplane/resource.ts";
import type { Tracker } from "../dataplane/tracker.ts";
import type { Desired } from "../plugin.ts";
import { NO_REPORTS, type Units, type UnitState } from "./units.ts";

/** A plugin and what it wants at a key. */
export interface Holder {
  readonly plugin: string;
  readonly item: unknown;
}

/** A kind that the plugin declared. */
export interface DeclaredTable {
  readonly table: Table<unknown>;
  readonly tracker: Tracker<unknown>;
}

/** A key that another plugin holds. */
export interface Refused<T> {
  readonly units: Units;
  readonly open: T;
  readonly key: string;
}

export interface EvaluationOptions<T> {
  /** Name of the plugin, for messages. */
  readonly plugin: string;
  readonly tables: readonly T[];
  /** Another plugin that wants this key, if one does, and what it wants there. */
  readonly heldElsewhere: (kind: string, key: string) => Holder | undefined;
  readonly warn: (message: string, fields: object) => void;
}

/** What the unit wants of one kind: items, and beside them their keys. */
interface Wanted<T> {
  readonly open: T;
  readonly items: unknown[];
  readonly keys: string[];
}

export class Evaluation<T extends DeclaredTable> {
  /** Keys that other plugins hold, by the unit that wants them. */
  readonly refused: Map<UnitState, Refused<T>[]> = new Map();
  readonly #options: EvaluationOptions<T>;
  /** In creation order. Emptied before each unit. */
  readonly #wanted: readonly Wanted<T>[];
  readonly #byResource: ReadonlyMap<Resource<unknown>, Wanted<T>>;
  readonly #desired: Desired;
  /** The unit that is being asked about. */
  #units: Units | undefined;
  #unit: UnitState | undefined;
  #reports: Set<string> | undefined;

  constructor(options: EvaluationOptions<T>) {
    this.#options = options;
    this.#wanted = options.tables.map((open) => ({ open, items: [], keys: [] }));
    this.#byResource = new Map(this.#wanted.map((w) => [w.open.tracker.resource, w]));
    this.#desired = {
      want: (ref, item) => this.#want(ref as TableRef<unknown>, item),
      report: (problem) => this.#report(problem),
    };
  }

  /** Evaluates one unit. What its code throws is the unit's failure; what it wanted before stays. */
  run(units: Units, unit: UnitState): void {
    this.#begin(units, unit);
    try {
      units.reconciler.desired(unit.name, this.#desired);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (unit.failure !== reason) {
        this.#options.warn("Unit degraded", { unit: unit.label, reason });
      }
      unit.say(unit.reports, reason);
      return;
    } finally {
      this.#unit = undefined;
    }
    const reports = this.#reports ?? NO_REPORTS;
    if (reports !== NO_REPORTS) this.#tell(unit, reports);
    unit.say(reports);
    for (const { open, items, keys } of this.#wanted) {
      if (items.length > 0 || unit.slots.length > 0) open.tracker.want(unit, items, keys);
    }
  }

  #begin(units: Units, unit: UnitState): void {
    if (this.refused.size > 0) this.refused.delete(unit);
    this.#units = units;
    this.#unit = unit;
    this.#reports = undefined;
    for (const { items, keys } of this.#wanted) {
      items.length = 0;
      keys.length = 0;
    }
  }

  #tell(unit: UnitState, reports: ReadonlySet<string>): void {
    for (const problem of reports) {
      if (!unit.reports.has(problem)) {
        this.#options.warn("Object has a problem", { unit: unit.label, problem });
      }
    }
  }

  #report(problem: string): void {
    (this.#reports ??= new Set()).add(problem);
  }

  #want({ resource }: TableRef<unknown>, item: unknown): void {
    const { plugin, heldElsewhere } = this.#options;
    const wanted = this.#byResource.get(resource);
    if (wanted === undefined) {
      throw new Error(
        `Plugin "${plugin}" wants an item of kind "${resource.kind}", which its ` +
          `field "tables" does not name; add it there`,
      );
    }
    if (this.#unit === undefined) {
      throw new Error(
        `Plugin "${plugin}" wants ${resource.describe(item)} after "desired" returned; ` +
          "want everything within the call",
      );
    }
    const refusal = wanted.open.table.refuse?.(item);
    if (refusal !== undefined) {
      this.#report(`Refused ${resource.describe(item)}: ${refusal}`);
      return;
    }
    const key = resource.key(item);
    const holder = resource.perPlugin === true ? undefined : heldElsewhere(resource.kind, key);
    // With one holder alone the other would let go of what it holds when it comes second, as after a restart.
    if (
      holder === undefined || (resource.shared === true && resource.equal(item, holder.item))
    ) {
      wanted.items.push(item);
      wanted.keys.push(key);
    } else this.#refuse(wanted.open, key, item, holder);
  }

  #refuse(open: T, key: string, item: unknown, holder: Holder): void {
    const { resource } = open.tracker;
    const unit = this.#unit;
    const units = this.#units;
    if (unit !== undefined && units !== undefined) {
      const refused = this.refused.get(unit);
      if (refused === undefined) this.refused.set(unit, [{ units, open, key }]);
      else refused.push({ units, open, key });
    }
    if (resource.exclusive !== true && resource.equal(item, holder.item)) return;
    this.#report(
      `Refused ${
        resource.describe(item)
      }: plugin "${holder.plugin}" holds it; let only one of them want it`,
    );
  }
}
