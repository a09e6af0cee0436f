/**
 * The few functions of libc that the dataplane calls, with exact C types.
 *
 * Traps of bun:ffi that shape this file: `i64`/`usize` results are BigInt (so results are `i32`, sizes stay below 2 GiB);
 * a missing argument is silently 0; a `ptr` does not keep its array alive and small arrays move (so views are passed
 * as `buffer` at each call, never a kept pointer); errno must be read by the very next expression.
 */

import { dlopen, type Pointer, read } from "bun:ffi";
import { KernelError } from "../errors.ts";
import { kernelError } from "./errno.ts";

const SYMBOLS = {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "buffer", "u32"], returns: "i32" },
  send: { args: ["i32", "buffer", "usize", "i32"], returns: "i32" },
  recv: { args: ["i32", "buffer", "usize", "i32"], returns: "i32" },
  recvmmsg: { args: ["i32", "buffer", "u32", "i32", "ptr"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "buffer", "buffer"], returns: "i32" },
  getsockname: { args: ["i32", "buffer", "buffer"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  open: { args: ["buffer", "i32", "i32"], returns: "i32" },
  sched_setscheduler: { args: ["i32", "i32", "buffer"], returns: "i32" },
  // An address, not a view: what it is about is no JavaScript object.
  madvise: { args: ["u64", "usize", "i32"], returns: "i32" },
  execve: { args: ["buffer", "buffer", "buffer"], returns: "i32" },
  prctl: { args: ["i32", "u64", "u64", "u64", "u64"], returns: "i32" },
  setrlimit: { args: ["i32", "buffer"], returns: "i32" },
  setns: { args: ["i32", "i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

type Symbols = ReturnType<typeof dlopen<typeof SYMBOLS>>["symbols"];

let loaded: { readonly symbols: Symbols; readonly errno: Pointer | bigint } | undefined;

function load(): { readonly symbols: Symbols; readonly errno: Pointer | bigint } {
  const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
  const names = ["libc.so.6", `libc.musl-${arch}.so.1`];
  const reasons: string[] = [];
  for (const name of names) {
    try {
      const { symbols } = dlopen(name, SYMBOLS);
      const location = symbols.__errno_location();
      if (location !== null) return { symbols, errno: location };
    } catch (error) {
      reasons.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new KernelError("load libc", "ENOSUPPORT", { detail: reasons.join("; ") });
}

/**
 * libc, loaded at the first call.
 *
 * @throws {KernelError} ENOSUPPORT when there is neither glibc nor musl
 */
export function libc(): Symbols {
  loaded ??= load();
  return loaded.symbols;
}

/** errno of the last libc call of this thread. Read it as the very next expression after the call. */
export function lastErrno(): number {
  return loaded === undefined ? 0 : read.i32(loaded.errno, 0);
}

/** Throws what errno says as an error of `op`; for calls that returned -1. */
export function throwErrno(op: string, object?: string, remedy?: string): never {
  const errno = lastErrno();
  throw kernelError(op, { errno }, {
    ...(object === undefined ? {} : { object }),
    ...(remedy === undefined ? {} : { remedy }),
  });
}

const O_CLOEXEC = 0o2000000;

/** Opens a file for reading (close-on-exec) and returns its descriptor. */
export function openFile(path: string, op = "open"): number {
  const fd = libc().open(new TextEncoder().encode(`${path}\0`), O_CLOEXEC, 0);
  if (fd < 0) throwErrno(op, path);
  return fd;
}

/** Closes a descriptor; errors are of no use to anyone here. */
export function closeFile(fd: number): void {
  libc().close(fd);
}
