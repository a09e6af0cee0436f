/** Opens the agent's own servers and says clearly why one could not be opened. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { joinHostPort } from "../ip.ts";

export type Handler = (request: Request) => Response | Promise<Response>;

/** A server that runs. */
export interface Listening {
  /** As bound, for the log. */
  readonly address: string;
  readonly port: number;
  stop(): Promise<void>;
}

export interface TcpOptions {
  /** As given by a flag: empty for all addresses; IPv6 literals with or without brackets. */
  readonly address: string;
  readonly port: number;
  /** Flags that set address and port, named when the server cannot be opened. */
  readonly flags: readonly [address: string, port: string];
  readonly fetch: Handler;
}

/**
 * Listens on TCP.
 *
 * @throws {Error} that names the flags, the address and, when another process has the port, that process
 */
export function listenTcp(options: TcpOptions): Listening {
  const address = options.address.replace(/^\[(.*)\]$/, "$1");
  // An empty address means both families: "::" serves IPv4 too, except where the host has no IPv6 at all.
  const candidates = address === "" ? ["::", "0.0.0.0"] : [address];
  let failure: unknown;
  for (const hostname of candidates) {
    try {
      const server = Bun.serve({
        hostname,
        port: options.port,
        fetch: options.fetch,
        // Bun's own page of an error shows the source to whoever asks.
        error: ({ message }) => new Response(`Internal error: ${message}\n`, { status: 500 }),
      });
      const port = server.port ?? options.port;
      return {
        address: joinHostPort(hostname, port),
        port,
        stop: () => server.stop(true),
      };
    } catch (error) {
      failure = error;
      if (errno(error) === "EADDRINUSE") break;
    }
  }
  const [addressFlag, portFlag] = options.flags;
  const where = joinHostPort(address, options.port);
  throw new Error(
    `Cannot listen on "${where}" (${addressFlag}, ${portFlag}): ${
      reason(errno(failure), options.port, failure)
    }`,
    { cause: failure },
  );
}

function reason(code: string, port: number, failure: unknown): string {
  switch (code) {
    case "EADDRINUSE":
      return `${holder(port)} has this port; stop it or choose another port`;
    case "EADDRNOTAVAIL":
      return "this host has no such address; give one of its own or none for all";
    case "EACCES":
      return "not permitted; ports below 1024 need root";
    default:
      return failure instanceof Error ? failure.message : String(failure);
  }
}

function errno(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? "";
}

/** The process that listens on a TCP port, as far as /proc tells; only for messages. */
function holder(port: number): string {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  const inodes = new Set<string>();
  for (const file of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    for (const line of read(file).split("\n")) {
      // sl local:port remote:port state … inode; state 0A is LISTEN.
      const column = line.trim().split(/\s+/);
      if (column[3] === "0A" && column[1]?.endsWith(`:${hex}`)) {
        inodes.add(`socket:[${column[9]}]`);
      }
    }
  }
  for (const pid of list("/proc")) {
    if (!/^[0-9]+$/.test(pid)) continue;
    for (const fd of list(`/proc/${pid}/fd`)) {
      try {
        if (!inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`))) continue;
      } catch {
        continue; // closed since
      }
      return `process ${pid} ("${read(`/proc/${pid}/comm`).trim()}")`;
    }
  }
  return "another process";
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
