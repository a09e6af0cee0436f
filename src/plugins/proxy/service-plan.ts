/**
 * What one Service is to this node, as plain data: its frontends, the endpoints behind each, and its VIPs. Pure.
 *
 * All Services are planned at the start, by code that is not compiled yet: there each closure over a variable is an object more,
 * and with them a first round took twice the memory. So what runs for every Service loops, and calls functions that close over
 * nothing.
 */

import { canonicalIp, type Cidr, type Family, ipFamily, isWithin } from "../../kernel/ip.ts";
import {
  type EndpointSlice,
  type HostAddress,
  type IpvsProtocol,
  type IpvsServiceId,
  ipvsServiceId,
  type Service,
} from "../../kernel/plugin.ts";
import { isOn } from "./annotations.ts";
import { type Candidates, type Endpoint, findEndpoints, type Scope, select } from "./endpoints.ts";
import { type ExternalRanges, filterAddresses } from "./external-ranges.ts";
import type { NodeFamily } from "./node.ts";
import { type Scheduling, schedulingOf } from "./scheduler.ts";

/** Everything that a Service's programming depends on, besides the Service and its slices. */
export interface ServiceContext {
  /** Name of the Node object. */
  readonly node: string;
  /** The node's zone, for topology hints. */
  readonly zone?: string;
  readonly families: readonly NodeFamily[];
  /** Addresses that NodePorts are bound to besides the primary ones; empty without `--nodeport-bindon-all-ip`. */
  readonly extraNodeAddresses: readonly HostAddress[];
  /** Ranges that one local route serves as a whole; a VIP inside needs no address of its own. */
  readonly routedRanges: readonly Cidr[];
  /** Which external and load balancer IPs are allowed. */
  readonly ranges: ExternalRanges;
  /** Whether the kernel drains what is no longer wanted (`--ipvs-graceful-termination`): then nothing else has to. */
  readonly graceful: boolean;
  /** `--excluded-cidrs`: VIPs inside are not ours to serve. */
  readonly excluded: readonly Cidr[];
  /** Addresses of this host that an external IP may equal: served, and never put on our own link. */
  readonly ownAddresses: readonly string[];
  /** Addresses of other nodes that an external IP may equal: served there, not here. */
  readonly otherNodes: readonly string[];
}

export type FrontendKind = "clusterIP" | "nodePort" | "externalIP" | "loadBalancer";

/**
 * What becomes of a connection to a frontend. `reject`: nobody serves the port, said at once (RST, ICMP port
 * unreachable). `drop`: a Local policy and endpoints on other nodes alone, so that a load balancer tries another node.
 */
export type Verdict = "serve" | "reject" | "drop";

/** One address, protocol and port on which the Service is reached. */
export interface Frontend {
  /** Its identity in IPVS: one object for the virtual service and all its destinations. */
  readonly id: IpvsServiceId;
  readonly kind: FrontendKind;
  readonly family: Family;
  readonly protocol: IpvsProtocol;
  readonly address: string;
  readonly port: number;
  /** Name of the Service's port; "" where it has none. */
  readonly portName: string;
  readonly scope: Scope;
  /** Empty unless `verdict` is "serve". */
  readonly endpoints: readonly Endpoint[];
  readonly verdict: Verdict;
  /**
   * Of clients inside the cluster, where the policy keeps those outside to this node's endpoints (S8): all that the Service
   * has. Absent: all clients get the same.
   */
  readonly inside?: readonly Endpoint[];
}

/** An address of the Service that this node must take as its own. */
export interface Vip {
  readonly kind: Exclude<FrontendKind, "nodePort">;
  readonly family: Family;
  readonly address: string;
  /** The node's own address of that family. */
  readonly node: string;
  /** The host has this address on a link of its own: nothing is to be bound. */
  readonly own: boolean;
}

export interface ServicePlan extends Scheduling {
  readonly service: Service;
  /** Each address, protocol and port once. Empty for Services that are not for this proxy. */
  readonly frontends: readonly Frontend[];
  readonly vips: readonly Vip[];
  /** Seconds that a client stays with its endpoint; 0: not at all. */
  readonly persistence: number;
  /** What is wrong with the Service; each costs only itself. */
  readonly problems: readonly string[];
}

/** Label by which a Service is left to another proxy, unless it names us (KEP-2447). */
const PROXY_NAME = "service.kubernetes.io/service-proxy-name";
const OUR_PROXY_NAMES: readonly string[] = ["kube-router", "routelet"];
const HEADLESS = "service.kubernetes.io/headless";

export const LOCAL_ANNOTATION = "kube-router.io/service.local";
export const SKIP_LB_ANNOTATION = "kube-router.io/service.skiplbips";

/** Whether a Service is for a proxy at all, and for this one. */
export function isProxied({ metadata, spec }: Service): boolean {
  const proxy = metadata.labels[PROXY_NAME];
  return spec.type !== "ExternalName" && !isHeadless(spec.clusterIPs) &&
    (proxy === undefined || OUR_PROXY_NAMES.includes(proxy)) &&
    metadata.labels[HEADLESS] === undefined;
}

function isHeadless(clusterIPs: readonly string[]): boolean {
  for (const ip of clusterIPs) if (ip !== "" && ip.toLowerCase() !== "none") return false;
  return true;
}

/** Plans one Service. The slices are all those of the Service, in any order. */
export function planService(
  service: Service,
  slices: readonly EndpointSlice[],
  context: ServiceContext,
): ServicePlan {
  const problems: string[] = [];
  if (!isProxied(service)) return { ...NOTHING, service, problems };
  const { spec } = service;
  const vips = vipsOf(service, context, problems);
  const frontends = frontendsOf(service, slices, vips, context, problems);
  reportPortless(slices, problems);
  const { scheduler, schedulerFlags } = schedulingOf(service, problems);
  return {
    service,
    frontends,
    vips,
    scheduler,
    schedulerFlags,
    persistence: spec.sessionAffinity === "ClientIP" ? spec.sessionAffinityTimeout : 0,
    problems,
  };
}

const NOTHING = {
  frontends: [],
  vips: [],
  scheduler: "rr",
  schedulerFlags: 0,
  persistence: 0,
} as const;

/** The addresses of the Service of the families that the node has, canonical, each once: the first kind wins. */
function vipsOf(service: Service, context: ServiceContext, problems: string[]): readonly Vip[] {
  const { spec, status } = service;
  // Lists instead of maps here and below: nearly all have one entry.
  const vips: Vip[] = [];
  for (const address of canonical(spec.clusterIPs, "Cluster IP", "spec.clusterIPs", problems)) {
    addVip(vips, "clusterIP", address, context);
  }
  if (spec.externalIPs.length > 0) {
    const given = canonical(spec.externalIPs, "External IP", "spec.externalIPs", problems);
    for (const address of filterAddresses("externalIP", given, context.ranges, problems)) {
      addVip(vips, "externalIP", address, context);
    }
  }
  const skipped = isOn(service, SKIP_LB_ANNOTATION, problems);
  if (status.loadBalancer.ingress.length === 0) return vips;
  // Ingress by host name, and of a balancer that is a proxy itself and must see the traffic (KEP-1860), is not ours.
  const ingress = status.loadBalancer.ingress.flatMap(({ ip, ipMode }) =>
    ip === undefined || ip === "" || ipMode === "Proxy" ? [] : [ip]
  );
  if (ingress.length > 0 && !skipped) {
    const where = "status.loadBalancer.ingress";
    const given = canonical(ingress, "Load balancer IP", where, problems);
    for (const address of filterAddresses("loadBalancer", given, context.ranges, problems)) {
      addVip(vips, "loadBalancer", address, context);
    }
  }
  return vips;
}

function addVip(vips: Vip[], kind: Vip["kind"], address: string, context: ServiceContext): void {
  for (const vip of vips) if (vip.address === address) return;
  if (isWithin(context.excluded, address)) return;
  if (kind !== "clusterIP" && context.otherNodes.includes(address)) return;
  const family = ipFamily(address);
  for (const node of context.families) {
    if (node.family !== family) continue;
    const own = address === node.address || context.ownAddresses.includes(address);
    vips.push({ kind, family, address, node: node.address, own });
  }
}

function canonical(
  texts: readonly string[],
  what: string,
  where: string,
  problems: string[],
): readonly string[] {
  const addresses: string[] = [];
  for (const text of texts) {
    const address = canonicalIp(text);
    if (address !== undefined) addresses.push(address);
    else {problems.push(
        `${what} "${text}" is not an IP address; it is not served, correct ${where}`,
      );}
  }
  return addresses;
}

function frontendsOf(
  service: Service,
  slices: readonly EndpointSlice[],
  vips: readonly Vip[],
  context: ServiceContext,
  problems: string[],
): readonly Frontend[] {
  const { spec } = service;
  const frontends: Frontend[] = [];
  const local: Scope = { node: context.node };
  // kube-router's annotation replaces both policies: it is about traffic from outside alone.
  const annotated = isOn(service, LOCAL_ANNOTATION, problems);
  const internal: Scope = !annotated && spec.internalTrafficPolicy === "Local" ? local : "cluster";
  const external: Scope = annotated || spec.externalTrafficPolicy === "Local" ? local : "cluster";
  for (const port of spec.ports) {
    const protocol = protocolOf(port.protocol);
    if (protocol === undefined) {
      problems.push(
        `Port "${port.name}" has protocol "${port.protocol}", which is none of TCP, UDP and SCTP; ` +
          "it is not served, correct spec.ports",
      );
      continue;
    }
    const backends: PortBackends = { service, portName: port.name, protocol, slices, chosen: [] };
    const scopes = { internal, external };
    for (const { kind, family, address } of vips) {
      addFrontend(frontends, { kind, family, address, port: port.port }, backends, scopes, context);
    }
    if (port.nodePort === 0) continue;
    for (const { family, address } of nodePortAddresses(spec.clusterIPs, context)) {
      const at = { kind: "nodePort", family, address, port: port.nodePort } as const;
      addFrontend(frontends, at, backends, scopes, context);
    }
  }
  return frontends;
}

/** Whose endpoints clients get at cluster IPs, and at all other addresses. */
interface Scopes {
  readonly internal: Scope;
  readonly external: Scope;
}

function addFrontend(
  frontends: Frontend[],
  { kind, family, address, port }: Pick<Frontend, "kind" | "family" | "address" | "port">,
  backends: PortBackends,
  { internal, external }: Scopes,
  context: ServiceContext,
): void {
  const { protocol, portName } = backends;
  const id = ipvsServiceId(family, protocol, address, port);
  for (const other of frontends) if (other.id.key === id.key) return;
  const scope = kind === "clusterIP" ? internal : external;
  const { endpoints, verdict } = backendsOf(backends, family, scope, context);
  const most = {
    id,
    kind,
    family,
    protocol,
    address,
    port,
    portName,
    scope,
    endpoints,
    verdict,
  };
  // Not spread into the literal: nearly none has it, and what is spread costs each.
  frontends.push(
    kind === "clusterIP" || scope === "cluster"
      ? most
      : { ...most, inside: backendsOf(backends, family, "cluster", context).endpoints },
  );
}

type Backends = Pick<Frontend, "endpoints" | "verdict">;

/** One port of a Service, and what was found for it. Most Services have several frontends with the same endpoints. */
interface PortBackends {
  readonly service: Service;
  readonly portName: string;
  readonly protocol: IpvsProtocol;
  readonly slices: readonly EndpointSlice[];
  /** All that may serve it, by family. */
  4?: Candidates;
  6?: Candidates;
  readonly chosen: (Backends & { readonly family: Family; readonly scope: Scope })[];
}

/** The endpoints of one port by family and scope. */
function backendsOf(
  port: PortBackends,
  family: Family,
  scope: Scope,
  context: ServiceContext,
): Backends {
  for (const known of port.chosen) {
    if (known.family === family && known.scope === scope) return known;
  }
  const candidates = port[family] ??= findEndpoints(port.slices, {
    family,
    portName: port.portName,
    protocol: port.protocol,
    publishNotReady: port.service.spec.publishNotReadyAddresses,
  });
  const endpoints = select(candidates, scope, context);
  const elsewhere = candidates.ready.length + candidates.draining.length > 0;
  const verdict = endpoints.length > 0 ? "serve" : elsewhere ? "drop" : "reject";
  const backends = { family, scope, endpoints, verdict } as const;
  port.chosen.push(backends);
  return backends;
}

/** Where NodePorts are bound: of each family that the Service has a cluster IP of and the node an address. */
function nodePortAddresses(
  clusterIPs: readonly string[],
  { families, extraNodeAddresses, excluded }: ServiceContext,
): readonly { readonly family: Family; readonly address: string }[] {
  const own = new Set(clusterIPs.map(ipFamily));
  return families.filter(({ family }) => own.has(family)).flatMap(({ family, address }) => {
    const extra = extraNodeAddresses.filter((a) => a.family === family).map((a) => a.address);
    return [...new Set([address, ...extra])]
      .filter((each) => !isWithin(excluded, each))
      .map((each) => ({ family, address: each }));
  });
}

function reportPortless(slices: readonly EndpointSlice[], problems: string[]): void {
  for (const slice of slices) {
    if (slice.ports.length > 0 || slice.endpoints.length === 0) continue;
    problems.push(
      `EndpointSlice "${slice.metadata.namespace}/${slice.metadata.name}" has endpoints but no ports; ` +
        "it serves nothing, add its ports",
    );
  }
}

function protocolOf(text: string): IpvsProtocol | undefined {
  const lower = text.toLowerCase();
  return lower === "tcp" || lower === "udp" || lower === "sctp" ? lower : undefined;
}
