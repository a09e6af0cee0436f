/**
 * Makes Linux what one plugin's reconcilers say. 700 lines because it is one state machine: every part of a round shares
 * the trackers, the failures and the timer.
 *
 * A wake marks units dirty; a round evaluates them, then creates and updates down the kinds and deletes back up.
 * Rounds never overlap. The first wake after a quiet time runs at once; later ones wait until the minimum interval
 * has passed since the last round, and are coalesced. Linux is read back in full at the start, every few
 * minutes, and after anything that leaves doubt; drift seen by the tables wakes a round of just those keys.
 */

import type { Dataplane, Owner } from "../dataplane/dataplane.ts";
import { KernelError } from "../dataplane/errors.ts";
import { type Conflict, type Plan, plan } from "../dataplane/plan.ts";
import type {
  Actual,
  Drift,
  Op,
  Outcome,
  Resource,
  Table,
  TableRef,
} from "../dataplane/resource.ts";
import { Tracker } from "../dataplane/tracker.ts";
import type { Input, Logger, Reconciler, RetirementRule } from "../plugin.ts";
import { retryDelay } from "./backoff.ts";
import { type Clock, endsWithin } from "./clock.ts";
import { type Kept, Retiring } from "./retiring.ts";
import type { PluginPhase, PluginStatus, Problem } from "./status.ts";
import { Tally } from "./tally.ts";
import { Evaluation, type Holder } from "./evaluation.ts";
import { Units, type UnitState } from "./units.ts";

/** What the engine tells whoever measures. */
export interface EngineObserver {
  /** The first round begins: until now the inputs were waited for. */
  begin?(): void;
  /** A round begins with all that has come until now. */
  roundStarts?(): void;
  /**
   * `sinceEvent`: ms from the arrival of the first change that the round served to its end, so parsing included;
   * absent where the round came by itself.
   */
  round(result: { readonly ms: number; readonly sinceEvent?: number; readonly ok: boolean }): void;
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
  /** Another plugin that wants this key, if one does, and what it wants there. */
  readonly heldElsewhere: (kind: string, key: string) => Holder | undefined;
  /** Whether objects are missing of which an earlier run may have known: what it left in Linux is not removed then. */
  readonly incomplete: () => boolean;
  /** Called when something that `status` or `settled` say may have changed. */
  readonly onChange: () => void;
}

/** One kind's part of a dry run. */
export interface TablePlan<T = unknown> extends Plan<T> {
  readonly resource: Resource<T>;
  /** The unit that wants an item, by its key, as logs name it: "service default/web". */
  readonly wantedBy: (key: string) => string | undefined;
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
  /** What moved while a list ran, which may have been read before. */
  missed: Drift<unknown>[] | undefined;
  /** Keys that moved while ops ran, before or after them. */
  doubted: Set<string> | undefined;
  unwatch: (() => void) | undefined;
}

/** What stays until an input is synced. */
interface Hold {
  readonly open: OpenTable;
  readonly until: Input;
  readonly concerns: (item: unknown) => boolean;
}

function collectHeld({ open: { tracker }, until, concerns }: Hold, kept: Kept): void {
  if (until.synced) return;
  const keys = kept.get(tracker) ?? new Set();
  kept.set(tracker, keys);
  for (const [key, { item, owned }] of tracker.actual) if (owned && concerns(item)) keys.add(key);
}

/** Refusals that mean that Linux is not as we believed. */
const DOUBTS: ReadonlySet<string> = new Set(["EEXIST", "ENOENT", "ESRCH", "ENOBUFS", "ETIMEDOUT"]);
/** Warnings of one kind in one round that are logged one by one; of more only the number is. */
const LOGGED_WARNINGS = 20;
/** Milliseconds that a round may take to end when the agent stops. */
const STOP_TIMEOUT = 5_000;
/** Milliseconds after which the log says what is waited for. */
const WAIT_TOLD = 3_000;
const LISTED_PROBLEMS = 100;
const NO_KEYS: ReadonlySet<string> = new Set();

export class Engine {
  readonly #options: EngineOptions;
  readonly #tables: readonly OpenTable[];
  readonly #evaluation: Evaluation<OpenTable>;
  readonly #units: Units[] = [];
  readonly #retiring: Retiring[] = [];
  readonly #holds: Hold[] = [];
  readonly #unsubscribe: (() => void)[] = [];
  #phase: PluginPhase = "waiting";
  #reason: string | undefined;
  #running: Promise<void> | undefined;
  /** A round runs, its first synchronous part included. */
  #busy = false;
  #cancelTimer: (() => void) | undefined;
  /** What the log says, or is about to say, that is waited for. */
  #toldWait: string | undefined;
  #cancelWait: (() => void) | undefined;
  #timerAt = Infinity;
  #lastEnd = -Infinity;
  #nextFull = 0;
  /** What an earlier run left stays for now. */
  #keepsUnknown = false;
  /** When the first change arrived that no round has taken up. */
  #wokenAt: number | undefined;
  #failedRounds = 0;
  #rounds = 0;
  #lastRoundMs: number | undefined;
  #lastSuccess: number | undefined;
  /** Before `start` nothing is read or written: a dry run sets plugins up and must leave Linux alone. */
  #started = false;
  #stopped = false;
  /** Warnings of this round, by message. */
  readonly #told = new Map<string, number>();
  /** Milliseconds of this round that each kind took to write, by kind. */
  #writeMs: Record<string, number> = {};

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
      return {
        table,
        tracker,
        failures: new Map(),
        stale: true,
        missed: undefined,
        doubted: undefined,
        unwatch: undefined,
      };
    });
    for (const { tracker } of this.#tables) {
      const subjects = byKind.get(tracker.resource.subjectKind ?? "");
      if (subjects !== undefined) tracker.judge(subjects);
    }
    this.#evaluation = new Evaluation({
      plugin: options.owner.name,
      tables: this.#tables,
      heldElsewhere: options.heldElsewhere,
      warn: (message, fields) => this.#warn(message, fields),
    });
  }

  /** Adds a reconciler; without effect after `stop`, when a plugin's setup failed and still goes on. */
  add(reconciler: Reconciler): void {
    if (this.#stopped) return;
    const units = new Units(reconciler);
    this.#units.push(units);
    for (const input of reconciler.inputs) {
      this.#unsubscribe.push(input.subscribe((woken) => {
        units.mark(woken);
        if (units.dirty) this.#wokenAt ??= this.#options.clock.now() - ageOf(input);
        this.#wake();
      }));
    }
  }

  /** The table of a kind that the plugin declared. `does` stands in the message where it did not. */
  #opened({ resource }: TableRef<unknown>, does: string): OpenTable {
    const open = this.#tables.find((one) => one.tracker.resource === resource);
    if (open !== undefined) return open;
    throw new Error(
      `Plugin "${this.#options.owner.name}" ${does} items of kind "${resource.kind}", which its ` +
        `field "tables" does not name; add it there`,
    );
  }

  /** Leaves unwanted items in Linux until an input is synced. */
  hold(ref: TableRef<unknown>, until: Input, concerns: (item: unknown) => boolean): void {
    const open = this.#opened(ref, "holds");
    this.#holds.push({ open, until, concerns });
    let held = !until.synced;
    this.#unsubscribe.push(until.subscribe(() => {
      if (held === !until.synced) return;
      held = !until.synced;
      open.stale = true;
      this.#wake();
    }));
  }

  /** What of a kind Linux has now that is ours, or that may come to be. @throws {KernelError} */
  async listed(
    ref: TableRef<unknown>,
    as: "owned" | "adoptable",
  ): Promise<readonly unknown[]> {
    const { table } = this.#opened(ref, "reads");
    return (await table.list()).filter((have) => have[as] === true).map(({ item }) => item);
  }

  /** Lets items of a kind retire by `rule`. */
  retire(ref: TableRef<unknown>, rule: RetirementRule<unknown>): void {
    const { table, tracker } = this.#opened(ref, "retires");
    this.#retiring.push(
      new Retiring({
        table,
        tracker,
        rule,
        trackerOf: (kind) =>
          this.#tables.find((other) => other.tracker.resource.kind === kind)?.tracker,
        now: () => this.#options.clock.now(),
        unnoted: (reason) => this.#warn("Deadlines of what drains are not noted", { reason }),
      }),
    );
  }

  /** Starts watching Linux and runs the first round as soon as all inputs are synced. */
  start(): void {
    if (this.#stopped) return;
    this.#started = true;
    for (const open of this.#tables) {
      open.unwatch = this.#watch(open);
    }
    this.#wake();
  }

  /** A kind that cannot be watched is still read back in full rounds. */
  #watch(open: OpenTable): (() => void) | undefined {
    try {
      return open.table.watch?.({
        actual: open.tracker.actual,
        drift: (changes) => this.#drift(open, changes),
      });
    } catch (error) {
      const { kind } = open.tracker.resource;
      this.#options.log.error("Cannot watch Linux", { kind, reason: textOf(error) });
      return undefined;
    }
  }

  /** Stops after the round that runs, or without it where it hangs. Linux stays as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelTimer?.();
    this.#cancelWait?.();
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    for (const open of this.#tables) open.unwatch?.();
    const { clock, log } = this.#options;
    const round = this.#running;
    if (round !== undefined && !await endsWithin(clock, STOP_TIMEOUT, round)) {
      log.warn("Stopping in the middle of a round", { waited: STOP_TIMEOUT });
    }
    this.#phase = "stopped";
  }

  /** Whether all that is known has been carried out, or has been said to be impossible. */
  get settled(): boolean {
    return this.#rounds > 0 && !this.#busy && !this.#due();
  }

  get phase(): PluginPhase {
    return this.#phase;
  }

  /** Why the plugin is degraded as a whole, while it is; or what it waits for besides first lists. */
  get reason(): string | undefined {
    return this.#phase === "waiting" ? this.waitsFor : this.#reason;
  }

  /** What its inputs lack besides first lists, with the remedy. */
  get waitsFor(): string | undefined {
    const texts = this.#units.flatMap(({ reconciler }) =>
      reconciler.inputs.flatMap((input) => input.synced ? [] : input.waitsFor ?? [])
    );
    return texts.length === 0 ? undefined : [...new Set(texts)].join("; ");
  }

  /** What this plugin wants at `key`. */
  desired(kind: string, key: string): unknown {
    for (const { tracker } of this.#tables) {
      if (tracker.resource.kind === kind) return tracker.desired(key);
    }
    return undefined;
  }

  /** Name of the unit that holds a key, if one does. */
  holder(kind: string, key: string): string | undefined {
    const open = this.#tables.find(({ tracker }) => tracker.resource.kind === kind);
    return (open?.tracker.holder(key) as UnitState | undefined)?.name;
  }

  /** The same as logs name it: "service default/web". */
  holderLabel(kind: string, key: string): string | undefined {
    return this.#tables.find(({ tracker }) => tracker.resource.kind === kind)?.tracker.holder(key)
      ?.label;
  }

  /** Another plugin may have let go of a key that was refused here. Linux does not tell us of its changes. */
  recheck(): void {
    for (const [unit, refused] of this.#evaluation.refused) {
      for (const { units, open, key } of refused) {
        const { kind } = open.tracker.resource;
        if (this.#options.heldElsewhere(kind, key) !== undefined) continue;
        units.mark([unit.name]);
        this.#doubt(open);
        // What was wanted below a key that was refused.
        this.#doubtBelow(open);
      }
    }
    this.#wake();
  }

  /** Another plugin that goes before this one wants a key that is held here: its unit is asked again, and refused. */
  yieldKey(kind: string, key: string): void {
    for (const { tracker } of this.#tables) {
      if (tracker.resource.kind !== kind) continue;
      const holder = tracker.holder(key) as UnitState | undefined;
      for (const units of this.#units) {
        if (holder !== undefined && [...units.values()].includes(holder)) units.mark([holder.name]);
      }
    }
    this.#wake();
  }

  /** Linux is not as this engine believes: another plugin has let go of something. */
  reread(kind: string): void {
    for (const open of this.#tables) if (open.tracker.resource.kind === kind) this.#doubt(open);
    this.#wake();
  }

  status(): PluginStatus {
    const problems = this.#problems();
    const { reason } = this;
    return {
      name: this.#options.owner.name,
      phase: this.#phase,
      ...(reason === undefined ? {} : { reason }),
      owned: Object.fromEntries(
        this.#tables.map((open) => [open.tracker.resource.kind, open.tracker.owned()]),
      ),
      pending: this.#tables.reduce((sum, open) => sum + open.tracker.pending, 0) +
        this.#units.reduce((sum, units) => sum + units.pending, 0),
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
   * @param inProcess what lives in this process as well: of another one that runs nobody can tell
   * @throws {KernelError} when Linux cannot be read
   */
  async preview(inProcess = false): Promise<readonly TablePlan[]> {
    this.#noteIncomplete();
    this.#evaluate();
    const lists: (readonly Actual<unknown>[])[] = [];
    for (const { table, tracker } of this.#tables) {
      const list = await table.list();
      tracker.replaceActual(list);
      lists.push(list);
    }
    for (const retiring of this.#retiring) retiring.preview();
    this.#keep();
    const plans: TablePlan[] = [];
    for (const [index, { tracker }] of this.#tables.entries()) {
      const list = lists[index] ?? [];
      const found = plan(tracker.resource, tracker.allDesired(), list);
      const difference = tracker.resource.inProcess === true && !inProcess
        ? { ...found, upserts: [], deletes: [] }
        : found;
      tracker.take("upserts");
      plans.push({
        ...difference,
        deletes: difference.deletes.filter((op) => !tracker.keeps(op)),
        conflicts: [...tracker.conflicts],
        resource: tracker.resource,
        wantedBy: (key) => tracker.holder(key)?.label,
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
          problems.push({ type: "problem", subject: unit.label, reason });
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
        const unit = tracker.holder(key)?.label;
        const whose = unit === undefined ? {} : { unit };
        problems.push({ type: "failed", subject, ...whose, reason: error.message });
      }
    }
    return problems;
  }

  #drift(open: OpenTable, changes: readonly Drift<unknown>[] | "unknown"): void {
    if (changes === "unknown") {
      open.stale = true;
    } else if (open.missed !== undefined) {
      open.missed.push(...changes);
    } else {
      for (const { key } of open.doubted === undefined ? [] : changes) open.doubted?.add(key);
      const { concerned, turned } = open.tracker.drift(changes);
      if (turned) this.#doubtBelow(open);
      if (!concerned) return;
    }
    this.#wake();
  }

  /** What hung below a lost parent went with it, and Linux does not tell of each. Parents come first in the order. */
  #doubtBelow(open: OpenTable): void {
    if (!open.tracker.isParent) return;
    for (const other of this.#tables.slice(this.#tables.indexOf(open) + 1)) other.stale = true;
  }

  #synced(): boolean {
    return this.#units.every((units) => units.synced);
  }

  /** Whether there is work that does not wait for a retry. */
  #due(): boolean {
    return this.#units.some((units) => units.dirty) ||
      this.#keepsUnknown && !this.#options.incomplete() ||
      this.#tables.some((open) => open.stale || open.tracker.pending > 0);
  }

  #wake(): void {
    if (!this.#started || this.#stopped || this.#busy) return;
    if (!this.#synced()) return this.#tellWait();
    const { minInterval } = this.#options;
    const backoff = this.#failedRounds === 0 ? 0 : retryDelay(this.#failedRounds);
    // The interval holds for retries and read-backs too, so that no mistake makes rounds run hot.
    const at = this.#due() ? -Infinity : this.#nextWork();
    this.#schedule(Math.max(at, this.#lastEnd + minInterval + backoff));
  }

  /** Says in the log what is waited for, where that takes more than a moment. Sources tell of missing lists. */
  #tellWait(): void {
    const { clock, log } = this.#options;
    const reason = this.waitsFor;
    if (reason === this.#toldWait) return;
    this.#cancelWait?.();
    this.#toldWait = reason;
    if (reason === undefined) return;
    this.#cancelWait = clock.after(WAIT_TOLD, () => log.warn("Plugin waits", { reason }));
  }

  /** When the next retry, look at what retires, or full read-back is due. */
  #nextWork(): number {
    let at = this.#nextFull;
    for (const { failures } of this.#tables) {
      for (const failure of failures.values()) at = Math.min(at, failure.at);
    }
    for (const { next } of this.#retiring) at = Math.min(at, next);
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
    if (this.#phase === "waiting") {
      this.#phase = "starting";
      this.#cancelWait?.();
      observer?.begin?.();
    }
    observer?.roundStarts?.();
    this.#writeMs = {};
    let ok = true;
    let listed = start;
    let evaluated = start;
    try {
      if (start >= this.#nextFull) {
        for (const open of this.#tables) open.stale = true;
        for (const units of this.#units) units.mark("all");
      }
      this.#noteIncomplete();
      this.#retry(start);
      await this.#list();
      listed = clock.now();
      this.#evaluate();
      evaluated = clock.now();
      for (const retiring of this.#retiring) await retiring.round();
      this.#keep();
      for (const open of this.#tables) await this.#apply(open, "upserts");
      for (const open of this.#tables.toReversed()) await this.#apply(open, "deletes");
      this.#forgetFailures();
      this.#judge(this.#foundationFailure());
      this.#failedRounds = 0;
      if (this.#reason === undefined) this.#lastSuccess = Date.now();
    } catch (error) {
      ok = false;
      this.#judge(textOf(error));
      this.#failedRounds++;
      // Some ops may have been taken and not carried out.
      for (const open of this.#tables) open.stale = true;
    }
    this.#logConflicts();
    this.#logRest();
    this.#rounds++;
    this.#lastEnd = clock.now();
    this.#lastRoundMs = this.#lastEnd - start;
    if (start >= this.#nextFull && ok) this.#nextFull = this.#lastEnd + this.#options.fullInterval;
    const sinceEvent = woken === undefined ? {} : { sinceEvent: this.#lastEnd - woken };
    observer?.round({ ms: this.#lastRoundMs, ...sinceEvent, ok });
    log.debug("Round done", {
      ms: this.#lastRoundMs,
      listMs: listed - start,
      evaluateMs: evaluated - listed,
      writeMs: this.#writeMs,
      ...sinceEvent,
      ok,
    });
  }

  #noteIncomplete(): void {
    const before = this.#keepsUnknown;
    this.#keepsUnknown = this.#options.incomplete();
    for (const open of this.#tables) {
      open.tracker.keepsUnknown = this.#keepsUnknown;
      if (before && !this.#keepsUnknown) open.stale = true;
    }
  }

  #judge(reason: string | undefined): void {
    const { log } = this.#options;
    if (reason !== undefined && this.#reason !== reason) log.error("Plugin degraded", { reason });
    if (reason === undefined && this.#phase === "degraded") log.info("Plugin recovered");
    this.#phase = reason === undefined ? "ready" : "degraded";
    this.#reason = reason;
  }

  /** What the whole plugin stands on and cannot have: a failed op, or something of others in its place. */
  #foundationFailure(): string | undefined {
    for (const { tracker, failures } of this.#tables) {
      if (tracker.resource.foundation !== true) continue;
      for (const { error, item } of failures.values()) {
        if (tracker.resource.isDispensable?.(item) !== true) return error.message;
      }
      for (const { foreign, reason } of tracker.conflicts) if (foreign === true) return reason;
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
    for (const { tracker } of this.#tables) {
      for (const { kind, key, reason } of tracker.takeNewConflicts()) {
        this.#warn("Conflict", { kind, key, reason });
      }
    }
  }

  /** Logs a warning, unless this round has logged many of them. */
  #warn(message: string, fields: object): void {
    const count = (this.#told.get(message) ?? 0) + 1;
    this.#told.set(message, count);
    if (count <= LOGGED_WARNINGS) this.#options.log.warn(message, fields);
  }

  #logRest(): void {
    for (const [message, count] of this.#told) {
      const more = count - LOGGED_WARNINGS;
      if (more > 0) this.#options.log.warn("More of the same", { warning: message, more });
    }
    this.#told.clear();
  }

  /** Takes up the failed ops that are due. Where Linux was not as we believed, it is read back first. */
  #retry(now: number): void {
    for (const open of this.#tables) {
      for (const [key, failure] of open.failures) {
        if (failure.at > now) continue;
        open.tracker.touch(key);
        if (DOUBTS.has(failure.error.code)) this.#doubt(open);
      }
    }
  }

  /** Marks a kind, and its parents' kinds, to be read back. */
  #doubt(open: OpenTable): void {
    const { parentKind } = open.tracker.resource;
    open.stale = true;
    for (const other of parentKind === undefined ? [] : this.#tables) {
      if (other.tracker.resource.kind === parentKind) this.#doubt(other);
    }
  }

  /** Reads Linux back where it is in doubt. A failed list ends the round: nobody plans against a guess. */
  async #list(): Promise<void> {
    for (const open of this.#tables) {
      if (!open.stale) continue;
      // Events that are lost while the list runs make it stale again; others are applied on top of it.
      open.stale = false;
      open.missed = [];
      try {
        const list = await open.table.list();
        if (open.tracker.replaceActual(list)) this.#doubtBelow(open);
      } finally {
        const { missed } = open;
        open.missed = undefined;
        if (missed.length > 0) this.#drift(open, missed);
      }
    }
  }

  #evaluate(): void {
    for (const units of this.#units) {
      const taken = units.take();
      try {
        for (const unit of taken) {
          this.#evaluation.run(units, unit);
          units.settle(unit);
        }
      } catch (error) {
        units.mark("all");
        throw error;
      }
    }
  }

  /** Tells the trackers what stays although nobody wants it. */
  #keep(): void {
    if (this.#retiring.length === 0 && this.#holds.length === 0) return;
    const kept: Kept = new Map();
    for (const retiring of this.#retiring) retiring.collect(kept);
    for (const hold of this.#holds) collectHeld(hold, kept);
    for (const { tracker } of this.#tables) tracker.keep(kept.get(tracker) ?? NO_KEYS);
  }

  async #apply(open: OpenTable, verbs: "upserts" | "deletes"): Promise<void> {
    const taken = open.tracker.take(verbs);
    const ops = open.failures.size === 0 ? taken : this.#notPutOff(open, taken);
    if (ops.length === 0) return;
    open.doubted = new Set();
    const { kind } = open.tracker.resource;
    const start = this.#options.clock.now();
    let outcomes: readonly Outcome<unknown>[];
    let doubted: ReadonlySet<string>;
    try {
      outcomes = await open.table.apply(ops);
    } finally {
      doubted = open.doubted;
      open.doubted = undefined;
      this.#writeMs[kind] = (this.#writeMs[kind] ?? 0) + this.#options.clock.now() - start;
    }
    if (outcomes.length !== ops.length) {
      throw new Error(`Table "${kind}" gave ${outcomes.length} outcomes for ${ops.length} changes`);
    }
    const tally = new Tally(open.tracker.resource);
    for (const outcome of outcomes) {
      tally.add(outcome.op, this.#settle(open, outcome));
      // Nobody can say whether it moved before our change or after it.
      if (doubted.size > 0 && doubted.has(open.tracker.resource.key(outcome.op.item))) {
        open.stale = true;
      }
    }
    open.tracker.release();
    const { log, observer } = this.#options;
    if (observer !== undefined) tally.observe(observer.ops.bind(observer));
    tally.log(log);
  }

  /** Without those that failed before and wait for their next try. */
  #notPutOff(
    { tracker, failures }: OpenTable,
    ops: readonly Op<unknown>[],
  ): readonly Op<unknown>[] {
    const now = this.#options.clock.now();
    return ops.filter((op) => {
      const failure = failures.get(tracker.resource.key(op.item));
      return failure === undefined || failure.at <= now || failure.item !== op.item;
    });
  }

  /** What everything stands on is there again: what failed for want of it need not wait any longer. */
  #hurry(): void {
    for (const { failures } of this.#tables) {
      for (const [key, failure] of failures) failures.set(key, { ...failure, at: -Infinity });
    }
  }

  /** Takes in one outcome. Returns whether the op repaired something, or undefined if Linux refused it. */
  #settle(
    { tracker, failures }: OpenTable,
    { op, error, note, made }: Outcome<unknown>,
  ): boolean | undefined {
    const { clock, log } = this.#options;
    const { kind } = tracker.resource;
    if (error === undefined) {
      // A key is made only where it is needed: 50,000 of them are seen here at the start.
      const recovered = failures.size > 0 && failures.delete(tracker.resource.key(op.item));
      if (recovered && tracker.resource.foundation === true) this.#hurry();
      const repair = tracker.applied(op);
      if (note !== undefined) {
        log.info("Left out", { kind, key: tracker.resource.key(op.item), note });
      }
      return repair;
    }
    if (made !== undefined) tracker.stoodIn(op, made);
    const key = tracker.resource.key(op.item);
    const before = failures.get(key);
    const attempts = before !== undefined && before.item === op.item ? before.attempts + 1 : 1;
    const at = clock.now() + retryDelay(attempts);
    failures.set(key, { attempts, error, item: op.item, at });
    if (before?.error.message !== error.message) {
      const unit = tracker.holder(key)?.label;
      const whose = unit === undefined ? {} : { unit };
      const { verb } = op;
      this.#warn("Linux refused a change", { kind, key, ...whose, verb, error: error.message });
    }
    return undefined;
  }
}

/** Milliseconds since the cause of a wake reached this process. The engine's clock may count from elsewhere. */
function ageOf({ receivedAt }: Input): number {
  return receivedAt === undefined ? 0 : performance.now() - receivedAt;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export type { Conflict };
