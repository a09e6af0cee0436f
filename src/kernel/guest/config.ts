/** What was set for a plugin: its YAML file, and over it the flags. */

import { readFileSync } from "node:fs";
import { parseYaml } from "../cluster/yaml.ts";

/**
 * @param file the YAML file, if there is one
 * @param flags what `--plugin NAME.key=value` set, by key
 * @throws {Error} that names the file and what is wrong with it
 */
export async function givenOptions(
  file: string | undefined,
  flags: Readonly<Record<string, string>> = {},
): Promise<Readonly<Record<string, unknown>>> {
  if (file === undefined) return flags;
  const fail = (reason: string): Error =>
    new Error(`Its configuration "${file}" cannot be used: ${reason}`);
  let documents;
  try {
    documents = await parseYaml(readFileSync(file, "utf8"));
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error));
  }
  const [value = {}] = documents.map((document) => document.value);
  if (documents.length > 1 || typeof value !== "object" || Array.isArray(value)) {
    throw fail("it has to be one map of options and their values");
  }
  return { ...value, ...flags };
}
