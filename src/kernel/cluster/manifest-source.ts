/** The cluster from a folder of YAML and JSON, read again whenever something in it changes. */

import { type FSWatcher, statSync, watch } from "node:fs";
import type { Logger } from "../observe/log.ts";
import { reasonOf } from "./credentials.ts";
import { createStores } from "./gate.ts";
import { KIND_NAMES, type KindName, type NodeAddress } from "./kinds.ts";
import { findManifests, type Found, type ManifestFile, readManifest } from "./manifests/files.ts";
import { hostAddresses } from "./manifests/host.ts";
import { buildState, type ManifestState, type Report } from "./manifests/state.ts";
import type { ClusterSource, KindState, Watch } from "./source.ts";
import type { WritableStore } from "./store.ts";

export interface ManifestSourceOptions {
  readonly directory: string;
  /** Name of the Node object of this host. */
  readonly nodeName: string;
  readonly log: Logger;
  /** Quiet time after the last event before files are read: writers write in pieces. Default 50. */
  readonly debounceMs?: number;
  /** How often the folder is looked at where no event came (network file systems). Default 5000. */
  readonly pollMs?: number;
  /** The host's addresses, where the folder has no Node of its name. */
  readonly addresses?: () => Promise<readonly NodeAddress[]>;
  /** Freezes objects, all the way down; for tests. */
  readonly freeze?: boolean;
}

const LONGEST_DEBOUNCE_MS = 1_000;

/** @throws {Error} where there is no such folder */
export function openManifestSource(options: ManifestSourceOptions): ClusterSource {
  const { directory, nodeName, log, debounceMs = 50, pollMs = 5_000 } = options;
  requireFolder(directory);
  const addresses = options.addresses ?? (() => hostAddresses());
  const { stores, writable, open } = createStores({
    freeze: options.freeze ?? false,
    onListenerError: (error) => log.error("Subscriber of a store threw", { error }),
  });
  /** The kinds that are asked for; whether only this node. */
  const wanted = new Map<KindName, boolean>();
  const reads = new Map<KindName, number>();
  const reporter = createReporter(log);
  const watchers = createWatchers(() => wake());
  let files: ReadonlyMap<string, ManifestFile> = new Map();
  let host: readonly NodeAddress[] = [];
  let state: ManifestState | undefined;
  let version = 0;
  let lastError: string | undefined;
  let lastEventAt = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wokenAt: number | undefined;
  let began = false;
  let round: Promise<void> = Promise.resolve();
  let stopped = false;

  function wake(): void {
    if (stopped) return;
    // Put off by each event, but not for ever by a writer that never rests.
    wokenAt ??= performance.now();
    if (timer === undefined || performance.now() - wokenAt < LONGEST_DEBOUNCE_MS) plan(debounceMs);
  }

  /** The next round, in so many milliseconds, in place of one that was planned before. */
  function plan(ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      timer = undefined;
      wokenAt = undefined;
      round = round.then(scan).catch((error: unknown) => {
        lastError = `Cannot read the manifests in "${directory}": ${reasonOf(error)}`;
        reporter.failed(lastError);
      }).finally(() => {
        if (!stopped && timer === undefined) plan(pollMs);
      });
    }, ms);
  }

  async function scan(): Promise<void> {
    if (stopped) return;
    const found = find();
    if (found === undefined) return;
    // Before the files are read: what changes while we read wakes us again.
    watchers.set(found.folders);
    const [next, ownAddresses] = await Promise.all([readChanged(found), addresses()]);
    if (stopped) return;
    const changed = state === undefined || next.size !== files.size ||
      [...next].some(([name, file]) => files.get(name) !== file) ||
      JSON.stringify(ownAddresses) !== JSON.stringify(host);
    lastEventAt = Date.now();
    if (changed || state === undefined) {
      files = next;
      host = ownAddresses;
      version++;
      state = buildState([...files.values()], nodeName, host, String(version));
      reporter.told(state.reports);
    }
    lastError = describe(state.reports.find(({ notice }) => !notice));
    if (!changed) return;
    for (const kind of wanted.keys()) fill(kind);
  }

  /** Undefined where the folder is gone: what was in it stays, until it is back. */
  function find(): Found | undefined {
    try {
      const found = findManifests(directory);
      reporter.recovered();
      return found;
    } catch (error) {
      lastError = `Cannot read the manifests in "${directory}": ${reasonOf(error)}`;
      reporter.failed(lastError);
      return undefined;
    }
  }

  async function readChanged({ files: found }: Found): Promise<ReadonlyMap<string, ManifestFile>> {
    const next = new Map<string, ManifestFile>();
    for (const [name, stamp] of found) {
      const before = files.get(name);
      const file = before?.stamp === stamp
        ? before
        : await readManifest(directory, name, stamp, before, state === undefined);
      next.set(name, file);
    }
    return next;
  }

  function fill<K extends KindName>(kind: K): void {
    if (state === undefined) return;
    const objects = state.objects[kind];
    const shown = wanted.get(kind) === true
      ? objects.filter(({ metadata }) => metadata.name === nodeName)
      : objects;
    reads.set(kind, (reads.get(kind) ?? 0) + 1);
    (writable[kind] as unknown as WritableStore<typeof shown[number]>)
      .replace(shown, String(version));
  }

  return {
    stores,
    get unread() {
      return [...files.values()].flatMap(({ unread }) => unread);
    },
    get state() {
      const kinds = KIND_NAMES.filter((kind) => wanted.has(kind)).map((kind): KindState => {
        const { synced, size, resourceVersion } = writable[kind];
        return {
          kind,
          synced,
          objects: size,
          resourceVersion,
          connected: synced && lastError === undefined,
          ...(lastError === undefined ? {} : { lastError }),
          lastEventAt,
          relists: Math.max(0, (reads.get(kind) ?? 0) - 1),
        };
      });
      return {
        from: directory,
        connected: kinds.length > 0 && kinds.every(({ connected }) => connected),
        kinds,
      };
    },
    start: (watches: readonly Watch[]) => {
      if (stopped) return;
      for (const { kind, only } of watches) {
        const self = only === "self" && wanted.get(kind) !== false;
        if (wanted.get(kind) === self) continue;
        wanted.set(kind, self);
        open(kind);
        fill(kind);
      }
      if (!began) plan(0);
      began = true;
    },
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      watchers.close();
      await round;
    },
  };
}

function requireFolder(directory: string): void {
  let reason = "it is no folder";
  try {
    if (statSync(directory).isDirectory()) return;
  } catch (error) {
    reason = reasonOf(error);
  }
  throw new Error(
    `Cannot read manifests from "${directory}": ${reason}: correct --manifests, or make the folder`,
  );
}

interface Watchers {
  /** Watches exactly these folders. */
  readonly set: (folders: readonly string[]) => void;
  readonly close: () => void;
}

function createWatchers(wake: () => void): Watchers {
  const open = new Map<string, { readonly inode: number; readonly watcher: FSWatcher }>();
  const close = (folder: string) => {
    open.get(folder)?.watcher.close();
    open.delete(folder);
  };
  return {
    set: (folders) => {
      for (const folder of open.keys()) if (!folders.includes(folder)) close(folder);
      for (const folder of folders) {
        // A folder that was made anew under its old name has another inode, and no watcher.
        const inode = statSync(folder, { throwIfNoEntry: false })?.ino;
        if (inode === undefined || open.get(folder)?.inode === inode) continue;
        close(folder);
        try {
          const watcher = watch(folder, { persistent: false }, wake);
          watcher.on("error", () => close(folder));
          open.set(folder, { inode, watcher });
        } catch {
          // Out of inotify watches: the poll finds changes, only later.
        }
      }
    },
    close: () => {
      for (const folder of [...open.keys()]) close(folder);
    },
  };
}

interface Reporter {
  /** Logs what was not so in the last state; says what is repaired. */
  readonly told: (reports: readonly Report[]) => void;
  readonly failed: (error: string) => void;
  readonly recovered: () => void;
}

function createReporter(log: Logger): Reporter {
  let before = new Map<string, Report>();
  let failing: string | undefined;
  const noticed = new Set<string>();
  return {
    told: (reports) => {
      const now = new Map<string, Report>();
      for (const report of reports) {
        const { message, fields, notice } = report;
        if (notice) {
          // One line a kind, however many objects a folder holds of it.
          const kind = String(fields["kind"]);
          if (!noticed.has(kind)) log.info(message, fields);
          noticed.add(kind);
          continue;
        }
        const key = JSON.stringify([message, fields]);
        now.set(key, report);
        if (!before.has(key)) log.warn(message, fields);
      }
      const stillBad = new Set([...now.values()].map(({ fields }) => fields["file"]));
      for (const file of new Set([...before.values()].map(({ fields }) => fields["file"]))) {
        if (!stillBad.has(file)) log.info("Manifest is in order again", { file });
      }
      before = now;
    },
    failed: (error) => {
      if (failing !== error) log.warn("Manifests cannot be read: what was read stays", { error });
      failing = error;
    },
    recovered: () => {
      if (failing !== undefined) log.info("Manifests can be read again");
      failing = undefined;
    },
  };
}

function describe(report: Report | undefined): string | undefined {
  if (report === undefined) return undefined;
  const { file, line, object, reason, first } = report.fields;
  const where = line === undefined ? file : `${file}:${line}`;
  const what = object === undefined ? "" : ` ${object}`;
  return `${where}:${what} ${reason ?? `is already in ${first}`}`;
}
