/**
 * The speaker's contact with the world: sockets, the clock, and turns of the event loop. It decides nothing.
 *
 * Outgoing sockets are made by libc, with password, TTL and source address set before the first packet, and given to Bun while
 * they connect. Listeners are Bun's; keys are set on their descriptors and may change while they listen.
 */

import { ipFamily } from "../../../../kernel/ip.ts";
import {
  dialTcp,
  peerZone,
  setLeastTtl,
  setMd5,
  setTtl,
  SocketError,
  socketError,
} from "../../net/libc.ts";
import { passwordBytes, peerFamily, peerKey } from "../config.ts";
import type { Core } from "../core.ts";
import type { CoreOutput } from "../output.ts";
import type { PeerConfig, SpeakerOptions } from "../types.ts";
import { Connection } from "./connection.ts";

const BGP_PORT = 179;
/** For what was sent last to get out. */
const CLOSE_MS = 2500;
const MOST_TIMEOUT_MS = 60_000;
/** The grid of timers: a second of hold time has no use for less. */
const TICK_MS = 100;
/** So many bytes within so long make a burst: some 50,000 routes. Keepalives of 500 peers are as many in half an hour. */
const BURST = 1_000_000;
const BURST_MS = 10_000;
/** Without a byte after which it is over. */
const CALM_MS = 500;
/**
 * How long decisions rest for each connection that was written to, and at most: where 500 peers have to be told, what comes
 * meanwhile goes with it in one write each; one VIP to few peers waits for nothing.
 */
const REST_MS = 0.08;
const MOST_REST_MS = 25;
/** Addresses whose refusal is remembered. */
const MOST_REFUSED = 1000;
/** The listener's: a peer with GTSM drops an answer to its SYN that has less. */
const LISTEN_TTL = 255;
const DEFAULT_TTL = 64;

interface Listener {
  readonly address: string;
  readonly port: number;
  readonly v6: boolean;
  readonly socket: Bun.TCPSocketListener<undefined> & { readonly fd: number };
}

export class Driver {
  readonly #core: () => Core;
  readonly #report: (message: string, fields: Record<string, string>) => void;
  readonly #connections = new Map<number, Connection>();
  readonly #bySocket = new Map<Bun.Socket<undefined>, Connection>();
  #listeners: Listener[] = [];
  #keys = new Map<string, Uint8Array>();
  /** Why an address was refused last. */
  readonly #refused = new Map<string, string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #flushing = false;
  #resting: ReturnType<typeof setTimeout> | undefined;
  #restUntil = 0;
  /** Since the last flush began. */
  #writes = 0;
  #burst = 0;
  #burstFrom = 0;
  #calm: ReturnType<typeof setTimeout> | undefined;
  #stopped = true;
  #emptied: (() => void) | undefined;

  constructor(
    core: () => Core,
    report: (message: string, fields: Record<string, string>) => void,
  ) {
    this.#core = core;
    this.#report = report;
  }

  /** Milliseconds that never go back. */
  now(): number {
    return performance.timeOrigin + performance.now();
  }

  /**
   * Takes connections there from now on, and nowhere else; those that were taken stay.
   *
   * @throws {Error} with the address where listening is refused; then nothing has changed
   */
  listen(addresses: SpeakerOptions["listen"]): void {
    const kept = this.#listeners.filter((listener) => addresses.some(isAt(listener)));
    const opened: Listener[] = [];
    try {
      for (const each of addresses) {
        if (kept.some((listener) => isAt(listener)(each))) continue;
        opened.push(this.#open(each.address, each.port));
      }
    } catch (error) {
      for (const { socket } of opened) socket.stop();
      throw error;
    }
    this.#stopped = false;
    for (const listener of this.#listeners) {
      if (!kept.includes(listener)) listener.socket.stop();
    }
    this.#listeners = [...kept, ...opened];
    for (const [peer, key] of this.#keys) this.#setKey(peer, key, opened);
  }

  /** The passwords of the peers; changed ones take effect on the next connection. */
  setKeys(peers: readonly PeerConfig[]): void {
    const wanted = new Map<string, Uint8Array>();
    for (const { address, password } of peers) {
      if (password !== undefined) wanted.set(peerKey(address), passwordBytes(password));
    }
    const old = this.#keys;
    this.#keys = wanted;
    for (const address of old.keys()) {
      if (!wanted.has(address)) this.#setKey(address, new Uint8Array(0));
    }
    for (const [address, key] of wanted) {
      const before = old.get(address);
      if (before === undefined || Buffer.compare(before, key) !== 0) this.#setKey(address, key);
    }
  }

  /** What the core asks for. */
  readonly output: Pick<CoreOutput, "dial" | "send" | "close" | "random"> = {
    // Not at once: a refusal would call the core while it still speaks.
    dial: (id, peer) => queueMicrotask(() => this.#dial(id, peer)),
    send: (id, bytes) => {
      const connection = this.#connections.get(id);
      if (connection === undefined) return;
      const before = connection.blocked;
      connection.send(bytes);
      this.#writes++;
      this.#passes(bytes.length);
      if (!before && connection.blocked) {
        queueMicrotask(() => this.#core().blocked(id, true, this.now()));
      }
    },
    close: (id, abort) => {
      const connection = this.#connections.get(id);
      this.#connections.delete(id);
      connection?.close(abort);
    },
    random: Math.random,
  };

  /** Looks for what is to be done next, after anything happened. */
  wake(): void {
    if (this.#stopped) return;
    const core = this.#core();
    if (core.flushable && (!this.#flushing || (core.pressing && this.#resting !== undefined))) {
      this.#flushing = true;
      clearTimeout(this.#resting);
      this.#resting = undefined;
      const ms = core.pressing ? 0 : this.#restUntil - this.now();
      if (ms < 1) setImmediate(() => this.#flush());
      else this.#resting = setTimeout(() => this.#flush(), ms);
    }
    // On a grid: the timers of 500 peers, of which each is a moment later, fall together.
    const at = Math.ceil(core.deadline / TICK_MS) * TICK_MS;
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    const ms = Math.min(Math.max(0, at - this.now()), MOST_TIMEOUT_MS);
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.#core().tick(this.now());
      this.wake();
    }, Math.ceil(ms));
  }

  /** After one that was told to many the next rests, so that what comes meanwhile is told on together. */
  #flush(): void {
    this.#flushing = false;
    this.#resting = undefined;
    if (this.#stopped) return;
    this.#writes = 0;
    this.#core().flush(this.now());
    this.#restUntil = this.now() + Math.min(MOST_REST_MS, REST_MS * this.#writes);
    this.wake();
  }

  /** Closes listeners at once, connections after what was sent. */
  async close(): Promise<void> {
    this.#shut();
    if (this.#bySocket.size === 0) return;
    const late = setTimeout(() => this.#emptied?.(), CLOSE_MS);
    await new Promise<void>((resolve) => this.#emptied = resolve);
    clearTimeout(late);
  }

  #shut(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#resting);
    clearTimeout(this.#calm);
    this.#timerAt = Number.POSITIVE_INFINITY;
    for (const { socket } of this.#listeners) socket.stop();
    this.#listeners = [];
    for (const connection of this.#connections.values()) connection.close(true);
    this.#connections.clear();
  }

  #open(address: string, port: number): Listener {
    const v6 = ipFamily(address) === 6;
    const options = {
      hostname: address,
      port,
      // Without it :: takes IPv4 as well, and an IPv4 listener beside it is refused.
      ipv6Only: true,
      socket: this.#handlers(undefined),
    };
    let socket: Bun.TCPSocketListener<undefined>;
    try {
      socket = Bun.listen<undefined>(options);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(
        `Cannot listen for BGP on "${address}" port ${port}: ${reason}; is another speaker running?`,
      );
    }
    const listener = socket as Listener["socket"];
    setTtl(listener.fd, v6, LISTEN_TTL);
    return { address, port, v6, socket: listener };
  }

  #setKey(address: string, key: Uint8Array, listeners = this.#listeners): void {
    const v6 = peerFamily(address) === 6;
    for (const listener of listeners) {
      if (listener.v6 !== v6) continue;
      try {
        setMd5(listener.socket.fd, address, key);
      } catch (error) {
        // Removing a key that Linux does not have is no failure.
        if (key.length === 0) continue;
        this.#report("A password cannot be set: the peer cannot connect to us", {
          peer: address,
          listener: listener.address,
          reason: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  #dial(id: number, peer: PeerConfig): void {
    if (this.#stopped) return;
    const connection = new Connection(id);
    this.#connections.set(id, connection);
    try {
      const fd = dialTcp({
        address: peer.address,
        port: peer.port ?? BGP_PORT,
        localAddress: peer.localAddress,
        password: peer.password === undefined ? undefined : passwordBytes(peer.password),
        ...ttls(peer, this.#core().options.asn, undefined),
      });
      Bun.connect<undefined>({ fd, socket: this.#handlers(connection) } as never).catch((error) =>
        this.#closed(connection, error)
      );
    } catch (error) {
      if (!(error instanceof SocketError)) throw error;
      this.#closed(connection, error);
    }
  }

  #handlers(dialled: Connection | undefined) {
    let up = false;
    return {
      binaryType: "uint8array" as const,
      open: (socket: Bun.Socket<undefined>) => {
        // Of one that we dialled it says nothing: it still connects.
        if (dialled === undefined) return this.#accept(socket);
        this.#bySocket.set(socket, dialled);
        dialled.attach(socket);
      },
      drain: (socket: Bun.Socket<undefined>) => {
        const connection = this.#bySocket.get(socket);
        if (connection === undefined) return;
        if (connection === dialled && !up) {
          // The first time: connected, or refused, and then `close` follows with the reason.
          if (socketError((socket as unknown as { fd: number }).fd) !== 0) return;
          up = true;
          this.#core().connected(connection.id, ends(socket), this.now());
          return this.wake();
        }
        connection.drain();
        if (connection.blocked) return;
        this.#core().blocked(connection.id, false, this.now());
        this.wake();
      },
      data: (socket: Bun.Socket<undefined>, chunk: Uint8Array) => {
        const connection = this.#bySocket.get(socket);
        if (connection === undefined || connection.closed) return;
        this.#passes(chunk.length);
        try {
          this.#core().data(connection.id, chunk, this.now());
        } catch (error) {
          // A mistake of ours costs this session, never the process.
          this.#report("The speaker failed to read a message; the connection is cut", {
            reason: error instanceof Error ? error.stack ?? error.message : String(error),
          });
          socket.terminate();
        }
        this.wake();
      },
      close: (socket: Bun.Socket<undefined>, error?: unknown) => {
        const connection = this.#bySocket.get(socket) ?? dialled;
        this.#bySocket.delete(socket);
        if (this.#bySocket.size === 0) this.#emptied?.();
        if (connection !== undefined) this.#closed(connection, error);
      },
      error: (_socket: Bun.Socket<undefined>, error: Error) => {
        this.#report("A BGP socket reported an error", { reason: error.message });
      },
      connectError: (_socket: Bun.Socket<undefined>, error: Error) => {
        if (dialled !== undefined) this.#closed(dialled, error);
      },
    };
  }

  /** A burst of bytes, either way, leaves as many behind, and tables that were outgrown: collected once it is over. */
  #passes(bytes: number): void {
    const now = this.now();
    if (now > this.#burstFrom + BURST_MS && this.#calm === undefined) {
      this.#burst = 0;
      this.#burstFrom = now;
    }
    this.#burst += bytes;
    if (this.#burst < BURST) return;
    if (this.#calm !== undefined) this.#calm.refresh();
    else {
      this.#calm = setTimeout(() => {
        this.#calm = undefined;
        this.#burst = 0;
        Bun.gc(true);
      }, CALM_MS);
      this.#calm.unref();
    }
  }

  #accept(socket: Bun.Socket<undefined>): void {
    const { fd } = socket as unknown as { fd: number };
    const remote: string | undefined = socket.remoteAddress;
    // It was reset while it waited to be taken: Linux no longer knows its other end.
    if (remote === undefined) return void socket.terminate();
    let from = peerKey(remote);
    if (/^fe[89ab]/.test(from)) {
      const zone = peerZone(fd);
      if (zone !== undefined) from = `${from}%${zone}`;
    }
    const core = this.#core();
    const peer = core.peers.get(from);
    try {
      if (peer !== undefined) {
        const v6 = peerFamily(from) === 6;
        const { ttl, leastTtl } = ttls(peer.config, core.options.asn, DEFAULT_TTL);
        if (ttl !== undefined) setTtl(fd, v6, ttl);
        if (leastTtl !== undefined) setLeastTtl(fd, v6, leastTtl);
      }
    } catch {
      // The peer is gone already.
    }
    // The number is known only after OPEN was sent: what is sent meanwhile finds it by `pending`.
    const connection = new Connection(core.upcomingConnection, socket);
    this.#connections.set(connection.id, connection);
    this.#bySocket.set(socket, connection);
    const taken = core.accepted(from, ends(socket), this.now());
    if (typeof taken !== "number") {
      this.#connections.delete(connection.id);
      this.#bySocket.delete(socket);
      if (!taken.expected) this.#tellRefused(from, taken.reason);
      socket.terminate();
    } else this.#refused.delete(from);
    this.wake();
  }

  /** Once for each address: who is not configured tries again every second. */
  #tellRefused(from: string, reason: string): void {
    if (this.#refused.get(from) === reason) return;
    if (this.#refused.size >= MOST_REFUSED) this.#refused.clear();
    this.#refused.set(from, reason);
    this.#report("A connection was not taken", { from, reason });
  }

  #closed(connection: Connection, error: unknown): void {
    if (this.#connections.get(connection.id) !== connection) return;
    this.#connections.delete(connection.id);
    const reason = error instanceof Error
      ? error.message
      : error === undefined || error === null
      ? "the peer closed the connection"
      : String(error);
    this.#core().closed(connection.id, reason, this.now());
    this.wake();
  }
}

function isAt(listener: Listener) {
  return ({ address, port }: SpeakerOptions["listen"][number]): boolean =>
    address === listener.address && port === listener.port;
}

function ends(socket: Bun.Socket<undefined>) {
  return {
    localAddress: peerKey(socket.localAddress ?? ""),
    localPort: socket.localPort,
    remotePort: socket.remotePort,
  };
}

/** RFC 4271 leaves it open; every speaker talks to a direct external peer with TTL 1. */
function ttls(
  peer: PeerConfig,
  localAs: number,
  otherwise: number | undefined,
): { readonly ttl: number | undefined; readonly leastTtl: number | undefined } {
  if (peer.ttlSecurity !== undefined) return { ttl: 255, leastTtl: 256 - peer.ttlSecurity };
  const external = peer.asn !== 0 && peer.asn !== localAs;
  if (!external) return { ttl: otherwise, leastTtl: undefined };
  return { ttl: peer.multihop ?? 1, leastTtl: undefined };
}
