/** What the executable and the image are made from, and when and by which commit that changed last: the same source has the same answers. */

import { resolve } from "node:path";
import { run } from "./run.ts";

export const ROOT = resolve(import.meta.dir, "..");

/** Of the executable. */
export const SOURCES = ["src", "plugins.d/lb-pool", "package.json", "package-lock.json"];
/** Of the image: also what is laid beside the executable, and how. */
export const IMAGE_SOURCES = [...SOURCES, "plugins.d", "deploy/image", "scripts/image"];

/** When the sources changed last, in seconds; SOURCE_DATE_EPOCH, as reproducible-builds.org has it, goes before. */
export async function sourceTime(sources: readonly string[]): Promise<number> {
  const given = Number(process.env["SOURCE_DATE_EPOCH"]);
  if (Number.isInteger(given) && given > 0) return given;
  try {
    return Number(await git("log", "-1", "--format=%ct", "--", ...sources));
  } catch {
    return 0;
  }
}

/** The commit that the sources are at, with `-dirty` when they differ from it. */
export async function sourceCommit(sources: readonly string[]): Promise<string> {
  try {
    const hash = await git("log", "-1", "--format=%h", "--", ...sources);
    const changed = await git("status", "--porcelain", "--", ...sources);
    return hash === "" ? "unknown" : changed === "" ? hash : `${hash}-dirty`;
  } catch {
    return "unknown"; // a source archive has no git
  }
}

async function git(...words: readonly string[]): Promise<string> {
  return await run(["git", ...words], { cwd: ROOT });
}
