/** The part of a plan that third parties' plugins have: each says in a process of its own what it wants, and changes nothing. */

import type { Dataplane, Owner } from "../kernel/dataplane/dataplane.ts";
import type { Op, TableRef } from "../kernel/dataplane/resource.ts";
import { type Tables, tables } from "../kernel/dataplane/resources/mod.ts";
import { givenOptions } from "../kernel/guest/config.ts";
import { Entry } from "../kernel/guest/entry.ts";
import { openProtocols } from "../kernel/guest/protocols.ts";
import { scan } from "../kernel/guest/scan.ts";
import { silentLogger } from "../kernel/observe/log.ts";
import { noMetrics } from "../kernel/observe/metrics.ts";
import type { HostAddresses } from "../kernel/plugin.ts";
import { removalOrder } from "../kernel/runtime/cleanup.ts";
import type { Runtime } from "../kernel/runtime/runtime.ts";
import type { Flags } from "./flags.ts";
import { pluginSpawner } from "./plugin-process.ts";
import { isUnasked } from "./shipped-plugins.ts";
import { pluginFolders, RESERVED } from "./third-parties.ts";

export interface Removal {
  readonly owner: Owner;
  readonly ref: TableRef<unknown>;
  readonly op: Op<unknown>;
}

export interface PlannedPlugins {
  /** Plugins for which nothing is planned, each with the reason. What they have in Linux stays. */
  readonly notes: readonly string[];
  /** All that have, or may have, something in Linux. */
  readonly owners: readonly Owner[];
  /** What goes: of plugins whose file is gone, and of kinds that a plugin does not name any more. */
  removals(): Promise<readonly Removal[]>;
  stop(): Promise<void>;
}

interface Planning {
  readonly flags: Flags;
  readonly runtime: Runtime;
  readonly dataplane: Dataplane;
  readonly host: HostAddresses;
  readonly node: string;
}

/** Milliseconds that the plugins have to say what they want. */
const LIMIT_MS = 15_000;

/** Starts the plugins of the folders and waits until each has said what it wants; `Runtime.preview` has their part then. */
export async function planPlugins(
  { flags, runtime, dataplane, host, node }: Planning,
): Promise<PlannedPlugins> {
  const protocols = openProtocols(flags.runtimeDir);
  const notes: string[] = [];
  const entries: Entry[] = [];
  const found = scan(pluginFolders(flags), RESERVED, isUnasked(flags));
  for (const candidate of found) {
    const { name, config, refusal } = candidate;
    if (refusal !== undefined) {
      notes.push(`Plugin "${name}" is refused, and nothing of it is planned: ${refusal}`);
      continue;
    }
    const entry = new Entry(candidate, {
      runtime,
      host,
      node,
      log: silentLogger, // what is wrong is printed with the plan
      metrics: noMetrics,
      given: () => givenOptions(config, flags.plugin[name]),
      prepare: () => Promise.resolve(protocols.peek(name)),
      spawn: pluginSpawner(silentLogger),
      isDry: true,
    });
    entries.push(entry);
    runtime.admit(entry);
    entry.launch();
  }
  const deadline = performance.now() + LIMIT_MS;
  const isDone = (entry: Entry): boolean =>
    entry.fault !== undefined || entry.synced || entry.waitsFor !== undefined;
  while (!entries.every(isDone) && performance.now() < deadline) await Bun.sleep(10);
  for (const { name, fault, synced, waitsFor } of entries) {
    const reason = fault ??
      (synced
        ? undefined
        : waitsFor === undefined
        ? `it did not say what it wants within ${LIMIT_MS / 1000} s`
        : `it waits for ${waitsFor}`);
    if (reason !== undefined) notes.push(`Nothing is planned for plugin "${name}": ${reason}`);
  }
  const gone = protocols.owners().filter(({ name }) =>
    !found.some((candidate) => candidate.name === name)
  );
  return {
    notes,
    owners: protocols.owners(),
    async removals() {
      const removals: Removal[] = [];
      for (const owner of gone) removals.push(...await ownedBy(dataplane, owner, []));
      for (const owner of protocols.owners()) {
        const kept = entries.find(({ name }) => name === owner.name)?.tables;
        if (kept !== undefined) removals.push(...await ownedBy(dataplane, owner, kept));
      }
      return removals;
    },
    stop: async () => void await Promise.all(entries.map((entry) => entry.stop(0))),
  };
}

/** The deletions of all that an owner has but for kinds to keep. What cannot be read has nothing. */
async function ownedBy(
  dataplane: Dataplane,
  owner: Owner,
  keep: readonly (keyof Tables)[],
): Promise<readonly Removal[]> {
  const kept = keep.map((name) => tables[name].resource.kind);
  const removals: Removal[] = [];
  for (const ref of removalOrder()) {
    if (kept.includes(ref.resource.kind)) continue;
    const list = await dataplane.open(ref, owner).list().catch(() => []);
    for (const { item, owned } of list) {
      if (owned) removals.push({ owner, ref, op: { verb: "delete", item } });
    }
  }
  return removals;
}
