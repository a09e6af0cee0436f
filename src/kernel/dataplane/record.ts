/**
 * A dataplane that writes down everything that passes, and one that answers from such a recording: the flight
 * recorder, and the way a field report becomes a test.
 *
 * A recording is JSON lines; `Entry` is one line. Errors are kept in full, so that a replay fails as Linux did.
 */

import type { Dataplane, Owner } from "./dataplane.ts";
import { KernelError } from "./errors.ts";
import type { Actual, Drift, Op, Outcome, Table, TableRef, WatchContext } from "./resource.ts";

interface RecordedError {
  readonly op: string;
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
  readonly remedy?: string;
}

interface RecordedOutcome {
  readonly error?: RecordedError;
  readonly note?: string;
}

/** One line of a recording. */
type Entry =
  & { readonly kind: string; readonly owner: string }
  & (
    | { readonly event: "list"; readonly items: readonly Actual<unknown>[] }
    | { readonly event: "list"; readonly error: RecordedError }
    | {
      readonly event: "apply";
      readonly ops: readonly Op<unknown>[];
      readonly outcomes: readonly RecordedOutcome[];
    }
    | { readonly event: "drift"; readonly changes: readonly Drift<unknown>[] | "unknown" }
  );

/** Wraps `dataplane`: every list, apply and drift also goes to `sink`, one JSON line each, without line feed. */
export function record(dataplane: Dataplane, sink: (line: string) => void): Dataplane {
  const write = (entry: Entry): void => sink(JSON.stringify(entry));

  function open<T>(ref: TableRef<T>, owner: Owner): Table<T> {
    const inner = dataplane.open(ref, owner);
    const where = { kind: ref.resource.kind, owner: owner.name };
    return {
      resource: inner.resource,
      async list() {
        try {
          const items = await inner.list();
          write({ ...where, event: "list", items });
          return items;
        } catch (error) {
          write({ ...where, event: "list", error: recorded(error) });
          throw error;
        }
      },
      async apply(ops) {
        const outcomes = await inner.apply(ops);
        write({ ...where, event: "apply", ops, outcomes: outcomes.map(recordedOutcome) });
        return outcomes;
      },
      ...(inner.refuse === undefined ? {} : { refuse: (item: T) => inner.refuse?.(item) }),
      ...(inner.retirements === undefined ? {} : { retirements: inner.retirements }),
      ...(inner.watch === undefined ? {} : {
        watch: (context: WatchContext<T>) =>
          inner.watch?.({
            actual: context.actual,
            drift(changes) {
              write({ ...where, event: "drift", changes });
              context.drift(changes);
            },
          }) ?? (() => {}),
      }),
    };
  }

  return { open, close: () => dataplane.close() };
}

/** A dataplane that answers from a recording. */
export interface Replay extends Dataplane {
  /** Reports the recorded drift that comes next, if any does; to be called when the drive is idle. */
  deliverDrift(): void;
  /** Lines that nobody asked for yet. */
  readonly left: number;
}

/** Thrown where the code under test does something else than the recording. */
export class DivergenceError extends Error {
  override readonly name = "DivergenceError";
}

/**
 * A dataplane that gives the recorded answers to the recorded questions. Order counts within one kind and owner,
 * not between them.
 *
 * @throws {DivergenceError} from `list` and `apply` when the question is not the recorded one
 */
export function replay(lines: Iterable<string>): Replay {
  const queues = new Map<string, Entry[]>();
  const watchers = new Map<string, WatchContext<unknown>>();
  for (const line of lines) {
    if (line.trim() === "") continue;
    const entry = JSON.parse(line) as Entry;
    const name = `${entry.owner} ${entry.kind}`;
    queues.set(name, [...(queues.get(name) ?? []), entry]);
  }
  const next = (name: string, event: Entry["event"]): Entry => {
    const queue = queues.get(name) ?? [];
    const at = queue.findIndex((entry) => entry.event !== "drift" || event === "drift");
    const entry = queue[at];
    if (entry?.event !== event) {
      throw new DivergenceError(
        `Cannot replay ${event} of "${name}": the recording has ${entry?.event ?? "no more lines"}`,
      );
    }
    queue.splice(at, 1);
    return entry;
  };

  function open<T>(ref: TableRef<T>, owner: Owner): Table<T> {
    const name = `${owner.name} ${ref.resource.kind}`;
    return {
      resource: ref.resource,
      list: () =>
        attempt(() => {
          const entry = next(name, "list");
          if ("error" in entry) throw revived(entry.error);
          return (entry as { items: readonly Actual<T>[] }).items;
        }),
      apply: (ops) =>
        attempt(() => {
          const entry = next(name, "apply") as Extract<Entry, { event: "apply" }>;
          const [asked, known] = [canonical(ops), canonical(entry.ops)];
          if (asked !== known) {
            throw new DivergenceError(
              `Cannot replay apply of "${name}": asked ${asked}, recorded ${known}`,
            );
          }
          return ops.map((op, i): Outcome<T> => {
            const { error, note } = entry.outcomes[i] ?? {};
            return {
              op,
              ...(error === undefined ? {} : { error: revivedKernelError(error) }),
              ...(note === undefined ? {} : { note }),
            };
          });
        }),
      watch(context) {
        watchers.set(name, context as unknown as WatchContext<unknown>);
        return () => watchers.delete(name);
      },
    };
  }

  return {
    open,
    close: () => Promise.resolve(),
    deliverDrift() {
      for (const [name, context] of watchers) {
        const queue = queues.get(name) ?? [];
        while (queue[0]?.event === "drift") {
          const entry = queue.shift();
          if (entry?.event === "drift") context.drift(entry.changes);
        }
      }
    },
    get left() {
      return [...queues.values()].reduce((sum, queue) => sum + queue.length, 0);
    },
  };
}

function attempt<T>(work: () => T): Promise<T> {
  return new Promise((resolve) => resolve(work()));
}

function recorded(error: unknown): RecordedError {
  if (!(error instanceof KernelError)) {
    return { op: "", code: "", message: error instanceof Error ? error.message : String(error) };
  }
  const { op, code, message, detail, remedy } = error;
  return {
    op,
    code,
    message,
    ...(detail === undefined ? {} : { detail }),
    ...(remedy === undefined ? {} : { remedy }),
  };
}

function recordedOutcome({ error, note }: Outcome<unknown>): RecordedOutcome {
  return {
    ...(error === undefined ? {} : { error: recorded(error) }),
    ...(note === undefined ? {} : { note }),
  };
}

function revived(error: RecordedError): Error {
  return error.code === "" ? new Error(error.message) : revivedKernelError(error);
}

function revivedKernelError(error: RecordedError): KernelError {
  const made = new KernelError(error.op, error.code, error);
  // The message names the object, which KernelError does not keep.
  Object.defineProperty(made, "message", { value: error.message });
  return made;
}

/** Text that is equal for equal ops, whatever the order of an object's fields. */
function canonical(value: unknown): string {
  return JSON.stringify(
    value,
    (_, field: unknown) =>
      typeof field === "object" && field !== null && !Array.isArray(field)
        ? Object.fromEntries(
          Object.entries(field).toSorted(([a], [b]) => a < b ? -1 : 1),
        )
        : field,
  );
}
