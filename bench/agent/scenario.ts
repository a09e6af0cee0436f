/**
 * The agent at 10,000 Services × 5 endpoints, inside the lab: (a) from synced stores to Linux, (b) single changes, (c) memory,
 * (d) start of the executable, (e) idling. Writes `agent.json` into OUT. SERVICES, RUNS, CHANGES and IDLE_SECONDS shorten it.
 */

import { join } from "node:path";
import {
  agentLog,
  agentPid,
  lab,
  type LogLine,
  memoryMb,
  OUT,
  processorMs,
  rounds,
  run,
  until,
} from "./lab.ts";
import { cluster, clusterIpOf, slice, slicePath } from "./objects.ts";

const services = Number(process.env["SERVICES"] ?? 10_000);
const runs = Math.min(4, Number(process.env["RUNS"] ?? 3));
const changes = Number(process.env["CHANGES"] ?? 220);
const idleSeconds = Number(process.env["IDLE_SECONDS"] ?? 60);
const flags = (process.env["AGENT_FLAGS"] ?? "").split(" ").filter((flag) => flag !== "");
/** Between changes: a round never waits for the one before it. */
const PAUSE_MS = 200;

function say(text: string): void {
  console.error(`bench: ${text}`);
}

interface FirstSync {
  /** From the first wake with all stores synced to the last answer of Linux. */
  readonly roundMs: number;
  /** From the first line of the log to the end of the round: lists included, on the core of the API server. */
  readonly startMs: number;
  readonly peakMb: number;
  readonly kinds: Readonly<Record<string, unknown>>;
}

async function firstSync(node: string): Promise<FirstSync> {
  lab("agent", "start", node);
  await until("the first round", 60_000, () => rounds(node).length > 0);
  const log = agentLog(node);
  const [round] = rounds(node);
  const [begin] = log;
  if (round?.["ok"] !== true) throw new Error(`the first round failed: ${JSON.stringify(round)}`);
  const changed = log.filter(({ message }) => message === "Changed Linux");
  return {
    roundMs: Number(round["ms"]),
    startMs: Date.parse(round.time) - Date.parse(begin?.time ?? ""),
    peakMb: memoryMb(agentPid(node), "VmHWM"),
    kinds: Object.fromEntries(changed.map((line) => [String(line["kind"]), line["created"]])),
  };
}

/** What `ipvsadm -Sn` prints: the same table that the agent made. */
function table(node: string): string {
  return lab("exec", `node-${node}`, "ipvsadm", "-Sn");
}

/** Milliseconds of `ipvsadm -R` of a table into an untouched namespace. */
function restore(text: string, name: string): number {
  run(["ip", "netns", "add", name]);
  run(["ip", "-n", name, "link", "set", "lo", "up"]);
  const start = performance.now();
  run(["ip", "netns", "exec", name, "ipvsadm", "-R"], text);
  const ms = performance.now() - start;
  run(["ip", "netns", "del", name]);
  return ms;
}

interface Change {
  /** From the chunk's arrival in the agent to the last answer of Linux. */
  readonly agentMs: number;
  /** From before the write at the API server, by the clock on the wall. */
  readonly wholeMs: number;
}

async function oneChange(node: string, index: number, generation: number): Promise<Change> {
  const seen = rounds(node).length;
  const body = JSON.stringify(slice(index, generation));
  const begin = Date.now();
  const answer = await fetch(`${process.env["LAB_API"]}${slicePath(index)}`, {
    method: "PUT",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${process.env["LAB_TOKEN"]}`,
    },
    body,
  });
  if (!answer.ok) throw new Error(`PUT: ${answer.status} ${await answer.text()}`);
  await Bun.sleep(PAUSE_MS);
  await until(`a round for slice ${index}`, 5_000, () => rounds(node).length > seen);
  const round = rounds(node)[seen] as LogLine;
  return {
    agentMs: Number(round["sinceEvent"] ?? round["sinceWake"]),
    wholeMs: Date.parse(round.time) - begin,
  };
}

/** One destination more, one less, by `ipvsadm`. */
function ipvsadmEdits(node: string, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => {
    const name = `${clusterIpOf((index >> 1) % services)}:80`;
    const verb = index % 2 === 0 ? ["-a", "-m"] : ["-d"];
    const destination = ["-t", name, "-r", "10.250.0.1:8080"];
    const start = performance.now();
    run(["ip", "netns", "exec", `node-${node}`, "ipvsadm", ...verb, ...destination]);
    return performance.now() - start;
  });
}

async function idle(pid: number, seconds: number): Promise<number> {
  const start = performance.now();
  const before = processorMs(pid);
  await Bun.sleep(seconds * 1000);
  return (processorMs(pid) - before) / (performance.now() - start) * 100;
}

/** On a node that no agent has run on. */
function starts(node: string): unknown {
  const script = join(import.meta.dir, "start.ts");
  const executable = process.env["LAB_ROUTELET"] ?? "";
  return JSON.parse(
    lab("exec", `node-${node}`, process.execPath, script, executable, String(runs)),
  );
}

const started = starts("node5");
say(`starts: ${JSON.stringify(started)}`);
const file = join("/tmp", "cluster.json");
await Bun.write(file, JSON.stringify(cluster(services)));
lab("apply", file);
say(`${services} Services are in the API server`);

const syncs: FirstSync[] = [];
const memory: number[] = [];
const nodes = ["node1", "node2", "node3", "node4"].slice(0, runs);
const last = nodes.at(-1) ?? "node1";
for (const node of nodes) {
  if (flags.length > 0) lab("agent", "flags", node, "--", ...flags);
  const sync = await firstSync(node);
  syncs.push(sync);
  await Bun.sleep(15_000);
  memory.push(memoryMb(agentPid(node), "VmRSS"));
  say(`${node}: ${JSON.stringify(sync)}, settled at ${memory.at(-1)?.toFixed(0)} MB`);
  if (node === last) break;
  lab("agent", "stop", node);
  lab("run", node, "--", "cleanup");
}

const pid = agentPid(last);
// One processor is shared, by slices of 10 ms: without this the agent's times would be those of the API server and of this
// script as well.
run(["chrt", "-f", "-p", "1", String(pid)]);
const single: Change[] = [];
for (let i = 0; i < changes; i++) {
  // Spread over the table; each slice is changed at most a few times.
  single.push(await oneChange(last, (i * 4517) % services, 1 + i % 200));
}
say(`changes: ${single.map(({ agentMs }) => agentMs.toFixed(1)).join(" ")}`);
const afterChanges = memoryMb(pid, "VmRSS");

run(["chrt", "-o", "-p", "0", String(pid)]);
const idlePercent = await idle(pid, idleSeconds);
say(`idle: ${idlePercent.toFixed(2)} %`);

const restores: number[] = [];
const edits: number[] = [];
if (process.env["YARDSTICK"] !== "no") {
  const text = table(last);
  lab("agent", "stop", last);
  edits.push(...ipvsadmEdits(last, 40));
  lab("run", last, "--", "cleanup");
  for (let i = 0; i < Math.min(runs, 3); i++) restores.push(restore(text, `bench-restore-${i}`));
  say(`ipvsadm -R: ${restores.map((ms) => ms.toFixed(0)).join(" ")} ms`);
}

await Bun.write(
  join(OUT, "agent.json"),
  JSON.stringify({
    services,
    started,
    syncs,
    memory,
    single,
    afterChanges,
    idlePercent,
    restores,
    edits,
  }),
);
