/** What the agent's benchmarks measure in the lab: first rounds, single changes, and `ipvsadm -R` of the same table. */

import { agentLog, agentPid, lab, type LogLine, memoryMb, rounds, run, until } from "./lab.ts";
import { slice, slicePath } from "./objects.ts";

/** Between changes: a round never waits for the one before it. */
const PAUSE_MS = 200;

export interface FirstSync {
  /** From the first wake with all stores synced to the last answer of Linux. */
  readonly roundMs: number;
  /** From the first line of the log to the end of the round: lists included, on the core of the API server. */
  readonly startMs: number;
  readonly peakMb: number;
  readonly kinds: Readonly<Record<string, unknown>>;
}

export async function firstSync(node: string): Promise<FirstSync> {
  lab("agent", "start", node);
  await until("the first round", 240_000, () => rounds(node).length > 0);
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
export function table(node: string): string {
  return lab("exec", `node-${node}`, "ipvsadm", "-Sn");
}

/** Milliseconds of `ipvsadm -R` of a table into an untouched namespace. */
export function restore(text: string, name: string): number {
  run(["ip", "netns", "add", name]);
  run(["ip", "-n", name, "link", "set", "lo", "up"]);
  const start = performance.now();
  run(["ip", "netns", "exec", name, "ipvsadm", "-R"], text);
  const ms = performance.now() - start;
  run(["ip", "netns", "del", name]);
  return ms;
}

export interface Change {
  /** From the chunk's arrival in the agent to the last answer of Linux. */
  readonly agentMs: number;
  /** From before the write at the API server, by the clock on the wall. */
  readonly wholeMs: number;
}

export async function oneChange(
  node: string,
  index: number,
  generation: number,
  endpoints?: number,
): Promise<Change> {
  const seen = rounds(node).length;
  const body = JSON.stringify(slice(index, generation, endpoints));
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
