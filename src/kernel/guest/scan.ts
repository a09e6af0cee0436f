/** Looks into the folders of third parties' plugins. */

import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { distrust, fingerprint } from "./trust.ts";

/** A plugin's file as a look has found it. */
export interface Candidate {
  readonly name: string;
  /** The file, or the folder. */
  readonly file: string;
  /** What is loaded: the file, or the folder's `mod.ts`. */
  readonly module: string;
  /** The YAML file beside it, if there is one. */
  readonly config?: string;
  /** Changes with any file of the plugin, its configuration included. */
  readonly fingerprint: string;
  /** Why it is not loaded, with the remedy. */
  readonly refusal?: string;
}

const NAME = /^[a-z][a-z0-9-]*$/;
const MODULES = ["mod.ts", "mod.js"];

/**
 * All plugins of the folders; of two with one name the first folder's counts.
 *
 * @param reserved names of built-in plugins
 * @param skip which files are passed over without a look: their path, the name of a plugin, whether it has a configuration
 * @throws {Error} where a folder that exists cannot be read: nobody can say then what was removed
 */
export function scan(
  folders: readonly string[],
  reserved: readonly string[],
  skip: (file: string, name: string, isConfigured: boolean) => boolean = () => false,
): readonly Candidate[] {
  const found: Candidate[] = [];
  for (const folder of folders) {
    for (const entry of entries(folder)) {
      const file = join(folder, entry);
      const module = moduleOf(file);
      if (module === undefined) continue;
      const name = basename(entry).replace(/\.[tj]s$/, "");
      const twin = found.find((other) => other.name === name);
      const config = [".yaml", ".yml"].map((end) => join(folder, `${name}${end}`)).find(existsSync);
      if (skip(file, name, config !== undefined)) continue;
      const refusal = twin !== undefined
        ? `"${twin.file}" has the same name; remove one of them`
        : refusalOf(name, reserved) ?? distrust(file) ??
          (config === undefined ? undefined : ofConfig(config));
      found.push({
        // Under its own name the first one goes on.
        name: twin === undefined ? name : file,
        file,
        module,
        ...(config === undefined ? {} : { config }),
        fingerprint: [file, ...(config === undefined ? [] : [config])].map(fingerprint).join("\n"),
        ...(refusal === undefined ? {} : { refusal }),
      });
    }
  }
  return found;
}

function entries(folder: string): readonly string[] {
  try {
    return readdirSync(folder).toSorted().filter((name) => !name.startsWith("."));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** What would be loaded, if this is a plugin at all: tests, types and folders without a module are none. */
function moduleOf(file: string): string | undefined {
  if (/\.[tj]s$/.test(file)) {
    return /(?:\.d|[._]test)\.[tj]s$/.test(file) ? undefined : file;
  }
  try {
    if (!statSync(file).isDirectory()) return undefined;
  } catch {
    // A link to nowhere.
    return undefined;
  }
  return MODULES.map((name) => join(file, name)).find(existsSync);
}

function refusalOf(name: string, reserved: readonly string[]): string | undefined {
  if (!NAME.test(name)) {
    return `"${name}" is no name for a plugin: allowed are lower-case letters, digits and dashes; rename the file`;
  }
  return reserved.includes(name)
    ? `"${name}" is the name of a built-in plugin; rename the file`
    : undefined;
}

function ofConfig(config: string): string | undefined {
  const reason = distrust(config);
  return reason === undefined ? undefined : `of its configuration "${config}": ${reason}`;
}
