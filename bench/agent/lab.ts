/** The lab as the benchmarks use it: commands, the agents' logs, what Linux says of a process. */

import { readdirSync, readFileSync } from "node:fs";

const LAB = process.env["LAB"] ?? "";
export const OUT = process.env["LAB_OUT"] ?? "";

/** Standard output of a command; throws with what it complained of. */
export function run(command: readonly string[], stdin?: string): string {
  const result = Bun.spawnSync(
    [...command],
    stdin === undefined ? {} : { stdin: Buffer.from(stdin) },
  );
  if (!result.success) {
    throw new Error(`${command.slice(0, 4).join(" ")}: ${result.stderr}${result.stdout}`);
  }
  return result.stdout.toString();
}

export function lab(...words: readonly string[]): string {
  return run([...LAB.split(" "), ...words]);
}

export interface LogLine {
  readonly time: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

/** The lines of a node's agent so far, `-v=1 --log-format=json`. */
export function agentLog(node: string): readonly LogLine[] {
  return readFileSync(`${OUT}/agents/${node}.log`, "utf8").split("\n")
    .filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as LogLine);
}

export function rounds(node: string): readonly LogLine[] {
  return agentLog(node).filter(({ message }) => message === "Round done");
}

/** Process id of the agent of a node. */
export function agentPid(node: string): number {
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const words = readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0");
      const isAgent = words[0] === process.env["LAB_ROUTELET"];
      if (isAgent && words.includes(`--hostname-override=${node}`)) return Number(entry);
    } catch {
      // It ended while we looked.
    }
  }
  throw new Error(`no agent of "${node}" runs`);
}

/** A field of /proc/PID/status in MB (of 10^6 bytes): "VmRSS", "VmHWM". */
export function memoryMb(pid: number, field: string): number {
  const text = readFileSync(`/proc/${pid}/status`, "utf8");
  const kb = new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1];
  return Number(kb) * 1024 / 1e6;
}

/** Milliseconds of processor time that a process has used, user and system. */
export function processorMs(pid: number): number {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name, in brackets, may hold spaces.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

export async function until(what: string, ms: number, done: () => boolean): Promise<void> {
  const deadline = performance.now() + ms;
  while (!done()) {
    if (performance.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`);
    await Bun.sleep(20);
  }
}
