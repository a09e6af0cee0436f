/** The proxy's configuration, out of the agent's flags. */

import { takeOptions } from "../../kernel/plugin.ts";

/** How VIPs become local addresses. */
export type VipBinding = "auto" | "address" | "route";

export interface ProxyOptions {
  /** SNAT every connection to a VIP, so that pods see the node's address. */
  readonly masqueradeAll: boolean;
  /** Accept traffic to Services before the node's own rules judge it, and reject what else goes to their addresses. */
  readonly ipvsPermitAll: boolean;
  /** Let every pod reach itself through its Services. */
  readonly hairpinMode: boolean;
  /** NodePorts on every address of the host, not on the node's primary ones alone. */
  readonly nodeportBindonAllIp: boolean;
  readonly vipBinding: VipBinding;
  /** Service ranges, canonical, at most one a family. */
  readonly serviceClusterIpRange: readonly string[];
  /** Ranges of external IPs that Services may take, canonical. */
  readonly serviceExternalIpRange: readonly string[];
  /** Ranges of load balancer IPs that Services may take, canonical. */
  readonly loadbalancerIpRange: readonly string[];
  /** Whether external and load balancer IPs must lie in those ranges. */
  readonly strictExternalIpValidation: boolean;
  /** Ranges whose VIPs are left to others, canonical. */
  readonly excludedCidrs: readonly string[];
  /** IPVS's time-outs in milliseconds; 0 leaves Linux's. */
  readonly serviceTcpTimeout: number;
  readonly serviceTcpfinTimeout: number;
  readonly serviceUdpTimeout: number;
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;
  /** Destinations that are no longer wanted drain until they are idle, or for their pod's grace period. */
  readonly ipvsGracefulTermination: boolean;
  /** Grace period where the pod says none, ms. */
  readonly ipvsGracefulPeriod: number;
}

const FIELDS = [
  "masqueradeAll",
  "ipvsPermitAll",
  "hairpinMode",
  "nodeportBindonAllIp",
  "vipBinding",
  "serviceClusterIpRange",
  "serviceExternalIpRange",
  "loadbalancerIpRange",
  "strictExternalIpValidation",
  "excludedCidrs",
  "serviceTcpTimeout",
  "serviceTcpfinTimeout",
  "serviceUdpTimeout",
  "enableIpv4",
  "enableIpv6",
  "ipvsGracefulTermination",
  "ipvsGracefulPeriod",
] as const satisfies readonly (keyof ProxyOptions)[];

/** Takes the proxy's part of the parsed flags, whose values are validated already. */
export function parseOptions(raw: unknown): ProxyOptions {
  return takeOptions<ProxyOptions>("Proxy", raw, FIELDS);
}
