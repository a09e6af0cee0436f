/**
 * Builds `dist/routelet-linux-ARCH` for the architectures that are named (`x64`, `arm64`), and beside it what it is made of, as
 * CycloneDX. `make build` calls it only when sources have changed. One commit gives one executable, byte for byte.
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
import { join, resolve } from "node:path";
import { license, name, version } from "../package.json";
import { type LockedPackage, sbom } from "./sbom.ts";
import { pluginTypes } from "./types.ts";

const ROOT = resolve(import.meta.dir, "..");
const DIST = join(ROOT, "dist");
const CACHE = join(ROOT, ".cache");

const ARCHITECTURES = {
  x64: { target: "bun-linux-x64", npm: "@oven/bun-linux-x64" },
  arm64: { target: "bun-linux-arm64", npm: "@oven/bun-linux-aarch64" },
} as const;
type Architecture = keyof typeof ARCHITECTURES;

const SOURCES = ["src", "plugins.d/lb-pool", "package.json", "package-lock.json"];
/** A thread is an entry point of its own; left out here, it is missed at run time only. */
const ENTRIES = ["src/main.ts", "src/plugins/router/bfd/worker.ts"];

/** When the sources changed last, in seconds; SOURCE_DATE_EPOCH, as reproducible-builds.org has it, goes before. */
async function time(): Promise<number> {
  const given = Number(process.env["SOURCE_DATE_EPOCH"]);
  if (Number.isInteger(given) && given > 0) return given;
  try {
    return Number(await output(["git", "log", "-1", "--format=%ct", "--", ...SOURCES]));
  } catch {
    return 0;
  }
}

/** The commit that the sources are at, with `-dirty` when they differ from it. */
async function commit(): Promise<string> {
  const sources = SOURCES;
  try {
    const hash = await output(["git", "log", "-1", "--format=%h", "--", ...sources]);
    const changed = await output(["git", "status", "--porcelain", "--", ...sources]);
    return hash === "" ? "unknown" : changed === "" ? hash : `${hash}-dirty`;
  } catch {
    return "unknown"; // a source archive has no git
  }
}

async function build(architecture: Architecture): Promise<void> {
  const { target } = ARCHITECTURES[architecture];
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
    await output([
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
      `--define=ROUTELET_COMMIT=${JSON.stringify(await commit())}`,
      `--define=ROUTELET_TYPES=${JSON.stringify(await pluginTypes())}`,
      `--outfile=${fresh}`,
      ...ENTRIES,
    ]);
    chmodSync(fresh, 0o755);
    await output([
      process.execPath,
      "build",
      "--target=bun",
      `--metafile=${metafile}`,
      `--outdir=${join(scratch, "bundle")}`,
      ...ENTRIES,
    ]);
    const { inputs } = JSON.parse(readFileSync(metafile, "utf8")) as { readonly inputs: object };
    const lock = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")) as {
      readonly packages: Readonly<Record<string, LockedPackage>>;
    };
    const text = sbom({
      name,
      version,
      license,
      commit: await commit(),
      architecture,
      sha256: createHash("sha256").update(readFileSync(fresh)).digest("hex"),
      bun: Bun.version,
      time: new Date(await time() * 1000).toISOString(),
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
    const file = await output([
      "npm",
      "pack",
      "--silent",
      `--pack-destination=${scratch}`,
      `${name}@${wanted}`,
    ]);
    const tarball = join(scratch, file.split("\n").at(-1) ?? "");
    const digest = createHash("sha512").update(readFileSync(tarball)).digest("base64");
    if (`sha512-${digest}` !== integrity) {
      throw new Error(
        `"${name}" ${wanted} is not what package-lock.json names: its digest differs`,
      );
    }
    await output([
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

/** Standard output of a command, trimmed; throws with its standard error when it fails. */
async function output(command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], {
    cwd: ROOT,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`"${command.slice(0, 3).join(" ")}" failed:\n${err}${out}`);
  return out.trim();
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
