/** Which Services are reached by marks, kept up to date: the part of direct server return that depends on all of them. */

import { canonicalIp, type Family, ipFamily } from "../../kernel/ip.ts";
import type {
  Derived,
  HostAddresses,
  Input,
  Node,
  PluginContext,
  Service,
  Store,
} from "../../kernel/plugin.ts";
import { type DsrContext, type MarkedFrontend, type MarkedService, wantsDsr } from "./dsr.ts";
import { markKey, Marks } from "./marks.ts";
import { addressesOf } from "./node.ts";
import { externalAddresses, serviceKey } from "./service-names.ts";
import { type Frontend, planService, type ServiceContext } from "./service-plan.ts";

const BY_WISH = "direct server return";
const BY_ADDRESS = "external address";

/** Wakes the Services whose marks, or whose way to them, changed. */
export interface DsrInput extends Input {
  /** What a Service ("namespace/name") has of marks; undefined for nearly all. */
  of(key: string): MarkedService | undefined;
  /** What a mark of a Service stands for; undefined where the Service does not have it. */
  behind(key: string, mark: number, family: Family): MarkedFrontend | undefined;
  readonly context: DsrContext;
}

export interface DsrSources {
  readonly services: Store<Service>;
  readonly nodes: Store<Node>;
  readonly host: HostAddresses;
  readonly shared: Derived<{ readonly context: ServiceContext }>;
  readonly input: PluginContext<unknown>["input"];
  /** Which Service wins: the lower text. */
  readonly rank: (service: Service) => string;
}

/** Makes the indexes that the functions below need. */
export function indexDsr(services: Store<Service>): void {
  services.addIndex(BY_WISH, (service) => wantsDsr(service) ? [""] : []);
  services.addIndex(BY_ADDRESS, externalAddresses);
}

/** The external and load balancer IPs of Services with direct server return, allowed or not. */
export function dsrAddresses(services: Store<Service>): readonly string[] {
  return [...new Set(services.by(BY_WISH, "").flatMap(externalAddresses))].toSorted();
}

/** A Service that takes part: its frontends that are reached by marks. */
interface Participant {
  readonly key: string;
  readonly tunnel: boolean;
  readonly frontends: readonly Frontend[];
}

/**
 * The Services that are reached by marks: those that ask for direct server return, and those that share an address with
 * one of them, since such an address is not the node's. Marks are given in the order of `rank`, so that they are
 * the same after a restart.
 *
 * @param marks those that are given now: changed to what is wanted, and who has one keeps it
 */
export function markedServices(
  services: Store<Service>,
  context: ServiceContext,
  rank: (service: Service) => string,
  marks: GivenMarks,
): ReadonlyMap<string, MarkedService> {
  const wishing = services.by(BY_WISH, "");
  if (wishing.length === 0) {
    marks.give([]);
    return new Map();
  }
  const vips = new Set(
    wishing.flatMap((service) =>
      planService(service, [], context).vips
        // An address of the host stays one: its Service is served by NAT.
        .filter(({ kind, own }) => kind !== "clusterIP" && !own).map(({ address }) => address)
    ),
  );
  const sharing = [...vips].flatMap((address) => services.by(BY_ADDRESS, address));
  const participants = [...new Set(sharing)]
    .map((service) => ({ service, rank: rank(service) }))
    .toSorted((a, b) => a.rank < b.rank ? -1 : 1)
    .map(({ service }): Participant => ({
      key: serviceKey(service),
      tunnel: wantsDsr(service),
      frontends: planService(service, [], context).frontends
        .filter(({ kind, address }) => kind !== "nodePort" && vips.has(address)),
    }));
  marks.give(participants.flatMap(({ frontends }) => frontends.map(markKey)));
  const holders = new Set<string>();
  const result = new Map<string, MarkedService>();
  for (const { key, tunnel, frontends } of participants) {
    const its = new Map<string, MarkedFrontend>();
    for (const front of frontends) {
      const mark = marks.get(markKey(front));
      if (mark === undefined) continue;
      const { address, protocol, port } = front;
      its.set(front.id.key, { mark, address, protocol, port, held: !holders.has(front.id.key) });
      holders.add(front.id.key);
    }
    if (its.size > 0) result.set(key, { tunnel, frontends: its });
  }
  return result;
}

/** The marks of a list of keys that changes as a whole. */
class GivenMarks {
  readonly #marks = new Marks();
  #keys: ReadonlySet<string> = new Set();

  give(keys: readonly string[]): void {
    const before = this.#keys;
    this.#keys = new Set(keys);
    for (const key of before) if (!this.#keys.has(key)) this.#marks.release(key);
    for (const key of this.#keys) if (this.#marks.get(key) === undefined) this.#marks.take(key);
  }

  get(key: string): number | undefined {
    return this.#marks.get(key);
  }
}

/** Computes it anew when a Service with an external address, a node or the host changes; free where nobody asks for it. */
export function dsrInput(sources: DsrSources): DsrInput {
  const { services, nodes, host, shared, rank } = sources;
  const wakers = new Set<(units: Iterable<string>) => void>();
  const marks = new GivenMarks();
  let marked: ReadonlyMap<string, MarkedService> = new Map();
  let context = contextOf([], host, shared.value.context);
  let contextText = "";
  let leaveHost: (() => void) | undefined;

  function update(): void {
    const before = marked;
    marked = markedServices(services, shared.value.context, rank, marks);
    // The host's links are looked at only while that serves somebody.
    if (marked.size > 0) leaveHost ??= host.subscribe(update);
    else {
      leaveHost?.();
      leaveHost = undefined;
    }
    if (marked.size === 0 && before.size === 0) return;
    context = contextOf([...nodes.values()], host, shared.value.context);
    const text = JSON.stringify({ ...context, nodeAddresses: [...context.nodeAddresses] });
    const all = text !== contextText;
    contextText = text;
    const keys = [...new Set([...before.keys(), ...marked.keys()])]
      .filter((key) => all || textOf(before.get(key)) !== textOf(marked.get(key)));
    if (keys.length > 0) { for (const wake of wakers) wake(keys); }
  }

  const external = sources.input(
    services,
    (service) => externalAddresses(service).length > 0 ? [serviceKey(service)] : [],
  );
  external.subscribe((units) => {
    if (units === "all" || [...units].length > 0) update();
  });
  sources.input(nodes, () => "all").subscribe(() => {
    if (marked.size > 0) update();
  });
  shared.subscribe((units) => {
    if (units === "all") update();
  });
  update();
  return {
    name: "direct server return",
    get synced() {
      return shared.synced && services.synced && nodes.synced;
    },
    get waitsFor() {
      return shared.waitsFor;
    },
    subscribe(wake) {
      const waker = (units: Iterable<string>): void => wake(units);
      wakers.add(waker);
      return () => {
        wakers.delete(waker);
        if (wakers.size === 0) leaveHost?.();
      };
    },
    of: (key) => marked.get(key),
    behind: (key, mark, family) =>
      [...marked.get(key)?.frontends.values() ?? []]
        .find((front) => front.mark === mark && ipFamily(front.address) === family),
    get context() {
      return context;
    },
  };
}

function textOf(service: MarkedService | undefined): string {
  return service === undefined ? "" : JSON.stringify([service.tunnel, ...service.frontends]);
}

function contextOf(
  nodes: readonly Node[],
  host: HostAddresses,
  { node, families, graceful }: ServiceContext,
): DsrContext {
  const mtu: Partial<Record<Family, number>> = {};
  for (const { family, address } of families) {
    const found = host.values().find((each) => canonicalIp(each.address) === address)?.mtu;
    if (found !== undefined) mtu[family] = found;
  }
  // Its own Node may be missing for a while.
  const addresses = [...nodes.flatMap(addressesOf), ...families.map(({ address }) => address)];
  return { node, families, mtu, graceful, nodeAddresses: new Set(addresses.toSorted()) };
}
