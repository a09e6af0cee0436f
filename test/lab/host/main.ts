/** The lab's host side: chooses the place, boots the guest, passes its output on and exits with its script's status. */

import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join, resolve } from "node:path";
import type { Boot } from "../guest/boot.ts";
import { cpuOf, startGuest } from "./guest.ts";
import { clearLogs, keepLogs, prepareJob, readRequest, type Request, WHERE } from "./job.ts";
import { choosePlace, describe, inspect } from "./place.ts";

const TIMED_OUT = 124;
const LAB_FAILED = 125;
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  bird: ["bird2"],
  frr: ["frr"],
  gobgp: ["gobgpd"],
};

interface Verdict {
  readonly status: number;
  readonly reason: string;
}

async function main(): Promise<Verdict> {
  if ((process.env.OUT ?? "") === "") {
    throw new Error("OUT is missing: the folder for logs and results");
  }
  mkdirSync(resolve(process.env.OUT ?? ""), { recursive: true });
  clearLogs(resolve(process.env.OUT ?? ""));
  const request = readRequest(process.env, (text) => console.error(`lab: ${text}`));
  setUp(request);
  const where = Bun.spawnSync([WHERE]).stdout.toString().trim();
  const choice = choosePlace(request.topology, inspect(where), process.env.LAB_PLACE);
  const cpu = cpuOf(Number(process.env.LAB_SLOT ?? 0));
  console.log(describe(choice, cpu));
  const boot = await prepareJob(request, choice);
  try {
    const guest = startGuest(boot, choice, cpu);
    return await supervise(boot, guest, request.timeoutSeconds);
  } finally {
    keepLogs(boot);
    rmSync(boot.job, { recursive: true, force: true });
  }
}

/** Debian packages: those of the lab, and the daemons that this topology asks for. */
function setUp({ topology }: Request): void {
  const daemons = topology.routers.flatMap(({ daemon }) => PACKAGES[daemon ?? ""] ?? []);
  const setup = join(import.meta.dir, "../setup");
  const { exitCode } = Bun.spawnSync([setup, ...new Set(daemons)], {
    stdout: "inherit",
    stderr: "inherit",
  });
  if (exitCode !== 0) throw new Error("Debian packages of the lab are missing, see above");
}

async function supervise(
  boot: Boot,
  guest: ReturnType<typeof startGuest>,
  timeoutSeconds: number,
): Promise<Verdict> {
  let verdict: Verdict | undefined;
  const stop = (given: Verdict) => {
    verdict ??= given;
    guest.kill();
  };
  const reason = `the script did not end within ${timeoutSeconds} s`;
  const timer = setTimeout(
    () => stop({ status: TIMED_OUT, reason }),
    timeoutSeconds * 1000,
  );
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => stop({ status: LAB_FAILED, reason: `stopped by ${signal}` }));
  }
  const out = follow(`${boot.job}/stdout`, 1);
  const err = follow(`${boot.job}/stderr`, 2);
  const poll = setInterval(() => {
    out.copy();
    err.copy();
  }, 30);
  await guest.ended;
  clearTimeout(timer);
  clearInterval(poll);
  out.end();
  err.end();
  return verdict ?? readStatus(boot);
}

function readStatus(boot: Boot): Verdict {
  if (!existsSync(`${boot.job}/status`)) {
    const text = existsSync(`${boot.job}/console.log`)
      ? readFileSync(`${boot.job}/console.log`, "utf8")
      : "";
    const last = text.trim().split("\n").slice(-5).join(" | ");
    return { status: LAB_FAILED, reason: `the guest died: ${last}` };
  }
  const [, status = "125", reason = ""] =
    /^(\d+) ?([\s\S]*)$/.exec(readFileSync(`${boot.job}/status`, "utf8")) ?? [];
  return { status: Number(status), reason: reason.trim() };
}

/** Passes on what the guest appends to a file. */
function follow(path: string, to: number): { readonly copy: () => void; readonly end: () => void } {
  const file = openSync(path, "r");
  const buffer = new Uint8Array(65536);
  const copy = () => {
    for (let count = 1; count > 0;) {
      count = readSync(file, buffer, 0, buffer.length, null);
      for (let at = 0; at < count;) at += writeAll(to, buffer.subarray(at, count));
    }
  };
  return {
    copy,
    end: () => {
      copy();
      closeSync(file);
    },
  };
}

/** A reader that is slow, or gone, must not fail the lab. */
function writeAll(to: number, bytes: Uint8Array): number {
  try {
    return writeSync(to, bytes);
  } catch (error) {
    if ((error as { code?: string }).code !== "EAGAIN") return bytes.length;
    Bun.sleepSync(5);
    return 0;
  }
}

let verdict: Verdict;
try {
  verdict = await main();
} catch (error) {
  verdict = { status: LAB_FAILED, reason: (error as Error).message };
}
if (verdict.reason !== "") console.error(`lab: ${verdict.reason}`);
if ((process.env.OUT ?? "") !== "" && existsSync(resolve(process.env.OUT ?? ""))) {
  writeFileSync(join(resolve(process.env.OUT ?? ""), "status"), `${verdict.status}\n`);
}
process.exit(verdict.status);
