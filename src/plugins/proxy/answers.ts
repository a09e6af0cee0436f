/** What `routelet ipvs`, `routelet why` and the live page ask the running proxy. Pure but for the counters, which are given. */

import { canonicalIp, contains, type Family, ipFamily, parseCidr } from "../../kernel/ip.ts";
import type {
  EndpointSlice,
  IpvsCounters,
  IpvsEntry,
  IpvsProtocol,
  IpvsServiceId,
  Service,
} from "../../kernel/plugin.ts";
import { ipvsFwmarkId } from "../../kernel/plugin.ts";
import type { MarkedService } from "./dsr.ts";
import type { Endpoint } from "./endpoints.ts";
import { hairpinPart } from "./hairpin.ts";
import type { InsideMarks } from "./inside.ts";
import { addressesOf, ingressIps, serviceKey } from "./service-names.ts";
import {
  type Frontend,
  type FrontendKind,
  planService,
  type ServiceContext,
  type ServicePlan,
} from "./service-plan.ts";
import { rangesOf } from "./source-ranges.ts";

/** A row of the IPVS table with the names of Kubernetes beside it. */
export interface IpvsRow {
  /** As the dataplane calls it: "tcp 10.0.0.1:80", "fwmark 17 ipv4". */
  readonly key: string;
  readonly protocol: IpvsProtocol;
  readonly address: string;
  readonly port: number;
  /** 0: none. With one, address and port are those of the frontend that it stands for. */
  readonly fwmark: number;
  /** "namespace/name"; absent: not ours. */
  readonly service?: string;
  readonly kind?: FrontendKind;
  readonly portName?: string;
  readonly scheduler: string;
  /** Seconds; 0: none. */
  readonly persistence: number;
  readonly counters: IpvsCounters;
  readonly destinations: readonly IpvsDestinationRow[];
}

export interface IpvsDestinationRow {
  readonly address: string;
  readonly port: number;
  readonly method: "masq" | "tunnel" | "route";
  readonly weight: number;
  readonly active: number;
  readonly inactive: number;
  readonly counters: IpvsCounters;
}

export interface IpvsAnswer {
  readonly node: string;
  readonly services: readonly IpvsRow[];
  /** Services that were asked for and left out, being too many. */
  readonly left: number;
}

/** The whole of IPVS in a few numbers. */
export interface IpvsSummary {
  readonly services: number;
  /** Of these, ours. */
  readonly ours: number;
  readonly connections: number;
  /** Per second, as Linux estimates them every two seconds. */
  readonly connectionRate: number;
  readonly inByteRate: number;
  readonly outByteRate: number;
  /** The Services with the most new connections a second; none where all is quiet. */
  readonly busiest: readonly { readonly service: string; readonly connectionRate: number }[];
}

/** Services that a summary names. */
const BUSIEST = 5;

/** Sums up. @param unitOf the Service that holds a virtual service, "namespace/name" */
export function ipvsSummary(
  all: readonly { readonly id: IpvsServiceId; readonly counters: IpvsCounters }[],
  unitOf: (id: IpvsServiceId) => string | undefined,
): IpvsSummary {
  const sum = (field: keyof IpvsCounters) =>
    all.reduce((total, { counters }) => total + counters[field], 0);
  const rates = new Map<string, number>();
  let ours = 0;
  for (const { id, counters } of all) {
    const unit = unitOf(id);
    if (unit === undefined) continue;
    ours++;
    rates.set(unit, (rates.get(unit) ?? 0) + counters.connectionRate);
  }
  return {
    services: all.length,
    ours,
    connections: sum("connections"),
    connectionRate: sum("connectionRate"),
    inByteRate: sum("inByteRate"),
    outByteRate: sum("outByteRate"),
    busiest: [...rates].filter(([, rate]) => rate > 0)
      .toSorted(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).slice(0, BUSIEST)
      .map(([service, connectionRate]) => ({ service, connectionRate })),
  };
}

/** What a Service's frontends are known by, for the names in the table. */
export interface Reached {
  readonly address: string;
  readonly protocol: IpvsProtocol;
  readonly port: number;
}

/**
 * Names the rows of the table.
 *
 * @param unitOf the Service that holds a virtual service, "namespace/name"
 * @param behind what a firewall mark of a Service stands for
 */
export function ipvsRows(
  entries: readonly IpvsEntry[],
  unitOf: (id: IpvsServiceId) => string | undefined,
  behind: (unit: string, mark: number, family: Family) => Reached | undefined,
  serviceOf: (unit: string) => Service | undefined,
): readonly IpvsRow[] {
  return entries.map(({ item, counters, destinations }) => {
    const { id } = item;
    const unit = unitOf(id);
    const reached = id.fwmark === 0 || unit === undefined
      ? undefined
      : behind(unit, id.fwmark, id.family);
    const { address, protocol, port } = reached ?? id;
    const service = unit === undefined ? undefined : serviceOf(unit);
    return {
      key: id.key,
      protocol,
      address,
      port,
      fwmark: id.fwmark,
      ...(unit === undefined ? {} : { service: unit }),
      ...(service === undefined ? {} : roleOf(service, { address, protocol, port })),
      scheduler: item.scheduler,
      persistence: item.persistence,
      counters,
      destinations: destinations.map(({ item, active, inactive, counters }) => ({
        address: item.address,
        port: item.port,
        method: item.method,
        weight: item.weight,
        active,
        inactive,
        counters,
      })),
    };
  });
}

function roleOf(
  service: Service,
  { address, protocol, port }: Reached,
): { readonly kind: FrontendKind; readonly portName: string } {
  const { spec } = service;
  const is = (text: string) => canonicalIp(text) === address;
  const kind = spec.clusterIPs.some(is)
    ? "clusterIP"
    : spec.externalIPs.some(is)
    ? "externalIP"
    : ingressIps(service).includes(address)
    ? "loadBalancer"
    : "nodePort";
  const own = spec.ports.find((each) =>
    each.protocol.toLowerCase() === protocol &&
    (kind === "nodePort" ? each.nodePort : each.port) === port
  );
  return { kind, portName: own?.name ?? "" };
}

/** Whether a text names a row: a Service, a namespace, an address, a port ":80", or a part of the key. */
export function concernsRow(
  text: string,
  row: { readonly key: string; readonly service: string | undefined; readonly address: string },
): boolean {
  const wanted = canonicalIp(text) ?? text;
  return row.service === wanted || row.service?.split("/")[0] === wanted ||
    row.address === wanted || (wanted.startsWith(":") && row.key.endsWith(wanted)) ||
    row.key === wanted;
}

/** How one frontend of a Service takes a connection. */
export interface FrontendAnswer
  extends
    Pick<Frontend, "kind" | "family" | "protocol" | "address" | "port" | "portName" | "verdict"> {
  readonly service: string;
  /** Whose endpoints serve: all of the cluster, or those of this node (a Local policy). */
  readonly scope: "cluster" | "local";
  readonly scheduler: string;
  readonly persistence: number;
  /** The virtual service in IPVS. */
  readonly key: string;
  /** Firewall mark of direct server return, if it is reached by one. */
  readonly mark?: number;
  /** Another Service that holds this address and port. */
  readonly heldBy?: string;
  /** `loadBalancerSourceRanges`, where they limit this frontend. */
  readonly sources?: readonly string[];
  /** A pod that is given itself as endpoint reaches itself. */
  readonly hairpin: boolean;
  readonly endpoints: readonly EndpointAnswer[];
  readonly problems: readonly string[];
  /** As Linux has it; absent: Linux has no such virtual service. */
  readonly live?: IpvsRow;
  /** What clients inside the cluster get in its stead, where a Local policy tells them from those outside. */
  readonly inside?: Pick<FrontendAnswer, "key" | "mark" | "endpoints" | "live">;
}

export interface EndpointAnswer {
  readonly address: string;
  readonly port: number;
  /** Name of its node; absent: unknown. */
  readonly node?: string;
  readonly zone?: string;
  readonly tunnel: boolean;
}

export interface ProxyWhyAnswer {
  readonly node: string;
  /** Of the address, protocol and port that was asked for; normally one at most. */
  readonly frontends: readonly FrontendAnswer[];
  /** Services that have the address, and do not serve that port here. */
  readonly others: readonly string[];
  /** Whether the address is one that this node takes traffic for as a Service's. */
  readonly isVip: boolean;
  readonly masquerade: MasqueradeFacts;
  /** `--ipvs-permit-all`: what goes to another port of a VIP is rejected. */
  readonly permitAll: boolean;
}

/** What decides whether the source of a connection to a Service is replaced. */
export interface MasqueradeFacts {
  readonly all: boolean;
  readonly families: readonly {
    readonly family: Family;
    readonly address: string;
    readonly podCIDRs: readonly string[];
  }[];
}

/** The parts of the proxy that the answer is made of. */
export interface Asked {
  readonly context: ServiceContext;
  readonly services: Iterable<Service>;
  slicesOf(unit: string): readonly EndpointSlice[];
  holder(key: string): string | undefined;
  marked(unit: string): MarkedService | undefined;
  inside(unit: string): InsideMarks;
  readonly hairpinAlways: boolean;
  readonly masqueradeAll: boolean;
  readonly permitAll: boolean;
}

export interface Target {
  readonly address: string;
  readonly protocol: IpvsProtocol;
  readonly port: number;
}

/** What this node makes of a connection to an address and port. */
export function proxyWhyAnswer(asked: Asked, target: Target): ProxyWhyAnswer {
  const { context } = asked;
  const frontends: FrontendAnswer[] = [];
  const others: string[] = [];
  let isVip = false;
  const isNodes = nodeAddresses(context).includes(target.address);
  for (const service of asked.services) {
    if (!mayReach(service, target, isNodes)) continue;
    const unit = serviceKey(service);
    const plan = planService(service, asked.slicesOf(unit), context);
    const front = plan.frontends.find(({ address, protocol, port }) =>
      address === target.address && protocol === target.protocol && port === target.port
    );
    if (plan.vips.some(({ address, own }) => address === target.address && !own)) isVip = true;
    if (front === undefined) {
      if (!isNodes || plan.vips.some(({ address }) => address === target.address)) {
        others.push(unit);
      }
      continue;
    }
    frontends.push(frontendAnswer(asked, unit, plan, front));
  }
  return {
    node: context.node,
    frontends: frontends.toSorted((a, b) =>
      (a.heldBy === undefined ? 0 : 1) - (b.heldBy === undefined ? 0 : 1)
    ),
    others,
    isVip,
    masquerade: {
      all: asked.masqueradeAll,
      families: context.families.map(({ family, address, podCIDRs }) => ({
        family,
        address,
        podCIDRs,
      })),
    },
    permitAll: asked.permitAll,
  };
}

function nodeAddresses({ families, extraNodeAddresses }: ServiceContext): readonly string[] {
  return [...families, ...extraNodeAddresses].flatMap(({ address }) => canonicalIp(address) ?? []);
}

/** Without planning: there may be 10,000 of them. */
function mayReach(service: Service, { address, port }: Target, isNodes: boolean): boolean {
  return addressesOf(service).includes(address) ||
    (isNodes && service.spec.ports.some(({ nodePort }) => nodePort === port));
}

function frontendAnswer(
  asked: Asked,
  unit: string,
  plan: ServicePlan,
  front: Frontend,
): FrontendAnswer {
  const { context } = asked;
  const marked = asked.marked(unit);
  const mark = marked?.frontends.get(front.id.key)?.mark;
  const key = mark === undefined ? front.id.key : ipvsFwmarkId(front.family, mark).key;
  const holder = asked.holder(key);
  const sources = rangesOf(plan, [])?.of(front);
  const { kind, family, protocol, address, port, portName, scope, verdict } = front;
  const answered = (endpoints: readonly Endpoint[]) =>
    endpoints.map(({ address, port, of }): EndpointAnswer => ({
      address,
      port,
      ...(of.nodeName === undefined ? {} : { node: of.nodeName }),
      ...(of.zone === undefined ? {} : { zone: of.zone }),
      tunnel: mark !== undefined && marked?.tunnel === true,
    }));
  const insideMark = mark === undefined ? asked.inside(unit).get(front.id.key)?.mark : undefined;
  return {
    service: unit,
    kind,
    family,
    protocol,
    address,
    port,
    portName,
    scope: scope === "cluster" ? "cluster" : "local",
    verdict,
    scheduler: plan.scheduler,
    persistence: plan.persistence,
    key,
    ...(mark === undefined ? {} : { mark }),
    ...(holder === undefined || holder === unit ? {} : { heldBy: holder }),
    ...(sources === undefined ? {} : { sources }),
    hairpin: hairpinPart(plan, context.node, asked.hairpinAlways).frontends
      .some(({ id }) => id.key === front.id.key),
    endpoints: answered(front.endpoints),
    ...(insideMark === undefined || front.inside === undefined || front.inside.length === 0 ? {} : {
      inside: {
        key: ipvsFwmarkId(front.family, insideMark).key,
        mark: insideMark,
        endpoints: answered(front.inside),
      },
    }),
    problems: plan.problems,
  };
}

/** The frontend as a client has it: those inside the cluster may get other endpoints. @param isHost whether it is this node */
export function seenBy(
  front: FrontendAnswer,
  source: string,
  isHost: boolean,
  { families }: MasqueradeFacts,
): FrontendAnswer {
  const { inside, live: _live, ...rest } = front;
  const isPod = families.some(({ podCIDRs }) =>
    podCIDRs.some((text) => {
      const range = parseCidr(text);
      return range !== undefined && contains(range, source);
    })
  );
  return inside === undefined || !(isHost || isPod)
    ? front
    : { ...rest, ...inside, scope: "cluster", verdict: "serve" };
}

/** Whether the firewall before a Service lets a client in. */
export function admits({ sources }: Pick<FrontendAnswer, "sources">, source: string): boolean {
  return sources === undefined || sources.some((text) => {
    const range = parseCidr(text) ?? parseCidr(`${text}/${ipFamily(text) === 6 ? 128 : 32}`);
    return range !== undefined && contains(range, source);
  });
}

/** What becomes of the source of a connection that IPVS sends to an endpoint. */
export type SourceNat =
  /** It stays. */
  | { readonly kind: "kept"; readonly because: string }
  /** The node's address takes its place. */
  | { readonly kind: "masqueraded"; readonly to: string }
  /** The VIP takes its place, so that a pod can answer itself. */
  | { readonly kind: "hairpin"; readonly to: string }
  /** A pod is given itself, and nothing makes that work. */
  | { readonly kind: "lost"; readonly because: string };

/** As the rules of `masquerade()` and of the hairpin chain say. @param nodes addresses of this node */
export function sourceNat(
  { all, families }: MasqueradeFacts,
  front: Pick<FrontendAnswer, "address" | "hairpin">,
  { address: endpoint, tunnel }: Pick<EndpointAnswer, "address" | "tunnel">,
  source: string,
  isNodes: (address: string) => boolean,
): SourceNat {
  if (tunnel) return { kind: "kept", because: "direct server return: the pod answers the client" };
  if (isNodes(endpoint)) return { kind: "kept", because: "the endpoint is this host itself" };
  if (isNodes(source)) return { kind: "kept", because: "it is this node's own" };
  if (source === endpoint && front.hairpin) return { kind: "hairpin", to: front.address };
  const facts = families.find(({ family }) => family === ipFamily(endpoint));
  const inPods = (address: string) =>
    facts?.podCIDRs.some((text) => {
      const range = parseCidr(text);
      return range !== undefined && contains(range, address);
    }) === true;
  const because = all
    ? undefined
    : inPods(source)
    ? "from a pod of this node"
    : inPods(endpoint)
    ? "to a pod of this node"
    : undefined;
  if (because === undefined) return { kind: "masqueraded", to: facts?.address ?? "" };
  if (source !== endpoint) return { kind: "kept", because };
  return {
    kind: "lost",
    because:
      "the pod is given itself as endpoint and drops packets from its own address; switch on --hairpin-mode or the " +
      'annotation kube-router.io/service.hairpin: "true"',
  };
}
