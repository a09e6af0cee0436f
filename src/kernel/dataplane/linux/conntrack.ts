/** Flows of conntrack, by nfnetlink. Opens on first use. */

import { KernelError } from "../errors.ts";
import type { Family } from "../resource.ts";
import type { Flow, Flows } from "../dataplane.ts";
import {
  readAnyFlow,
  readFlow,
  type UdpFlow,
  writeAllQuery,
  writeFlowDelete,
  writeFlowMark,
  writeFlowQuery,
} from "./conntrack-codec.ts";
import { errno, kernelError } from "./errno.ts";
import { loadModule } from "./genl.ts";
import type { MessageReader, MessageWriter } from "./message.ts";
import { NETLINK_NETFILTER, NetlinkSocket, type SocketOptions } from "./socket.ts";

/** A dump is repeated where the table moved meanwhile; a busy one never stands still, and most of it is good enough. */
const TRIES = 3;
/** Milliseconds of reading before the event loop gets a turn. */
const TURN_MS = 2;

export class Conntrack implements Flows {
  readonly #options: SocketOptions;
  #socket: NetlinkSocket | undefined;
  /** For lists that are read bit by bit. */
  #scanning: NetlinkSocket | undefined;
  #loaded: Promise<unknown> | undefined;

  constructor(options: Pick<SocketOptions, "namespace"> = {}) {
    this.#options = options;
  }

  close(): void {
    this.#socket?.close();
    this.#scanning?.close();
    this.#socket = this.#scanning = undefined;
  }

  /**
   * The UDP flows to destinations that are `wanted`.
   *
   * @throws {KernelError} ENOSUPPORT where this Linux does not tell of its flows
   */
  async flows(
    family: Family,
    wanted: (address: string, port: number) => boolean,
  ): Promise<readonly UdpFlow[]> {
    return await this.#known(() =>
      this.#dump((w) => writeFlowQuery(w, family), (m) => readFlow(m, wanted), ({ id }) => `${id}`)
    );
  }

  /** Read bit by bit: there may be 100,000, and changes wait for nobody. One call at a time. */
  async all(family: Family, wanted: (address: string) => boolean): Promise<readonly Flow[]> {
    return await this.#known(async () => {
      const lists: Flow[][] = [];
      for (let whole = false; !whole && lists.length < TRIES;) {
        const list: Flow[] = [];
        lists.push(list);
        whole = await this.#scan(family, wanted, list);
        if (whole && lists.length === 1) return list;
      }
      return [...new Map(lists.flat().map((flow) => [identity(flow), flow])).values()];
    });
  }

  async #scan(
    family: Family,
    wanted: (address: string) => boolean,
    into: Flow[],
  ): Promise<boolean> {
    this.#scanning ??= new NetlinkSocket(NETLINK_NETFILTER, this.#options);
    let since = performance.now();
    return await this.#scanning.dumpInParts(
      "list conntrack",
      (w) => writeAllQuery(w, family),
      (message) => readAnyFlow(message, wanted),
      async (flows) => {
        for (const flow of flows) into.push(flow);
        if (performance.now() - since < TURN_MS) return true;
        await new Promise<void>((resolve) => setImmediate(resolve));
        since = performance.now();
        return true;
      },
    );
  }

  mark(flows: readonly Flow[], mark: number, mask: number): void {
    const refusals = this.#open().pipeline("mark conntrack flows", flows.length, (w, i) => {
      const flow = flows[i];
      if (flow !== undefined) writeFlowMark(w, flow, mark, mask);
    });
    for (const [i, refusal] of refusals) {
      if (refusal.errno === errno.ENOENT) continue;
      const { source, destination } = flows[i] as Flow;
      throw kernelError("mark conntrack flow", refusal, {
        object: `${source.address} ${source.port} -> ${destination.address} ${destination.port}`,
      });
    }
  }

  /** Loads what Linux lacks, once. */
  async #known<R>(dump: () => R | Promise<R>): Promise<R> {
    try {
      return await dump();
    } catch (error) {
      if (!(error instanceof KernelError) || !UNKNOWN.has(error.code)) throw error;
      // nfnetlink loads the module itself where it can; a container cannot, but has modprobe.
      this.#loaded ??= loadModule("nf_conntrack_netlink");
      await this.#loaded;
      try {
        return await dump();
      } catch (again) {
        if (!(again instanceof KernelError) || !UNKNOWN.has(again.code)) throw again;
        throw new KernelError("list conntrack", "ENOSUPPORT", {
          detail: "this Linux does not tell of its flows",
          remedy: 'load it on the host with "modprobe nf_conntrack_netlink"',
        });
      }
    }
  }

  /** Deletes flows; those that are gone already are no error. Returns how many it deleted. @throws {KernelError} */
  delete(flows: readonly UdpFlow[]): number {
    const refusals = this.#open().pipeline("delete conntrack flows", flows.length, (w, i) => {
      const flow = flows[i];
      if (flow !== undefined) writeFlowDelete(w, flow);
    });
    for (const [i, refusal] of refusals) {
      if (refusal.errno === errno.ENOENT) continue;
      const { source, destination } = flows[i] as UdpFlow;
      throw kernelError("delete conntrack flow", refusal, {
        object:
          `udp ${source.address} ${source.port} -> ${destination.address} ${destination.port}`,
      });
    }
    return flows.length - refusals.size;
  }

  #open(): NetlinkSocket {
    this.#socket ??= new NetlinkSocket(NETLINK_NETFILTER, this.#options);
    return this.#socket;
  }

  #dump<F>(
    query: (w: MessageWriter) => void,
    read: (message: MessageReader) => F | undefined,
    identity: (flow: F) => string,
  ): readonly F[] {
    const found = new Map<string, F>();
    for (let attempt = 1; attempt <= TRIES; attempt++) {
      const list = this.#open().dumpOnce("list conntrack", query, (message) => {
        const flow = read(message);
        if (flow !== undefined) found.set(identity(flow), flow);
        return undefined;
      });
      if (list !== undefined) break;
    }
    return [...found.values()];
  }
}

function identity({ protocol, source, destination, zone }: Flow): string {
  return `${protocol} ${source.address} ${source.port} ${destination.address} ${destination.port} ${zone}`;
}

/** What nfnetlink answers for a subsystem that it does not have. */
const UNKNOWN: ReadonlySet<string> = new Set(["EINVAL", "EOPNOTSUPP"]);
