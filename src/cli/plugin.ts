/** The command `plugin`: what authors and operators of third parties' plugins need. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { scan } from "../kernel/guest/scan.ts";
import { socketPath } from "../kernel/observe/socket.ts";
import type { PluginStatus } from "../kernel/runtime/status.ts";
import { overAgentFlags } from "./agent-flags.ts";
import { errorText, nodeName } from "./agent.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { pluginTemplate, testCluster } from "./plugin-template.ts";
import { type DryRun, dryRun } from "./plugin-test.ts";
import { isUnasked } from "./shipped-plugins.ts";
import { pluginFolders, RESERVED } from "./third-parties.ts";

/** Set by the build (`--define`) from `scripts/types.ts`; absent when run from source. */
declare const ROUTELET_TYPES: string | undefined;

const USAGE = "list | new NAME | test FILE | types";

/** Prints or writes what was asked for; 1 where that fails, 2 for words that are no question. */
export async function plugin(flags: Flags, io: Io, words: readonly string[]): Promise<number> {
  const [word = "list", argument, ...more] = words;
  const takesOne = word === "new" || word === "test";
  const known = takesOne || word === "list" || word === "types";
  if (!known || more.length > 0 || (argument !== undefined) !== takesOne) {
    io.stderr(`routelet: Command "plugin" takes: ${USAGE}\n`);
    return EXIT.usage;
  }
  try {
    if (word === "list") return await list(flags, io);
    if (word === "types") io.stdout(types());
    if (word === "new") await create(argument ?? "", flags, io);
    if (word === "test") return await test(argument ?? "", flags, io);
    return 0;
  } catch (error) {
    io.stderr(`routelet: Cannot do "plugin ${words.join(" ")}": ${errorText(error)}\n`);
    return EXIT.failed;
  }
}

function types(): string {
  if (typeof ROUTELET_TYPES === "undefined") {
    throw new Error("the types are in the built executable; from source run scripts/types.ts");
  }
  return ROUTELET_TYPES;
}

async function list(given: Flags, io: Io): Promise<number> {
  const flags = await overAgentFlags(given);
  const running = await agentPlugins(flags.runtimeDir);
  const folders = pluginFolders(flags);
  const files = scan(folders, RESERVED, isUnasked(flags));
  const unasked = scan(folders, RESERVED).filter(({ file }) =>
    !files.some((other) => other.file === file)
  );
  const known = running !== undefined
    ? running.map(({ name, phase, file, reason }) => ({ name, state: phase, file, reason }))
    : files.map(({ name, file, refusal }) => ({
      name,
      state: refusal === undefined ? "not running" : "refused",
      file,
      reason: refusal,
    }));
  const rows = [
    ...known,
    ...unasked.map(({ name, file }) => ({ name, state: "off", file, reason: undefined })),
  ];
  if (flags.output === "json") io.stdout(`${JSON.stringify(rows, null, 2)}\n`);
  else if (rows.length === 0) {
    io.stdout(`No plugins in ${folders.join(", ") || "no folder"}\n`);
  } else {
    for (const { name, state, file = "built in", reason } of rows) {
      io.stdout(`${name.padEnd(20)}  ${state.padEnd(11)}  ${file}\n`);
      if (reason !== undefined) io.stdout(`  ${reason}\n`);
    }
  }
  if (running === undefined) {
    io.stderr("note: no agent runs here; these are the files that one would find\n");
  }
  return 0;
}

/** What the agent says of its plugins; undefined where none answers. */
async function agentPlugins(runtimeDir: string): Promise<readonly PluginStatus[] | undefined> {
  try {
    const response = await fetch("http://agent/status", {
      unix: socketPath(runtimeDir),
      signal: AbortSignal.timeout(5_000),
    });
    const { plugins = [] } = await response.json() as { plugins?: readonly PluginStatus[] };
    return plugins;
  } catch {
    return undefined;
  }
}

/** Writes a plugin that works, its types, and a test of it: a cluster, and the plan that comes of it. */
async function create(name: string, flags: Flags, io: Io): Promise<void> {
  if (!/^[a-z][a-z0-9-]*$/.test(name) || RESERVED.includes(name)) {
    throw new Error(
      `"${name}" is no name for a plugin: allowed are lower-case letters, digits and dashes, but not ${
        RESERVED.join(", ")
      }`,
    );
  }
  const folder = `${name}.test`;
  const files: readonly (readonly [string, string])[] = [
    [`${name}.ts`, pluginTemplate(name)],
    ["plugin.d.ts", types()],
    [join(folder, "cluster.yaml"), testCluster(name)],
  ];
  const there = files.find(([file]) => file !== "plugin.d.ts" && existsSync(file));
  if (there !== undefined) throw new Error(`"${there[0]}" is there already; remove it first`);
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of files) writeFileSync(file, text, { mode: 0o644 });
  const { text } = await dryRun({ ...dryOptions(`${name}.ts`, flags, io), given: {} });
  writeFileSync(join(folder, "plan.txt"), text, { mode: 0o644 });
  for (const [file] of [...files, [join(folder, "plan.txt")]]) io.stdout(`wrote ${file}\n`);
  io.stdout(`Try "routelet plugin test ${name}.ts"\n`);
}

/** Runs a plugin on a Linux in memory. With a `plan.txt` beside the manifests that is what has to come of it. */
async function test(file: string, flags: Flags, io: Io): Promise<number> {
  const options = dryOptions(file, flags, io);
  const { text, failed } = await dryRun(options);
  const wanted = join(options.manifests, "plan.txt");
  io.stdout(text);
  if (failed) return EXIT.failed;
  if (flags.manifests !== "" || !existsSync(wanted)) return 0;
  if (readFileSync(wanted, "utf8") === text) {
    io.stderr(`ok: as in ${wanted}\n`);
    return 0;
  }
  io.stderr(`routelet: The plan is not that of "${wanted}"; compare, and write it anew if it is\n`);
  return EXIT.failed;
}

function dryOptions(file: string, flags: Flags, io: Io): DryRun {
  const module = ["mod.ts", "mod.js"].map((name) => resolve(file, name)).find(existsSync) ??
    resolve(file);
  if (!existsSync(module)) throw new Error(`there is no file "${module}"`);
  const name = basename(resolve(file)).replace(/\.[tj]s$/, "");
  const manifests = flags.manifests === ""
    ? join(dirname(resolve(file)), `${name}.test`)
    : resolve(flags.manifests);
  if (!existsSync(manifests)) {
    throw new Error(`there are no manifests in "${manifests}"; name a folder with --manifests`);
  }
  const chosen = flags.hostnameOverride !== "" || io.env["NODE_NAME"] !== undefined;
  return {
    name,
    file: resolve(file),
    module,
    manifests,
    node: chosen ? nodeName(flags, io.env) : "node1",
    given: flags.plugin[name] ?? {},
    stderr: (text) => io.stderr(text),
  };
}
