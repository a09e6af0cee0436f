/**
 * Sysctls: files below /proc/sys, read and written in the dataplane's network namespace. The mark is the path in the
 * owner's ledger, with the value before our first write, which comes back when nobody wants the sysctl any more.
 */

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Drift, Op, Outcome, Table, WatchContext } from "../resource.ts";
import { type Sysctl, sysctl as resource } from "../resources/sysctl.ts";
import type { Ledger } from "./ledger.ts";
import type { Modules } from "./modules.ts";
import { inNetworkNamespace } from "./netns.ts";
import { sideEffects } from "./sysctl-effects.ts";

/** Milliseconds between two looks at our sysctls: /proc/sys tells nobody of changes (no inotify), but a read takes 10 to 100 µs. */
const PERIOD_MS = 2000;

/** What the ledger keeps of a sysctl, as JSON. */
type Mark =
  /** The value before ours, and those of other sysctls that Linux changes along with this one and does not change back. */
  | { readonly was: string; readonly also?: Readonly<Record<string, string>> }
  /** Linux has no such sysctl (now); this is what we would like it to be. */
  | { readonly absent: string }
  /** Not written, since its value was not the one to change. */
  | { readonly left: true };

export interface SysctlOptions {
  readonly namespace?: number | string;
  /** Where /proc/sys is; for tests. */
  readonly root?: string;
  /** Milliseconds between two looks; for tests. */
  readonly periodMs?: number;
  /** Loads what a sysctl needs, before it is called missing. */
  readonly modules?: Pick<Modules, "forSysctls">;
  /** The ledgers of all owners, where each table puts its own: several owners may hold one sysctl. */
  readonly ledgers?: Set<Ledger>;
  /** Opens the owner's ledger, at the first use. */
  ledger(owner: Owner): Ledger;
}

export function sysctlTable(options: SysctlOptions, owner: Owner): Table<Sysctl> {
  let opened: Ledger | undefined;
  const ledger = (): Ledger => {
    if (opened === undefined) {
      opened = options.ledger(owner);
      options.ledgers?.add(opened);
    }
    return opened;
  };
  /** What the ledgers of others hold of a sysctl that they have written too. */
  const heldByOthers = (path: string): Mark[] =>
    [...options.ledgers ?? []].filter((other) => other !== ledger() && other.has(path))
      .map((other) => parseMark(other.get(path))).filter((mark) => "was" in mark);
  const inside = <R>(work: () => R): R =>
    options.namespace === undefined ? work() : inNetworkNamespace(options.namespace, work);
  const file = (path: string) => `${options.root ?? "/proc/sys"}/${path}`;

  /** What Linux made of our value, where that is another text: no drift. */
  const taken = new Map<string, string>();

  function marks(): ReadonlyMap<string, Mark> {
    return new Map([...ledger().keys()].map((path) => [path, parseMark(ledger().get(path))]));
  }

  function remember(path: string, mark: Mark): void {
    const before = parseMark(ledger().get(path));
    if (ledger().has(path)) {
      // The value before our first write is never forgotten.
      if ("was" in before) return;
      ledger().remove([path]);
    }
    ledger().add([[path, JSON.stringify(mark)]]);
  }

  function before(path: string, now: string, value: string): Mark {
    if (now === value) return { was: now };
    const also = inside(() =>
      sideEffects(path, now, {
        value: (other) => readValue(file(other)),
        names: (folder) => readNames(file(folder)),
      })
    );
    return Object.keys(also).length === 0 ? { was: now } : { was: now, also };
  }

  function set(op: Op<Sysctl>): string | undefined {
    const { path, value, onlyFrom } = op.item;
    const now = inside(() => readValue(file(path)));
    if (now === undefined) {
      remember(path, { absent: value });
      return "this Linux has no such sysctl";
    }
    if (onlyFrom !== undefined && now !== onlyFrom && now !== value) {
      remember(path, { left: true });
      return `left at "${now}": only "${onlyFrom}" is changed`;
    }
    // Whoever lets go of it last gives back the value before all of us.
    remember(path, heldByOthers(path)[0] ?? before(path, now, value));
    if (now === value) return undefined;
    const after = inside(() => {
      writeFileSync(file(path), `${value}\n`);
      return readValue(file(path));
    });
    if (after === undefined || after === value) taken.delete(path);
    else taken.set(path, after);
    return undefined;
  }

  /** Reads those that are ours; what cannot be read now is a full round's to tell of. */
  function look({ actual, drift }: WatchContext<Sysctl>): void {
    const changes: Drift<Sysctl>[] = [];
    inside(() => {
      for (const [path, { item, owned }] of actual) {
        if (!owned) continue;
        try {
          const value = readValue(file(path));
          if (value === undefined || value === taken.get(path)) continue;
          const now = { path, value };
          if (!resource.equal(item, now)) changes.push({ key: path, actual: { item: now, owned } });
        } catch {
          continue;
        }
      }
    });
    if (changes.length > 0) drift(changes);
  }

  function restore(op: Op<Sysctl>): string | undefined {
    const { path } = op.item;
    const mark = parseMark(ledger().get(path));
    let note: string | undefined;
    if ("was" in mark && heldByOthers(path).length === 0) {
      const now = inside(() => readValue(file(path)));
      if (now === undefined) note = "this Linux has no such sysctl any more";
      else if (now !== mark.was) {
        inside(() => {
          writeFileSync(file(path), `${mark.was}\n`);
          for (const [other, value] of Object.entries(mark.also ?? {})) {
            // Of a link that is gone there is nothing to give back.
            if ((readValue(file(other)) ?? value) !== value) {
              writeFileSync(file(other), `${value}\n`);
            }
          }
        });
      }
    }
    ledger().remove([path]);
    return note;
  }

  function carryOut(op: Op<Sysctl>): Outcome<Sysctl> {
    try {
      const note = op.verb === "delete" ? restore(op) : set(op);
      return { op, ...(note === undefined ? {} : { note }) };
    } catch (error) {
      return { op, error: wrapped(`${op.verb} sysctl`, op.item, error) };
    }
  }

  return {
    resource,
    list() {
      return Promise.resolve([...marks()].map(([path, mark]): Actual<Sysctl> => {
        try {
          const now = inside(() => readValue(file(path)));
          const value = now ?? ("absent" in mark ? mark.absent : "");
          const was = "was" in mark ? mark.was : value;
          return { item: { path, value, was }, owned: true };
        } catch (error) {
          throw wrapped("list sysctl", { path, value: "" }, error);
        }
      }));
    },
    async apply(ops) {
      const wanted = ops.filter((op) => op.verb !== "delete").map((op) => op.item.path);
      await options.modules?.forSysctls(wanted);
      return ops.map(carryOut);
    },
    watch(context) {
      const timer = setInterval(() => look(context), options.periodMs ?? PERIOD_MS).unref();
      return () => clearInterval(timer);
    },
    refuse: ({ path }) =>
      path.startsWith("/") || path.split("/").includes("..") || path.includes("\0")
        ? `"${path}" is no path below /proc/sys`
        : undefined,
  };
}

/** The value without the line end, columns separated by one space; undefined where there is no such file. */
function readValue(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim().replaceAll(/\s+/g, " ");
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw error;
  }
}

function readNames(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function parseMark(text: string | undefined): Mark {
  try {
    const mark: unknown = JSON.parse(text ?? "null");
    return typeof mark === "object" && mark !== null ? mark as Mark : { left: true };
  } catch {
    return { left: true };
  }
}

function wrapped(op: string, item: Sysctl, error: unknown): KernelError {
  if (error instanceof KernelError) return error;
  const { code, message } = error as { code?: unknown; message?: unknown };
  const name = typeof code === "string" ? code : "EIO";
  const remedy = {
    EROFS: "mount /proc/sys writable: run the container privileged",
    EACCES: "run as root; a container needs to be privileged",
    EPERM: "run as root; a container needs to be privileged",
    EINVAL: `this Linux does not take the value "${item.value}"`,
  }[name];
  return new KernelError(op, name, {
    object: item.path,
    ...(typeof code === "string" ? {} : { detail: String(message) }),
    ...(remedy === undefined ? {} : { remedy }),
  });
}
