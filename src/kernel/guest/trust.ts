/** Which files are trusted to run as root: those that root owns, and that nobody else can change or replace. */

import { lstatSync, readdirSync, realpathSync, type Stats } from "node:fs";
import { dirname, join } from "node:path";

/** Files of one plugin; more are no plugin but somebody's home. */
const MOST_FILES = 2_000;
const WRITABLE_BY_OTHERS = 0o022;
const STICKY = 0o1000;

/** Why a plugin's file or folder is not to be trusted, with the remedy; undefined where it is. */
export function distrust(path: string, owner = 0): string | undefined {
  try {
    const real = realpathSync(path);
    return ancestors(path).concat(ancestors(real)).map((folder) => ofFolder(folder, owner))
      .find((reason) => reason !== undefined) ?? ofAll(path, real, owner);
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Every file of a plugin with all that tells whether it has changed. */
export function filesOf(path: string): readonly (readonly [path: string, stats: Stats])[] {
  const stats = lstatSync(path);
  const found: (readonly [string, Stats])[] = [[path, stats]];
  if (stats.isSymbolicLink()) found.push(...filesOf(realpathSync(path)));
  if (!stats.isDirectory()) return found;
  for (const name of readdirSync(path).toSorted()) {
    found.push(...filesOf(join(path, name)));
    if (found.length > MOST_FILES) throw new Error(`"${path}" holds more than ${MOST_FILES} files`);
  }
  return found;
}

/** A text that changes when any file of a plugin does. */
export function fingerprint(path: string): string {
  try {
    return filesOf(path).map(([name, { ino, size, mtimeMs, ctimeMs, mode, uid }]) =>
      [name, ino, size, mtimeMs, ctimeMs, mode, uid].join(" ")
    ).join("\n");
  } catch (error) {
    return String(error);
  }
}

function ancestors(path: string): readonly string[] {
  const folder = dirname(path);
  return folder === path ? [] : [...ancestors(folder), folder];
}

/** Whoever may write in a folder may put another file in the place of this one, unless its sticky bit is set. */
function ofFolder(folder: string, owner: number): string | undefined {
  const { uid, mode } = lstatSync(realpathSync(folder));
  if (uid !== owner && uid !== 0) return foreign(`its folder "${folder}"`, uid, folder);
  return (mode & WRITABLE_BY_OTHERS) !== 0 && (mode & STICKY) === 0
    ? writable(`its folder "${folder}"`, folder)
    : undefined;
}

function ofAll(path: string, real: string, owner: number): string | undefined {
  for (const [file, stats] of [...filesOf(path), ...filesOf(real)]) {
    const { uid, mode } = stats;
    const what = file === path ? "it" : `its file "${file}"`;
    if (uid !== owner) return foreign(what, uid, file);
    if (!stats.isSymbolicLink() && (mode & WRITABLE_BY_OTHERS) !== 0) return writable(what, file);
  }
  return undefined;
}

function foreign(what: string, uid: number, path: string): string {
  return `${what} belongs to user ${uid}, and plugins run as root; run chown root "${path}" if you trust it`;
}

function writable(what: string, path: string): string {
  return `${what} can be written by others than its owner, and plugins run as root; run chmod go-w "${path}"`;
}
