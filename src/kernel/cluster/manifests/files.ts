/** The files of a folder of manifests: found, read when they change, with their last good state. */

import { readdirSync, type Stats, statSync } from "node:fs";
import { join } from "node:path";
import { reasonOf } from "../credentials.ts";
import { parseYaml, type YamlDocument, YamlError } from "../yaml.ts";
import {
  type ManifestObject,
  type ManifestObjects,
  type ManifestProblem,
  readObjects,
} from "./objects.ts";

export interface ManifestFile {
  /** Path below the folder. */
  readonly name: string;
  /** Tells whether the file has changed since it was read. */
  readonly stamp: string;
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly ManifestProblem[];
  readonly unused: ManifestObjects["unused"];
  /** Why the file could not be read; its objects are then those of its last good state. */
  readonly broken?: { readonly line?: number; readonly reason: string };
  /** What of it was never good since the start of the agent, by place and reason: nobody knows what it should hold. */
  readonly unread: readonly string[];
}

/** Path below the folder, by stamp. */
export interface Found {
  readonly files: ReadonlyMap<string, string>;
  /** The folder and its sub-folders, whole paths. */
  readonly folders: readonly string[];
}

const MANIFEST = /\.(ya?ml|json)$/i;

/**
 * The manifests of a folder and of its sub-folders, not deeper. Names that begin with a dot are passed
 * over: editors' files, and the `..data` of a mounted ConfigMap, whose files are links beside it.
 *
 * @throws where the folder itself cannot be read
 */
export function findManifests(directory: string): Found {
  const files = new Map<string, string>();
  const folders = [directory];
  const visit = (prefix: string) => {
    for (const entry of readdirSync(join(directory, prefix)).toSorted()) {
      if (entry.startsWith(".")) continue;
      const name = prefix === "" ? entry : `${prefix}/${entry}`;
      let stat: Stats | undefined;
      try {
        // Not the entry's own type: a link counts as what it leads to.
        stat = statSync(join(directory, name), { throwIfNoEntry: false });
      } catch (error) {
        // A link to itself, a file system that is away for a moment: what is wrong is said where it is read.
        if (MANIFEST.test(entry)) files.set(name, `cannot be looked at: ${reasonOf(error)}`);
        continue;
      }
      if (stat?.isFile() === true && MANIFEST.test(entry)) {
        files.set(name, `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`);
      } else if (stat?.isDirectory() === true && prefix === "") {
        folders.push(join(directory, name));
        try {
          visit(name);
        } catch {
          // A sub-folder that went away, or is not ours to read, costs only itself.
        }
      }
    }
  };
  visit("");
  return { files, folders };
}

/**
 * Reads a file anew. What is wrong in it leaves what was good before.
 *
 * @param starts whether the folder is read for the first time: of a file that comes later no earlier run can have known
 */
export async function readManifest(
  directory: string,
  name: string,
  stamp: string,
  before: ManifestFile | undefined,
  starts: boolean,
): Promise<ManifestFile> {
  const mayLack = before === undefined ? starts : before.unread.length > 0;
  const broken = (reason: string, line?: number): ManifestFile => ({
    name,
    stamp,
    objects: before?.objects ?? [],
    problems: before?.problems ?? [],
    unused: before?.unused ?? [],
    broken: line === undefined ? { reason } : { reason, line },
    unread: mayLack ? [`${line === undefined ? name : `${name}:${line}`}: ${reason}`] : [],
  });
  let documents: readonly YamlDocument[];
  try {
    documents = await parse(await Bun.file(join(directory, name)).text());
  } catch (error) {
    return error instanceof YamlError ? broken(error.reason, error.line) : broken(reasonOf(error));
  }
  const { objects, problems, unused } = readObjects(documents);
  const kept = problems.flatMap(({ id }) =>
    before?.objects.filter(({ kind, key }) => kind === id?.kind && key === id.key) ?? []
  );
  const knows = ({ id }: ManifestProblem): boolean =>
    kept.some(({ kind, key }) => kind === id?.kind && key === id.key);
  const unread = mayLack
    ? problems.filter((problem) => !knows(problem))
      .map(({ line, object, reason }) => `${name}:${line}: ${object} ${reason}`)
    : [];
  return { name, stamp, objects: [...objects, ...kept], problems, unused, unread };
}

/** JSON by its own, much faster parser; by YAML's where it is none, for the line. */
async function parse(text: string): Promise<readonly YamlDocument[]> {
  if (/^\s*[{[]/.test(text)) {
    try {
      return [{ line: 1, value: JSON.parse(text) }];
    } catch {
      return await parseYaml(text);
    }
  }
  return await parseYaml(text);
}
