/**
 * UDP flows of conntrack that go to endpoints that are no longer there.
 *
 * UDP has no end of a connection: a client that goes on sending from the same port stays in the same conntrack entry, and goes
 * on to a pod that is gone, for hours. So whenever destinations of a UDP service changed, its flows are compared with the
 * destinations that Linux has now, and those that lead elsewhere are deleted: to removed endpoints, past a service that
 * had none before, to what another proxy left behind. Flows to living endpoints are never touched, nor anything flushed, and
 * the same comparison of all services runs after each full list: there is nothing to remember over a restart.
 *
 * One dump serves all services that changed since the last one.
 */

import type { Logger } from "../../observe/log.ts";
import { KernelError } from "../errors.ts";
import type { Op, Outcome } from "../resource.ts";
import type { IpvsDestination, IpvsService, IpvsServiceId } from "../resources/ipvs.ts";
import type { Conntrack } from "./conntrack.ts";
import type { UdpFlow } from "./conntrack-codec.ts";

/** Milliseconds after a failure. */
const RETRY_MS = 5_000;
/** How much longer the pause between two looks is than a look took: at most a tenth of a core. */
const PAUSE_FACTOR = 10;

/** The flows of one UDP service, as far as they can be judged. */
export interface FlowTarget {
  /** "address port" of the destinations that Linux has; absent: the service is gone. */
  readonly present?: ReadonlySet<string>;
  /** "address port" of destinations that we removed. */
  readonly removed: ReadonlySet<string>;
}

/** Text of an address and port, as sets hold them. */
export function endText(address: string, port: number): string {
  return `${address} ${port}`;
}

/**
 * The flows among `flows` that lead to nobody. `targets` by "address port" of the service. Pure.
 *
 * @param marked destinations of services by firewall marks, which some clients of a target may have been led to
 */
export function staleFlows(
  flows: readonly UdpFlow[],
  targets: ReadonlyMap<string, FlowTarget>,
  marked: ReadonlySet<string> = new Set(),
): readonly UdpFlow[] {
  return flows.filter(({ destination, answers }) => {
    const target = targets.get(endText(destination.address, destination.port));
    if (target === undefined) return false;
    const to = endText(answers.address, answers.port);
    const { present, removed } = target;
    // What others make of an address that is no longer a service is theirs.
    if (present === undefined) return removed.has(to);
    if (present.has(to) || marked.has(to)) return false;
    // Without endpoints a packet is refused, so an untranslated flow leads past IPVS, to a socket of the node perhaps.
    const untranslated = answers.address === destination.address &&
      answers.port === destination.port;
    return present.size > 0 || !untranslated;
  });
}

export interface FlowsOptions {
  readonly conntrack: Conntrack;
  /** The destinations that Linux has; undefined: the service is not there, or not ours. @throws {KernelError} */
  readonly destinations: (id: IpvsServiceId) => readonly IpvsDestination[] | undefined;
  /** All services of ours. */
  readonly services: () => Iterable<IpvsServiceId>;
  readonly log?: Pick<Logger, "warn" | "info">;
}

interface Touched {
  readonly id: IpvsServiceId;
  readonly removed: Set<string>;
}

/** Looks after the UDP flows of one owner's services. */
export class IpvsFlows {
  readonly #options: FlowsOptions;
  #touched = new Map<string, Touched>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #notBefore = 0;
  #running: Promise<void> | undefined;
  #failure: string | undefined;
  #closed = false;

  constructor(options: FlowsOptions) {
    this.#options = options;
  }

  /** Looks at all services soon. */
  all(): void {
    this.#touchAll();
    this.#schedule();
  }

  #touchAll(): void {
    for (const id of this.#options.services()) this.#touch(id);
  }

  /** Where packets with a mark are translated to. */
  #marked(): ReadonlySet<string> {
    const ends = new Set<string>();
    for (const id of this.#options.services()) {
      if (id.fwmark === 0) continue;
      for (const { address, port, method } of this.#options.destinations(id) ?? []) {
        if (method === "masq") ends.add(endText(address, port));
      }
    }
    return ends;
  }

  services(outcomes: readonly Outcome<IpvsService>[]): void {
    for (const { op, error } of outcomes) {
      if (error === undefined && op.verb !== "update") this.#touch(op.item.id);
    }
    this.#schedule();
  }

  destinations(outcomes: readonly Outcome<IpvsDestination>[]): void {
    for (const { op, error } of outcomes) {
      if (error !== undefined || op.verb === "update") continue;
      const { service, method } = op.item;
      // Which service's clients had the mark is not known here.
      if (service.fwmark !== 0 && method === "masq" && op.verb === "delete") this.#touchAll();
      const touched = this.#touch(service);
      if (touched !== undefined) note(touched, op);
    }
    this.#schedule();
  }

  /** Stops. What is not looked at yet is found by the next start. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#options.conntrack.close();
  }

  #touch(id: IpvsServiceId): Touched | undefined {
    // With a firewall mark packets go through a tunnel, untranslated, or come to the address of another service.
    if (id.protocol !== "udp" || id.fwmark !== 0) return undefined;
    const old = this.#touched.get(id.key);
    if (old !== undefined) return old;
    const touched = { id, removed: new Set<string>() };
    this.#touched.set(id.key, touched);
    return touched;
  }

  #schedule(): void {
    if (this.#touched.size === 0 || this.#timer !== undefined || this.#closed) return;
    if (this.#running !== undefined) return;
    const delay = Math.max(0, this.#notBefore - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#look().finally(() => {
        this.#running = undefined;
        this.#schedule();
      });
    }, delay);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const { conntrack, log } = this.#options;
    const touched = this.#touched;
    this.#touched = new Map();
    const start = performance.now();
    try {
      const targets = this.#targets(touched.values());
      const wanted = (address: string, port: number) => targets.has(endText(address, port));
      let count = 0;
      for (const family of [4, 6] as const) {
        if (![...touched.values()].some(({ id }) => id.family === family)) continue;
        const stale = staleFlows(await conntrack.flows(family, wanted), targets, this.#marked());
        if (stale.length > 0) count += conntrack.delete(stale);
      }
      if (count > 0) log?.info("Deleted UDP flows to endpoints that are gone", { count });
      this.#failure = undefined;
      const end = performance.now();
      this.#notBefore = end + PAUSE_FACTOR * (end - start);
    } catch (error) {
      if (this.#closed) return;
      this.#again(touched, error);
    }
  }

  #targets(touched: Iterable<Touched>): ReadonlyMap<string, FlowTarget> {
    const targets = new Map<string, FlowTarget>();
    for (const { id, removed } of touched) {
      const destinations = this.#options.destinations(id);
      if (destinations?.some(({ method }) => method !== "masq") === true) continue;
      targets.set(endText(id.address, id.port), {
        removed,
        ...(destinations === undefined
          ? {}
          : { present: new Set(destinations.map((d) => endText(d.address, d.port))) }),
      });
    }
    return targets;
  }

  #again(touched: ReadonlyMap<string, Touched>, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (this.#failure !== reason) {
      this.#options.log?.warn("UDP clients may stay with endpoints that are gone", { reason });
    }
    this.#failure = reason;
    this.#notBefore = performance.now() + RETRY_MS;
    // Linux will not learn it; the next full list tries again.
    if (error instanceof KernelError && error.code === "ENOSUPPORT") return;
    for (const { id, removed } of touched.values()) {
      const now = this.#touch(id);
      for (const text of removed) now?.removed.add(text);
    }
  }
}

function note({ removed }: Touched, { verb, item }: Op<IpvsDestination>): void {
  const text = endText(item.address, item.port);
  if (verb === "delete") removed.add(text);
  else removed.delete(text);
}
