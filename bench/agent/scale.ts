/**
 * The agent at other sizes, inside the lab: first rounds, memory, single changes, and a burst of changes at once. Writes
 * `scale.json` into OUT. SERVICES, ENDPOINTS, RUNS, CHANGES and BURST say what; YARDSTICK=no leaves `ipvsadm -R` out.
 */

import { join } from "node:path";
import { agentLog, agentPid, lab, memoryMb, OUT, rounds, run, until } from "./lab.ts";
import { firstSync, oneChange, restore, table } from "./measure.ts";
import { burst, cluster } from "./objects.ts";

const services = Number(process.env["SERVICES"] ?? 10_000);
const endpoints = Number(process.env["ENDPOINTS"] ?? 10);
const runs = Math.min(4, Number(process.env["RUNS"] ?? 2));
const changes = Number(process.env["CHANGES"] ?? 120);
const size = Number(process.env["BURST"] ?? 1_000);
const PORTION = 2_000;

function say(text: string): void {
  console.error(`bench: ${services} × ${endpoints}: ${text}`);
}

export interface Burst {
  /** Rounds that served it, and what they took together, in ms. */
  readonly rounds: number;
  readonly ms: number;
  /** Destinations made and removed. */
  readonly ops: number;
}

/** All at once; ends when each change is in Linux. */
async function inOneGo(node: string): Promise<Burst> {
  const seen = rounds(node).length;
  const lines = agentLog(node).length;
  const file = "/tmp/burst.json";
  await Bun.write(file, JSON.stringify(burst(size, 199, endpoints)));
  lab("apply", file);
  const done = () =>
    agentLog(node).slice(lines).filter(({ kind, item }) =>
      kind === "ipvs.destination" || String(item ?? "").startsWith("ipvs destination")
    ).reduce(
      (sum, line) =>
        sum +
        (line["item"] === undefined
          ? Number(line["created"]) + Number(line["deleted"]) + Number(line["updated"])
          : 1),
      0,
    );
  await until("the burst", 60_000, () => done() >= 2 * size);
  await Bun.sleep(1_000);
  const its = rounds(node).slice(seen);
  return {
    rounds: its.length,
    ms: its.reduce((sum, { ms }) => sum + Number(ms), 0),
    ops: done(),
  };
}

const file = join("/tmp", "cluster.json");
// In portions: the lab's API server holds a whole request in memory several times.
for (let from = 0; from < services; from += PORTION) {
  const to = Math.min(services, from + PORTION);
  await Bun.write(file, JSON.stringify(cluster(to, endpoints, from)));
  lab("apply", file);
}
say("the API server has them");

const syncs: number[] = [];
const memory: number[] = [];
const nodes = ["node1", "node2", "node3", "node4"].slice(0, runs);
const last = nodes.at(-1) ?? "node1";
for (const node of nodes) {
  const sync = await firstSync(node);
  syncs.push(sync.roundMs);
  await Bun.sleep(15_000);
  memory.push(memoryMb(agentPid(node), "VmRSS"));
  say(`${node}: ${JSON.stringify(sync)}, settled at ${memory.at(-1)?.toFixed(0)} MB`);
  if (node === last) break;
  lab("agent", "stop", node);
  lab("run", node, "--", "cleanup");
}

const pid = agentPid(last);
run(["chrt", "-f", "-p", "1", String(pid)]);
const single: number[] = [];
for (let i = 0; i < changes; i++) {
  const change = await oneChange(last, (i * 4517) % services, 1 + i % 190, endpoints);
  single.push(change.agentMs);
}
if (changes > 0) say(`changes: ${single.map((ms) => ms.toFixed(1)).join(" ")}`);
const bursts: Burst[] = [];
if (size > 0) bursts.push(await inOneGo(last));
say(`burst: ${JSON.stringify(bursts)}`);
memory.push(memoryMb(pid, "VmRSS"));

const restores: number[] = [];
if (process.env["YARDSTICK"] !== "no") {
  const text = table(last);
  restores.push(restore(text, "bench-restore"));
  say(`ipvsadm -R: ${restores.map((ms) => ms.toFixed(0)).join(" ")} ms`);
}
await Bun.write(
  join(OUT, "scale.json"),
  JSON.stringify({ services, endpoints, syncs, memory, single, bursts, restores }),
);
