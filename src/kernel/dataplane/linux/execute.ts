/** Replaces this process by another program (execve(2)). */

import { ptr } from "bun:ffi";
import { KernelError } from "../errors.ts";
import { libc, throwErrno } from "./ffi.ts";

/** Larger than what JavaScriptCore keeps within its heap, where it might move: a pointer into it must stay true. */
const LEAST_BYTES = 1 << 16;

/** C strings in one piece, and a table of pointers to them that ends with NULL. */
export interface Strings {
  readonly bytes: Uint8Array;
  readonly pointers: BigUint64Array;
}

/** @throws {KernelError} EINVAL where a string holds a NUL, which would end it early */
export function strings(list: readonly string[]): Strings {
  const encoder = new TextEncoder();
  const encoded = list.map((text) => {
    if (text.includes("\0")) throw new KernelError("pass a string to execve", "EINVAL");
    return encoder.encode(`${text}\0`);
  });
  const bytes = new Uint8Array(
    Math.max(LEAST_BYTES, encoded.reduce((sum, { length }) => sum + length, 0)),
  );
  const pointers = new BigUint64Array(Math.max(LEAST_BYTES / 8, list.length + 1));
  const base = BigInt(ptr(bytes));
  let at = 0;
  for (const [index, text] of encoded.entries()) {
    bytes.set(text, at);
    pointers[index] = base + BigInt(at);
    at += text.length;
  }
  return { bytes, pointers };
}

/**
 * Runs `path` in this process: same number, same parent, same open files but for those that close on execution. Returns never.
 *
 * @param args what it sees as argv, its own name first
 * @param env all of its environment
 * @throws {KernelError} when Linux refuses; then nothing has changed
 */
export function execute(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): never {
  const argv = strings(args);
  const envp = strings(
    Object.entries(env).flatMap(([name, value]) => value === undefined ? [] : `${name}=${value}`),
  );
  libc().execve(new TextEncoder().encode(`${path}\0`), argv.pointers, envp.pointers);
  throwErrno("execute", path);
}
