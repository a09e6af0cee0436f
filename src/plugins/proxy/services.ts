/** What one Service wants of Linux, as a pure function of its plan. */

import { contains, type Family } from "../../kernel/ip.ts";
import type {
  Address,
  EndpointSlice,
  IpvsDestination,
  IpvsService,
  Route,
  Service,
} from "../../kernel/plugin.ts";
import { planService, type ServiceContext, type ServicePlan } from "./service-plan.ts";
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
  return itemsOf(planService(service, slices, context), context);
}

/**
 * All that a plan wants. A frontend without endpoints is a virtual service without destinations: IPVS refuses at once
 * what reaches it, instead of handing it to a program of the host that listens on the same port.
 */
export function itemsOf(plan: ServicePlan, context: ServiceContext): ServiceItems {
  const addresses: Address[] = [];
  const routes: Route[] = [];
  const services: IpvsService[] = [];
  const destinations: IpvsDestination[] = [];
  for (const { family, address, node, own } of plan.vips) {
    if (own || context.routedRanges.some((range) => contains(range, address))) continue;
    const prefix = family === 4 ? 32 : 128;
    addresses.push({ family, address, prefix, link: VIP_LINK });
    routes.push(vipRoute(family, `${address}/${prefix}`, node));
  }
  const { scheduler, schedulerFlags, persistence } = plan;
  for (const { id, endpoints } of plan.frontends) {
    services.push({ id, scheduler, schedulerFlags, persistence });
    for (const { address, port } of endpoints) {
      destinations.push({ service: id, address, port, weight: 1, method: "masq" });
    }
  }
  return { addresses, routes, services, destinations, problems: plan.problems };
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
