/** The command `plan`: the exact change to Linux that the agent would make now, and none made. */

import { openLinux } from "../kernel/dataplane/linux/mod.ts";
import { described, type Op, type Resource } from "../kernel/dataplane/resource.ts";
import { createLogger, silentLogger } from "../kernel/observe/log.ts";
import { printable } from "../kernel/observe/printable.ts";
import type { TablePlan } from "../kernel/runtime/engine.ts";
import { hostAddresses } from "../kernel/runtime/host.ts";
import { Runtime } from "../kernel/runtime/runtime.ts";
import { overAgentFlags } from "./agent-flags.ts";
import {
  advertisable,
  errorText,
  hostedPlugins,
  leftoverTexts,
  nodeName,
  openSource,
  ownersOf,
} from "./agent.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { overlaySource } from "../kernel/cluster/overlay-source.ts";
import { groupedText, readManifests, warningsOf, withHolders } from "./plan-parts.ts";
import { leftByOther, netfilterOf, openOther } from "./netfilter.ts";
import { planPlugins } from "./plan-plugins.ts";

/** Exit code when there is something to change. */
const CHANGES = 2;

/** One change, as `--output json` prints it. */
export interface Change {
  readonly plugin: string;
  readonly verb: Op<unknown>["verb"];
  readonly kind: string;
  readonly key: string;
  readonly description: string;
  /** The unit that asks for it, or asked for it until now: "service default/web"; absent: nobody knows. */
  readonly by?: string;
  readonly item: unknown;
  /** What Linux holds now, for updates. */
  readonly have?: unknown;
}

interface PlanConflict {
  readonly plugin: string;
  readonly kind: string;
  readonly key: string;
  readonly reason: string;
}

/**
 * Prints the plan; 0 when Linux is as it should be, 2 when it is not, 1 when that could not be found out.
 *
 * @param paths manifests, files or folders, that are looked at as if they were applied to the cluster
 */
export async function plan(given: Flags, io: Io, paths: readonly string[] = []): Promise<number> {
  const flags = await overAgentFlags(given);
  const log = createLogger({
    verbosity: flags.v - 1, // what is printed is the plan; only warnings go beside it
    format: flags.logFormat,
    write: (line) => io.stderr(line),
  });
  const node = nodeName(flags, io.env);
  const closers: (() => void | Promise<void>)[] = [];
  try {
    const manifests = await readManifests(paths);
    const live = await openSource(flags, node, log);
    const overlay = paths.length === 0 ? undefined : overlaySource(live, manifests.objects);
    const source = overlay ?? live;
    closers.push(() => source.stop());
    const dataplane = openLinux({
      runtimeDirectory: flags.runtimeDir,
      runtimeEndpoint: flags.runtimeEndpoint,
      netfilter: netfilterOf(flags),
      ...advertisable(flags),
      log,
    });
    closers.push(() => dataplane.close());
    const other = openOther(flags);
    closers.push(() => other?.close());
    const host = hostAddresses();
    closers.push(() => host.stop());
    const runtime = new Runtime({
      plugins: hostedPlugins(flags),
      source,
      dataplane,
      host,
      node,
      log: silentLogger, // all that is wrong is printed below
      fullInterval: flags.ipvsSyncPeriod,
    });
    closers.push(() => runtime.stop());
    await runtime.setup();
    await runtime.synced(flags.cacheSyncTimeout);
    const thirdParties = await planPlugins({ flags, runtime, dataplane, host, node });
    closers.push(() => thirdParties.stop());
    const previews = await runtime.preview();
    for (const text of await leftoverTexts(flags, dataplane, other)) io.stderr(`note: ${text}\n`);
    for (const text of thirdParties.notes) io.stderr(`note: ${text}\n`);
    const left = [
      ...await thirdParties.removals(),
      ...await leftByOther(other, [...ownersOf(flags), ...thirdParties.owners]),
    ];
    const changes = await withHolders(flags.runtimeDir, [
      ...previews.flatMap(({ plugin, tables }) => changesOf(plugin, tables)),
      ...left.map(({ owner, ref, op }) => changeOf(owner.name, ref.resource, op)),
    ]);
    const conflicts = previews.flatMap(({ plugin, tables }): readonly PlanConflict[] =>
      tables.flatMap((table) => table.conflicts.map((conflict) => ({ plugin, ...conflict })))
    );
    const problems = previews.flatMap(({ plugin, problems }) =>
      problems.map((problem) => ({ plugin, ...problem }))
    );
    const warnings = [
      ...manifests.problems,
      ...overlay?.notes() ?? [],
      ...warningsOf(
        changes,
        problems,
        new Set(host.values().map(({ address }) => address)),
      ),
    ];
    if (flags.output === "json") {
      io.stdout(`${JSON.stringify({ changes, conflicts, problems, warnings }, null, 2)}\n`);
    } else {
      io.stdout(groupedText(changes));
      const lines = [
        ...warnings.map((warning) => `warning: ${warning}`),
        ...conflicts.map(({ kind, key, reason }) => `conflict: ${kind} ${key}: ${reason}`),
        ...problems.map(({ subject, reason }) => `problem: ${subject}: ${reason}`),
      ];
      for (const line of lines) io.stderr(`${printable(line)}\n`);
    }
    return changes.length > 0 ? CHANGES : 0;
  } catch (error) {
    io.stderr(`routelet: Cannot plan: ${errorText(error)}\n`);
    return EXIT.failed;
  } finally {
    for (const close of closers.toReversed()) await close();
  }
}

function changeOf(
  plugin: string,
  resource: Resource<unknown>,
  op: Op<unknown>,
  by?: string,
): Change {
  return {
    plugin,
    verb: op.verb,
    kind: resource.kind,
    key: resource.key(op.item),
    description: described(resource, op),
    ...(by === undefined ? {} : { by }),
    item: op.item,
    ...(op.verb === "update" ? { have: op.have } : {}),
  };
}

/** The changes of a plugin's kinds, in the order in which a round would make them. */
export function changesOf(plugin: string, tables: readonly TablePlan[]): readonly Change[] {
  const of = (
    { resource, wantedBy }: TablePlan,
    ops: readonly Op<unknown>[],
  ): readonly Change[] =>
    ops.map((op) => changeOf(plugin, resource, op, wantedBy(resource.key(op.item))));
  // In the order in which a round would make them.
  return [
    ...tables.flatMap((table) => of(table, table.upserts)),
    ...tables.toReversed().flatMap((table) => of(table, table.deletes)),
  ];
}

const SIGNS = { create: "+", update: "~", delete: "-" } as const;

/** One line a change, and a line that counts them; nothing where there is none. */
export function planText(changes: readonly Pick<Change, "verb" | "description">[]): string {
  if (changes.length === 0) return "";
  const count = (verb: Change["verb"]): number => changes.filter((c) => c.verb === verb).length;
  const lines = changes.map(({ verb, description }) => `${SIGNS[verb]} ${description}`);
  lines.push(
    `${count("create")} to create, ${count("update")} to update, ${count("delete")} to delete`,
  );
  return `${lines.join("\n")}\n`;
}
