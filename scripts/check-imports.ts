/**
 * Holds the direction of imports and the size of files, as docs/design describes them:
 *
 * - a plugin imports its own files, `kernel/plugin.ts`, `kernel/ip.ts` and Node's built-in modules, nothing else;
 * - `kernel` imports neither plugins nor commands, and `dataplane/linux` is imported by itself and by `src/cli`, where
 *   the real one is opened;
 * - `bun:ffi` in a plugin is for one file, the router's socket options; sockets are no state of Linux;
 * - nothing under `src` imports tests, benchmarks or scripts;
 * - a file of more than 600 lines says in its first comment "lines because".
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "..");
const MOST_LINES = 600;

const IMPORT =
  /\b(?:import|export)\s+(?:type\s+)?(?:[\w*\s{},]*?\sfrom\s*)?["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']/g;

function files(folder: string, pattern: string): readonly string[] {
  const path = join(ROOT, folder);
  if (!existsSync(path)) return [];
  return [...new Bun.Glob(pattern).scanSync({ cwd: path })]
    .filter((file) => !file.includes("node_modules/")).sort().map((file) => join(folder, file));
}

/** What each file imports: paths from the project's root, or bare names as they are. */
function imports(file: string): readonly string[] {
  const source = readFileSync(join(ROOT, file), "utf8").replace(/^\s*(?:\/\/|\*).*$/gm, "");
  return [...source.matchAll(IMPORT)].map(([, plain, dynamic]) => plain ?? dynamic ?? "")
    .map((target) =>
      target.startsWith(".") ? relative(ROOT, resolve(ROOT, dirname(file), target)) : target
    );
}

/** Why a file may not import something, or nothing. */
function refusal(file: string, target: string): string | undefined {
  const plugin = /^(?:src\/plugins\/[^/]+\/|plugins\.d\/)/.exec(file)?.[0];
  if (plugin !== undefined) {
    const allowed = target.startsWith(plugin) || target.startsWith("node:") ||
      ["src/kernel/plugin.ts", "src/kernel/ip.ts"].includes(target) ||
      // Its types alone: they are gone when it is loaded.
      (target === "src/kernel/third-party.ts" && plugin === "plugins.d/") ||
      // The same allocator, dropped in a folder or built in.
      (target.startsWith("plugins.d/lb-pool/") && plugin === "src/plugins/loadbalancer/") ||
      (target === "bun:ffi" && file === "src/plugins/router/net/libc.ts");
    return allowed
      ? undefined
      : "a plugin imports kernel/plugin.ts, kernel/ip.ts and its own files";
  }
  if (/^(?:test|bench|scripts|examples)\//.test(target)) {
    return "what is shipped does not import tests, benchmarks, scripts or examples";
  }
  if (file.startsWith("src/kernel/") && /^src\/(?:plugins|cli)\//.test(target)) {
    return "the kernel knows no plugin and no command";
  }
  const linux = "src/kernel/dataplane/linux/";
  if (target.startsWith(linux) && !file.startsWith(linux) && !file.startsWith("src/cli/")) {
    return "dataplane/linux is imported only where the real one is opened: src/cli, tests and benchmarks";
  }
  return undefined;
}

const problems: string[] = [];
for (const file of [...files("src", "**/*.ts"), ...files("plugins.d", "**/*.ts")]) {
  for (const target of imports(file)) {
    const reason = refusal(file, target);
    if (reason !== undefined) problems.push(`${file} imports "${target}": ${reason}`);
  }
}
for (const folder of ["src", "plugins.d", "test", "bench", "scripts", "examples"]) {
  for (const file of files(folder, "**/*.{ts,py,sh}")) {
    const lines = readFileSync(join(ROOT, file), "utf8").split("\n");
    if (lines.length - 1 <= MOST_LINES) continue;
    const top = lines.slice(0, 20).join(" ");
    if (!/lines\s+(?:\*\s+)?because/.test(top)) {
      problems.push(
        `${file} has ${
          lines.length - 1
        } lines: split it, or say in its first comment "${MOST_LINES} lines because"`,
      );
    }
  }
}
for (const problem of problems) console.error(`check-imports: ${problem}`);
process.exit(problems.length > 0 ? 1 : 0);
