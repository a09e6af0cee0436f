/**
 * Files of an installation: which are to be written, which are another's, and which go again. A record in /var/lib/routelet says what
 * was written, by digest: what is not in it is never overwritten and never removed.
 */

import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fchmodSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";

export const RECORD = "/var/lib/routelet/installed.json";

/** A file that an installation brings. */
export interface Wanted {
  readonly path: string;
  /** Permissions, as 0o644. */
  readonly mode: number;
  readonly content: Uint8Array;
  /** People change it: what is there stays, unless it is as we wrote it. Goes with the installation all the same. */
  readonly editable?: boolean;
}

/** What is to be done about a file. */
export interface Step {
  readonly path: string;
  readonly verb: "write" | "keep" | "refuse";
  /** Why it is kept or refused, and for a refusal what helps. */
  readonly reason: string;
}

/** What an installation wrote: digest by path, and the folders that it made. */
export interface Installed {
  readonly files: Readonly<Record<string, string>>;
  readonly folders: readonly string[];
}

export function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

function contentOf(root: string, path: string): Uint8Array | undefined {
  try {
    return readFileSync(join(root, path));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** The record; empty where there is none. @throws {Error} where it cannot be read, or is none */
export function readRecord(root: string): Installed {
  if (leadsOut(root, RECORD)) {
    throw new Error(
      `Cannot use "${join(root, RECORD)}": a symbolic link leads out of "${root}"; remove the link`,
    );
  }
  const bytes = contentOf(root, RECORD);
  if (bytes === undefined) return { files: {}, folders: [] };
  try {
    const { files, folders } = JSON.parse(new TextDecoder().decode(bytes)) as Partial<Installed>;
    if (typeof files !== "object" || !Array.isArray(folders)) throw new Error("it has no files");
    return { files, folders };
  } catch (error) {
    throw new Error(
      `Cannot use "${join(root, RECORD)}", which says what was installed: ${
        error instanceof Error ? error.message : String(error)
      }; remove it, and then by hand what it can no longer name`,
    );
  }
}

function writeRecord(root: string, record: Installed): void {
  replace(root, RECORD, new TextEncoder().encode(`${JSON.stringify(record, null, 2)}\n`), 0o644);
}

function replace(root: string, path: string, content: Uint8Array, mode: number): void {
  const file = join(root, path);
  const fresh = `${file}.routelet-new`;
  try {
    const fd = openSync(fresh, "w", mode);
    try {
      writeFileSync(fd, content);
      fchmodSync(fd, mode);
      // First the bytes, then the name: after a power cut there must not be an empty executable under it.
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    // Whole or not at all; an agent that runs from the old file keeps it.
    renameSync(fresh, file);
    syncFolder(dirname(file));
  } finally {
    rmSync(fresh, { force: true });
  }
}

/** What was renamed, made or removed in a folder outlives a power cut from now on. */
function syncFolder(folder: string): void {
  const fd = openSync(folder, "r");
  try {
    fsyncSync(fd);
  } catch (error) {
    // Some file systems do not know it for folders, and need none.
    if ((error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
  } finally {
    closeSync(fd);
  }
}

/** Whether there is anything at a path, be it a symbolic link to nowhere. */
function isThere(root: string, path: string): boolean {
  return lstatSync(join(root, path), { throwIfNoEntry: false }) !== undefined;
}

/** Whether the folder of a path lies outside of the root by a symbolic link: of an image, such a link means another place. */
function leadsOut(root: string, path: string): boolean {
  let folder = dirname(join(root, path));
  while (!existsSync(folder) && folder !== dirname(folder)) {
    if (lstatSync(folder, { throwIfNoEntry: false }) !== undefined) return true;
    folder = dirname(folder);
  }
  const [top, real] = [existsSync(root) ? realpathSync(root) : resolve(root), realpathSync(folder)];
  // Where the root is still to be made, what is there lies above it.
  return existsSync(root) && top !== "/" && real !== top && !real.startsWith(`${top}/`);
}

/** What to do about each file; nothing is written yet. */
export function planInstall(
  root: string,
  wanted: readonly Wanted[],
  record: Installed,
): readonly Step[] {
  return wanted.map(({ path, content, editable }): Step => {
    if (leadsOut(root, path)) {
      return {
        path,
        verb: "refuse",
        reason: "a symbolic link leads out of --root; remove the link",
      };
    }
    const there = contentOf(root, path);
    if (there === undefined) {
      return isThere(root, path)
        ? { path, verb: "refuse", reason: "it is a symbolic link to nowhere; move it away" }
        : { path, verb: "write", reason: "new" };
    }
    const now = digest(there);
    const known = record.files[path];
    if (now === digest(content)) {
      return { path, verb: "keep", reason: "it is as it should be" };
    }
    if (known === now) return { path, verb: "write", reason: "an earlier version" };
    if (known !== undefined && editable === true) {
      return { path, verb: "keep", reason: "it was changed by hand" };
    }
    const reason = known === undefined
      ? "it is there and not of this installation; move it away"
      : "it was changed since it was installed; move it away";
    return { path, verb: "refuse", reason };
  });
}

/** Carries the plan out; none of it must be a refusal. */
export function install(
  root: string,
  wanted: readonly Wanted[],
  steps: readonly Step[],
  folders: readonly string[],
): void {
  const record = readRecord(root);
  const made = new Set(record.folders);
  const files: Record<string, string> = { ...record.files };
  const save = (): void => writeRecord(root, { files, folders: [...made].toSorted() });
  for (const folder of [...folders, ...[...wanted.map(({ path }) => path), RECORD].map(dirname)]) {
    for (const each of missing(root, folder)) {
      mkdirSync(join(root, each), { mode: 0o755, recursive: true });
      syncFolder(dirname(join(root, each)));
      made.add(each);
    }
  }
  for (const { path, content, mode } of wanted) {
    if (steps.find((step) => step.path === path)?.verb === "write") {
      const before = files[path];
      // First the record: what is there without it would never be removed.
      files[path] = digest(content);
      save();
      try {
        replace(root, path, content, mode);
      } catch (error) {
        // A full disk, say: the earlier version is there still, and is ours.
        if (before !== undefined) {
          files[path] = before;
          save();
        }
        throw error;
      }
    } else if (digest(contentOf(root, path) ?? new Uint8Array()) === digest(content)) {
      // Put there by hand, byte for byte: it is of the installation from now on.
      files[path] = digest(content);
    }
  }
  save();
}

/** A folder and those above it that are not there, the highest first. */
function missing(root: string, folder: string): readonly string[] {
  if (folder === "/" || existsSync(join(root, folder))) return [];
  return [...missing(root, dirname(folder)), folder];
}

/** What goes, and what stays and why. @param editable paths that go even if they were changed */
export function planUninstall(
  root: string,
  record: Installed,
  editable: ReadonlySet<string>,
): readonly Step[] {
  return Object.entries(record.files).flatMap(([path, known]): readonly Step[] => {
    if (leadsOut(root, path)) {
      return [{ path, verb: "keep", reason: "a symbolic link leads out of --root" }];
    }
    const there = contentOf(root, path);
    if (there === undefined) return [];
    return digest(there) === known || editable.has(path)
      ? [{ path, verb: "write", reason: "" }]
      : [{ path, verb: "keep", reason: "it was changed since it was installed" }];
  });
}

/** Removes what the plan says, the record, and the folders that were made and are empty now. @returns folders that were removed */
export function uninstall(
  root: string,
  steps: readonly Step[],
  record: Installed,
): readonly string[] {
  for (const { path, verb } of steps) {
    if (verb === "write") rmSync(join(root, path), { force: true });
  }
  rmSync(join(root, RECORD), { force: true });
  // The deepest first.
  return record.folders.toSorted((a, b) => b.length - a.length).filter((folder) => {
    try {
      if (readdirSync(join(root, folder)).length > 0) return false;
      rmdirSync(join(root, folder));
      return true;
    } catch {
      return false;
    }
  });
}
