/**
 * Removes everything of an owner: a plan in which nothing is desired. Works for a plugin that is not loaded and
 * without an API server, since every kind belongs to the kernel and every item carries its mark.
 */

import type { Dataplane, Owner } from "../dataplane/dataplane.ts";
import { isUnsupported } from "../dataplane/errors.ts";
import { described, type TableRef } from "../dataplane/resource.ts";
import { type Tables, tables } from "../dataplane/resources/mod.ts";

/** What was removed, and what could not be. Texts as the resources describe their items. */
export interface CleanupResult {
  readonly removed: readonly string[];
  readonly failed: readonly string[];
}

/** Removes all items of `owners`, children before parents. A kind that fails does not stop the others. @param kinds absent: all */
export async function cleanup(
  dataplane: Dataplane,
  owners: readonly Owner[],
  kinds?: readonly string[],
): Promise<CleanupResult> {
  const removed: string[] = [];
  const failed: string[] = [];
  for (const owner of owners) {
    for (const ref of removalOrder(kinds)) {
      const { resource } = ref;
      const table = dataplane.open(ref, owner);
      try {
        const ours = (await table.list()).filter((have) => have.owned);
        const ops = ours.map(({ item }) => ({ verb: "delete", item }) as const);
        for (const { op, error } of await table.apply(ops)) {
          if (error === undefined) removed.push(described(resource, op));
          else failed.push(error.message);
        }
        table.retirements?.forget(ours.map(({ item }) => resource.key(item)));
      } catch (error) {
        // A kind that Linux does not know holds nothing of ours.
        if (!isUnsupported(error)) failed.push(error instanceof Error ? error.message : `${error}`);
      }
    }
  }
  // What could not be removed may still need it.
  if (failed.length > 0) return { removed, failed };
  try {
    removed.push(...await dataplane.tidy?.() ?? []);
  } catch (error) {
    if (!isUnsupported(error)) failed.push(error instanceof Error ? error.message : `${error}`);
  }
  return { removed, failed };
}

/** Number of items of each owner in Linux; owners without any are left out. Kinds that cannot be read count nothing. */
export async function leftovers(
  dataplane: Dataplane,
  owners: readonly Owner[],
  kinds?: readonly string[],
): Promise<readonly { readonly owner: string; readonly items: number }[]> {
  const found: { owner: string; items: number }[] = [];
  for (const owner of owners) {
    let items = 0;
    for (const ref of removalOrder(kinds)) {
      try {
        items += (await dataplane.open(ref, owner).list()).filter(({ owned }) => owned).length;
      } catch {
        // Told by whoever needs that kind.
      }
    }
    if (items > 0) found.push({ owner: owner.name, items });
  }
  return found;
}

/** Tables, children before parents. @param kinds absent: all */
export function removalOrder(kinds?: readonly string[]): readonly TableRef<unknown>[] {
  return (Object.keys(tables) as (keyof Tables)[])
    .toReversed().map((name) => tables[name] as TableRef<unknown>)
    .filter(({ resource }) => kinds === undefined || kinds.includes(resource.kind));
}
