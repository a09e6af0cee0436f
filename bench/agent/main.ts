/**
 * Runs all benchmarks, one after the other, and prints the table. With `--write` it also takes the place of the old one in
 * docs/performance.md. RUNS, CHANGES, IDLE_SECONDS and SERVICES shorten it.
 */

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release } from "node:os";
import { join, resolve } from "node:path";
import {
  type AgentResult,
  markdown,
  type NetlinkResult,
  rowsOf,
  type ScaleResult,
} from "./report.ts";
import type { BgpResult } from "../bgp/main.ts";
import { bgpRows } from "../bgp/report.ts";
import type { FirewallResult } from "../firewall/main.ts";
import { firewallRows } from "../firewall/report.ts";
import type { StartTimes } from "./start.ts";

const HERE = import.meta.dir;
const ROOT = resolve(HERE, "../..");
const OUT = join(ROOT, ".cache/bench");
const PAGE = join(ROOT, "docs/performance.md");
const EXECUTABLE = process.env["ROUTELET"] ?? join(ROOT, `dist/routelet-linux-${process.arch}`);
const BEGIN = "<!-- bench/run --write: begin -->";
const END = "<!-- bench/run --write: end -->";

function say(text: string): void {
  console.error(`bench: ${text}`);
}

/** Ahead of everything else on the machine, where that is allowed: what others do is not ours to measure. */
const first = Bun.spawnSync(["chrt", "-r", "1", "true"], { stderr: "ignore" }).success
  ? ["chrt", "-r", "1"]
  : [];

function onHost(): readonly StartTimes[] {
  const script = `ip link set lo up; exec "$0" "$@"`;
  const result = Bun.spawnSync([
    ...first,
    ...["unshare", "-n", "sh", "-c", script],
    ...[process.execPath, join(HERE, "start.ts"), EXECUTABLE, "10"],
  ], { stderr: "inherit" });
  if (!result.success) throw new Error("the agent could not be started on the host, see above");
  return JSON.parse(result.stdout.toString()) as StartTimes[];
}

/**
 * On the host, in a namespace of its own: it needs no IPVS, and there the times are real. By priority alone: two tools that run at
 * a time in the real-time class leave Linux' own threads no processor, for which changes of nf_tables wait.
 */
function firewallOnHost(): FirewallResult {
  const script = join(HERE, "../firewall/run");
  const result = Bun.spawnSync(["nice", "-n", "-20", script, EXECUTABLE], {
    env: { ...process.env, BUN: process.execPath },
    stderr: "inherit",
  });
  if (!result.success) throw new Error("the firewall could not be measured on the host, see above");
  return JSON.parse(result.stdout.toString()) as FirewallResult;
}

/** On the host as well, in namespaces, beside BIRD, FRR and GoBGP. */
function bgpOnHost(): BgpResult {
  const result = Bun.spawnSync([...first, process.execPath, join(HERE, "../bgp/main.ts")], {
    env: { ...process.env, ROUTELET: EXECUTABLE },
    stderr: "inherit",
  });
  if (!result.success) throw new Error("BGP could not be measured on the host, see above");
  return JSON.parse(result.stdout.toString()) as BgpResult;
}

interface LabRun {
  readonly topology: string;
  readonly script: string;
  /** Of the folder, and of the result in it unless `result` says otherwise. */
  readonly name: string;
  readonly result?: string;
  readonly env?: Readonly<Record<string, string>>;
}

function inLab({ topology, script, name, result = name, env = {} }: LabRun): unknown {
  const out = join(OUT, name);
  mkdirSync(out, { recursive: true });
  const { exitCode } = Bun.spawnSync([...first, join(ROOT, "test/lab/run")], {
    env: {
      // Lists of 44,000 Services come first.
      LAB_READY: "240",
      ...process.env,
      ...env,
      TOPOLOGY: join(HERE, topology),
      SCRIPT: script,
      OUT: out,
      TIMEOUT: "900",
      ROUTELET: EXECUTABLE,
      BUN: process.execPath,
    },
    stdout: "inherit",
    stderr: "inherit",
  });
  if (exitCode !== 0) throw new Error(`the lab ended with ${exitCode}: see ${out}`);
  return JSON.parse(readFileSync(join(out, `${result}.json`), "utf8"));
}

function scale(name: string, env: Readonly<Record<string, string>>): ScaleResult {
  const script = join(HERE, "scale");
  const settings = { ENDPOINTS: "10", ...env };
  return inLab({
    topology: "topology.yaml",
    script,
    name,
    result: "scale",
    env: settings,
  }) as ScaleResult;
}

const MAP_COUNT = "/proc/sys/vm/max_map_count";
/** Each page of a process in user-mode Linux may be a mapping of the host's: those of 1 GB, and as many again. */
const MAPPINGS = 1_000_000;

/** The host's limit is raised meanwhile, and is then as it was. */
function withManyMappings<T>(measure: () => T): T {
  const before = readFileSync(MAP_COUNT, "utf8").trim();
  if (Number(before) >= MAPPINGS) return measure();
  say(`vm.max_map_count of this machine is ${MAPPINGS} for now, not ${before}`);
  writeFileSync(MAP_COUNT, String(MAPPINGS));
  try {
    return measure();
  } finally {
    writeFileSync(MAP_COUNT, before);
  }
}

/** The largest cluster needs more of the host than every host gives: the other figures count without it. */
function inAnyCase<T>(measure: () => T): T | undefined {
  try {
    return measure();
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

function machine(): string {
  const [cpu] = cpus();
  return `${cpus().length} × ${cpu?.model.trim()}, Linux ${release()}`;
}

function write(text: string): void {
  const page = readFileSync(PAGE, "utf8");
  const [begin, end] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${PAGE} has lost its markers`);
  writeFileSync(PAGE, `${page.slice(0, begin)}${BEGIN}\n\n${text}\n\n${page.slice(end)}`);
  say("docs/performance.md has the new table");
}

try {
  say("start of the executable, on the host");
  const start = onHost();
  say("netlink layer, in the lab");
  const netlink = inLab({
    topology: "bare.yaml",
    script: join(HERE, "../netlink/run"),
    name: "netlink",
  });
  say("agent, in the lab");
  const agent = inLab({
    topology: "topology.yaml",
    script: join(HERE, "scenario"),
    name: "agent",
  });
  say("agent at 1,000 × 10, 10,000 × 10 and 44,000 × 2, in the lab");
  const small = scale("1000x10", { SERVICES: "1000", RUNS: "1", CHANGES: "0", YARDSTICK: "no" });
  const wide = scale("10000x10", { SERVICES: "10000" });
  const many = inAnyCase(() =>
    withManyMappings(() =>
      scale("44000x2", { SERVICES: "44000", ENDPOINTS: "2", CHANGES: "0", BURST: "0" })
    )
  );
  say("firewall, on the host");
  const firewall = inAnyCase(firewallOnHost);
  say("BGP, on the host");
  const bgp = inAnyCase(bgpOnHost);
  const rows = rowsOf({
    start,
    netlink: netlink as NetlinkResult,
    agent: agent as AgentResult,
    small,
    wide,
    many,
  });
  const table = markdown([...rows, ...firewallRows(firewall), ...bgpRows(bgp)]);
  const text = `${new Date().toISOString().slice(0, 10)}, ${machine()}:\n\n${table}`;
  console.log(text);
  if (process.argv.includes("--write")) write(text);
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}
