/** A plugin whose wishes tests set by hand. */

import type {
  Desired,
  Input,
  Plugin,
  PluginContext,
  TableRef,
  Tables,
} from "../../src/kernel/plugin.ts";

/** One wish: a kind and an item of it. */
export interface Wish {
  readonly table: TableRef<unknown>;
  readonly item: unknown;
}

export function wish<T>(table: TableRef<T>, item: T): Wish {
  return { table: table as TableRef<unknown>, item };
}

export interface Toy {
  readonly plugin: Plugin<never>;
  /** Sets what a unit wants, and wakes; no wishes: the unit is gone. */
  set(unit: string, ...wishes: readonly Wish[]): void;
  /** From now on `desired` calls this first. */
  interfere(run: ((unit: string, desired: Desired) => void) | undefined): void;
  wake(units: Iterable<string> | "all"): void;
  sync(): void;
  rank(unit: string, rank: string): void;
  /** Units that were evaluated since the last call. */
  takeEvaluated(): readonly string[];
}

export interface ToyOptions {
  readonly name?: string;
  readonly tables?: readonly (keyof Tables)[];
  readonly synced?: boolean;
  readonly after?: readonly string[];
  readonly setup?: (context: PluginContext<unknown>) => void | Promise<void>;
}

export function toyPlugin(options: ToyOptions = {}): Toy {
  const { name = "toy", tables = ["links", "addresses", "ipvsServices", "ipvsDestinations"] } =
    options;
  const wishes = new Map<string, readonly Wish[]>();
  const ranks = new Map<string, string>();
  const listeners = new Set<(units: Iterable<string> | "all") => void>();
  let synced = options.synced ?? true;
  let evaluated: string[] = [];
  let interfere: ((unit: string, desired: Desired) => void) | undefined;
  const wake = (units: Iterable<string> | "all"): void => {
    for (const listener of listeners) listener(units);
  };
  const input: Input = {
    name: "wishes",
    get synced() {
      return synced;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
  const plugin: Plugin<unknown> = {
    name,
    api: 1,
    ...(options.after === undefined ? {} : { after: options.after }),
    watches: [],
    tables,
    parse: (raw) => raw,
    setup(context) {
      context.reconcile({
        name: "unit",
        inputs: [input],
        units: () => wishes.keys(),
        rank: (unit) => ranks.get(unit) ?? unit,
        desired(unit, desired) {
          evaluated.push(unit);
          interfere?.(unit, desired);
          for (const { table, item } of wishes.get(unit) ?? []) desired.want(table, item);
        },
      });
      return options.setup?.(context);
    },
  };
  return {
    plugin: plugin as unknown as Plugin<never>,
    set(unit, ...wanted) {
      if (wanted.length === 0) wishes.delete(unit);
      else wishes.set(unit, wanted);
      wake([unit]);
    },
    interfere: (run) => void (interfere = run),
    wake,
    sync() {
      synced = true;
      wake([]);
    },
    rank: (unit, rank) => void ranks.set(unit, rank),
    takeEvaluated() {
      const units = evaluated;
      evaluated = [];
      return units;
    },
  };
}
