/**
 * Runs the test suites that are named (all if none is) and ends with one line: `N passed, N failed`.
 *
 * Each suite is one `bun test` with its report in a file; a suite that crashes, hangs or leaves no report counts as one
 * more failure. Tests that were left out are listed with their names, which say what the machine lacks.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "..");

interface Suite {
  readonly name: string;
  readonly folders: readonly string[];
  /** Test files at once. */
  readonly workers: number;
  /** Minutes after which the suite is ended. */
  readonly limit: number;
  /** Seconds that a test may take if it does not say otherwise. */
  readonly testTimeout: number;
}

const CORES = cpus().length;

const SUITES: readonly Suite[] = [
  { name: "unit", folders: ["test/unit", "test/wire"], workers: CORES, limit: 5, testTimeout: 20 },
  {
    name: "contract",
    folders: ["test/contract", "test/scenario"],
    workers: CORES,
    limit: 5,
    testTimeout: 60,
  },
  // Each lab is a Linux of its own on one processor, and its script waits a third of the time.
  { name: "e2e", folders: ["test/e2e"], workers: CORES + 1, limit: 35, testTimeout: 300 },
];

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly string[];
  /** What each test took, in seconds. */
  readonly times: readonly (readonly [name: string, seconds: number])[];
}

async function run(suite: Suite): Promise<Counts> {
  const files = suite.folders.flatMap(testFiles);
  if (files.length === 0) return NONE;
  const folders = suite.folders.filter((folder) => files.some((file) => file.startsWith(folder)));
  console.log(`\n== ${suite.name}: ${folders.join(", ")}`);
  const scratch = mkdtempSync(join(tmpdir(), "routelet-test-"));
  const report = join(scratch, "report.xml");
  try {
    const child = Bun.spawn([
      process.execPath,
      "test",
      "--no-orphans",
      `--parallel=${suite.workers}`,
      `--timeout=${suite.testTimeout * 1000}`,
      "--only-failures",
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...folders.map((folder) => `./${folder}`),
    ], { cwd: ROOT, stdin: "ignore", stdout: "inherit", stderr: "inherit" });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, suite.limit * 60_000);
    const code = await child.exited;
    clearTimeout(timer);
    const counts = read(existsSync(report) ? readFileSync(report, "utf8") : "", files);
    if (late) console.error(`test: Suite "${suite.name}" ended after ${suite.limit} minutes`);
    else if (code !== 0 && counts.failed === 0) {
      console.error(
        `test: Suite "${suite.name}" ended with ${child.signalCode ?? `exit code ${code}`}`,
      );
    } else return counts;
    return { ...counts, failed: counts.failed + 1 };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

const NONE: Counts = { passed: 0, failed: 0, skipped: [], times: [] };

function testFiles(folder: string): readonly string[] {
  const path = join(ROOT, folder);
  if (!existsSync(path)) return [];
  return [...new Bun.Glob("**/*.test.ts").scanSync({ cwd: path })].map((file) =>
    join(folder, file)
  );
}

/** Counts the test cases of a JUnit report; a file that it does not know did not load, and counts as failed. */
function read(xml: string, files: readonly string[]): Counts {
  let passed = 0;
  let failed = 0;
  const skipped: string[] = [];
  const times: (readonly [string, number])[] = [];
  for (const [, attributes = "", empty, body = ""] of xml.matchAll(CASE)) {
    if (empty === undefined && /<(?:failure|error)\b/.test(body)) failed++;
    else if (empty === undefined && /<skipped\b/.test(body)) {
      skipped.push(fullName(attributes));
    } else passed++;
    times.push([fullName(attributes), Number(/ time="([\d.]+)"/.exec(attributes)?.[1] ?? 0)]);
  }
  for (const file of files.filter((file) => !xml.includes(` file="${file}"`))) {
    console.error(`test: No test of "${file}" ran to its end`);
    failed++;
  }
  return { passed, failed, skipped, times };
}

/** The groups of a test and its name: a group's name says what the machine lacks for all of it. */
function fullName(attributes: string): string {
  const value = (name: string) =>
    unescape(new RegExp(` ${name}="([^"]*)"`).exec(attributes)?.[1] ?? "");
  // Bun lists the innermost group first.
  const groups = value("classname").split(" > ").filter((group) => group !== "").toReversed();
  return [...groups, value("name")].join(" > ");
}

const CASE = /<testcase\b((?:[^>"]|"[^"]*")*?)(?:(\/)>|>([\s\S]*?)<\/testcase>)/g;

function unescape(text: string): string {
  return text.replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">")
    .replaceAll("&apos;", "'").replaceAll("&#39;", "'").replaceAll("&amp;", "&");
}

const names = process.argv.slice(2);
const unknown = names.find((name) => !SUITES.some((suite) => suite.name === name));
if (unknown !== undefined) {
  console.error(
    `test: Unknown suite "${unknown}"; known are ${SUITES.map(({ name }) => name).join(", ")}`,
  );
  process.exit(2);
}

const results: Counts[] = [];
for (const suite of SUITES) {
  if (names.length === 0 || names.includes(suite.name)) results.push(await run(suite));
}
const passed = results.reduce((sum, counts) => sum + counts.passed, 0);
const failed = results.reduce((sum, counts) => sum + counts.failed, 0);
const skipped = results.flatMap((counts) => counts.skipped);
if (skipped.length > 0) {
  console.log(`\nleft out on this machine (${skipped.length}):`);
  for (const name of skipped) console.log(`  ${name}`);
}
// The suites have twenty minutes together: whoever adds to them sees here where the time goes.
const longest = results.flatMap((counts) => counts.times).toSorted((a, b) => b[1] - a[1]);
console.log("\nlongest tests (seconds):");
for (const [name, seconds] of longest.slice(0, 25)) {
  console.log(`  ${seconds.toFixed(0).padStart(4)}  ${name.slice(0, 100)}`);
}
console.log(`\n${passed} passed, ${failed} failed`);
process.exit(failed > 0 || passed === 0 ? 1 : 0);
