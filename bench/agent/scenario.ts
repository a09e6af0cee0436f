/**
 * The agent at 10,000 Services × 5 endpoints, inside the lab: (a) from synced stores to Linux, (b) single changes, (c) memory,
 * (d) start of the executable, (e) idling. Writes `agent.json` into OUT. SERVICES, RUNS, CHANGES and IDLE_SECONDS shorten it.
 */

import { join } from "node:path";
import { agentPid, lab, memoryMb, OUT, processorMs, run } from "./lab.ts";
import { type Change, type FirstSync, firstSync, oneChange, restore, table } from "./measure.ts";
import { cluster, clusterIpOf } from "./objects.ts";

const services = Number(process.env["SERVICES"] ?? 10_000);
const runs = Math.min(4, Number(process.env["RUNS"] ?? 3));
const changes = Number(process.env["CHANGES"] ?? 220);
const idleSeconds = Number(process.env["IDLE_SECONDS"] ?? 60);
const AFTERMATH_MS = 40_000;
const flags = (process.env["AGENT_FLAGS"] ?? "").split(" ").filter((flag) => flag !== "");

function say(text: string): void {
  console.error(`bench: ${text}`);
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
// Idle is what follows the aftermath: for half a minute after changes Bun collects garbage every second.
await Bun.sleep(AFTERMATH_MS);
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
