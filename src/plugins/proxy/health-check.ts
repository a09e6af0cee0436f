/** The health check node port of a Service. */

import type { EndpointSlice, HealthCheck, Service } from "../../kernel/plugin.ts";

/**
 * The health check that a Service wants, if it does: with external policy Local, so that a load balancer sends only to
 * nodes with an endpoint. Endpoints that terminate do not count, though traffic still reaches them (KEP-1669): the load
 * balancer is to go elsewhere before the last one ends.
 */
export function healthCheckOf(
  { metadata: { namespace, name }, spec }: Service,
  slices: readonly EndpointSlice[],
  node: string,
): HealthCheck | undefined {
  const port = spec.healthCheckNodePort;
  if (port <= 0 || spec.type !== "LoadBalancer" || spec.externalTrafficPolicy !== "Local") {
    return undefined;
  }
  // A dual-stack pod stands in a slice of each family and counts once.
  const local = { IPv4: new Set<string>(), IPv6: new Set<string>() };
  for (const { addressType, endpoints } of slices) {
    if (addressType !== "IPv4" && addressType !== "IPv6") continue;
    for (const { addresses, conditions, nodeName } of endpoints) {
      if (nodeName !== node || conditions.terminating === true) continue;
      if (conditions.ready !== false) local[addressType].add(addresses[0] ?? "");
    }
  }
  return { port, namespace, name, localEndpoints: Math.max(local.IPv4.size, local.IPv6.size) };
}
