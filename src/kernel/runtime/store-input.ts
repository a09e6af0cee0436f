/** What plugins see of stores: those that they named, and inputs made of them. */

import type { Input, Logger, StoreLike, Stores, Watch } from "../plugin.ts";

/** The stores that a plugin's field `watches` names; reading another one throws, with what to change. */
export function onlyWatched(name: string, watches: readonly Watch[], stores: Stores): Stores {
  return new Proxy(stores, {
    get(target, property) {
      const kind = property as keyof Stores;
      if (!watches.some((watch) => watch.kind === kind)) {
        throw new Error(
          `Plugin "${name}" reads the store "${kind}", which its field "watches" does not name; add it there`,
        );
      }
      return target[kind];
    },
  });
}

/** An input that wakes the units that objects of a store bear on. */
export function storeInput<T>(
  store: StoreLike<T>,
  units: (object: T) => Iterable<string> | "all",
  log: Logger,
): Input {
  /** What throws may concern anything; the store and the others that read it must not notice. */
  const unitsOf = (object: T): Iterable<string> | "all" => {
    try {
      return units(object);
    } catch (error) {
      const reason = textOf(error);
      log.error("Input failed; all units are looked at", { input: store.kind, reason });
      return "all";
    }
  };
  const wakes = new Set<Wake>();
  let leave: (() => void) | undefined;
  const tell = (changes: Parameters<Parameters<StoreLike<T>["subscribe"]>[0]>[0]): void => {
    // An empty wake matters too: the store may just have become synced.
    const woken = unitsOfChanges(changes);
    for (const wake of [...wakes]) {
      try {
        wake(woken);
      } catch (error) {
        log.error("Input failed", { input: store.kind, reason: textOf(error) });
      }
    }
  };
  const unitsOfChanges = (
    changes: readonly { readonly previous?: T; readonly current?: T }[],
  ): ReadonlySet<string> | "all" => {
    const woken = new Set<string>();
    for (const { previous, current } of changes) {
      for (const object of [previous, current]) {
        if (object === undefined) continue;
        const names = unitsOf(object);
        if (names === "all") return "all";
        for (const name of names) woken.add(name);
      }
    }
    return woken;
  };
  return {
    name: store.kind,
    get synced() {
      return store.synced;
    },
    get receivedAt() {
      return store.receivedAt;
    },
    subscribe(wake) {
      // One subscription for all: at 10,000 changes the names that each would make anew are megabytes.
      leave ??= store.subscribe(tell);
      const own: Wake = (woken) => wake(woken);
      wakes.add(own);
      return () => {
        wakes.delete(own);
        if (wakes.size > 0) return;
        leave?.();
        leave = undefined;
      };
    },
  };
}

type Wake = (units: Iterable<string> | "all") => void;

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
