/**
 * Items that nobody wants any more and that are kept for a while: IPVS destinations that drain.
 *
 * An item goes when nothing uses it any more, or at its deadline; it stays where somebody wants it again. Deadlines are noted
 * before Linux is changed and outlive the process: a restart adopts what is left and goes on with the remaining time. There
 * is no other memory: what is kept is what Linux holds, so an item that is lost meanwhile is forgotten.
 */

import type { Table, TableRef } from "../dataplane/resource.ts";
import { KernelError } from "../dataplane/errors.ts";
import type { Tracker } from "../dataplane/tracker.ts";
import type { Retirement, RetirementRule } from "../plugin.ts";

/** Milliseconds between two looks at whether items are still used, and how much longer than one look that is at least. */
const CHECK_MS = 1000;
const CHECK_FACTOR = 50;

interface Retired {
  /** Milliseconds since boot. */
  readonly deadline: number;
  readonly needs: readonly { readonly tracker: Tracker<unknown>; readonly key: string }[];
  /** Its time is up, nothing uses it, or its rule keeps it no more: it is deleted, and not retired again. */
  over: boolean;
}

export interface RetiringOptions {
  readonly table: Table<unknown>;
  readonly tracker: Tracker<unknown>;
  readonly rule: RetirementRule<unknown>;
  /** The tracker of a kind, where the plugin has it. */
  readonly trackerOf: (kind: string) => Tracker<unknown> | undefined;
  /** Milliseconds since boot. */
  readonly now: () => number;
  /** Told when deadlines cannot be noted, with the reason. */
  readonly unnoted: (reason: string) => void;
}

/** What is to be kept, by kind. */
export type Kept = Map<Tracker<unknown>, Set<string>>;

/** The retired items of one kind. */
export class Retiring {
  readonly #options: RetiringOptions;
  readonly #retired = new Map<string, Retired>();
  #nextCheck = Infinity;
  /** What an earlier life noted has been taken up. */
  #adopted = false;
  /** What is still to be noted, and to be forgotten. */
  readonly #toNote = new Map<string, number>();
  readonly #toForget = new Set<string>();
  #told: string | undefined;

  constructor(options: RetiringOptions) {
    this.#options = options;
  }

  /** Items that are kept now. */
  get size(): number {
    return this.#retired.size;
  }

  /** When there is something to do: ms since boot. */
  get next(): number {
    let at = this.#nextCheck;
    for (const { deadline, over } of this.#retired.values()) {
      if (!over && deadline < at) at = deadline;
    }
    return at;
  }

  /**
   * Lets items go, and takes in those that nobody wants any more, before the changes of a round are taken.
   *
   * @throws {KernelError} when Linux cannot be read
   */
  async round(): Promise<void> {
    this.#forgetReturned();
    await this.#letGo();
    this.#begin(true);
    this.#write();
  }

  /** As `round`, for a dry run: nothing is noted. */
  preview(): void {
    this.#begin(false);
  }

  /** Adds what has to stay. */
  collect(kept: Kept): void {
    for (const [key, { needs, over }] of this.#retired) {
      if (over) continue;
      add(kept, this.#options.tracker, key);
      for (const need of needs) add(kept, need.tracker, need.key);
    }
  }

  /** What is wanted again is nobody's to delete; what Linux has lost needs no deletion. */
  #forgetReturned(): void {
    const { tracker } = this.#options;
    for (const key of this.#retired.keys()) {
      if (tracker.desired(key) === undefined && tracker.actual.get(key)?.owned === true) continue;
      this.#retired.delete(key);
      this.#toNote.delete(key);
      this.#toForget.add(key);
    }
    if (this.#retired.size === 0) this.#nextCheck = Infinity;
  }

  async #letGo(): Promise<void> {
    const { table, tracker } = this.#options;
    const now = this.#options.now();
    const items: unknown[] = [];
    for (const [key, retired] of this.#retired) {
      if (retired.over) continue;
      const item = tracker.actual.get(key)?.item;
      // What it stood on may have gone since: the rule is asked again.
      if (retired.deadline <= now || this.#options.rule(item, this.#parentOf(item)) === undefined) {
        retired.over = true;
      } else items.push(item);
    }
    if (now < this.#nextCheck || items.length === 0) return;
    for (const key of await table.retirements?.idle(items) ?? []) {
      const retired = this.#retired.get(key);
      if (retired !== undefined) retired.over = true;
    }
    const end = this.#options.now();
    this.#nextCheck = end + Math.max(CHECK_MS, CHECK_FACTOR * (end - now));
  }

  #begin(forReal: boolean): void {
    const { table, tracker } = this.#options;
    const { retirements } = table;
    if (retirements === undefined) return;
    const now = this.#options.now();
    let deadlines: ReadonlyMap<string, number> | undefined;
    for (const item of tracker.unwanted()) {
      const key = tracker.resource.key(item);
      if (this.#retired.has(key)) continue;
      const retirement = this.#options.rule(item, this.#parentOf(item));
      if (retirement === undefined) continue;
      deadlines ??= retirements.deadlines();
      const before = this.#toForget.has(key) ? undefined : deadlines.get(key);
      const deadline = Math.min(before ?? Infinity, now + retirement.ms);
      if (before === undefined && forReal) this.#toNote.set(key, deadline);
      this.#retired.set(key, {
        deadline,
        needs: this.#needs(item, retirement),
        over: deadline <= now,
      });
      if (this.#nextCheck === Infinity) this.#nextCheck = now + CHECK_MS;
    }
    if (!forReal || this.#adopted) return;
    this.#adopted = true;
    // Wanted again, or gone, while no agent ran.
    for (const key of retirements.deadlines().keys()) {
      if (!this.#retired.has(key)) this.#toForget.add(key);
    }
  }

  /**
   * Notes deadlines. Where that is impossible (a full disk) they hold for this life of the agent, and the next round tries again:
   * that an endpoint of before would drain too long after a restart is nothing against one that never comes in.
   */
  #write(): void {
    const { retirements } = this.#options.table;
    if (this.#toForget.size + this.#toNote.size === 0) return;
    try {
      // What drains anew is forgotten before it is noted.
      retirements?.forget([...this.#toForget]);
      this.#toForget.clear();
      if (this.#toNote.size > 0) retirements?.note(this.#toNote);
      this.#toNote.clear();
      this.#told = undefined;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      if (this.#told !== error.message) this.#options.unnoted(error.message);
      this.#told = error.message;
    }
  }

  #needs(item: unknown, { needs = [] }: Retirement): Retired["needs"] {
    const { tracker, trackerOf } = this.#options;
    const { parent, parentKind } = tracker.resource;
    const above = parentKind === undefined ? undefined : trackerOf(parentKind);
    return [
      ...(above === undefined || parent === undefined
        ? []
        : [{ tracker: above, key: parent(item) }]),
      ...needs.flatMap((need) => {
        const found = trackerOf((need.table as TableRef<unknown>).resource.kind);
        return found === undefined ? [] : [{ tracker: found, key: found.resource.key(need.item) }];
      }),
    ];
  }

  #parentOf(item: unknown): unknown {
    const { tracker, trackerOf } = this.#options;
    const { parent, parentKind } = tracker.resource;
    if (parentKind === undefined || parent === undefined) return undefined;
    return trackerOf(parentKind)?.actual.get(parent(item))?.item;
  }
}

function add(kept: Kept, tracker: Tracker<unknown>, key: string): void {
  const keys = kept.get(tracker);
  if (keys === undefined) kept.set(tracker, new Set([key]));
  else keys.add(key);
}
