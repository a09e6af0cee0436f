/** Starts the guest and waits for its end. */

import { existsSync, mkdirSync, openSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import type { Boot } from "../guest/boot.ts";
import { INIT } from "./job.ts";
import type { Choice } from "./place.ts";

/**
 * Ends the guest and removes its folder where this process is killed and cannot: its end closes the
 * pipe. User-mode Linux's processes are one group, named in a file (dash's own kill knows no groups).
 */
const GUARD = `read -r done && exit
pid=$(cat "$1/uml/lab/pid" 2>/dev/null) && env kill -KILL -- "-$pid"
kill -KILL "$2"
rm -rf "$1"`;

function guard(job: string, pid: number): () => void {
  const child = Bun.spawn(["setsid", "sh", "-c", GUARD, "guard", job, String(pid)], {
    stdin: "pipe",
    stdout: "ignore",
    stderr: "ignore",
  });
  return () => {
    child.stdin.write("done\n");
    void child.stdin.end();
  };
}

export interface Guest {
  /** Resolves when nothing of the guest is left. */
  readonly ended: Promise<void>;
  /** Ends it now. */
  readonly kill: () => void;
}

/** Made by `setup` where the CPU asks for it, see xstate.c. */
const XSTATE = `${
  process.env.XDG_CACHE_HOME ?? `${process.env.HOME ?? "/root"}/.cache`
}/routelet/lab-xstate.so`;

export function startGuest(boot: Boot, choice: Choice, cpu: number): Guest {
  return choice.place === "host" ? startNamespaces(boot) : startUml(boot, choice.linux, cpu);
}

function startUml(boot: Boot, linux: string, cpu: number): Guest {
  const folder = `${boot.job}/uml`;
  mkdirSync(folder);
  // The kernel's command line is split at spaces, and the repository's path may have some.
  const init = `${boot.job}/init`;
  symlinkSync(INIT, init);
  const console = openSync(`${boot.job}/console.log`, "w");
  const shm = existsSync("/dev/shm") ? { TMPDIR: "/dev/shm" } : {};
  const preload = existsSync(XSTATE) && hasAmx() ? { LD_PRELOAD: XSTATE } : {};
  const child = Bun.spawn(
    [
      "taskset",
      "-c",
      String(cpu),
      linux,
      `mem=${memory()}`,
      "root=/dev/root",
      "rootfstype=hostfs",
      "rootflags=/",
      "rw",
      `init=${init}`,
      `JOB=${boot.job}`,
      `PLACE=${boot.place}`,
      `uml_dir=${folder}/`,
      "umid=lab",
      // Without a console init has no files 0–2; with one that nobody reads the guest stalls.
      "con=null",
      "con0=null,fd:1",
      "quiet",
    ],
    {
      env: { ...process.env, HOME: boot.job, ...shm, ...preload },
      stdin: null,
      stdout: console,
      stderr: console,
    },
  );
  const off = guard(boot.job, child.pid);
  return {
    ended: child.exited.then(off).then(() => killGroup(`${folder}/lab/pid`)).then(() => {
      rmSync(folder, { recursive: true, force: true });
    }),
    kill: () => {
      child.kill("SIGTERM");
      setTimeout(() => child.kill("SIGKILL"), 2000).unref();
    },
  };
}

/** After SIGKILL, user-mode Linux leaves helpers in the process group that it made. */
function killGroup(file: string): void {
  try {
    process.kill(-Number(readFileSync(file, "utf8")), "SIGKILL");
  } catch {
    // It ended by itself and took them along.
  }
}

/** Sparse: only what the guest touches is used. */
function memory(): string {
  const wanted = process.env.LAB_MEMORY;
  if (wanted !== undefined && wanted !== "") return wanted;
  return totalmem() > 6 * 2 ** 30 ? "3G" : "1G";
}

function startNamespaces(boot: Boot): Guest {
  const log = openSync(`${boot.job}/console.log`, "w");
  const child = Bun.spawn(
    [
      "unshare",
      ..."--mount --net --pid --uts --ipc --fork --kill-child --mount-proc".split(" "),
      "--",
      INIT,
    ],
    {
      env: { ...process.env, JOB: boot.job, PLACE: "host" },
      stdin: null,
      stdout: log,
      stderr: log,
    },
  );
  const off = guard(boot.job, child.pid);
  return { ended: child.exited.then(off), kill: () => child.kill("SIGKILL") };
}

function hasAmx(): boolean {
  return /\bamx_tile\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
}

/** Spreads slots over the CPUs this process may use. */
export function cpuOf(slot: number): number {
  const text = readFileSync("/proc/self/status", "utf8");
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(text)?.[1] ?? `0-${cpus().length - 1}`;
  const allowed = list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  return allowed[slot % allowed.length] ?? 0;
}
