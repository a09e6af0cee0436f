/**
 * The firewall's figures, on the host in a network namespace of its own: main.ts EXECUTABLE → JSON on standard output.
 *
 * First sync of 10,000 pods × 1,000 policies, of which 110 pods are here, in both families, beside the host's tools writing
 * the same state; single changes of a label; memory at 100,000 pods; and the look at 100,000 connections. PODS, POLICIES,
 * MANY_PODS, CHANGES, FLOWS and RUNS say otherwise.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { memoryMb, run } from "../agent/lab.ts";
import { type Agent, startAgent } from "./agent.ts";
import { podAddresses, podName, podNamespace, podObject, policyObject } from "./objects.ts";

const number = (name: string, fallback: number) => Number(process.env[name] ?? fallback);
const pods = number("PODS", 10_000);
const policies = number("POLICIES", 1_000);
const manyPods = number("MANY_PODS", 100_000);
const changes = number("CHANGES", 300);
const flows = number("FLOWS", 100_000);
const runs = number("RUNS", 3);
const executable = process.argv[2] ?? "";
/** Between changes: a round never waits for the one before it. */
const PAUSE_MS = 150;
const SETTLED_MS = 15_000;

function say(text: string): void {
  console.error(`bench: firewall: ${text}`);
}

export interface Tools {
  /** Milliseconds of `ipset restore`, and of `iptables-restore` and `ip6tables-restore` together. */
  readonly sets: number;
  readonly rules: number;
}

export interface FirewallResult {
  readonly pods: number;
  readonly policies: number;
  readonly manyPods: number;
  readonly flows: number;
  /** From synced stores to the end of the first round, and of it the writing of sets, in ms. */
  readonly syncs: readonly { readonly roundMs: number; readonly setsMs: number }[];
  readonly tools: readonly Tools[];
  readonly lines: { readonly members: number; readonly rules: number };
  /** Arrival to Linux, of one label each, in ms. */
  readonly labels: readonly number[];
  /** Resident memory, in MB: after the first round and the changes, and at `manyPods`. */
  readonly memory: number;
  readonly manyMemory: number;
  readonly manyRoundMs: number;
  /** Looks at all flows against policies, and `conntrack -L` of them, in ms. */
  readonly looks: readonly number[];
  readonly conntrack: readonly number[];
}

/** Does something with an agent in an empty Linux, and cleans up. */
async function withAgent<R>(podCount: number, use: (agent: Agent) => Promise<R>): Promise<R> {
  const folder = mkdtempSync(join(tmpdir(), "bench-firewall-"));
  const agent = await startAgent({ executable, folder, pods: podCount, policies });
  try {
    return await use(agent);
  } finally {
    await agent.stop();
    run([executable, "cleanup", `--runtime-dir=${join(folder, "run")}`]);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function firstSync(agent: Agent): Promise<{ roundMs: number; setsMs: number }> {
  const round = await agent.next("Round done", 0);
  if (round["ok"] !== true) throw new Error(`the first round failed: ${JSON.stringify(round)}`);
  // Sets of both families are written at once, so each counts the whole.
  const seconds = await agent.metric("controller_policy_ipset_v4_restore_time_sum");
  return { roundMs: Number(round["ms"]), setsMs: seconds * 1000 };
}

const RESTORES = { v4: "iptables", v6: "ip6tables" } as const;

/** What the agent made, in the words of the host's tools; and the variant of iptables that it used. */
function state() {
  const text = (variant: string, tool: string) => run([`${tool}${variant}-save`]);
  const variant = ["-nft", "-legacy", ""].find((each) =>
    Bun.which(`iptables${each}-save`) !== null && text(each, "iptables").includes("KUBE-POD-FW-")
  );
  if (variant === undefined) throw new Error("no variant of iptables holds the agent's rules");
  return {
    sets: run(["ipset", "save"]),
    v4: text(variant, RESTORES.v4),
    v6: text(variant, RESTORES.v6),
    variant,
  };
}

/** Milliseconds that the host's tools take for the same state in an untouched namespace. */
function byTools(from: ReturnType<typeof state>, name: string): Tools {
  run(["ip", "netns", "add", name]);
  const timed = (command: readonly string[], text: string): number => {
    const start = performance.now();
    run(["ip", "netns", "exec", name, ...command], text);
    return performance.now() - start;
  };
  try {
    const sets = timed(["ipset", "restore"], from.sets);
    const rules = timed([`${RESTORES.v4}${from.variant}-restore`], from.v4) +
      timed([`${RESTORES.v6}${from.variant}-restore`], from.v6);
    return { sets, rules };
  } finally {
    run(["ip", "netns", "del", name]);
  }
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

const syncs: { roundMs: number; setsMs: number }[] = [];
const tools: Tools[] = [];
let labels: readonly number[] = [];
let looks: readonly number[] = [];
let conntrack: readonly number[] = [];
let memory = NaN;
let lines = { members: NaN, rules: NaN };
for (let i = 0; i < runs; i++) {
  await withAgent(pods, async (agent) => {
    syncs.push(await firstSync(agent));
    const made = state();
    lines = {
      members: made.sets.split("\n").filter((line) => line.startsWith("add ")).length,
      rules: `${made.v4}\n${made.v6}`.split("\n").filter((line) => line.startsWith("-A ")).length,
    };
    tools.push(byTools(made, `bench-firewall-${process.pid}-${i}`));
    say(`${JSON.stringify({ ...syncs.at(-1), ...tools.at(-1), ...lines })}`);
    if (i < runs - 1) return;
    labels = await labelChanges(agent);
    say(`labels: ${labels.map((ms) => ms.toFixed(1)).join(" ")}`);
    await Bun.sleep(SETTLED_MS);
    memory = memoryMb(agent.pid, "VmRSS");
    looks = await flowLooks(agent);
    conntrack = conntrackLists();
    run(["conntrack", "-F"]);
    say(`looks: ${looks.map((ms) => ms.toFixed(0)).join(" ")}; ${memory.toFixed(0)} MB`);
  });
}
const many = await withAgent(manyPods, async (agent) => {
  const { roundMs } = await firstSync(agent);
  await Bun.sleep(SETTLED_MS);
  return { roundMs, memory: memoryMb(agent.pid, "VmRSS"), peak: memoryMb(agent.pid, "VmHWM") };
});
say(`${manyPods} pods: ${JSON.stringify(many)}`);
console.log(JSON.stringify(
  {
    pods,
    policies,
    manyPods,
    flows,
    syncs,
    tools,
    lines,
    labels,
    memory,
    manyMemory: many.memory,
    manyRoundMs: many.roundMs,
    looks,
    conntrack,
  } satisfies FirewallResult,
));
