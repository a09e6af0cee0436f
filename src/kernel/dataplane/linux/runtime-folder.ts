/** The runtime directory when nothing of ours is in Linux any more: its files say nothing then. */

import { readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isSpentLedger } from "./ledger.ts";

/** Files of the agent besides ledgers, and what a killed one may have left half-written. */
const FILES = /^(agent\.sock|plugins\.json(\.new)?|.*\.ledger\.tmp)$/;

/**
 * Removes the files that say nothing any more, and the folder where it is empty then. Ledgers with marks stay, and so do those of
 * another network namespace, which this process cannot clean. To be called when no agent runs and nothing of ours is left.
 *
 * @returns paths of what was removed
 */
export function tidyRuntimeFolder(directory: string): readonly string[] {
  const removed: string[] = [];
  for (const name of namesIn(directory)) {
    const path = join(directory, name);
    const spent = FILES.test(name) ||
      (name.endsWith(".ledger") && isSpentLedger(readText(path)));
    if (!spent) continue;
    rmSync(path, { force: true });
    removed.push(path);
  }
  try {
    rmdirSync(directory);
    removed.push(directory);
  } catch {
    // Others' files are in it, or it is a mount.
  }
  return removed;
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).toSorted();
  } catch {
    return [];
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
