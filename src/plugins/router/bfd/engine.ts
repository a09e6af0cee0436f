/**
 * The sockets of BFD (RFC 5881, RFC 5883): one that listens for each local address and port, one that sends for each session,
 * from a source port of its own.
 */

import { canonicalIp } from "../../../kernel/ip.ts";
import { attachTtlFilter } from "../net/libc.ts";
import type { BfdPeer, BfdState } from "./messages.ts";
import { BfdSession } from "./session.ts";
import { decodeControl, diagnosticName, encodeControl, State } from "./wire.ts";

type Udp = Bun.udp.Socket<"uint8array">;

interface Running {
  readonly peer: BfdPeer;
  readonly session: BfdSession;
  readonly sender: Udp;
}

const SINGLE_HOP = 3784;
const MULTIHOP = 4784;
/** RFC 5881 section 4. */
const FIRST_SOURCE_PORT = 49152;
const SOURCE_PORTS = 65536 - FIRST_SOURCE_PORT;
const TTL = 255;
const TRIES = 32;

const STATES: Readonly<Record<State, BfdState>> = {
  [State.AdminDown]: "admin-down",
  [State.Down]: "down",
  [State.Init]: "init",
  [State.Up]: "up",
};

export class BfdEngine {
  readonly #changed: (peer: string, state: BfdState, diagnostic: string) => void;
  readonly #report: (message: string, fields: Record<string, string>) => void;
  readonly #running = new Map<string, Running>();
  readonly #listeners = new Map<string, Udp>();
  #discriminators = Math.floor(Math.random() * 0x7fffffff);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  /** One change of the set after the other: sockets open asynchronously. */
  #work: Promise<void> = Promise.resolve();

  constructor(
    changed: (peer: string, state: BfdState, diagnostic: string) => void,
    report: (message: string, fields: Record<string, string>) => void,
  ) {
    this.#changed = changed;
    this.#report = report;
  }

  /** All sessions that should run. Equal ones are not touched. */
  set(peers: readonly BfdPeer[]): Promise<void> {
    this.#work = this.#work.then(() => this.#set(peers));
    return this.#work;
  }

  async #set(peers: readonly BfdPeer[]): Promise<void> {
    const wanted = new Map(peers.map((peer) => [peer.address, peer]));
    for (const [address, running] of this.#running) {
      const peer = wanted.get(address);
      if (peer !== undefined && JSON.stringify(peer) === JSON.stringify(running.peer)) continue;
      this.#running.delete(address);
      running.session.close();
      running.sender.close();
    }
    for (const peer of wanted.values()) {
      if (this.#running.has(peer.address)) continue;
      try {
        await this.#start(peer);
      } catch (error) {
        this.#report("A BFD session cannot be started", {
          peer: peer.address,
          localAddress: peer.localAddress,
          reason: error instanceof Error ? error.message : String(error),
        });
      }
    }
    for (const [key, listener] of this.#listeners) {
      if ([...this.#running.values()].some(({ peer }) => listenerKey(peer) === key)) continue;
      this.#listeners.delete(key);
      listener.close();
    }
    this.#arm();
  }

  async #start(peer: BfdPeer): Promise<void> {
    const key = listenerKey(peer);
    if (!this.#listeners.has(key)) {
      const listener = await Bun.udpSocket({
        hostname: peer.localAddress,
        port: peer.multihop ? MULTIHOP : SINGLE_HOP,
        socket: {
          data: (_socket, data, _port, from) => this.#receive(peer, data, from),
          // Without a handler Bun prints what ICMP says of a peer that is away.
          error: () => {},
        },
        binaryType: "uint8array",
      });
      this.#listeners.set(key, listener as Udp);
      const { fd } = listener as unknown as { fd: number };
      // RFC 5881 section 5: what came through a router is not the neighbour's. Several hops away there is no such test.
      if (!peer.multihop) attachTtlFilter(fd, peer.localAddress.includes(":"), TTL);
    }
    const sender = await openSender(peer.localAddress);
    this.#discriminators = (this.#discriminators + 1) >>> 0 || 1;
    const session = new BfdSession({ ...peer, discriminator: this.#discriminators }, {
      send: (packet) => {
        try {
          sender.send(encodeControl(packet), peer.port, peer.address);
        } catch {
          // No route for now: to the session that is a packet that got lost.
        }
      },
      changed: (state, diagnostic, remote) => {
        // RFC 5882 section 3.2: a peer that takes BFD away does not say that the path is down.
        const told = state === State.Down && remote === State.AdminDown ? State.AdminDown : state;
        this.#changed(peer.address, STATES[told], diagnosticName(diagnostic));
      },
      random: Math.random,
    }, performance.now());
    this.#running.set(peer.address, { peer, session, sender });
  }

  #receive(listener: BfdPeer, data: Uint8Array, from: string): void {
    const packet = decodeControl(data);
    if (typeof packet === "string") return;
    const remote = canonicalIp(from.replace(/%.*$/, "")) ?? from;
    for (const { peer, session } of this.#running.values()) {
      if (listenerKey(peer) !== listenerKey(listener)) continue;
      if (peer.address.replace(/%.*$/, "") !== remote) continue;
      const named = packet.yourDiscriminator;
      if (named !== 0 && named !== session.discriminator) continue;
      session.receive(packet, performance.now());
      this.#arm();
      return;
    }
  }

  #arm(): void {
    let at = Number.POSITIVE_INFINITY;
    for (const { session } of this.#running.values()) at = Math.min(at, session.deadline);
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      // Packets that wait in a socket are read before timers run, so silence here is silence.
      const now = performance.now();
      for (const { session } of this.#running.values()) {
        if (session.deadline <= now) session.tick(now);
      }
      this.#arm();
    }, Math.max(0, at - performance.now()));
  }
}

function listenerKey({ localAddress, multihop }: BfdPeer): string {
  return `${localAddress} ${multihop}`;
}

async function openSender(localAddress: string): Promise<Udp> {
  let last: unknown;
  for (let i = 0; i < TRIES; i++) {
    try {
      const socket = await Bun.udpSocket({
        hostname: localAddress,
        port: FIRST_SOURCE_PORT + Math.floor(Math.random() * SOURCE_PORTS),
        socket: { data: () => {}, error: () => {} },
        binaryType: "uint8array",
      });
      socket.setTTL(TTL);
      return socket as Udp;
    } catch (error) {
      last = error;
    }
  }
  throw last;
}
