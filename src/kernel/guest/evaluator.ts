/**
 * Evaluates a plugin's units in its own process, a slice at a time, so that questions of the agent are answered in between.
 */

import { tables } from "../dataplane/resources/mod.ts";
import type { Reconciler, Tables } from "../plugin.ts";
import type { FromGuest, UnitResult } from "./messages.ts";

/** Milliseconds of work before messages are looked at. */
const SLICE_MS = 20;
/** Milliseconds until a plugin whose own code threw outside of a unit is asked again. */
const FAULT_RETRY_MS = 5_000;

interface State {
  readonly index: number;
  readonly reconciler: Reconciler;
  all: boolean;
  readonly dirty: Set<string>;
  /** Units that want something or had something to say. */
  readonly known: Set<string>;
}

export interface Evaluator {
  add(reconciler: Reconciler): void;
  readonly names: readonly string[];
  /** Results are to follow that carry this number. */
  serve(number: number): void;
  stop(): void;
}

/** @param declared the kinds that the plugin named in its field `tables` */
export function evaluator(
  declared: readonly (keyof Tables)[],
  post: (message: FromGuest) => void,
): Evaluator {
  const states: State[] = [];
  const unsubscribe: (() => void)[] = [];
  const nameOf = new Map<unknown, keyof Tables>(
    declared.map((name) => [tables[name].resource, name]),
  );
  let asked: number | undefined;
  /** What was answered while an input was not synced: once more when all are, or nobody would hear that they are. */
  let owed: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;

  const schedule = (ms = 0): void => {
    if (!stopped) timer ??= setTimeout(run, ms);
  };

  function run(): void {
    timer = undefined;
    const inputs = states.flatMap(({ reconciler }) => reconciler.inputs);
    if (!inputs.every((input) => input.synced)) {
      const waitsFor = [...new Set(inputs.flatMap((i) => i.synced ? [] : i.waitsFor ?? []))];
      post({
        type: "results",
        units: [],
        synced: false,
        ...answered(false),
        ...(waitsFor.length === 0 ? {} : { waitsFor: waitsFor.join("; ") }),
      });
      return;
    }
    const end = performance.now() + SLICE_MS;
    const results: UnitResult[] = [];
    let fault: string | undefined;
    for (const state of states) {
      try {
        if (state.all) spread(state);
      } catch (error) {
        fault = `its reconciler "${state.reconciler.name}" threw in "units": ${textOf(error)}`;
        continue;
      }
      for (const unit of state.dirty) {
        if (performance.now() > end) break;
        state.dirty.delete(unit);
        results.push(evaluate(state, unit, nameOf));
      }
    }
    const more = states.some(({ dirty }) => dirty.size > 0);
    send(results, { ...(more ? {} : answered(true)), ...(fault === undefined ? {} : { fault }) });
    if (more) schedule();
    else if (fault !== undefined) schedule(FAULT_RETRY_MS);
  }

  function answered(synced: boolean): { readonly number?: number } {
    const number = asked ?? (synced ? owed : undefined);
    owed = synced ? undefined : number ?? owed;
    asked = undefined;
    return number === undefined ? {} : { number };
  }

  function send(results: readonly UnitResult[], rest: object): void {
    const message = { type: "results", synced: true, ...rest } as const;
    try {
      post({ ...message, units: results });
    } catch {
      // One of them wants something that is no plain data: which one?
      post({ ...message, units: results.map(plain) });
    }
  }

  return {
    add(reconciler) {
      const state: State = {
        index: states.length,
        reconciler,
        all: true,
        dirty: new Set(),
        known: new Set(),
      };
      states.push(state);
      for (const input of reconciler.inputs) {
        unsubscribe.push(input.subscribe((units) => {
          if (units === "all") state.all = true;
          else for (const unit of units) state.dirty.add(unit);
          schedule();
        }));
      }
    },
    get names() {
      return states.map(({ reconciler }) => reconciler.name);
    },
    serve(number) {
      asked = number;
      schedule();
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
      for (const leave of unsubscribe) leave();
    },
  };
}

/** All units that there are, and those that were. */
function spread(state: State): void {
  const names = new Set(state.reconciler.units());
  for (const name of names) state.dirty.add(name);
  for (const name of state.known) state.dirty.add(name);
  state.all = false;
}

function evaluate(
  state: State,
  unit: string,
  nameOf: ReadonlyMap<unknown, keyof Tables>,
): UnitResult {
  const { reconciler, index, known } = state;
  const wants: [keyof Tables, unknown][] = [];
  const reports: string[] = [];
  const place = { reconciler: index, unit };
  let rank: { readonly rank?: string };
  try {
    rank = reconciler.rank === undefined ? {} : { rank: reconciler.rank(unit) };
    reconciler.desired(unit, {
      want({ resource }, item) {
        const name = nameOf.get(resource);
        if (name === undefined) {
          throw new Error(
            `It wants an item of kind "${resource.kind}", which its field "tables" does not name; add it there`,
          );
        }
        wants.push([name, item]);
      },
      report: (problem) => void reports.push(String(problem)),
    });
  } catch (error) {
    known.add(unit);
    return { ...place, wants: [], reports: [], failure: textOf(error) };
  }
  if (wants.length === 0 && reports.length === 0) {
    known.delete(unit);
    return { ...place, wants, reports, gone: true };
  }
  known.add(unit);
  return { ...place, ...rank, wants, reports };
}

function plain(result: UnitResult): UnitResult {
  try {
    return structuredClone(result);
  } catch (error) {
    return {
      reconciler: result.reconciler,
      unit: result.unit,
      wants: [],
      reports: [],
      failure: `It wants something that is no plain data: ${textOf(error)}`,
    };
  }
}

export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
