/** Executables of other versions, for what an upgrade meets. Without bytecode one takes a second to build. */

import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const REPOSITORY = resolve(import.meta.dir, "../..");
/** Entry points of the executable; not all releases have all. */
const ENTRIES = ["src/main.ts", "src/plugins/router/bfd/worker.ts"];

/** A folder for executables, which goes when the tests end. */
export function executableFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "routelet-versions-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Builds these sources with another version's name. */
export function buildAs(version: string, outfile: string): void {
  compile(REPOSITORY, outfile);
  const from = `var version="${packageVersion()}"`;
  if (version.length !== packageVersion().length) throw new Error("it must be of equal length");
  const bytes = readFileSync(outfile);
  const at = bytes.indexOf(from);
  if (at < 0) throw new Error(`${outfile} has no ${from}`);
  bytes.write(`var version="${version}"`, at);
  writeFileSync(outfile, bytes);
}

/** True where the history is there: an archive or a shallow clone has none. */
export function hasCommit(commit: string): boolean {
  return git("cat-file", "-e", `${commit}^{commit}`).exitCode === 0;
}

/** Builds the sources of a commit. */
export function buildCommit(commit: string, outfile: string): void {
  const folder = mkdtempSync(join(tmpdir(), "routelet-sources-"));
  try {
    const archive = git("archive", commit);
    must(archive, `git archive ${commit}`);
    must(
      Bun.spawnSync(["tar", "-x", "-C", folder], { stdin: archive.stdout, stderr: "pipe" }),
      "tar",
    );
    symlinkSync(join(REPOSITORY, "node_modules"), join(folder, "node_modules"));
    compile(folder, outfile);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function compile(folder: string, outfile: string): void {
  const built = Bun.spawnSync([
    process.execPath,
    "build",
    "--compile",
    "--format=esm",
    "--minify-syntax",
    "--minify-whitespace",
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    '--define=ROUTELET_COMMIT="other"',
    '--define=ROUTELET_PLUGINS=""',
    '--define=ROUTELET_TYPES=""',
    `--outfile=${outfile}`,
    ...ENTRIES.filter((entry) => existsSync(join(folder, entry))),
  ], { cwd: folder, stderr: "pipe" });
  must(built, "bun build");
  chmodSync(outfile, 0o755);
}

function packageVersion(): string {
  return (JSON.parse(readFileSync(join(REPOSITORY, "package.json"), "utf8")) as {
    readonly version: string;
  }).version;
}

function git(...words: readonly string[]) {
  return Bun.spawnSync(["git", "-C", REPOSITORY, ...words], { stderr: "pipe" });
}

function must(
  { exitCode, stderr }: { readonly exitCode: number; readonly stderr?: Uint8Array },
  what: string,
): void {
  if (exitCode !== 0) {
    throw new Error(`${what}: ${stderr === undefined ? "" : new TextDecoder().decode(stderr)}`);
  }
}
