/**
 * The firewall's figures, on the host in a network namespace of its own: main.ts EXECUTABLE → JSON on standard output.
 *
 * First sync of 10,000 pods × 1,000 policies, of which 110 pods are here, in both families, beside the host's tools writing
 * the same state; single changes of a label; new pods here; memory at 100,000 pods: on both backends. And the look at 100,000
 * connections. PODS, POLICIES, MANY_PODS, CHANGES, NEW_PODS, FLOWS, RUNS and BACKEND say otherwise.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryMb, run } from "../agent/lab.ts";
import { type Agent, type Backend, startAgent } from "./agent.ts";
import { podAddresses, podName, podNamespace, podObject, policyObject } from "./objects.ts";
import { type State, stateOf, type Tools } from "./tools.ts";

const number = (name: string, fallback: number) => Number(process.env[name] ?? fallback);
const pods = number("PODS", 10_000);
const policies = number("POLICIES", 1_000);
const manyPods = number("MANY_PODS", 100_000);
const changes = number("CHANGES", 300);
const newPods = number("NEW_PODS", 100);
const flows = number("FLOWS", 100_000);
const runs = number("RUNS", 3);
const executable = process.argv[2] ?? "";
/** Between changes: a round never waits for the one before it. */
const PAUSE_MS = 150;
const SETTLED_MS = 15_000;

function say(text: string): void {
  console.error(`bench: firewall: ${text}`);
}

/** The figures of one backend. */
export interface BackendResult {
  readonly backend: Backend;
  /** From synced stores to the end of the first round, and of it the writing of sets, in ms. */
  readonly syncs: readonly Sync[];
  readonly tools: readonly Tools[];
  readonly lines: State["lines"];
  /** Arrival to Linux, of one label each, in ms. */
  readonly labels: readonly number[];
  /** Arrival of a new pod of this node, with its addresses, to Linux, in ms. */
  readonly newPods: readonly number[];
  /** Resident memory, in MB: after the first round and the changes, and at `manyPods`. */
  readonly memory: number;
  readonly manyMemory: number;
  readonly manyPeak: number;
  readonly manyRoundMs: number;
}

interface Sync {
  readonly roundMs: number;
  readonly setsMs: number;
}

export interface FirewallResult {
  readonly pods: number;
  readonly policies: number;
  readonly manyPods: number;
  readonly flows: number;
  readonly backends: readonly BackendResult[];
  /** Looks at all flows against policies, and `conntrack -L` of them, in ms. */
  readonly looks: readonly number[];
  readonly conntrack: readonly number[];
}

/** Does something with an agent in an empty Linux, and cleans up. */
async function withAgent<R>(
  backend: Backend,
  podCount: number,
  use: (agent: Agent) => Promise<R>,
): Promise<R> {
  const folder = mkdtempSync(join(tmpdir(), "bench-firewall-"));
  const agent = await startAgent({ executable, folder, pods: podCount, policies, backend });
  try {
    return await use(agent);
  } finally {
    await agent.stop();
    run([executable, "cleanup", `--runtime-dir=${join(folder, "run")}`]);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function firstSync(agent: Agent): Promise<Sync> {
  const round = await agent.next("Round done", 0);
  if (round["ok"] !== true) throw new Error(`the first round failed: ${JSON.stringify(round)}`);
  const write = round["writeMs"] as Readonly<Record<string, number>>;
  return {
    roundMs: Number(round["ms"]),
    setsMs: (write["ipset"] ?? NaN) + (write["ipset.member"] ?? NaN),
  };
}

async function labelChanges(agent: Agent): Promise<readonly number[]> {
  const times: number[] = [];
  for (let n = 0; times.length < changes; n++) {
    const i = n * 4517 % pods;
    const seen = agent.said("Round done").length;
    const path = `/api/v1/namespaces/${podNamespace(i)}/pods/${podName(i)}`;
    await agent.put(path, podObject(i, 1 + n));
    await Bun.sleep(PAUSE_MS);
    // A pod that no set holds, before or after, wakes nobody.
    const round = agent.said("Round done")[seen];
    if (round?.["sinceEvent"] !== undefined) times.push(Number(round["sinceEvent"]));
    else if (n > 2 * changes) {
      throw new Error(`only ${times.length} of ${n} changes woke the agent`);
    }
  }
  return times;
}

/** One after the other comes, gets its addresses, is served, and goes before the next. */
async function podsCome(agent: Agent): Promise<readonly number[]> {
  const times: number[] = [];
  const rounds = () => agent.said("Round done").length;
  for (let n = 0; n < newPods; n++) {
    // Another node's by its number; pods of this one are the first.
    const pod = podObject(pods + n, 0, true);
    const path = `/api/v1/namespaces/${podNamespace(pods + n)}/pods`;
    const own = `${path}/${podName(pods + n)}`;
    // An API server takes no status with a new object: kubelet tells the addresses later.
    await agent.post(path, pod);
    await Bun.sleep(PAUSE_MS);
    let seen = rounds();
    await agent.put(`${own}/status`, pod);
    const round = await agent.next("Round done", seen);
    times.push(Number(round["sinceEvent"]));
    await Bun.sleep(PAUSE_MS);
    seen = rounds();
    await agent.remove(own);
    await agent.next("Round done", seen);
    await Bun.sleep(PAUSE_MS);
  }
  return times;
}

/** Fills conntrack with connections of pods of this node, each from another pod. */
function fillConntrack(): void {
  const lines = Array.from({ length: flows }, (_, i) => {
    const [to] = podAddresses(i % 100);
    const [from] = podAddresses(100 + i % (pods - 100));
    const port = 1024 + Math.floor(i / 100) % 60_000;
    return `-A -t 600 -u SEEN_REPLY,ASSURED -s ${from} -d ${to} -r ${to} -q ${from} -p tcp ` +
      `--sport ${port} --dport 80 --reply-port-src 80 --reply-port-dst ${port} --state ESTABLISHED -m 0`;
  });
  run(["conntrack", "-R", "-"], `${lines.join("\n")}\n`);
}

async function flowLooks(agent: Agent): Promise<readonly number[]> {
  fillConntrack();
  const times: number[] = [];
  for (let n = 0; n < 5; n++) {
    const seen = agent.said("Looked at connections").length;
    const path = `/apis/networking.k8s.io/v1/namespaces/${podNamespace(0)}/networkpolicies/policy0`;
    await agent.put(path, policyObject(0, 8_000 + n));
    const look = await agent.next("Looked at connections", seen);
    if (Number(look["flows"]) < flows * 0.9) throw new Error(`it saw ${look["flows"]} flows`);
    times.push(Number(look["ms"]));
    await Bun.sleep(10 * Number(look["ms"]) + 500);
  }
  return times;
}

function conntrackLists(): readonly number[] {
  return Array.from({ length: 3 }, () => {
    const start = performance.now();
    Bun.spawnSync(["conntrack", "-L"], { stdout: "ignore", stderr: "ignore" });
    return performance.now() - start;
  });
}

let looks: readonly number[] = [];
let conntrack: readonly number[] = [];

async function measure(backend: Backend): Promise<BackendResult> {
  const syncs: Sync[] = [];
  const tools: Tools[] = [];
  let labels: readonly number[] = [];
  let news: readonly number[] = [];
  let memory = NaN;
  let lines: State["lines"] = { members: NaN, rules: NaN };
  for (let i = 0; i < runs; i++) {
    await withAgent(backend, pods, async (agent) => {
      const sync = await firstSync(agent);
      const made = stateOf(backend);
      const theirs = made.byTools();
      ({ lines } = made);
      syncs.push(sync);
      tools.push(theirs);
      say(`${backend}: ${JSON.stringify({ ...sync, tools: theirs, lines })}`);
      if (i < runs - 1) return;
      labels = await labelChanges(agent);
      say(`${backend}: labels: ${labels.map((ms) => ms.toFixed(1)).join(" ")}`);
      news = await podsCome(agent);
      say(`${backend}: new pods: ${news.map((ms) => ms.toFixed(0)).join(" ")}`);
      await Bun.sleep(SETTLED_MS);
      memory = memoryMb(agent.pid, "VmRSS");
      say(`${backend}: ${memory.toFixed(0)} MB`);
      // Connections are looked at in the same way on both.
      if (backend !== "iptables") return;
      looks = await flowLooks(agent);
      conntrack = conntrackLists();
      run(["conntrack", "-F"]);
      say(`looks: ${looks.map((ms) => ms.toFixed(0)).join(" ")}`);
    });
  }
  const many = await withAgent(backend, manyPods, async (agent) => {
    const { roundMs } = await firstSync(agent);
    await Bun.sleep(SETTLED_MS);
    return { roundMs, memory: memoryMb(agent.pid, "VmRSS"), peak: memoryMb(agent.pid, "VmHWM") };
  });
  say(`${backend}: ${manyPods} pods: ${JSON.stringify(many)}`);
  return {
    backend,
    syncs,
    tools,
    lines,
    labels,
    newPods: news,
    memory,
    manyMemory: many.memory,
    manyPeak: many.peak,
    manyRoundMs: many.roundMs,
  };
}

const backends: BackendResult[] = [];
for (const backend of ["iptables", "nftables"] as const) {
  if ((process.env["BACKEND"] ?? backend) === backend) backends.push(await measure(backend));
}
console.log(JSON.stringify(
  { pods, policies, manyPods, flows, backends, looks, conntrack } satisfies FirewallResult,
));
