/**
 * What a third party's plugin wants, as its process has said it last, in the shape of a built-in plugin: the engine asks the
 * mirror, never the process. So what it wanted before stays in Linux while the process is started anew.
 */

import type { KindName, KubeObject } from "../cluster/kinds.ts";
import type { Store } from "../cluster/store.ts";
import type { ClusterApi } from "../cluster/cluster-api.ts";
import { type Input, type Plugin, PLUGIN_API, type PluginContext, type Tables } from "../plugin.ts";
import type { FromGuest, GuestMeta, ToGuest, UnitResult } from "./messages.ts";

type Results = Extract<FromGuest, { type: "results" }>;
type Wake = (units: Iterable<string> | "all") => void;

interface Part {
  readonly name: string;
  readonly units: Map<string, UnitResult>;
  /** Units that the present process has not spoken of. */
  readonly unheard: Set<string>;
  readonly wakes: Set<Wake>;
}

export interface Mirror {
  readonly plugin: Plugin<undefined>;
  /** The API server as the plugin may use it; there once the plugin was set up. */
  readonly api: ClusterApi | undefined;
  /** Whether the process has answered to all that it was told. */
  readonly settled: boolean;
  /** Whether it has said at least once what all of its units want. */
  readonly synced: boolean;
  /** Whether the present process has said that. */
  readonly heard: boolean;
  /** What its inputs lack to be synced. */
  readonly waitsFor: string | undefined;
  /** What the plugin's own code threw outside of a unit, while it does. */
  readonly fault: string | undefined;
  /** A process is there that knows nothing yet. The plugin must have been set up. */
  attach(post: (message: ToGuest) => void): void;
  /** The process is gone; what it said stays. */
  detach(): void;
  take(results: Results): void;
}

/** @param meta what the plugin says of itself; each process of it must say the same */
export function mirrorOf(name: string, meta: GuestMeta): Mirror {
  const parts = meta.reconcilers.map((reconciler): Part => ({
    name: reconciler,
    units: new Map(),
    unheard: new Set(),
    wakes: new Set(),
  }));
  let context: PluginContext<undefined> | undefined;
  let post: ((message: ToGuest) => void) | undefined;
  const leave: (() => void)[] = [];
  const told = new Set<KindName>();
  /** The number of the last question, and of the last that was answered. */
  let asked = 0;
  let answered = 0;
  let synced = false;
  let heard = false;
  let waitsFor: string | undefined;
  let fault: string | undefined;

  const ask = (): void => post?.({ type: "serve", number: ++asked });

  function tell(kind: KindName, changes: readonly Change[]): void {
    const store = context?.stores[kind] as Store<KubeObject> | undefined;
    if (store === undefined || post === undefined || !store.synced) return;
    const { resourceVersion } = store;
    if (told.has(kind)) {
      if (changes.length === 0) return;
      const events = changes.map(({ key, current }) => [key, current] as const);
      post({ type: "update", kind, events, resourceVersion });
    } else {
      told.add(kind);
      post({ type: "replace", kind, objects: [...store.values()], resourceVersion });
    }
    ask();
  }

  function inputOf(part: Part): Input {
    return {
      name: "the plugin's process",
      get synced() {
        return synced;
      },
      get waitsFor() {
        return waitsFor;
      },
      subscribe(wake) {
        part.wakes.add(wake);
        return () => void part.wakes.delete(wake);
      },
    };
  }

  const plugin: Plugin<undefined> = {
    name,
    api: PLUGIN_API,
    watches: meta.watches,
    tables: meta.tables,
    writes: meta.writes,
    parse: () => undefined,
    setup(given) {
      context = given;
      for (const { kind } of meta.watches) {
        const store = given.stores[kind] as Store<KubeObject>;
        leave.push(store.subscribe((changes) => tell(kind, changes)));
      }
      leave.push(given.host.subscribe(() => {
        post?.({ type: "host", values: given.host.values() });
        ask();
      }));
      given.signal.addEventListener("abort", () => {
        for (const end of leave.splice(0)) end();
      });
      for (const part of parts) {
        const { units } = part;
        given.reconcile({
          name: part.name,
          inputs: [inputOf(part)],
          units: () => units.keys(),
          rank: (unit) => units.get(unit)?.rank ?? unit,
          desired(unit, desired) {
            const result = units.get(unit);
            if (result === undefined) return;
            if (result.failure !== undefined) throw new Error(result.failure);
            for (const [table, item] of result.wants) {
              desired.want(given.tables[table] as Tables["links"], item as never);
            }
            for (const report of result.reports) desired.report(report);
          },
        });
      }
    },
  };

  return {
    plugin,
    get api() {
      return context?.api;
    },
    get settled() {
      return post !== undefined && asked === answered;
    },
    get synced() {
      return synced;
    },
    get heard() {
      return heard;
    },
    get waitsFor() {
      return waitsFor;
    },
    get fault() {
      return fault;
    },
    attach(send) {
      post = send;
      told.clear();
      heard = false;
      for (const { units, unheard } of parts) for (const unit of units.keys()) unheard.add(unit);
      send({ type: "host", values: context?.host.values() ?? [] });
      for (const { kind } of meta.watches) tell(kind, []);
      ask();
    },
    detach() {
      post = undefined;
      heard = false;
      for (const { unheard } of parts) unheard.clear();
    },
    take(results) {
      const woken = parts.map(() => new Set<string>());
      for (const result of results.units) {
        const part = parts[result.reconciler];
        if (part === undefined) continue;
        if (result.gone === true) part.units.delete(result.unit);
        else part.units.set(result.unit, result);
        part.unheard.delete(result.unit);
        woken[result.reconciler]?.add(result.unit);
      }
      const before = synced;
      const done = results.number === asked;
      if (results.number !== undefined) answered = results.number;
      ({ waitsFor, fault } = results);
      if (results.synced && done && fault === undefined) {
        synced = heard = true;
        // What an earlier process wanted and this one does not even name.
        for (const [index, { units, unheard }] of parts.entries()) {
          for (const unit of unheard) {
            units.delete(unit);
            woken[index]?.add(unit);
          }
          unheard.clear();
        }
      }
      for (const [index, { wakes }] of parts.entries()) {
        const units = woken[index] ?? new Set<string>();
        if (units.size === 0 && before === synced) continue;
        for (const wake of wakes) wake(before === synced ? units : "all");
      }
    },
  };
}

interface Change {
  readonly key: string;
  readonly current?: KubeObject;
}
