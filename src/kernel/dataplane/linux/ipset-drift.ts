/**
 * Notices what others change in ipsets of ours, which have no events: a look twice a second that may cost 0.2 % of a core,
 * and once a second where it costs more.
 *
 * Each look reads the heads of all sets, which say how many members each has. Where they are byte for byte what they were,
 * nothing moved; else a set's members are compared where their number is not what it was after our last change. Where time is
 * left, one set after another is compared as a whole: that finds a member that was exchanged for another.
 */

import type { Owner } from "../dataplane.ts";
import type { Actual, Drift, WatchContext } from "../resource.ts";
import { type IpSet, ipset, type IpSetMember, ipsetMember } from "../resources/ipset.ts";
import type { IpsetState } from "./ipset.ts";
import type { SetPart } from "./ipset-codec.ts";
import { ownsSet } from "./ipset-names.ts";
import { compared } from "./compared.ts";
import { Pace } from "./pace.ts";

const PERIOD_MS = 500;
/** A look never waits longer, whatever the one before it cost: on a busy machine its time is mostly others'. */
const LONGEST_MS = 1000;
/** Shares of a core that the heads, and the comparing of whole sets in turn, may take, and both at once after a quiet time. */
const HEADS_SHARE = 0.0015;
const SCRUB_SHARE = 0.0005;
const CREDIT_MS = 20;
/** Of one look, for comparing sets whose number of members is as it should be. */
const SCRUB_MS = 1;
/** To the next look where a comparison was cut short by our own writing: so many times in a row, and then once a second. */
const SOON_MS = 50;
const SOON_TIMES = 20;
/** Sets that are compared, and reported, together: what the first report has repaired cuts the next comparison short. */
const SETS_AT_ONCE = 64;
/** Members that are looked at before the event loop gets a turn. */
const LOOKED_AT_ONCE = 1024;

interface Watcher<T> {
  readonly owner: Owner;
  readonly context: WatchContext<T>;
}

export class IpsetDrift {
  readonly #state: IpsetState;
  readonly #sets = new Set<Watcher<IpSet>>();
  readonly #members = new Set<Watcher<IpSetMember>>();
  /** Members that each set should have: as many as at the last look, with what we have changed since. */
  #counts = new Map<string, number>();
  /** As many as Linux said at the last look. */
  #listed = new Map<string, number>();
  /** Sets that we have changed since: their heads may have come back to what they were. */
  readonly #touched = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #credit = CREDIT_MS;
  #scrubCredit = CREDIT_MS;
  #looked = 0;
  /** Sets to compare at the next look, whatever the number of their members. */
  readonly #suspects = new Set<string>();
  readonly #soon = new Pace(SOON_TIMES, LONGEST_MS);
  /** The set that was compared as a whole last; they take turns by name. */
  #last = "";
  #failing = false;
  /** Names of the sets of all watchers, in order, at the last look at all heads. */
  #names: readonly string[] = [];
  /** The next look is at all heads. */
  #everything = true;
  #closed = false;

  constructor(state: IpsetState) {
    this.#state = state;
    state.onApplied = (effects) => {
      for (const [name, effect] of effects) {
        const count = this.#counts.get(name);
        this.#touched.add(name);
        if (effect === "new") this.#counts.set(name, 0);
        else if (effect === "gone") this.#counts.delete(name);
        // Equal to no number that Linux says.
        else if (effect === "unknown") this.#counts.set(name, NaN);
        else if (count !== undefined) this.#counts.set(name, count + effect);
      }
    };
  }

  watchSets(owner: Owner, context: WatchContext<IpSet>): () => void {
    const watcher = { owner, context };
    this.#sets.add(watcher);
    this.#everything = true;
    this.#start();
    return () => {
      this.#sets.delete(watcher);
      this.#stopIfIdle();
    };
  }

  watchMembers(owner: Owner, context: WatchContext<IpSetMember>): () => void {
    const watcher = { owner, context };
    this.#members.add(watcher);
    this.#everything = true;
    this.#start();
    return () => {
      this.#members.delete(watcher);
      this.#stopIfIdle();
    };
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #start(): void {
    if (this.#timer !== undefined || this.#closed) return;
    this.#looked = performance.now();
    this.#schedule(PERIOD_MS);
  }

  #stopIfIdle(): void {
    if (this.#sets.size + this.#members.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(milliseconds: number): void {
    this.#timer = setTimeout(() => void this.#tick(), milliseconds).unref();
  }

  async #tick(): Promise<void> {
    const start = performance.now();
    const quiet = start - this.#looked;
    this.#looked = start;
    this.#credit = Math.min(CREDIT_MS, this.#credit + quiet * HEADS_SHARE);
    this.#scrubCredit = Math.min(CREDIT_MS, this.#scrubCredit + quiet * SCRUB_SHARE);
    try {
      if (!this.#state.busy && this.#believesAny()) await this.look();
      this.#failing = false;
    } catch {
      // The full list that "unknown" asks for meets the same error, and has someone to tell it to.
      const watchers = this.#failing ? [] : [...this.#sets, ...this.#members];
      for (const { context } of watchers) context.drift("unknown");
      this.#failing = true;
    }
    if (this.#timer === undefined || this.#closed) return;
    const soon = this.#suspects.size > 0 && this.#soon.wait() === 0;
    if (soon) this.#soon.spend();
    this.#schedule(soon ? SOON_MS : pauseBefore(this.#credit));
  }

  /** Before the first list, and where nobody has sets, there is nothing to look at. */
  #believesAny(): boolean {
    // Not its size, for which all that is believed would be counted.
    for (const { context } of this.#members) {
      for (const _key of context.actual.keys()) return true;
    }
    for (const { owner, context } of this.#sets) {
      for (const [name, { owned }] of context.actual) {
        if (owned && ownsSet(owner, name)) return true;
      }
    }
    return false;
  }

  /** One look, now; true when it reported something. @throws {KernelError} when Linux cannot be read */
  async look(): Promise<boolean> {
    const { generation } = this.#state;
    const start = performance.now();
    const some = this.#state.movedHeads();
    // A name that nobody knows stands where another stood.
    const known = !this.#everything && this.#suspects.size === 0 &&
      some?.every(({ name }) => this.#counts.has(name)) === true;
    const heads = known ? some ?? [] : await this.#state.list();
    // We wrote meanwhile: what was read is old.
    if (this.#old(generation)) {
      this.#everything = true;
      return false;
    }
    let found = this.#compareSets(heads, known);
    if (known) { for (const [name, count] of countsOf(heads)) this.#listed.set(name, count); }
    else this.#listed = countsOf(heads);
    const candidates = new Set([...heads.map(({ name }) => name), ...this.#touched]);
    const moved = [...candidates].filter((name) =>
      this.#suspects.has(name) || this.#counts.get(name) !== this.#listed.get(name)
    );
    this.#suspects.clear();
    this.#touched.clear();
    for (const name of moved) this.#counts.set(name, this.#listed.get(name) ?? NaN);
    if (!known) {
      this.#counts = new Map(this.#listed);
      this.#names = heads.map(({ name }) => name).filter((name) =>
        [...this.#members].some(({ owner }) => ownsSet(owner, name))
      ).toSorted();
      this.#everything = false;
    }
    // Looking closer at what others changed is repair, not idling.
    this.#credit -= performance.now() - start;
    for (let at = 0; at < moved.length; at += SETS_AT_ONCE) {
      const names = moved.slice(at, at + SETS_AT_ONCE);
      const compared = await this.#compareMembers(names);
      if (compared.found) found = true;
      // We wrote meanwhile. They may have moved all the same: look again.
      if (!compared.whole) { for (const name of names) this.#suspects.add(name); }
    }
    return found || (this.#scrubCredit > 0 && await this.#scrub());
  }

  #old(generation: number): boolean {
    return this.#state.busy || this.#state.generation !== generation;
  }

  /** @param some whether these are not all: those that are not among them are as they were */
  #compareSets(heads: readonly SetPart[], some: boolean): boolean {
    let found = false;
    if (some && heads.length === 0) return false;
    const names = new Set(heads.map(({ name }) => name));
    for (const { owner, context } of this.#sets) {
      const listed = heads.flatMap(({ head }): readonly Actual<IpSet>[] =>
        head === undefined ? [] : [{ item: head, owned: ownsSet(owner, head.name) }]
      );
      const changes = compared(
        ipset,
        context.actual,
        listed,
        ({ item }) => !some || names.has(item.name),
      );
      if (changes.length === 0) continue;
      context.drift(changes);
      found ||= changes.some(({ key }) => ownsSet(owner, key));
    }
    return found;
  }

  /** Compares the next sets as a whole, at least one. */
  async #scrub(): Promise<boolean> {
    const names = this.#names;
    let found = false;
    let spent = 0;
    for (let count = 0; count < names.length && spent < SCRUB_MS; count++) {
      const next = names.find((name) => name > this.#last) ?? names[0];
      if (next === undefined) break;
      this.#last = next;
      const compared = await this.#compareMembers([next]);
      if (compared.found) found = true;
      spent += compared.ms;
    }
    this.#scrubCredit -= spent;
    return found;
  }

  /**
   * Compares a few sets as a whole, bit by bit: with 10,000 members it takes long enough to be in the way of a change.
   *
   * @returns whether something was reported, whether all was compared, and the milliseconds of work
   */
  async #compareMembers(
    names: readonly string[],
  ): Promise<{ readonly found: boolean; readonly whole: boolean; readonly ms: number }> {
    const { generation } = this.#state;
    let since = performance.now();
    let ms = 0;
    const goOn = async (): Promise<boolean> => {
      ms += performance.now() - since;
      await new Promise<void>((resolve) => setImmediate(resolve));
      since = performance.now();
      return !this.#closed && !this.#old(generation);
    };
    const reports: (() => void)[] = [];
    let whole = true;
    for (const { owner, context: { actual, drift } } of this.#members) {
      const own = names.filter((name) => ownsSet(owner, name));
      if (own.length === 0) continue;
      const changes: Drift<IpSetMember>[] = [];
      /** Keys of what Linux holds, by set. */
      const seen = new Map<string, Set<string>>();
      for (const name of whole ? own : []) {
        const keys = new Set<string>();
        seen.set(name, keys);
        whole = await this.#state.scan(name, async (members) => {
          for (const item of members) {
            const key = ipsetMember.key(item);
            keys.add(key);
            const believed = actual.get(key);
            if (believed === undefined || !ipsetMember.equal(believed.item, item)) {
              changes.push({ key, actual: { item, owned: true } });
            }
          }
          return await goOn();
        });
        if (!whole) break;
      }
      let looked = 0;
      for (const key of whole ? keysOf(actual, own) : []) {
        if (seen.get(key.slice(0, key.indexOf(" ")))?.has(key) === false) changes.push({ key });
        if (++looked % LOOKED_AT_ONCE === 0 && !(whole = await goOn())) break;
      }
      if (changes.length > 0) reports.push(() => drift(changes));
    }
    ms += performance.now() - since;
    if (!whole) return { found: false, whole, ms };
    for (const report of reports) report();
    return { found: reports.length > 0, whole, ms };
  }
}

/** The keys of the members of these sets, and perhaps of others. */
function* keysOf(
  actual: WatchContext<IpSetMember>["actual"],
  sets: readonly string[],
): Iterable<string> {
  if (actual.keysWithin === undefined) yield* actual.keys();
  else for (const set of sets) yield* actual.keysWithin(set);
}

/** Milliseconds until the next look, by the credit that is left for looks: ms of a core. */
export function pauseBefore(credit: number): number {
  return Math.min(LONGEST_MS, Math.max(PERIOD_MS, -credit / HEADS_SHARE));
}

function countsOf(heads: readonly SetPart[]): Map<string, number> {
  return new Map(heads.flatMap(({ name, count }) => count === undefined ? [] : [[name, count]]));
}
