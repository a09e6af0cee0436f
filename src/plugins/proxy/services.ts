/** What one Service wants of Linux, as a pure function. */

import { canonicalIp, type Cidr, contains, type Family, ipFamily } from "../../kernel/ip.ts";
import {
  type Address,
  type EndpointSlice,
  type HostAddress,
  type IpvsDestination,
  type IpvsProtocol,
  type IpvsService,
  ipvsServiceId,
  type Route,
  type Service,
} from "../../kernel/plugin.ts";
import { drainingEndpoints, hasConnections, passesOverZero } from "./draining.ts";
import { chooseEndpoints, type Scope } from "./endpoints.ts";
import { VIP_LINK } from "./foundation.ts";
import type { NodeFamily } from "./node.ts";
import { schedulerOf } from "./scheduler.ts";

/** Everything that a Service's programming depends on, besides the Service and its slices. */
export interface ServiceContext {
  /** Name of the Node object. */
  readonly node: string;
  readonly families: readonly NodeFamily[];
  /** Addresses that NodePorts are bound to besides the primary ones; empty without `--nodeport-bindon-all-ip`. */
  readonly extraNodeAddresses: readonly HostAddress[];
  /** Ranges that one local route serves as a whole; a VIP inside needs no address of its own. */
  readonly routedRanges: readonly Cidr[];
  /** Whether the kernel drains what is no longer wanted (`--ipvs-graceful-termination`): then nothing else has to. */
  readonly graceful: boolean;
}

export interface ServiceItems {
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly services: readonly IpvsService[];
  readonly destinations: readonly IpvsDestination[];
  /** What is wrong with the Service; each costs only itself. */
  readonly problems: readonly string[];
}

/** Label by which a Service is left to another proxy, unless it names us (KEP-2447). */
const PROXY_NAME = "service.kubernetes.io/service-proxy-name";
const OUR_PROXY_NAMES: readonly string[] = ["kube-router", "routelet"];
const HEADLESS = "service.kubernetes.io/headless";
/** Table `local` (RT_TABLE_LOCAL). */
const LOCAL_TABLE = 255;

/** Whether a Service is for a proxy at all, and for this one. */
export function isProxied({ metadata, spec }: Service): boolean {
  const proxy = metadata.labels[PROXY_NAME];
  return spec.type !== "ExternalName" && !isHeadless(spec.clusterIPs) &&
    (proxy === undefined || OUR_PROXY_NAMES.includes(proxy)) &&
    metadata.labels[HEADLESS] === undefined;
}

function isHeadless(clusterIPs: readonly string[]): boolean {
  return clusterIPs.every((ip) => ip === "" || ip.toLowerCase() === "none");
}

/** One address and port on which the Service is served. */
interface Frontend {
  readonly family: Family;
  readonly address: string;
  readonly port: number;
  readonly scope: Scope;
}

/** All that one Service wants. */
export function serviceItems(
  service: Service,
  slices: readonly EndpointSlice[],
  context: ServiceContext,
): ServiceItems {
  const problems: string[] = [];
  const addresses: Address[] = [];
  const routes: Route[] = [];
  const services: IpvsService[] = [];
  const destinations: IpvsDestination[] = [];
  const result = { addresses, routes, services, destinations, problems };
  if (!isProxied(service)) return result;

  const { spec } = service;
  const vips = clusterIPs(service, context, problems);
  for (const { family, address, node } of vips) {
    if (context.routedRanges.some((range) => contains(range, address))) continue;
    const vip = vipItems(family, address, node);
    addresses.push(vip.address);
    routes.push(vip.route);
  }

  const scheduler = schedulerOf(service, problems);
  const persistence = spec.sessionAffinity === "ClientIP" ? spec.sessionAffinityTimeout : 0;
  for (const port of spec.ports) {
    const protocol = protocolOf(port.protocol);
    if (protocol === undefined) {
      problems.push(
        `Port "${port.name}" has protocol "${port.protocol}", which is none of TCP, UDP and SCTP; ` +
          "it is not served, correct spec.ports",
      );
      continue;
    }
    for (const front of frontends(service, port, vips, context)) {
      const id = ipvsServiceId(front.family, protocol, front.address, front.port);
      services.push({ id, scheduler, schedulerFlags: 0, persistence });
      const choice = {
        family: front.family,
        portName: port.name,
        protocol,
        scope: front.scope,
        publishNotReady: spec.publishNotReadyAddresses,
      };
      const chosen = chooseEndpoints(slices, choice);
      for (const { address, port } of chosen) {
        destinations.push({ service: id, address, port, weight: 1, method: "masq" });
      }
      if (context.graceful || !hasConnections(protocol) || !passesOverZero(scheduler, 0)) continue;
      for (const { address, port } of drainingEndpoints(slices, choice, chosen)) {
        destinations.push({ service: id, address, port, weight: 0, method: "masq" });
      }
    }
  }
  for (const slice of slices) {
    if (slice.ports.length > 0 || slice.endpoints.length === 0) continue;
    problems.push(
      `EndpointSlice "${slice.metadata.namespace}/${slice.metadata.name}" has endpoints but no ports; ` +
        "it serves nothing, add its ports",
    );
  }
  return result;
}

/** What makes a VIP an address of this node. `node` is the node's own address. */
export function vipItems(
  family: Family,
  address: string,
  node: string,
): { readonly address: Address; readonly route: Route } {
  const prefix = family === 4 ? 32 : 128;
  return {
    address: { family, address, prefix, link: VIP_LINK },
    route: vipRoute(family, `${address}/${prefix}`, node),
  };
}

/**
 * The host route of a VIP, or of a range of them. Its source is the node's address: without it the host would take
 * the VIP itself as source when it calls it, and answers of pods on other nodes would never come back.
 */
export function vipRoute(family: Family, destination: string, source: string): Route {
  return {
    family,
    table: LOCAL_TABLE,
    type: "local",
    destination,
    // Linux makes 1024 of 0 for IPv6.
    metric: family === 4 ? 0 : 1024,
    nextHops: [{ link: VIP_LINK }],
    source,
  };
}

interface Vip {
  readonly family: Family;
  readonly address: string;
  /** The node's own address of that family. */
  readonly node: string;
}

/** The cluster IPs of the families that the node has, canonical. */
function clusterIPs(
  { spec }: Service,
  { families }: ServiceContext,
  problems: string[],
): readonly Vip[] {
  const vips = new Map<string, Vip>();
  for (const text of spec.clusterIPs) {
    const address = canonicalIp(text);
    const family = address === undefined ? undefined : ipFamily(address);
    if (address === undefined || family === undefined) {
      problems.push(
        `Cluster IP "${text}" is not an IP address; it is not served, correct spec.clusterIPs`,
      );
      continue;
    }
    const node = families.find((f) => f.family === family);
    if (node !== undefined) vips.set(address, { family, address, node: node.address });
  }
  return [...vips.values()];
}

function frontends(
  { spec }: Service,
  port: { readonly port: number; readonly nodePort: number },
  vips: readonly Vip[],
  context: ServiceContext,
): readonly Frontend[] {
  const scopeOf = (policy: string): Scope =>
    policy === "Local" ? { node: context.node } : "cluster";
  const internal = scopeOf(spec.internalTrafficPolicy);
  const external = scopeOf(spec.externalTrafficPolicy);
  const result: Frontend[] = vips.map(({ family, address }) => ({
    family,
    address,
    port: port.port,
    scope: internal,
  }));
  if (port.nodePort === 0) return result;
  for (const family of new Set(vips.map((vip) => vip.family))) {
    const own = vips.find((vip) => vip.family === family)?.node ?? "";
    const extra = context.extraNodeAddresses.filter((a) => a.family === family);
    for (const address of new Set([own, ...extra.map((a) => a.address)])) {
      result.push({ family, address, port: port.nodePort, scope: external });
    }
  }
  return result;
}

function protocolOf(text: string): IpvsProtocol | undefined {
  const lower = text.toLowerCase();
  return lower === "tcp" || lower === "udp" || lower === "sctp" ? lower : undefined;
}
