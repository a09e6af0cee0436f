/**
 * The functions of libc that sockets of a routing protocol need and Bun has no option for: keys, TTLs and filters that must
 * stand before the first packet. All FFI of the router is in here.
 *
 * Sockets are no state of Linux that outlives us, so this is no part of the dataplane.
 */

import { dlopen, type Pointer, ptr, read } from "bun:ffi";
import { ipBytes } from "../../../kernel/ip.ts";

const SYMBOLS = {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  bind: { args: ["i32", "buffer", "u32"], returns: "i32" },
  connect: { args: ["i32", "buffer", "u32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "buffer", "u32"], returns: "i32" },
  getsockopt: { args: ["i32", "i32", "i32", "buffer", "buffer"], returns: "i32" },
  getpeername: { args: ["i32", "buffer", "buffer"], returns: "i32" },
  close: { args: ["i32"], returns: "i32" },
  if_nametoindex: { args: ["buffer"], returns: "u32" },
  if_indextoname: { args: ["u32", "buffer"], returns: "ptr" },
  strerror: { args: ["i32"], returns: "cstring" },
  __errno_location: { args: [], returns: "ptr" },
} as const;

type Symbols = ReturnType<typeof dlopen<typeof SYMBOLS>>["symbols"];

let loaded: { readonly symbols: Symbols; readonly errno: Pointer | bigint } | undefined;

function libc(): Symbols {
  if (loaded === undefined) {
    const arch = process.arch === "arm64" ? "aarch64" : "x86_64";
    let reason: unknown;
    for (const name of ["libc.so.6", `libc.musl-${arch}.so.1`]) {
      try {
        const { symbols } = dlopen(name, SYMBOLS);
        const errno = symbols.__errno_location();
        if (errno !== null) return (loaded = { symbols, errno }).symbols;
      } catch (error) {
        reason = error;
      }
    }
    throw new Error(`Cannot load libc: ${String(reason)}`);
  }
  return loaded.symbols;
}

/** A call that Linux refused. */
export class SocketError extends Error {
  override readonly name = "SocketError";
}

const EINPROGRESS = 115;

/** errno must be read by the very next expression after the call. */
function fail(operation: string): never {
  const errno = loaded === undefined ? 0 : read.i32(loaded.errno, 0);
  throw new SocketError(`Cannot ${operation}: ${String(libc().strerror(errno))}`);
}

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ATTACH_FILTER = 26;
const IPPROTO_IP = 0;
const IPPROTO_TCP = 6;
const IPPROTO_IPV6 = 41;
const TCP_NODELAY = 1;
const TCP_MD5SIG = 14;
const IP_TTL = 2;
const IP_MINTTL = 21;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MINHOPCOUNT = 73;

/** `struct sockaddr_in` or `sockaddr_in6`; a zone becomes the scope. @throws {SocketError} for an unknown interface */
export function sockaddr(address: string, port: number): Uint8Array {
  const [plain = "", zone] = address.split("%");
  const ip = ipBytes(plain);
  if (ip === undefined) throw new SocketError(`Cannot use address "${address}": it is none`);
  const bytes = new Uint8Array(ip.length === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ip.length === 4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, port);
  bytes.set(ip, ip.length === 4 ? 4 : 8);
  if (zone !== undefined && ip.length === 16) {
    const index = /^[0-9]+$/.test(zone)
      ? Number(zone)
      : libc().if_nametoindex(new TextEncoder().encode(`${zone}\0`));
    if (index === 0) {
      throw new SocketError(`Cannot use address "${address}": there is no interface "${zone}"`);
    }
    view.setUint32(24, index, true);
  }
  return bytes;
}

function setInt(fd: number, level: number, option: number, value: number, what: string): void {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  if (libc().setsockopt(fd, level, option, bytes, 4) < 0) fail(what);
}

/** Outgoing TTL or hop limit. */
export function setTtl(fd: number, v6: boolean, ttl: number): void {
  if (v6) setInt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl, `set hop limit ${ttl}`);
  else setInt(fd, IPPROTO_IP, IP_TTL, ttl, `set TTL ${ttl}`);
}

/** Drops what arrives with less (GTSM, RFC 5082). */
export function setLeastTtl(fd: number, v6: boolean, ttl: number): void {
  if (v6) setInt(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl, `set least hop count ${ttl}`);
  else setInt(fd, IPPROTO_IP, IP_MINTTL, ttl, `set least TTL ${ttl}`);
}

/** The key of TCP MD5 for an address, on a listener or before connect; an empty one removes it (`struct tcp_md5sig`). */
export function setMd5(fd: number, address: string, key: Uint8Array): void {
  const bytes = new Uint8Array(216);
  bytes.set(sockaddr(address, 0));
  new DataView(bytes.buffer).setUint16(130, key.length, true);
  bytes.set(key, 136);
  if (libc().setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, bytes, bytes.length) < 0) {
    fail(`set the TCP MD5 key for ${address}`);
  }
}

export interface DialOptions {
  readonly address: string;
  readonly port: number;
  readonly localAddress: string | undefined;
  readonly password: Uint8Array | undefined;
  readonly ttl: number | undefined;
  readonly leastTtl: number | undefined;
}

/**
 * A TCP socket that is connecting, all options set before its first packet. The caller hands the descriptor to
 * `Bun.connect({ fd })`, which owns it from then on.
 *
 * @throws {SocketError} what Linux refuses at once
 */
export function dialTcp(options: DialOptions): number {
  const { address, port, localAddress, password, ttl, leastTtl } = options;
  const target = sockaddr(address, port);
  const v6 = target.length === 28;
  const fd = libc().socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("open a socket");
  try {
    setInt(fd, SOL_SOCKET, SO_REUSEADDR, 1, "set SO_REUSEADDR");
    setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1, "set TCP_NODELAY");
    if (password !== undefined) setMd5(fd, address, password);
    if (ttl !== undefined) setTtl(fd, v6, ttl);
    if (leastTtl !== undefined) setLeastTtl(fd, v6, leastTtl);
    if (localAddress !== undefined) {
      const local = sockaddr(localAddress, 0);
      if (libc().bind(fd, local, local.length) < 0) fail(`bind to ${localAddress}`);
    }
    if (libc().connect(fd, target, target.length) < 0) {
      const errno = loaded === undefined ? 0 : read.i32(loaded.errno, 0);
      if (errno !== EINPROGRESS) {
        throw new SocketError(`Cannot connect: ${String(libc().strerror(errno))}`);
      }
    }
    return fd;
  } catch (error) {
    libc().close(fd);
    throw error;
  }
}

const SO_ERROR = 4;

/** What a connect that has ended came to; 0 is success. */
export function socketError(fd: number): number {
  const value = new Uint8Array(4);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, 4, true);
  if (libc().getsockopt(fd, SOL_SOCKET, SO_ERROR, value, length) < 0) return -1;
  return new DataView(value.buffer).getInt32(0, true);
}

/** The zone of the peer of a link-local connection, which Bun's `remoteAddress` lacks. */
export function peerZone(fd: number): string | undefined {
  const address = new Uint8Array(28);
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, 28, true);
  if (libc().getpeername(fd, address, length) < 0) return undefined;
  const view = new DataView(address.buffer);
  const index = view.getUint16(0, true) === AF_INET6 ? view.getUint32(24, true) : 0;
  const name = new Uint8Array(16);
  if (index === 0 || libc().if_indextoname(index, name) === null) return undefined;
  return new TextDecoder().decode(name.subarray(0, name.indexOf(0)));
}

/** Lets only datagrams with this TTL or hop limit through: Bun does not tell it of what it receives. */
export function attachTtlFilter(fd: number, v6: boolean, ttl: number): void {
  // Classic BPF: ld byte [network header + 8, or 7 for IPv6]; accept if equal, else drop.
  const program = new Uint8Array(32);
  const view = new DataView(program.buffer);
  const put = (at: number, code: number, jt: number, jf: number, k: number): void => {
    view.setUint16(at, code, true);
    view.setUint8(at + 2, jt);
    view.setUint8(at + 3, jf);
    view.setInt32(at + 4, k, true);
  };
  put(0, 0x30, 0, 0, -0x100000 + (v6 ? 7 : 8));
  put(8, 0x15, 0, 1, ttl);
  put(16, 0x06, 0, 0, 0x7fffffff);
  put(24, 0x06, 0, 0, 0);
  const filter = new Uint8Array(16);
  const head = new DataView(filter.buffer);
  head.setUint16(0, 4, true);
  head.setBigUint64(8, BigInt(ptr(program)), true);
  if (libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, filter, 16) < 0) {
    fail("attach a TTL filter");
  }
  // The program must not move or go before Linux has copied it.
  program.at(0);
}
