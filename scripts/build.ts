/**
 * Builds `dist/routelet-linux-ARCH` for the architectures that are named (`x64`, `arm64`), and beside it what it is made of, as
 * CycloneDX, and the plugins of `plugins.d`. `make build` calls it only when sources have changed. One commit gives one executable, byte for byte.
 *
 * Another architecture needs Bun's executable for it: it comes from the npm package of the same version, and its bytes
 * must be those that package-lock.json names.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { license, name, version } from "../package.json";
import { run } from "./run.ts";
import { type LockedPackage, sbom } from "./sbom.ts";
import { ROOT, sourceCommit, SOURCES, sourceTime } from "./source.ts";
import { pluginTypes } from "./types.ts";

const DIST = join(ROOT, "dist");
const CACHE = join(ROOT, ".cache");

const ARCHITECTURES = {
  x64: { target: "bun-linux-x64", npm: "@oven/bun-linux-x64" },
  arm64: { target: "bun-linux-arm64", npm: "@oven/bun-linux-aarch64" },
} as const;
type Architecture = keyof typeof ARCHITECTURES;

/** A thread is an entry point of its own; left out here, it is missed at run time only. */
const ENTRIES = ["src/main.ts", "src/plugins/router/bfd/worker.ts"];

async function build(architecture: Architecture): Promise<void> {
  const { target } = ARCHITECTURES[architecture];
  const commit = await sourceCommit(SOURCES);
  const outfile = join(DIST, `routelet-linux-${architecture}`);
  // The name of the file is within the executable: it must not change from run to run.
  const scratch = join(DIST, `.build-${process.pid}`);
  const fresh = join(scratch, "routelet");
  const metafile = join(scratch, "meta.json");
  mkdirSync(scratch, { recursive: true });
  const executable = architecture === process.arch ? [] : [
    `--compile-executable-path=${await foreignBun(architecture)}`,
  ];
  try {
    await run([
      process.execPath,
      "build",
      "--compile",
      `--target=${target}`,
      ...executable,
      // Names stay as they are written: a stack trace in a bug report must be readable.
      "--minify-syntax",
      "--minify-whitespace",
      // Parsing at start costs half of the start otherwise; top-level await needs esm.
      "--bytecode",
      "--format=esm",
      // An agent that runs as root never reads settings from the folder it happens to be started in.
      "--no-compile-autoload-dotenv",
      "--no-compile-autoload-bunfig",
      "--no-compile-autoload-tsconfig",
      "--no-compile-autoload-package-json",
      `--define=ROUTELET_COMMIT=${JSON.stringify(commit)}`,
      `--define=ROUTELET_PLUGINS=${
        JSON.stringify([...new Set(PLUGIN_FILES.map(pluginOf))].join(","))
      }`,
      `--define=ROUTELET_TYPES=${JSON.stringify(await pluginTypes())}`,
      `--outfile=${fresh}`,
      ...ENTRIES,
    ], { cwd: ROOT });
    await shipPlugins();
    chmodSync(fresh, 0o755);
    await run([
      process.execPath,
      "build",
      "--target=bun",
      `--metafile=${metafile}`,
      `--outdir=${join(scratch, "bundle")}`,
      ...ENTRIES,
    ], { cwd: ROOT });
    const { inputs } = JSON.parse(readFileSync(metafile, "utf8")) as { readonly inputs: object };
    const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
      readonly packages: Readonly<Record<string, LockedPackage>>;
    };
    const text = sbom({
      name,
      version,
      license,
      commit,
      architecture,
      sha256: createHash("sha256").update(readFileSync(fresh)).digest("hex"),
      bun: Bun.version,
      time: new Date(await sourceTime(SOURCES) * 1000).toISOString(),
      files: Object.keys(inputs),
      lock: lock.packages,
    });
    writeFileSync(`${outfile}.cdx.json`, text);
    // In one step: an agent that runs from the old file keeps it, and nobody sees half of the new one.
    renameSync(fresh, outfile);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  const megabytes = (statSync(outfile).size / 1e6).toFixed(0);
  console.log(`built dist/routelet-linux-${architecture} (${version}, ${megabytes} MB)`);
}

/** Files of the plugins that ship, below `plugins.d`. */
const PLUGIN_FILES: readonly string[] = [
  ...new Bun.Glob("**/*.ts").scanSync({ cwd: join(ROOT, "plugins.d") }),
].toSorted();

/** The name of the plugin that a file belongs to: its own, or that of its folder. */
function pluginOf(file: string): string {
  return (file.split("/")[0] ?? file).replace(/\.ts$/, "");
}

/** Puts the plugins beside the executable, where it looks for them, with their types. What else lies there stays. */
async function shipPlugins(): Promise<void> {
  put("plugin.d.ts", await pluginTypes());
  for (const file of PLUGIN_FILES) {
    const types = relative(dirname(file), "plugin.d.ts").replace(/^(?!\.)/, "./");
    const text = readFileSync(join(ROOT, "plugins.d", file), "utf8");
    put(file, text.replaceAll(/"(?:\.\.\/)+src\/kernel\/third-party\.ts"/g, `"${types}"`));
  }
}

/** A file that is as it should be is left alone: an agent that runs it would start it anew. */
function put(name: string, text: string): void {
  const path = join(DIST, "plugins.d", name);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  if (existsSync(path) && readFileSync(path, "utf8") === text) return;
  writeFileSync(path, text, { mode: 0o644 });
}

/** Path of Bun's executable for another architecture, fetched once. */
async function foreignBun(architecture: Architecture): Promise<string> {
  const name = ARCHITECTURES[architecture].npm;
  const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version?: string; integrity?: string }>;
  };
  const { version: wanted, integrity } = lock.packages[`node_modules/${name}`] ?? {};
  if (wanted === undefined || integrity === undefined) {
    throw new Error(`package-lock.json does not name "${name}"; run npm install`);
  }
  if (wanted !== Bun.version) {
    throw new Error(
      `Bun is ${Bun.version} but package-lock.json names ${name} ${wanted}; run make setup`,
    );
  }
  const folder = join(CACHE, `bun-linux-${architecture}-${wanted}`);
  const executable = join(folder, "bun");
  if (existsSync(executable)) return executable;
  console.log(`fetching ${name} ${wanted} to build for ${architecture}`);
  const scratch = `${folder}.${process.pid}`;
  mkdirSync(scratch, { recursive: true });
  try {
    const file = await run([
      "npm",
      "pack",
      "--silent",
      `--pack-destination=${scratch}`,
      `${name}@${wanted}`,
    ], { cwd: ROOT });
    const tarball = join(scratch, file.split("\n").at(-1) ?? "");
    const digest = createHash("sha512").update(readFileSync(tarball)).digest("base64");
    if (`sha512-${digest}` !== integrity) {
      throw new Error(
        `"${name}" ${wanted} is not what package-lock.json names: its digest differs`,
      );
    }
    await run([
      "tar",
      "-xzf",
      tarball,
      "-C",
      scratch,
      "--strip-components=2",
      "package/bin/bun",
    ]);
    rmSync(tarball);
    chmodSync(join(scratch, "bun"), 0o755);
    mkdirSync(folder, { recursive: true });
    renameSync(join(scratch, "bun"), executable);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return executable;
}

const wanted = process.argv.slice(2);
for (const architecture of wanted) {
  if (!Object.hasOwn(ARCHITECTURES, architecture)) {
    console.error(
      `build: Unknown architecture "${architecture}"; known are ${
        Object.keys(ARCHITECTURES).join(", ")
      }`,
    );
    process.exit(2);
  }
  try {
    await build(architecture as Architecture);
  } catch (error) {
    console.error(`build: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
