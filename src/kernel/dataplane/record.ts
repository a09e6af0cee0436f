/**
 * A dataplane that writes down everything that passes, and one that answers from such a recording: the flight
 * recorder, and the way a field report becomes a test.
 *
 * A recording is JSON lines; `Entry` is one line. Errors are kept in full, so that a replay fails as Linux did.
 */

import type { Dataplane, Owner } from "./dataplane.ts";
import { KernelError } from "./errors.ts";
import type {
  Actual,
  Drift,
  Op,
  Outcome,
  Retirements,
  Table,
  TableRef,
  WatchContext,
} from "./resource.ts";

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
  readonly made?: unknown;
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
    /** The kind retires items; written when it is opened. */
    | { readonly event: "retires" }
    | { readonly event: "deadlines"; readonly deadlines: readonly (readonly [string, number])[] }
    | { readonly event: "note"; readonly keys: readonly string[] }
    | { readonly event: "forget"; readonly keys: readonly string[] }
    | { readonly event: "idle"; readonly keys: readonly string[] }
  );

/** Wraps `dataplane`: every list, apply and drift also goes to `sink`, one JSON line each, without line feed. */
export function record(dataplane: Dataplane, sink: (line: string) => void): Dataplane {
  const write = (entry: Entry): void => sink(JSON.stringify(entry));

  function open<T>(ref: TableRef<T>, owner: Owner): Table<T> {
    const inner = dataplane.open(ref, owner);
    const where = { kind: ref.resource.kind, owner: owner.name };
    const { retirements } = inner;
    if (retirements !== undefined) write({ ...where, event: "retires" });
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
      ...(retirements === undefined ? {} : {
        retirements: {
          deadlines() {
            const deadlines = retirements.deadlines();
            write({ ...where, event: "deadlines", deadlines: [...deadlines] });
            return deadlines;
          },
          note(entries) {
            const all = [...entries];
            retirements.note(all);
            write({ ...where, event: "note", keys: all.map(([key]) => key) });
          },
          forget(keys) {
            const all = [...keys];
            if (all.length === 0) return;
            retirements.forget(all);
            write({ ...where, event: "forget", keys: all });
          },
          async idle(items) {
            const keys = await retirements.idle(items);
            write({ ...where, event: "idle", keys: [...keys] });
            return keys;
          },
        },
      }),
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

  /** Deadlines are another clock's: only what they are of is compared. */
  function replayedRetirements<T>(name: string): Retirements<T> {
    const expect = (event: "note" | "forget", keys: readonly string[]): void => {
      if (keys.length === 0) return;
      const entry = next(name, event) as Extract<Entry, { event: "note" | "forget" }>;
      const [asked, known] = [keys.toSorted().join(), entry.keys.toSorted().join()];
      if (asked !== known) {
        throw new DivergenceError(
          `Cannot replay ${event} of "${name}": asked ${asked}, recorded ${known}`,
        );
      }
    };
    return {
      deadlines: () =>
        new Map((next(name, "deadlines") as Extract<Entry, { event: "deadlines" }>).deadlines),
      note: (entries) => expect("note", [...entries].map(([key]) => key)),
      forget: (keys) => expect("forget", [...keys]),
      idle: () =>
        attempt(() => new Set((next(name, "idle") as Extract<Entry, { event: "idle" }>).keys)),
    };
  }

  function open<T>(ref: TableRef<T>, owner: Owner): Table<T> {
    const name = `${owner.name} ${ref.resource.kind}`;
    const retires = queues.get(name)?.[0]?.event === "retires";
    if (retires) next(name, "retires");
    return {
      ...(retires ? { retirements: replayedRetirements<T>(name) } : {}),
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
            const { error, note, made } = entry.outcomes[i] ?? {};
            return {
              op,
              ...(error === undefined ? {} : { error: revivedKernelError(error) }),
              ...(note === undefined ? {} : { note }),
              ...(made === undefined ? {} : { made: made as T }),
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

function recordedOutcome({ error, note, made }: Outcome<unknown>): RecordedOutcome {
  return {
    ...(error === undefined ? {} : { error: recorded(error) }),
    ...(note === undefined ? {} : { note }),
    ...(made === undefined ? {} : { made }),
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
