/**
 * Makes Linux what one plugin's reconcilers say.
 *
 * A wake marks units dirty; a round evaluates them, then creates and updates down the kinds and deletes back up.
 * Rounds never overlap. The first wake after a quiet time runs at once; later ones wait until the minimum interval
 * has passed since the last round, and are coalesced. Linux is read back in full at the start, every few
 * minutes, and after anything that leaves doubt; drift seen by the tables wakes a round of just those keys.
 */

import type { Dataplane, Owner } from "../dataplane/dataplane.ts";
import { KernelError } from "../dataplane/errors.ts";
import { type Conflict, type Plan, plan } from "../dataplane/plan.ts";
import type { Drift, Op, Outcome, Resource, Table, TableRef } from "../dataplane/resource.ts";
import { Tracker } from "../dataplane/tracker.ts";
import type { Desired, Logger, Reconciler } from "../plugin.ts";
import { retryDelay } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import type { PluginPhase, PluginStatus, Problem } from "./status.ts";
import { NO_REPORTS, Units, type UnitState } from "./units.ts";

/** What the engine tells whoever measures. */
export interface EngineObserver {
  /** `sinceWake`: ms from the first wake that the round served to its end; absent where it came by itself. */
  round(result: { readonly ms: number; readonly sinceWake?: number; readonly ok: boolean }): void;
  ops(kind: string, verb: string, ok: boolean, count: number): void;
}

export interface EngineOptions {
  readonly owner: Owner;
  readonly dataplane: Dataplane;
  /** The kinds that the plugin declared, in creation order. */
  readonly tables: readonly TableRef<unknown>[];
  readonly log: Logger;
  readonly clock: Clock;
  readonly observer?: EngineObserver;
  /** Milliseconds between the end of a round and the next one. */
  readonly minInterval: number;
  /** Milliseconds between full read-backs. */
  readonly fullInterval: number;
  /** The name of another plugin that holds this key, if one does. */
  readonly heldElsewhere: (kind: string, key: string) => string | undefined;
  /** Called when something that `status` or `settled` say may have changed. */
  readonly onChange: () => void;
}

/** One kind's part of a dry run. */
export interface TablePlan<T = unknown> extends Plan<T> {
  readonly resource: Resource<T>;
}

interface Failure {
  readonly attempts: number;
  readonly error: KernelError;
  readonly item: unknown;
  /** When to try again. A newer version of the item does not wait for it. */
  readonly at: number;
}

interface OpenTable {
  readonly table: Table<unknown>;
  readonly tracker: Tracker<unknown>;
  readonly failures: Map<string, Failure>;
  stale: boolean;
  unwatch: (() => void) | undefined;
}

/** Refusals that mean that Linux is not as we believed. */
const DOUBTS: ReadonlySet<string> = new Set(["EEXIST", "ENOENT", "ESRCH", "ENOBUFS", "ETIMEDOUT"]);
/** Ops of one kind in one round that are logged one by one; more are summed up in one line. */
const LOGGED_OPS = 20;
const LISTED_PROBLEMS = 100;

export class Engine {
  readonly #options: EngineOptions;
  readonly #tables: readonly OpenTable[];
  readonly #byResource: ReadonlyMap<Resource<unknown>, OpenTable>;
  readonly #units: Units[] = [];
  readonly #unsubscribe: (() => void)[] = [];
  #phase: PluginPhase = "waiting";
  #reason: string | undefined;
  #running: Promise<void> | undefined;
  /** A round runs, its first synchronous part included. */
  #busy = false;
  #cancelTimer: (() => void) | undefined;
  #timerAt = Infinity;
  #lastEnd = -Infinity;
  #nextFull = 0;
  /** When the first change came that no round has taken up. */
  #wokenAt: number | undefined;
  #failedRounds = 0;
  #rounds = 0;
  #lastRoundMs: number | undefined;
  #lastSuccess: number | undefined;
  /** Before `start` nothing is read or written: a dry run sets plugins up and must leave Linux alone. */
  #started = false;
  #stopped = false;
  /** Conflicts that the log has told of. */
  #conflicts: ReadonlySet<string> = new Set();

  constructor(options: EngineOptions) {
    this.#options = options;
    const byKind = new Map<string, Tracker<unknown>>();
    this.#tables = options.tables.map((ref) => {
      const { resource } = ref;
      const tracker = new Tracker(
        resource,
        resource.parentKind === undefined ? undefined : byKind.get(resource.parentKind),
      );
      byKind.set(resource.kind, tracker);
      const table = options.dataplane.open(ref, options.owner);
      return { table, tracker, failures: new Map(), stale: true, unwatch: undefined };
    });
    this.#byResource = new Map(this.#tables.map((open) => [open.tracker.resource, open]));
  }

  /** Adds a reconciler; without effect after `stop`, when a plugin's setup failed and still goes on. */
  add(reconciler: Reconciler): void {
    if (this.#stopped) return;
    const units = new Units(reconciler);
    this.#units.push(units);
    for (const input of reconciler.inputs) {
      this.#unsubscribe.push(input.subscribe((woken) => {
        units.mark(woken);
        if (units.dirty) this.#wokenAt ??= this.#options.clock.now();
        this.#wake();
      }));
    }
  }

  /** Starts watching Linux and runs the first round as soon as all inputs are synced. */
  start(): void {
    if (this.#stopped) return;
    this.#started = true;
    for (const open of this.#tables) {
      open.unwatch = open.table.watch?.({
        actual: open.tracker.actual,
        drift: (changes) => this.#drift(open, changes),
      });
    }
    this.#wake();
  }

  /** Stops after the round that runs. Linux stays as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const open of this.#tables) open.unwatch?.();
    await this.#running;
    this.#phase = "stopped";
  }

  /** Whether all that is known has been carried out, or has been said to be impossible. */
  get settled(): boolean {
    return this.#rounds > 0 && !this.#busy && !this.#due();
  }

  get ready(): boolean {
    return this.#phase === "ready";
  }

  /** Whether this plugin wants `key`. */
  wants(kind: string, key: string): boolean {
    return this.#tables.some((open) =>
      open.tracker.resource.kind === kind && open.tracker.desired(key) !== undefined
    );
  }

  status(): PluginStatus {
    const problems = this.#problems();
    return {
      name: this.#options.owner.name,
      phase: this.#phase,
      ...(this.#reason === undefined ? {} : { reason: this.#reason }),
      owned: Object.fromEntries(
        this.#tables.map((open) => [open.tracker.resource.kind, open.tracker.owned()]),
      ),
      pending: this.#tables.reduce((sum, open) => sum + open.tracker.pending, 0),
      problems: problems.slice(0, LISTED_PROBLEMS),
      problemCount: problems.length,
      rounds: this.#rounds,
      ...(this.#lastRoundMs === undefined ? {} : { lastRoundMs: this.#lastRoundMs }),
      ...(this.#lastSuccess === undefined ? {} : { lastSuccess: this.#lastSuccess }),
    };
  }

  /**
   * What a round would do to Linux now, without doing it.
   *
   * @throws {KernelError} when Linux cannot be read
   */
  async preview(): Promise<readonly TablePlan[]> {
    this.#evaluate();
    const plans: TablePlan[] = [];
    for (const { table, tracker } of this.#tables) {
      const list = await table.list();
      tracker.replaceActual(list);
      const difference = plan(tracker.resource, tracker.allDesired(), list);
      tracker.take("upserts");
      plans.push({
        ...difference,
        conflicts: [...tracker.conflicts],
        resource: tracker.resource,
      });
    }
    return plans;
  }

  /** What is wrong now, object by object. */
  #problems(): readonly Problem[] {
    const problems: Problem[] = [];
    for (const units of this.#units) {
      for (const unit of units.values()) {
        for (const reason of unit.reports) {
          problems.push({ type: "reported", subject: unit.label, reason });
        }
        if (unit.failure !== undefined) {
          problems.push({ type: "failed", subject: unit.label, reason: unit.failure });
        }
      }
    }
    for (const { tracker, failures } of this.#tables) {
      for (const { kind, key, reason } of tracker.conflicts) {
        problems.push({ type: "conflict", subject: `${kind} ${key}`, reason });
      }
      for (const [key, { error }] of failures) {
        const subject = `${tracker.resource.kind} ${key}`;
        problems.push({ type: "failed", subject, reason: error.message });
      }
    }
    return problems;
  }

  #drift(open: OpenTable, changes: readonly Drift<unknown>[] | "unknown"): void {
    if (changes === "unknown") {
      open.stale = true;
    } else {
      const isParent = this.#tables.some((other) =>
        other.tracker.resource.parentKind === open.tracker.resource.kind
      );
      const lost = changes.some(({ key, actual }) =>
        actual === undefined && open.tracker.actual.get(key)?.owned === true
      );
      if (!open.tracker.drift(changes)) return;
      // What hung below a lost parent went with it, and Linux does not tell of each.
      if (isParent && lost) { for (const other of this.#tables) other.stale = true; }
    }
    this.#wake();
  }

  #synced(): boolean {
    return this.#units.every((units) => units.synced);
  }

  /** Whether there is work that does not wait for a retry. */
  #due(): boolean {
    return this.#units.some((units) => units.dirty) ||
      this.#tables.some((open) => open.stale || open.tracker.pending > 0);
  }

  #wake(): void {
    if (!this.#started || this.#stopped || this.#busy || !this.#synced()) return;
    const { minInterval } = this.#options;
    const backoff = this.#failedRounds === 0 ? 0 : retryDelay(this.#failedRounds);
    // The interval holds for retries and read-backs too, so that no mistake makes rounds run hot.
    const at = this.#due() ? -Infinity : this.#nextWork();
    this.#schedule(Math.max(at, this.#lastEnd + minInterval + backoff));
  }

  /** When the next retry or full read-back is due. */
  #nextWork(): number {
    let at = this.#nextFull;
    for (const { failures } of this.#tables) {
      for (const failure of failures.values()) at = Math.min(at, failure.at);
    }
    return at;
  }

  #schedule(at: number): void {
    if (at >= this.#timerAt) return;
    this.#cancelTimer?.();
    this.#timerAt = at;
    const delay = Math.max(0, at - this.#options.clock.now());
    this.#cancelTimer = this.#options.clock.after(delay, () => {
      this.#timerAt = Infinity;
      this.#cancelTimer = undefined;
      this.#busy = true;
      this.#running = this.#round().finally(() => {
        this.#busy = false;
        this.#running = undefined;
        this.#options.onChange();
        this.#wake();
      });
    });
  }

  async #round(): Promise<void> {
    const { clock, log, observer } = this.#options;
    const start = clock.now();
    const woken = this.#wokenAt;
    this.#wokenAt = undefined;
    if (this.#phase === "waiting") this.#phase = "starting";
    let ok = true;
    try {
      if (start >= this.#nextFull) {
        for (const open of this.#tables) open.stale = true;
        for (const units of this.#units) units.mark("all");
      }
      this.#retry(start);
      await this.#list();
      this.#evaluate();
      for (const open of this.#tables) await this.#apply(open, "upserts");
      for (const open of this.#tables.toReversed()) await this.#apply(open, "deletes");
      this.#forgetFailures();
      this.#judge(this.#foundationFailure());
      this.#failedRounds = 0;
      this.#lastSuccess = Date.now();
    } catch (error) {
      ok = false;
      const reason = error instanceof Error ? error.message : String(error);
      this.#judge(reason);
      this.#failedRounds++;
      // Some ops may have been taken and not carried out.
      for (const open of this.#tables) open.stale = true;
    }
    this.#logConflicts();
    this.#rounds++;
    this.#lastEnd = clock.now();
    this.#lastRoundMs = this.#lastEnd - start;
    if (start >= this.#nextFull && ok) this.#nextFull = this.#lastEnd + this.#options.fullInterval;
    const sinceWake = woken === undefined ? {} : { sinceWake: this.#lastEnd - woken };
    observer?.round({ ms: this.#lastRoundMs, ...sinceWake, ok });
    log.debug("Round done", { ms: this.#lastRoundMs, ...sinceWake, ok });
  }

  #judge(reason: string | undefined): void {
    const { log } = this.#options;
    if (reason !== undefined && this.#reason !== reason) log.error("Plugin degraded", { reason });
    if (reason === undefined && this.#phase === "degraded") log.info("Plugin recovered");
    this.#phase = reason === undefined ? "ready" : "degraded";
    this.#reason = reason;
  }

  /** A failed op of a kind that the whole plugin stands on. */
  #foundationFailure(): string | undefined {
    for (const { tracker, failures } of this.#tables) {
      if (tracker.resource.foundation !== true) continue;
      for (const { error } of failures.values()) return error.message;
    }
    return undefined;
  }

  /** Drops the failures of what is no longer to be done. */
  #forgetFailures(): void {
    for (const { tracker, failures } of this.#tables) {
      for (const key of failures.keys()) if (tracker.inOrder(key)) failures.delete(key);
    }
  }

  #logConflicts(): void {
    const now = new Set<string>();
    for (const { tracker } of this.#tables) {
      for (const { kind, key, reason } of tracker.conflicts) {
        const text = `${kind} ${key}: ${reason}`;
        now.add(text);
        if (!this.#conflicts.has(text)) this.#options.log.warn("Conflict", { kind, key, reason });
      }
    }
    this.#conflicts = now;
  }

  /** Takes up the failed ops that are due. Where Linux was not as we believed, it is read back first. */
  #retry(now: number): void {
    for (const open of this.#tables) {
      for (const [key, failure] of open.failures) {
        if (failure.at > now) continue;
        open.tracker.touch(key);
        if (DOUBTS.has(failure.error.code)) open.stale = true;
      }
    }
  }

  /** Reads Linux back where it is in doubt. A failed list ends the round: nobody plans against a guess. */
  async #list(): Promise<void> {
    for (const open of this.#tables) {
      if (!open.stale) continue;
      const list = await open.table.list();
      open.stale = false;
      open.tracker.replaceActual(list);
    }
  }

  #evaluate(): void {
    for (const units of this.#units) {
      for (const unit of units.take()) {
        this.#evaluateUnit(units.reconciler, unit);
        units.settle(unit);
      }
    }
  }

  #evaluateUnit(reconciler: Reconciler, unit: UnitState): void {
    const wanted = new Map<OpenTable, unknown[]>();
    const reports = new Set<string>();
    const desired: Desired = {
      want: (ref, item) => this.#want(wanted, reports, ref as TableRef<unknown>, item),
      report: (problem) => void reports.add(problem),
    };
    const { log } = this.#options;
    try {
      reconciler.desired(unit.name, desired);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (unit.failure !== reason) log.error("Unit degraded", { unit: unit.label, reason });
      unit.failure = reason;
      return;
    }
    unit.failure = undefined;
    for (const problem of reports) {
      if (!unit.reports.has(problem)) log.warn("Object ignored", { unit: unit.label, problem });
    }
    unit.reports = reports.size === 0 ? NO_REPORTS : reports;
    for (const open of this.#tables) open.tracker.want(unit, wanted.get(open) ?? []);
  }

  #want(
    wanted: Map<OpenTable, unknown[]>,
    reports: Set<string>,
    ref: TableRef<unknown>,
    item: unknown,
  ): void {
    const open = this.#byResource.get(ref.resource);
    if (open === undefined) {
      throw new Error(
        `Plugin "${this.#options.owner.name}" wants an item of kind "${ref.resource.kind}", which its ` +
          `field "tables" does not name; add it there`,
      );
    }
    const { kind } = ref.resource;
    const refusal = open.table.refuse?.(item);
    const holder = this.#options.heldElsewhere(kind, ref.resource.key(item));
    if (refusal !== undefined) {
      reports.add(`Refused ${ref.resource.describe(item)}: ${refusal}`);
    } else if (holder !== undefined) {
      reports.add(
        `Refused ${
          ref.resource.describe(item)
        }: plugin "${holder}" holds it; let only one of them want it`,
      );
    } else {
      const items = wanted.get(open);
      if (items === undefined) wanted.set(open, [item]);
      else items.push(item);
    }
  }

  async #apply(open: OpenTable, verbs: "upserts" | "deletes"): Promise<void> {
    const now = this.#options.clock.now();
    const ops = open.tracker.take(verbs).filter((op) => {
      const failure = open.failures.get(open.tracker.resource.key(op.item));
      return failure === undefined || failure.at <= now || failure.item !== op.item;
    });
    if (ops.length === 0) return;
    const outcomes = await open.table.apply(ops);
    const done: Op<unknown>[] = [];
    for (const outcome of outcomes) {
      if (outcome.error === undefined) done.push(outcome.op);
      this.#settle(open, outcome);
    }
    this.#logOps(open, done);
  }

  #settle({ tracker, failures }: OpenTable, { op, error, note }: Outcome<unknown>): void {
    const { clock, log, observer } = this.#options;
    const { kind } = tracker.resource;
    const key = tracker.resource.key(op.item);
    observer?.ops(kind, op.verb, error === undefined, 1);
    if (error === undefined) {
      failures.delete(key);
      tracker.applied(op);
      if (note !== undefined) log.info("Left out", { kind, key, note });
      return;
    }
    const before = failures.get(key);
    const attempts = (before?.attempts ?? 0) + 1;
    const at = clock.now() + retryDelay(attempts);
    failures.set(key, { attempts, error, item: op.item, at });
    if (before?.error.message !== error.message) {
      log.warn("Linux refused a change", { kind, key, verb: op.verb, error: error.message });
    }
  }

  #logOps({ tracker }: OpenTable, ops: readonly Op<unknown>[]): void {
    const { log } = this.#options;
    const { kind } = tracker.resource;
    const repaired = ops.filter((op) => tracker.takeDrifted(tracker.resource.key(op.item))).length;
    if (ops.length > LOGGED_OPS) {
      const count = (verb: string): number => ops.filter((op) => op.verb === verb).length;
      log.info("Changed Linux", {
        kind,
        created: count("create"),
        updated: count("update"),
        deleted: count("delete"),
        repaired,
      });
      return;
    }
    for (const op of ops) {
      const item = tracker.resource.describe(op.item);
      log.info(repaired > 0 ? "Repaired Linux" : "Changed Linux", { verb: op.verb, item });
    }
  }
}

export type { Conflict };
