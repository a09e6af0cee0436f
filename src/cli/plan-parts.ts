/** What `plan` prints, object by object, with its warnings. */

import { statSync } from "node:fs";
import { basename, dirname } from "node:path";
import {
  findManifests,
  type ManifestFile,
  readManifest,
} from "../kernel/cluster/manifests/files.ts";
import type { ManifestObject } from "../kernel/cluster/manifests/objects.ts";
import type { Problem } from "../kernel/runtime/status.ts";
import { askPlugin } from "./ask-plugin.ts";
import { type Change, planText } from "./plan.ts";

export interface ReadManifests {
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly string[];
}

/**
 * Reads manifests, files or folders.
 *
 * @throws {Error} where one cannot be read at all, with its place and the reason
 */
export async function readManifests(paths: readonly string[]): Promise<ReadManifests> {
  const objects: ManifestObject[] = [];
  const problems: string[] = [];
  for (const path of paths) {
    for (const { name, objects: its, problems: wrong, unused, broken } of await filesAt(path)) {
      if (broken !== undefined) {
        const line = broken.line === undefined ? "" : `:${broken.line}`;
        throw new Error(`manifest "${name}"${line} cannot be read: ${broken.reason}`);
      }
      objects.push(...its);
      problems.push(
        ...wrong.map(({ line, object, reason }) => `${name}:${line}: ${object} ${reason}`),
      );
      for (const kind of new Set(unused.map(({ kind }) => kind))) {
        problems.push(`${name}: ${kind} is nothing that routelet reads`);
      }
    }
  }
  return { objects, problems };
}

async function filesAt(path: string): Promise<readonly ManifestFile[]> {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) throw new Error(`there is no file and no folder "${path}"`);
  if (!stat.isDirectory()) {
    return [await readManifest(dirname(path), basename(path), "", undefined, true)];
  }
  const { files } = findManifests(path);
  return await Promise.all(
    [...files].map(([name, stamp]) => readManifest(path, name, stamp, undefined, true)),
  );
}

/** Keys that one question names: a request's head has an end. */
const KEYS_AT_ONCE = 50;
/** Deletions whose objects are asked for. */
const MOST_ASKED = 5_000;

/** Adds who asked until now for what is to be deleted, as far as the running agent knows. */
export async function withHolders(
  runtimeDir: string,
  changes: readonly Change[],
): Promise<readonly Change[]> {
  const texts = changes.filter(({ by }) => by === undefined).slice(0, MOST_ASKED).map(textOf);
  const held: Record<string, string> = {};
  for (let i = 0; i < texts.length; i += KEYS_AT_ONCE) {
    const query = new URLSearchParams(
      texts.slice(i, i + KEYS_AT_ONCE).map((text): [string, string] => ["of", text]),
    );
    const asked = await askPlugin("-", runtimeDir, "holders", query);
    // No agent, or one of an older version: the plan stands without.
    if (typeof asked === "string") break;
    Object.assign(held, asked.answer);
  }
  return changes.map((change) => {
    const by = change.by ?? held[textOf(change)];
    return by === undefined ? change : { ...change, by };
  });
}

function textOf({ plugin, kind, key }: Change): string {
  return `${plugin} ${kind} ${key}`;
}

/** The changes below the object that asks for them, in the order in which the last of each would be made. */
export function groupedText(changes: readonly Change[]): string {
  const groups = new Map<string, Change[]>();
  for (const change of changes) {
    const title = `${change.plugin}: ${change.by ?? "nobody any more"}`;
    const group = groups.get(title) ?? [];
    group.push(change);
    // Last in the map, whenever it was made.
    groups.delete(title);
    groups.set(title, group);
  }
  const ordered = [...groups].flatMap(([title, group]) => [
    { title },
    ...group.map((change) => ({ change })),
  ]);
  const [counts] = planText(changes).trimEnd().split("\n").slice(-1);
  if (changes.length === 0 || counts === undefined) return "";
  const lines = ordered.map((one) =>
    "title" in one ? `# ${one.title}` : planText([one.change]).split("\n")[0] ?? ""
  );
  return `${[...lines, counts].join("\n")}\n`;
}

/**
 * What a person should look at twice before the change is made.
 *
 * @param present addresses that this host has now, whoever put them there
 */
export function warningsOf(
  changes: readonly Change[],
  problems: readonly Pick<Problem, "subject" | "reason">[],
  present: ReadonlySet<string> = new Set(),
): readonly string[] {
  const gone = changes.filter(({ verb, kind }) => verb === "delete" && kind === "ipvs.service");
  const warnings: string[] = [];
  for (const { subject, reason } of problems) {
    // "External IP "203.0.113.9" is not served, since …"
    const addresses = [...reason.matchAll(/"([0-9a-fA-F:.]+)"/g)].flatMap(([, address]) =>
      address ?? []
    );
    if (!/is not served|and is not served/.test(reason)) continue;
    const lost = addresses.filter((address) =>
      present.has(address) ||
      gone.some(({ key }) => key.includes(` ${address}:`) || key.includes(` [${address}]:`))
    );
    if (lost.length === 0) continue;
    warnings.push(
      `${lost.join(", ")} of ${subject} would vanish from this node: ${reason}`,
    );
  }
  const reborn = changes.filter(({ verb, kind }) => verb === "delete" && kind === "link");
  for (const { description } of reborn) {
    warnings.push(`${description} would go, and with it every address and route on it`);
  }
  return warnings;
}
