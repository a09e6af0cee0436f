/**
 * A dataplane in memory: one generic table for every kind, with Linux's refusals and side effects
 * (`fake-physics.ts`), faults on demand, foreign objects and edits by hand.
 */

import { type AdvertisementCheck, createAdvertisements } from "./advertisements.ts";
import type { Dataplane, Owner } from "./dataplane.ts";
import { KernelError } from "./errors.ts";
import {
  addressOf,
  busy,
  type FakeEntry,
  type FakeWorld,
  fallout,
  madeByLinux,
  refusal,
  shadowedBy,
  sideEffects,
} from "./fake-physics.ts";
import type {
  Actual,
  Drift,
  Op,
  Outcome,
  Resource,
  Retirements,
  Table,
  TableRef,
  WatchContext,
} from "./resource.ts";
import type { Address } from "./resources/address.ts";
import type { Link } from "./resources/link.ts";
import { creationOrder, tables } from "./resources/mod.ts";
import { type Route, route } from "./resources/route.ts";

export type Verb = Op<unknown>["verb"];

/** A dataplane without Linux, for tests. */
export interface FakeDataplane extends Dataplane {
  /** The next `times` (1) ops of this kind and verb fail with the errno's name `code`. */
  failNext(kind: string, verb: Verb, code: string, times?: number): void;
  /** The next `times` (1) lists of this kind fail. */
  failList(kind: string, code: string, times?: number): void;
  /**
   * Puts an object into Linux, without its side effects: owned by `owner`, or foreign where there is none, a route with this
   * protocol number.
   */
  seed<T>(
    kind: string,
    item: T,
    options?: { readonly owner?: string; readonly protocol?: number },
  ): void;
  /**
   * An edit by hand, reported to the watchers: `item` now stands at `key`, or nothing does. An object that was
   * there keeps its owner; a new one is foreign.
   */
  drift<T>(kind: string, key: string, item: T | undefined): void;
  /** The key of an item of a kind. */
  keyOf<T>(kind: string, item: T): string;
  /** Tells the watchers of a kind that events were lost. */
  loseEvents(kind: string): void;
  /** Whether anything uses an item, e.g. connections a destination. Nothing does at first. */
  use(kind: string, key: string, used: boolean): void;
  /** Everything in Linux, one line an object, sorted by kind and key; "(foreign)" and "(linux)" mark what no owner made. */
  dump(): string;
  /** How many ops were carried out without error since the start or the last `resetCounts`. */
  count(kind?: string, verb?: Verb | "list"): number;
  resetCounts(): void;
}

interface Watcher {
  readonly kind: string;
  readonly owner: Owner;
  readonly context: WatchContext<unknown>;
}

/**
 * Linux in memory, empty.
 *
 * @param advertisable which advertisements can be served; absent: all
 */
export function fakeDataplane(
  advertisable: AdvertisementCheck = () => undefined,
): FakeDataplane {
  const advertisements = createAdvertisements(advertisable);
  const world = new World();
  const watchers = new Set<Watcher>();
  const faults: { kind: string; verb: string; code: string; times: number }[] = [];
  const counts = new Map<string, number>();
  const used = new Set<string>();
  /** Deadlines by kind and owner: like all that is in Linux they outlive the agent. */
  const retired = new Map<string, Map<string, number>>();

  const fault = (kind: string, verb: string): string | undefined => {
    const found = faults.find((f) => f.kind === kind && f.verb === verb && f.times > 0);
    if (found !== undefined) found.times--;
    return found?.code;
  };
  const counted = (kind: string, verb: string): void => {
    counts.set(`${kind} ${verb}`, (counts.get(`${kind} ${verb}`) ?? 0) + 1);
  };
  const report = (moved: readonly Moved[]): void => {
    for (const watcher of watchers) {
      const changes = moved.filter((m) => m.kind === watcher.kind).map((m): Drift<unknown> => {
        const seen = world.seen(m.kind, m.key, watcher.owner);
        return seen === undefined ? { key: m.key } : { key: m.key, actual: seen };
      }).filter((d) => d.actual !== undefined || watcher.context.actual.has(d.key));
      if (changes.length > 0) watcher.context.drift(changes);
    }
  };

  function open<T>(ref: TableRef<T>, owner: Owner): Table<T> {
    const resource = ref.resource as unknown as Resource<unknown>;
    const kind = resource.kind;
    if (kind === "bgp.advertisement") {
      // It is in memory anyway.
      const real = advertisements.table(owner);
      const list: typeof real.list = () => {
        const code = fault(kind, "list");
        return code === undefined
          ? real.list()
          : Promise.reject(new KernelError(`list ${kind}`, code));
      };
      return { ...real, list } as unknown as Table<T>;
    }

    const one = (op: Op<unknown>, moved: Moved[], faulty?: string): Outcome<unknown> => {
      const key = resource.key(op.item);
      const code = faulty ?? carryOut(world, resource, owner, op, key, moved);
      if (code === "gone") return { op, note: "was gone already" };
      if (code !== undefined) {
        return { op, error: new KernelError(`${op.verb} ${kind}`, code, { object: key }) };
      }
      counted(kind, op.verb);
      return { op };
    };

    const retirements = (): Retirements<unknown> => {
      const name = `${owner.name} ${kind}`;
      const deadlines = retired.get(name) ?? new Map<string, number>();
      retired.set(name, deadlines);
      return {
        deadlines: () => deadlines,
        note(entries) {
          for (const [key, deadline] of entries) deadlines.set(key, deadline);
        },
        forget(keys) {
          for (const key of keys) deadlines.delete(key);
        },
        idle: (items) =>
          Promise.resolve(
            new Set(items.map(resource.key).filter((key) => !used.has(`${kind} ${key}`))),
          ),
      };
    };

    const table: Table<unknown> = {
      resource,
      list() {
        const code = fault(kind, "list");
        if (code !== undefined) {
          return Promise.reject(new KernelError(`list ${kind}`, code));
        }
        counted(kind, "list");
        return Promise.resolve(world.visible(kind, owner));
      },
      apply(ops) {
        const moved: Moved[] = [];
        // Chains of one transaction may name each other in any order, as in one iptables-restore.
        const outcomes = inTurn(
          ops.map((op) => ({ op, faulty: fault(kind, op.verb) })),
          ({ op, faulty }) => one(op, moved, faulty),
          kind === "chain",
        );
        if (moved.length > 0) queueMicrotask(() => report(moved));
        return Promise.resolve(outcomes);
      },
      watch(context) {
        const watcher = { kind, owner, context };
        watchers.add(watcher);
        return () => watchers.delete(watcher);
      },
      ...(resource.retire === undefined ? {} : { retirements: retirements() }),
    };
    return table as unknown as Table<T>;
  }

  return {
    open,
    advertisements,
    close: () => {
      watchers.clear();
      return Promise.resolve();
    },
    failNext: (kind, verb, code, times = 1) => void faults.push({ kind, verb, code, times }),
    failList: (kind, code, times = 1) => void faults.push({ kind, verb: "list", code, times }),
    seed(kind, item, options = {}) {
      const { owner, protocol } = options;
      const entry = { kind, key: resourceOf(kind).key(item), item, owner };
      world.put(protocol === undefined ? entry : { ...entry, protocol });
    },
    drift(kind, key, item) {
      const moved: Moved[] = [];
      const before = world.get(kind, key);
      if (before !== undefined && item === undefined) remove(world, before, moved);
      if (item !== undefined) put(world, { kind, key, item, owner: before?.owner }, moved);
      report([{ kind, key }, ...moved]);
    },
    keyOf: (kind, item) => resourceOf(kind).key(item),
    loseEvents(kind) {
      for (const w of watchers) if (w.kind === kind) w.context.drift("unknown");
    },
    use(kind, key, isUsed) {
      if (isUsed) used.add(`${kind} ${key}`);
      else used.delete(`${kind} ${key}`);
    },
    dump: () => world.dump(),
    count: (kind, verb) =>
      [...counts].filter(([name]) => {
        const [k, v] = name.split(" ");
        return (kind === undefined || k === kind) &&
          (verb === undefined ? v !== "list" : v === verb);
      }).reduce((sum, [, n]) => sum + n, 0),
    resetCounts: () => counts.clear(),
  };
}

/** A key that moved although nobody named it in an op. */
interface Moved {
  readonly kind: string;
  readonly key: string;
}

/** Does `op`, or says why Linux would not: an errno's name, or "gone" where a delete met nothing. */
function carryOut(
  world: World,
  resource: Resource<unknown>,
  owner: Owner,
  op: Op<unknown>,
  key: string,
  moved: Moved[],
): string | undefined {
  const kind = resource.kind;
  const there = world.get(kind, key);
  if (resource.shared === true && there !== undefined && there.owner !== undefined) {
    const holders = world.holders(there);
    if (op.verb !== "delete") holders.add(owner.name);
    else if (holders.delete(owner.name) && holders.size > 0) return undefined;
    else if (holders.size > 0) return "EPERM";
    if (op.verb === "delete") remove(world, there, moved);
    else world.put({ ...there, item: op.item });
    return undefined;
  }
  if (op.verb === "delete") {
    if (there === undefined) return "gone";
    if (there.owner !== owner.name && !world.mayTake(there, owner)) return "EPERM";
    const code = busy(world, there);
    if (code !== undefined) return code;
    remove(world, there, moved);
    return undefined;
  }
  if (op.verb === "create" && there !== undefined && !world.mayTake(there, owner)) return "EEXIST";
  if (op.verb === "update" && there === undefined) return "ENOENT";
  const code = refusal(world, kind, op.item);
  if (code !== undefined) return code;
  put(world, { kind, key, item: op.item, owner: owner.name }, moved);
  return undefined;
}

function put(world: World, entry: FakeEntry, moved: Moved[]): void {
  world.put(entry);
  for (const made of sideEffects(world, entry)) {
    world.put(made);
    moved.push(made);
  }
  const shadowed = entry.kind === "route" ? shadowedBy(entry.item as Route) : undefined;
  const hidden = shadowed === undefined ? undefined : world.get("route", route.key(shadowed));
  if (hidden?.owner === madeByLinux) remove(world, hidden, moved);
}

function remove(world: World, entry: FakeEntry, moved: Moved[]): void {
  world.delete(entry);
  for (const lost of fallout(world, entry)) {
    moved.push(lost);
    remove(world, lost, moved);
  }
}

interface Attempt {
  readonly op: Op<unknown>;
  readonly faulty: string | undefined;
}

/** Does each in turn; with `again`, repeats what was refused for a neighbour's sake until nothing more succeeds. */
function inTurn(
  attempts: readonly Attempt[],
  one: (attempt: Attempt) => Outcome<unknown>,
  again: boolean,
): readonly Outcome<unknown>[] {
  const outcomes = attempts.map(one);
  for (let progress = again; progress;) {
    progress = false;
    for (const [i, attempt] of attempts.entries()) {
      const code = outcomes[i]?.error?.code;
      if (attempt.faulty !== undefined || (code !== "ENOENT" && code !== "EBUSY")) continue;
      const outcome = one(attempt);
      outcomes[i] = outcome;
      progress ||= outcome.error === undefined;
    }
  }
  return outcomes;
}

class World implements FakeWorld {
  readonly #kinds = new Map<string, Map<string, FakeEntry>>();
  /** Owners of what several may hold, by kind and key. */
  readonly #holders = new Map<string, Set<string>>();

  #of(kind: string): Map<string, FakeEntry> {
    const found = this.#kinds.get(kind) ?? new Map<string, FakeEntry>();
    this.#kinds.set(kind, found);
    return found;
  }

  get(kind: string, key: string): FakeEntry | undefined {
    return this.#of(kind).get(key);
  }

  all(kind: string): Iterable<FakeEntry> {
    return this.#of(kind).values();
  }

  put(entry: FakeEntry): void {
    this.#of(entry.kind).set(entry.key, entry);
  }

  delete(entry: FakeEntry): void {
    this.#of(entry.kind).delete(entry.key);
    this.#holders.delete(`${entry.kind} ${entry.key}`);
  }

  /** The owners of an entry of a kind that several may hold. */
  holders({ kind, key, owner }: FakeEntry): Set<string> {
    const name = `${kind} ${key}`;
    const found = this.#holders.get(name) ?? new Set(owner === undefined ? [] : [owner]);
    this.#holders.set(name, found);
    return found;
  }

  /** Whether `owner` may take what Linux made itself: a route of an address on one of its links. */
  mayTake(entry: FakeEntry, owner: Owner): boolean {
    if (entry.owner !== madeByLinux) return false;
    const from = addressOf(this, entry.item as Route);
    return from !== undefined &&
      this.get("link", (from.item as Address).link)?.owner === owner.name;
  }

  /** What `owner`'s list shows at a key. */
  seen(kind: string, key: string, owner: Owner): Actual<unknown> | undefined {
    const entry = this.get(kind, key);
    if (entry === undefined) return undefined;
    if (kind === "address") {
      const link = this.get("link", (entry.item as Address).link);
      return link?.owner === owner.name ? { item: entry.item, owned: true } : undefined;
    }
    if (entry.owner === madeByLinux) {
      return this.#hidesRouteOf(entry, owner) ? { item: entry.item, owned: true } : undefined;
    }
    if (resourceOf(kind).shared === true && entry.owner !== undefined) {
      return this.holders(entry).has(owner.name) ? { item: entry.item, owned: true } : undefined;
    }
    const actual = { item: entry.item, owned: entry.owner === owner.name };
    return isLeftFor(entry, owner) ? { ...actual, adoptable: true } : actual;
  }

  visible(kind: string, owner: Owner): readonly Actual<unknown>[] {
    return [...this.#of(kind).keys()].map((key) => this.seen(kind, key, owner)).filter((a) =>
      a !== undefined
    );
  }

  /** Whether Linux's own IPv6 route hides a route of `owner`: metric 0 wins over 1024. */
  #hidesRouteOf(entry: FakeEntry, owner: Owner): boolean {
    const ours = this.get("route", route.key({ ...entry.item as Route, metric: 1024 }));
    return ours?.owner === owner.name && shadowedBy(ours.item as Route) !== undefined;
  }

  dump(): string {
    const kinds = [...this.#kinds.keys()].toSorted((a, b) =>
      creationOrder.indexOf(a) - creationOrder.indexOf(b)
    );
    return kinds.flatMap((kind) =>
      [...this.#of(kind).values()].toSorted((a, b) => a.key < b.key ? -1 : 1).map((entry) => {
        const mark = entry.owner === undefined
          ? " (foreign)"
          : entry.owner === madeByLinux
          ? " (linux)"
          : "";
        return `${resourceOf(kind).describe(entry.item)}${mark}\n`;
      })
    ).join("");
  }
}

/** Whether an entry is one that `owner` may take over. */
function isLeftFor({ kind, item, owner: by, protocol }: FakeEntry, owner: Owner): boolean {
  if (by !== undefined) return false;
  const { routes = [], links } = owner.adopts ?? {};
  if (kind === "link") return links?.(item as Link) === true;
  return kind === "route" &&
    routes.some((each) => each.protocol === protocol && each.table === (item as Route).table);
}

function resourceOf(kind: string): Resource<unknown> {
  const found = Object.values(tables).map((ref) => (ref as TableRef<unknown>).resource).find((
    resource,
  ) => resource.kind === kind);
  if (found === undefined) throw new TypeError(`No kind "${kind}" in resources/mod.ts`);
  return found;
}
