/** What one Service wants of Linux, as a pure function of its plan. */

import { type Family, isWithin } from "../../kernel/ip.ts";
import type {
  Address,
  EndpointSlice,
  IpvsDestination,
  IpvsService,
  IpvsServiceId,
  Route,
  Service,
} from "../../kernel/plugin.ts";
import type { Endpoint } from "./endpoints.ts";
import { drainingEndpoints, hasConnections, passesOverZero } from "./draining.ts";
import {
  type Frontend,
  planService,
  type ServiceContext,
  type ServicePlan,
} from "./service-plan.ts";
import { VIP_LINK } from "./vip-link.ts";

export { isProxied, type ServiceContext } from "./service-plan.ts";

export interface ServiceItems {
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly services: readonly IpvsService[];
  readonly destinations: readonly IpvsDestination[];
  /** What is wrong with the Service; each costs only itself. */
  readonly problems: readonly string[];
}

/** Table `local` (RT_TABLE_LOCAL). */
const LOCAL_TABLE = 255;

/** All that one Service wants. */
export function serviceItems(
  service: Service,
  slices: readonly EndpointSlice[],
  context: ServiceContext,
): ServiceItems {
  return itemsOf(planService(service, slices, context), slices, context);
}

/**
 * All that a plan wants. A frontend without endpoints is a virtual service without destinations: IPVS refuses at once
 * what reaches it, instead of handing it to a program of the host that listens on the same port.
 */
export function itemsOf(
  plan: ServicePlan,
  slices: readonly EndpointSlice[],
  context: ServiceContext,
): ServiceItems {
  const addresses: Address[] = [];
  const routes: Route[] = [];
  const services: IpvsService[] = [];
  const destinations: IpvsDestination[] = [];
  for (const { family, address, node, own } of plan.vips) {
    if (own || isWithin(context.routedRanges, address)) continue;
    const vip = vipItems(family, address, node);
    addresses.push(vip.address);
    routes.push(vip.route);
  }
  const { scheduler, schedulerFlags, persistence } = plan;
  const terminating = !context.graceful && maySeeDraining(plan, slices);
  for (const frontend of plan.frontends) {
    const { id, endpoints } = frontend;
    services.push({ id, scheduler, schedulerFlags, persistence });
    for (const { address, port } of endpoints) {
      destinations.push({ service: id, address, port, weight: 1, method: "masq" });
    }
    if (!terminating) continue;
    for (const { address, port } of drainingOf(plan, frontend, slices)) {
      destinations.push({ service: id, address, port, weight: 0, method: "masq" });
    }
  }
  return { addresses, routes, services, destinations, problems: plan.problems };
}

/** Whether some frontend of the plan may have endpoints that are listed only to end. Cheap: nearly always false. */
export function maySeeDraining(
  { scheduler, schedulerFlags }: ServicePlan,
  slices: readonly EndpointSlice[],
): boolean {
  if (!passesOverZero(scheduler, schedulerFlags)) return false;
  for (const { endpoints } of slices) {
    for (const { conditions } of endpoints) if (conditions.terminating === true) return true;
  }
  return false;
}

/** The endpoints of a frontend that are about to end and get no new connections. */
export function drainingOf(
  { service }: ServicePlan,
  { family, portName, protocol, scope, endpoints }: Frontend,
  slices: readonly EndpointSlice[],
): readonly Endpoint[] {
  if (!hasConnections(protocol)) return [];
  const publishNotReady = service.spec.publishNotReadyAddresses;
  const query = { family, portName, protocol, scope, publishNotReady };
  return drainingEndpoints(slices, query, endpoints);
}

/**
 * Whom the virtual service of a mark sends to.
 *
 * @param endpoints those with weight 1
 * @param ending those with weight 0, that get no new connections
 */
export function markedDestinations(
  service: IpvsServiceId,
  endpoints: readonly Endpoint[],
  ending: readonly Endpoint[],
  methodOf: (endpoint: Endpoint) => IpvsDestination["method"] = () => "masq",
): readonly IpvsDestination[] {
  const to = (weight: number) => (endpoint: Endpoint): IpvsDestination => ({
    service,
    address: endpoint.address,
    port: endpoint.port,
    weight,
    method: methodOf(endpoint),
  });
  return [...endpoints.map(to(1)), ...ending.map(to(0))];
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
export function vipRoute(
  family: Family,
  destination: string,
  source: string,
  link: string = VIP_LINK,
): Route {
  return {
    family,
    table: LOCAL_TABLE,
    type: "local",
    destination,
    // Linux makes 1024 of 0 for IPv6.
    metric: family === 4 ? 0 : 1024,
    nextHops: [{ link }],
    source,
  };
}
