/** Speakers without I/O on a network without wires: one clock, one queue, the same run each time. */

import { Core } from "../../src/plugins/router/bgp/core.ts";
import type { CoreOutput } from "../../src/plugins/router/bgp/output.ts";
import type {
  PathView,
  PeerConfig,
  SpeakerEvent,
  SpeakerOptions,
} from "../../src/plugins/router/bgp/types.ts";
import { ribView } from "../../src/plugins/router/bgp/views.ts";
import { random } from "./random.ts";

const LATENCY_MS = 1;

interface End {
  readonly node: Node;
  readonly connection: number;
  /** The other one. */
  to: End | undefined;
  open: boolean;
}

export interface Node {
  readonly name: string;
  readonly address: string;
  readonly core: Core;
  readonly events: SpeakerEvent[];
  readonly settled: number[];
  /** Prefixes whose use changed, in order. */
  readonly best: string[];
  readonly ends: Map<number, End>;
  /** Refuses connections, as a host whose process is gone. */
  down: boolean;
  /** Until then the process gets no processor: what comes for it waits. */
  stalledUntil: number;
}

export class Network {
  now = 1_000_000;
  readonly #nodes = new Map<string, Node>();
  #queue: { at: number; order: number; to: Node | undefined; run: () => void }[] = [];
  #order = 0;
  readonly #random = random(1);
  /** Cut between these two: nothing arrives, nobody notices. */
  readonly #cuts = new Set<string>();
  /** Bytes on the wire, by sender. */
  readonly wire: { readonly from: string; readonly bytes: Uint8Array }[] = [];
  /** Largest piece in which bytes arrive. */
  chunk = 100_000;

  /** A speaker at this address, started. */
  node(address: string, options: Partial<SpeakerOptions> = {}): Node {
    const events: SpeakerEvent[] = [];
    const settled: number[] = [];
    const best: string[] = [];
    const ends = new Map<number, End>();
    const output: CoreOutput = {
      dial: (connection, peer) => {
        // Whether the process at the other end answers is seen when the packet gets there.
        this.#later(
          () => this.#dial(node, connection, peer.address),
          this.#nodes.get(peer.address),
        );
      },
      send: (connection, bytes) => {
        const end = ends.get(connection);
        const other = end?.to;
        if (end?.open !== true || other === undefined) return;
        this.wire.push({ from: address, bytes });
        for (let at = 0; at < bytes.length; at += this.chunk) {
          const piece = bytes.slice(at, at + this.chunk);
          this.#later(() => {
            if (!other.open || this.#isCut(address, other.node.address)) return;
            other.node.core.data(other.connection, piece, this.now);
          }, other.node);
        }
      },
      close: (connection) => {
        const end = ends.get(connection);
        ends.delete(connection);
        if (end?.open !== true) return;
        end.open = false;
        this.#later(() => this.#closed(end.to, address), end.to?.node);
      },
      best: (family, ids) => {
        for (const id of ids) best.push(node.core.ribs[family].prefixes.text(id));
      },
      settled: (family) => settled.push(family),
      event: (event) => events.push(event),
      bfd: () => {},
      random: () => this.#random.below(1000) / 1000,
    };
    const core = new Core({ asn: 65000, routerId: address, listen: [], ...options }, output);
    const node: Node = {
      name: address,
      address,
      core,
      events,
      settled,
      best,
      ends,
      down: false,
      stalledUntil: 0,
    };
    this.#nodes.set(address, node);
    core.start(this.now);
    return node;
  }

  /** The process at an address is gone; its host ends its connections, or says nothing. */
  kill(node: Node, silently = false): void {
    node.down = true;
    for (const end of node.ends.values()) {
      end.open = false;
      const { to } = end;
      if (!silently) this.#later(() => this.#closed(to, node.address), to?.node);
    }
    node.ends.clear();
  }

  /** The process gets no processor for so long, as on a host that has too much to do. */
  stall(node: Node, ms: number): void {
    node.stalledUntil = Math.max(node.stalledUntil, this.now + ms);
  }

  cut(a: Node, b: Node, cut = true): void {
    const key = [a.address, b.address].sort().join();
    if (cut) this.#cuts.add(key);
    else this.#cuts.delete(key);
  }

  /** Lets so much time pass. */
  run(ms: number): void {
    const end = this.now + ms;
    for (let steps = 0; steps < 200_000; steps++) {
      for (const { core, down, stalledUntil } of this.#nodes.values()) {
        if (stalledUntil > this.now) continue;
        while (!down && core.flushable) core.flush(this.now);
      }
      let at = this.#queue[0]?.at ?? Number.POSITIVE_INFINITY;
      for (const { core, down, stalledUntil } of this.#nodes.values()) {
        if (down) continue;
        const due = core.flushable ? stalledUntil : core.deadline;
        at = Math.min(at, Math.max(due, stalledUntil));
      }
      if (at > end) break;
      this.now = Math.max(this.now, at);
      const next = this.#queue[0];
      if (next !== undefined && next.at <= this.now) {
        this.#queue.shift();
        if (next.to !== undefined && next.to.stalledUntil > this.now) {
          this.#enqueue({ ...next, at: next.to.stalledUntil });
        } else next.run();
        continue;
      }
      for (const { core, down, stalledUntil } of this.#nodes.values()) {
        if (!down && stalledUntil <= this.now && core.deadline <= this.now) core.tick(this.now);
      }
      if (steps === 199_999) throw new Error("The network does not come to rest");
    }
    this.now = end;
  }

  #dial(from: Node, connection: number, address: string): void {
    if (from.down) return;
    const to = this.#nodes.get(address);
    if (this.#isCut(from.address, address)) return;
    if (to === undefined || to.down) {
      from.core.closed(connection, "connection refused", this.now);
      return;
    }
    const near: End = { node: from, connection, to: undefined, open: true };
    const far: End = { node: to, connection: to.core.upcomingConnection, to: near, open: true };
    near.to = far;
    to.ends.set(far.connection, far);
    const ends = { localAddress: to.address, localPort: 179, remotePort: 40000 };
    const taken = to.core.accepted(from.address, ends, this.now);
    if (typeof taken !== "number") {
      to.ends.delete(far.connection);
      far.open = near.open = false;
      this.#later(() => from.core.closed(connection, "connection reset", this.now), from);
      return;
    }
    from.ends.set(connection, near);
    const ours = { localAddress: from.address, localPort: 40000, remotePort: 179 };
    from.core.connected(connection, ours, this.now);
  }

  #closed(end: End | undefined, by: string): void {
    if (end?.open !== true || this.#isCut(by, end.node.address)) return;
    end.open = false;
    end.node.ends.delete(end.connection);
    end.node.core.closed(end.connection, "the peer closed the connection", this.now);
  }

  #later(run: () => void, to?: Node): void {
    this.#enqueue({ at: this.now + LATENCY_MS, order: this.#order++, to, run });
  }

  /** What is for one node keeps its order, also when it waits. */
  #enqueue(item: { at: number; order: number; to: Node | undefined; run: () => void }): void {
    this.#queue.push(item);
    this.#queue.sort((a, b) => a.at - b.at || a.order - b.order);
  }

  #isCut(a: string, b: string): boolean {
    return this.#cuts.has([a, b].sort().join());
  }
}

export function state(node: Node, peer: string): string | undefined {
  return node.core.peers.get(peer)?.session.state;
}

export function peer(address: string, asn = 65000, more: Partial<PeerConfig> = {}): PeerConfig {
  return { address, asn, ...more };
}

export function rib(node: Node, which: "in" | "out" | "local" = "local", of?: string): PathView[] {
  const only = of === undefined ? undefined : node.core.peers.get(of);
  return [...ribView(node.core, which, only)];
}

export function prefixes(
  node: Node,
  which: "in" | "out" | "local" = "local",
  of?: string,
): string[] {
  return rib(node, which, of).map(({ prefix }) => prefix).sort();
}

/** Speakers that all peer with each other, each with one route of its own, `10.1.N.0/24`. */
export function mesh(
  network: Network,
  asns: readonly number[],
  options: Parameters<Network["node"]>[1] = {},
  more: Partial<PeerConfig> = {},
): Node[] {
  const addresses = asns.map((_, i) => `10.0.0.${i + 1}`);
  return asns.map((asn, i) => {
    const node = network.node(addresses[i] ?? "", { asn, ...options });
    node.core.setLocalRoutes([{ prefix: `10.1.${i + 1}.0/24` }], network.now);
    const others = asns.flatMap((other, j) =>
      j === i ? [] : [peer(addresses[j] ?? "", other, more)]
    );
    node.core.setPeers(others, network.now);
    return node;
  });
}

export function pair(
  a = 65000,
  b = 65000,
  options: Parameters<Network["node"]>[1] = {},
): { network: Network; a: Node; b: Node } {
  const network = new Network();
  const [one, two] = mesh(network, [a, b], options);
  if (one === undefined || two === undefined) throw new Error("There are two");
  return { network, a: one, b: two };
}
