/** The firewall's configuration, out of the agent's flags. */

import { takeOptions } from "../../kernel/plugin.ts";

export interface FirewallOptions {
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;
  /** Refuse the traffic of a pod of this node until its rules are in Linux. */
  readonly netpolDefaultDeny: boolean;
  /** Let connections go on that were established before a policy denied them. */
  readonly netpolKeepEstablished: boolean;
  /** Ranges of Services' addresses, canonical. */
  readonly serviceClusterIpRange: readonly string[];
  readonly serviceExternalIpRange: readonly string[];
  readonly loadbalancerIpRange: readonly string[];
  readonly serviceNodePortRange: { readonly from: number; readonly to: number };
}

const FIELDS = [
  "enableIpv4",
  "enableIpv6",
  "netpolDefaultDeny",
  "netpolKeepEstablished",
  "serviceClusterIpRange",
  "serviceExternalIpRange",
  "loadbalancerIpRange",
  "serviceNodePortRange",
] as const satisfies readonly (keyof FirewallOptions)[];

/** Takes the firewall's part of the parsed flags, whose values are validated already. */
export function parseOptions(raw: unknown): FirewallOptions {
  return takeOptions<FirewallOptions>("Firewall", raw, FIELDS);
}
