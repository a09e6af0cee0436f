/**
 * Third parties' plugins: looks after their folders while the agent runs, and after each plugin's process. A plugin that fails
 * costs only itself: it is named, started again ever more rarely, and what it wanted before stays in Linux. One whose file is
 * gone is stopped, and what it had in Linux goes.
 */

import type { Dataplane } from "../dataplane/dataplane.ts";
import type { Metrics } from "../observe/metrics.ts";
import { creationOrder, tables } from "../dataplane/resources/mod.ts";
import type { HostAddresses, Logger, Tables } from "../plugin.ts";
import { cleanup } from "../runtime/cleanup.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { givenOptions } from "./config.ts";
import { Entry } from "./entry.ts";
import type { GuestProcess } from "./process.ts";
import type { Protocols } from "./protocols.ts";
import { type Candidate, scan } from "./scan.ts";

export interface LoaderOptions {
  /** Folders of plugins; of two with one name the first folder's counts. */
  readonly folders: readonly string[];
  /** Names of built-in plugins. */
  readonly reserved: readonly string[];
  /** What `--plugin` set, by plugin and key. */
  readonly given: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly runtime: Pick<Runtime, "admit" | "runGuest" | "noteGuest" | "dismiss">;
  readonly dataplane: Dataplane;
  readonly protocols: Protocols;
  readonly host: HostAddresses;
  readonly node: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Milliseconds between looks; default 1,000. A file that changes is loaded when it was the same twice. */
  readonly scanMs?: number;
  /** Starts the process of a plugin. */
  readonly spawn: (name: string) => GuestProcess;
}

export interface Loader {
  /** Looks at the folders now and from now on. Resolves when the plugins that are there have been started. */
  start(): Promise<void>;
  /** Ends the plugins' processs; Linux stays as it is. */
  stop(): Promise<void>;
}

/** Milliseconds that a plugin has to end what it began. */
const STOP_MS = 300;
/** Milliseconds until the removal of what a plugin left is tried again. */
const CLEANUP_RETRY_MS = 10_000;

export function pluginLoader(options: LoaderOptions): Loader {
  const { folders, reserved, given, runtime, dataplane, protocols, log, scanMs = 1_000 } = options;
  const entries = new Map<string, Entry>();
  /** What the last look saw, by name. */
  let seen = new Map<string, string>();
  let unreadable: string | undefined;
  let unknownTold = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  /** Plugins without a file whose items could not be removed yet, and when to try again. */
  const orphans = new Map<string, number>();

  function look(): readonly Candidate[] | undefined {
    try {
      const found = scan(folders, reserved);
      unreadable = undefined;
      return found;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== unreadable) log.error("Cannot look for plugins", { reason });
      unreadable = reason;
      return undefined;
    }
  }

  /** One look and what follows from it. The first one takes files as they are; a later one waits until they are at rest. */
  async function round(first: boolean): Promise<void> {
    const found = look();
    if (found === undefined) return;
    for (const [name, entry] of entries) {
      if (!found.some((candidate) => candidate.name === name)) await remove(entry);
    }
    for (const candidate of found) {
      const { name } = candidate;
      const entry = entries.get(name);
      if (entry?.candidate.fingerprint === candidate.fingerprint) continue;
      if (!first && seen.get(name) !== candidate.fingerprint) continue;
      if (entry !== undefined) {
        log.info("Plugin changed", { plugin: name, file: candidate.file });
        await halt(entry);
      }
      add(candidate);
    }
    seen = new Map(found.map(({ name, fingerprint }) => [name, fingerprint]));
    if (!unknownTold) tellUnknown();
    await removeOrphans();
  }

  function add(candidate: Candidate): void {
    const { name, file, config, refusal } = candidate;
    const entry = new Entry(candidate, {
      ...options,
      given: () => givenOptions(config, given[name]),
      // A kind that an earlier version had and this one does not even name.
      prepare: async (tables) => {
        if (protocols.owners().some((owner) => owner.name === name)) await clear(name, tables);
        return protocols.of(name);
      },
    });
    entries.set(name, entry);
    orphans.delete(name);
    runtime.admit(entry);
    if (refusal === undefined) entry.launch();
    else {
      entry.fault = refusal;
      log.error("Plugin refused", { plugin: name, file, reason: refusal });
    }
  }

  async function halt(entry: Entry): Promise<void> {
    entries.delete(entry.name);
    await entry.stop(STOP_MS);
    await runtime.dismiss(entry.name);
  }

  async function remove(entry: Entry): Promise<void> {
    await halt(entry);
    log.info("Plugin removed", { plugin: entry.name, file: entry.file });
    orphans.set(entry.name, 0);
  }

  async function removeOrphans(): Promise<void> {
    for (const { name } of protocols.owners()) {
      if (entries.has(name)) continue;
      if ((orphans.get(name) ?? 0) > performance.now()) continue;
      if (await clear(name, [])) {
        orphans.delete(name);
        protocols.forget(name);
      } else orphans.set(name, performance.now() + CLEANUP_RETRY_MS);
    }
  }

  /** Removes what a plugin has in Linux but for kinds to keep. Whether all is gone. */
  async function clear(name: string, keep: readonly (keyof Tables)[]): Promise<boolean> {
    const kept = keep.map((table) => tables[table].resource.kind);
    const owner = protocols.owners().filter((each) => each.name === name);
    const { removed, failed } = await cleanup(
      dataplane,
      owner,
      creationOrder.filter((kind) => !kept.includes(kind)),
    );
    for (const reason of failed) {
      log.error("Cannot remove what a plugin left", { plugin: name, reason });
    }
    if (removed.length > 0) {
      log.info("Removed what a plugin left", { plugin: name, items: removed.length });
    }
    return failed.length === 0;
  }

  /** Options of plugins that are not there are mostly misspelt. */
  function tellUnknown(): void {
    unknownTold = true;
    for (const name of Object.keys(given)) {
      if (entries.has(name)) continue;
      log.warn("Options for a plugin that is not there", {
        plugin: name,
        folders: folders.join(", "),
      });
    }
  }

  let running: Promise<void> = Promise.resolve();
  const tick = (first: boolean): Promise<void> => {
    running = round(first).catch((error: unknown) => {
      log.error("Cannot look after plugins", {
        reason: error instanceof Error ? error.message : String(error),
      });
    }).then(() => {
      if (!stopped) timer = setTimeout(() => void tick(false), scanMs);
    });
    return running;
  };

  return {
    start: () => tick(true),
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running;
      await Promise.all([...entries.values()].map((entry) => entry.stop(STOP_MS)));
    },
  };
}
