/** The agent's unix socket, for root on this host alone. */
import { chmodSync, lstatSync, mkdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Handler, Listening } from "./listen.ts";

/** Where the agent with this runtime folder listens. */
export function socketPath(runtimeDir: string): string {
  return join(runtimeDir, "agent.sock");
}

/**
 * Listens on the agent's socket with mode 0600; makes the folder, replaces the socket of an agent that died, removes
 * its own on stop.
 *
 * @throws {Error} when another agent answers on it, or the folder cannot be written
 */
export async function listenSocket(runtimeDir: string, fetch: Handler): Promise<Listening> {
  const path = socketPath(runtimeDir);
  if (Buffer.byteLength(path) > 107) {
    // sockaddr_un.sun_path: 108 bytes with the final NUL.
    throw new Error(
      `Cannot listen on "${path}" (--runtime-dir): a socket's path has at most 107 bytes`,
    );
  }
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    if (await answers(path)) {
      throw new Error(
        "another agent answers on it; stop that one or choose another --runtime-dir",
      );
    }
    removeSocket(path);
    // The mode must hold from the first moment: whoever connects before a chmod stays connected.
    const umask = process.umask(0o177);
    let server: Bun.Server<undefined>;
    try {
      server = Bun.serve({ unix: path, fetch });
    } finally {
      process.umask(umask);
    }
    chmodSync(path, 0o600);
    const inode = lstatSync(path).ino;
    return {
      address: path,
      port: 0,
      async stop() {
        const ours = inodeOf(path) === inode;
        await server.stop(true);
        if (ours) rmSync(path, { force: true });
      },
    };
  } catch (error) {
    const reason = reasonOf(error);
    throw new Error(`Cannot listen on "${path}" (--runtime-dir): ${reason}`, { cause: error });
  }
}

function reasonOf(error: unknown): string {
  switch ((error as NodeJS.ErrnoException).code) {
    case "EROFS":
      return "its file system is read-only; name a folder that can be written";
    case "EACCES":
    case "EPERM":
      return "not permitted; name a folder that root can write";
    case "ENOSPC":
      return "no space is left there; free some, or name another folder";
    case "ENOTDIR":
    case "EEXIST":
      return "a file lies in the place of a folder; move it away, or name another folder";
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

/** Whether an agent with this runtime folder runs. */
export function agentAnswers(runtimeDir: string): Promise<boolean> {
  return answers(socketPath(runtimeDir));
}

async function answers(path: string): Promise<boolean> {
  if (inodeOf(path) === undefined) return false;
  try {
    await fetch("http://agent/livez", { unix: path, signal: AbortSignal.timeout(2000) });
    return true;
  } catch (error) {
    // One that accepts and stays silent is alive all the same: it may be stopped in a debugger.
    return error instanceof Error && error.name === "TimeoutError";
  }
}

function removeSocket(path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) throw new Error("a file that is no socket lies there; move it away");
  rmSync(path);
}

function inodeOf(path: string): number | undefined {
  return lstatSync(path, { throwIfNoEntry: false })?.ino;
}
