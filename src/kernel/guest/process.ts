/**
 * The process of a third party's plugin, as the agent sees it. A thread would share the agent's memory, and one that takes all of
 * it would end both; a process can be measured, limited and ended alone.
 */

import { readFileSync } from "node:fs";
import type { FromGuest, ToGuest } from "./messages.ts";

/** Part of a process that a link needs. */
export interface GuestProcess {
  postMessage(message: ToGuest): void;
  /** Ends it at once. */
  terminate(): void;
  onmessage: ((event: { readonly data: FromGuest }) => void) | null;
  /** It has ended by itself, or was ended; told once, with the reason. */
  onclose: ((reason: string) => void) | null;
}

export interface SpawnOptions {
  /** The executable and its arguments: what runs `serveGuest`. */
  readonly command: readonly string[];
  /** Takes what it prints, a line at a time. */
  readonly onOutput?: (line: string) => void;
  /** Bytes of memory that it may have; default {@linkcode MEMORY_LIMIT}. */
  readonly memoryLimit?: number;
  /** Milliseconds between looks at its memory; default 200: what grows by a gigabyte a second is seen early enough. */
  readonly memoryMs?: number;
}

/** 512 MiB: a plugin that copies 100,000 pods takes less than half of it. */
export const MEMORY_LIMIT = 512 * 2 ** 20;
/** Lines of its output that are passed on in one second. */
const LINES_A_SECOND = 20;

/** Starts the process. */
export function spawnGuest(options: SpawnOptions): GuestProcess {
  const { command, onOutput = () => {}, memoryLimit = MEMORY_LIMIT, memoryMs = 200 } = options;
  /** Until it listens: what comes earlier would be lost. */
  let waiting: ToGuest[] | undefined = [];
  let ended: string | undefined;
  const child = Bun.spawn([...command], {
    // A group of its own: what it starts ends with it, and is not left over at each of its restarts.
    detached: true,
    env: guestEnvironment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    serialization: "advanced",
    ipc(message: FromGuest | { readonly type: "listening" }) {
      if (message.type === "listening") {
        for (const early of waiting ?? []) send(early);
        waiting = undefined;
      } else self.onmessage?.({ data: message });
    },
    onExit(_process, code, signal) {
      clearInterval(guard);
      killGroup(child.pid);
      const how = signal === null ? `with exit code ${code}` : `by signal ${signalName(signal)}`;
      const remedy = signal === null ? "; remove process.exit" : "";
      self.onclose?.(ended ?? `its process ended ${how}${remedy}`);
    },
  });
  const send = (message: ToGuest): void => {
    try {
      child.send(message);
    } catch {
      // It is gone, of which `onExit` tells.
    }
  };
  const kill = (reason: string): void => {
    ended ??= reason;
    killGroup(child.pid);
    child.kill("SIGKILL");
  };
  const guard = setInterval(() => {
    const bytes = residentBytes(child.pid);
    if (bytes <= memoryLimit) return;
    kill(
      `it took more than ${
        Math.round(memoryLimit / 2 ** 20)
      } MiB of memory, and its process was ended; ` +
        "look for what it keeps and never lets go",
    );
  }, memoryMs);
  guard.unref();
  child.unref();
  for (const stream of [child.stdout, child.stderr]) void passOn(stream, onOutput);
  const self: GuestProcess = {
    postMessage(message) {
      if (waiting === undefined) send(message);
      else waiting.push(message);
    },
    terminate: () => kill("it was ended"),
    onmessage: null,
    onclose: null,
  };
  return self;
}

/** The agent's own, without the variable of its flags: passwords of peers may be in it, and a plugin hands it on to what it starts. */
export function guestEnvironment(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Record<string, string | undefined> {
  const { ROUTELET_FLAGS: _, ...rest } = env;
  return rest;
}

/** Bytes of memory that a process has; 0 where it is gone. */
function residentBytes(pid: number): number {
  try {
    const [, kilobytes] =
      /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? [];
    return Number(kilobytes ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Ends all that a process has started, as far as it did not leave the group. */
function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Nothing of it is left.
  }
}

function signalName(signal: number | NodeJS.Signals): string {
  return typeof signal === "string" ? signal : String(signal);
}

/** What it prints, as lines; of too many only the number. */
async function passOn(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  let second = 0;
  let lines = 0;
  const pass = (line: string): void => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      if (lines > LINES_A_SECOND) onLine(`${lines - LINES_A_SECOND} lines were left out`);
      second = now;
      lines = 0;
    }
    if (lines++ < LINES_A_SECOND && line.trim() !== "") onLine(line);
  };
  try {
    for await (const bytes of stream) {
      const parts = (rest + decoder.decode(bytes, { stream: true })).split("\n");
      rest = (parts.pop() ?? "").slice(0, 4096);
      for (const line of parts) pass(line.slice(0, 4096));
    }
    if (rest !== "") pass(rest);
  } catch {
    // The process is gone.
  }
}
