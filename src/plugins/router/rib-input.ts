/** What the speaker chose, as an input of the engine: each prefix is a unit. */

import type { Family } from "../../kernel/ip.ts";
import type { Input } from "../../kernel/plugin.ts";
import type { BestChange, UsedPath } from "./bgp/mod.ts";
import type { Learned, LearnedHop } from "./routes.ts";

/** The learned routes, by prefix. Empty until a speaker says something. */
export interface RibInput extends Input {
  prefixes(): Iterable<string>;
  readonly size: number;
  /** What is to be used for a prefix; absent: nothing that was learned. */
  learned(prefix: string): Learned | undefined;
  take(changes: readonly BestChange[]): void;
  /** Forgets everything: the speaker is gone. */
  clear(): void;
}

export function ribInput(): RibInput {
  const routes = new Map<string, Learned>();
  const listeners = new Set<(units: Iterable<string>) => void>();
  let receivedAt: number | undefined;
  const tell = (prefixes: readonly string[]): void => {
    receivedAt = performance.now();
    for (const listener of listeners) listener(prefixes);
  };
  return {
    name: "routes learned by BGP",
    // What is not learned yet is held, and never waited for.
    synced: true,
    get receivedAt() {
      return receivedAt;
    },
    prefixes: () => routes.keys(),
    get size() {
      return routes.size;
    },
    learned: (prefix) => routes.get(prefix),
    take(changes) {
      const moved: string[] = [];
      for (const change of changes) {
        const learned = learnedOf(change);
        if (learned !== undefined) routes.set(change.prefix, learned);
        // Our own routes are of no concern to Linux.
        else if (!routes.delete(change.prefix)) continue;
        moved.push(change.prefix);
      }
      if (moved.length > 0) tell(moved);
    },
    clear() {
      const prefixes = [...routes.keys()];
      routes.clear();
      tell(prefixes);
    },
    subscribe(wake) {
      const listener = (units: Iterable<string>): void => wake(units);
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** Where our own route is the best, or nothing is left, nothing was learned. */
export function learnedOf({ prefix, paths }: BestChange): Learned | undefined {
  const [best] = paths;
  if (best === undefined || best.source === "local") return undefined;
  const nextHops = paths.length === 1 ? hopsOf(best) : paths.flatMap(hopsOf);
  return nextHops.length === 0 ? undefined : { prefix, nextHops };
}

/** One list for all routes by one path, so that ways are found once for all of them. */
const hops = new WeakMap<UsedPath, readonly LearnedHop[]>();

function hopsOf(path: UsedPath): readonly LearnedHop[] {
  const { source, nextHop, linkLocal } = path;
  const known = hops.get(path);
  if (known !== undefined) return known;
  const found: readonly LearnedHop[] = source === "local" || nextHop === undefined
    ? []
    : [{ address: nextHop, ...(linkLocal === undefined ? {} : { linkLocal }) }];
  hops.set(path, found);
  return found;
}

/** Whether a family's first set of routes is known: until then what an earlier life left in Linux stays. */
export interface Settled extends Input {
  set(value: boolean): void;
}

export function settledInput(family: Family): Settled {
  const listeners = new Set<() => void>();
  let synced = false;
  return {
    name: `first IPv${family} routes of BGP`,
    get synced() {
      return synced;
    },
    set(value) {
      if (synced === value) return;
      synced = value;
      for (const listener of listeners) listener();
    },
    subscribe(wake) {
      const listener = (): void => wake([]);
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
