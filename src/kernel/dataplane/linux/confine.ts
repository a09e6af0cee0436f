/** Bounds of a process that runs a third party's plugin. They hold back mistakes, not malice: it runs as root. */

import { readFileSync, writeFileSync } from "node:fs";
import { setPriority } from "node:os";
import { libc } from "./ffi.ts";

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9;
const RLIMIT_DATA = 2;
const RLIMIT_CORE = 4;
/** The agent and the node's pods go before it where there is not enough processor. */
const NICE = 5;

/**
 * Bounds this process for the rest of its life: it ends with its parent, goes first where Linux runs out of memory, comes last
 * where processors are short, leaves no core file, and gets no more memory than `bytes` beyond what the JavaScript engine has
 * set aside by now (about a gigabyte of it is room for objects). Its parent looks at what it takes more closely, but may be busy.
 *
 * @returns what Linux refused, a text each
 */
export function confineThisProcess(bytes: number): readonly string[] {
  const refused: string[] = [];
  const attempt = (what: string, does: () => void): void => {
    try {
      does();
    } catch (error) {
      refused.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  attempt("end with the agent", () => {
    if (libc().prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) !== 0) throw new Error("refused");
  });
  attempt("go first when memory is short", () => writeFileSync("/proc/self/oom_score_adj", "1000"));
  attempt("come last when processors are short", () => setPriority(0, NICE));
  attempt("leave no core file", () => limit(RLIMIT_CORE, 0));
  attempt("get no more memory", () => limit(RLIMIT_DATA, dataBytes() + bytes));
  return refused;
}

function limit(which: number, value: number): void {
  // struct rlimit: what counts, and the most that it may be raised to.
  if (libc().setrlimit(which, new BigUint64Array([BigInt(value), BigInt(value)])) !== 0) {
    throw new Error("refused");
  }
}

/** Bytes that this process may write to and that are no file's, as RLIMIT_DATA counts them (since Linux 4.7). */
function dataBytes(): number {
  const [, kilobytes] = /^VmData:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "latin1")) ??
    [];
  if (kilobytes === undefined) throw new Error("Linux does not tell what it has");
  return Number(kilobytes) * 1024;
}
