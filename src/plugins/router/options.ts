/** The router's configuration, out of the agent's flags. */

import { takeOptions } from "../../kernel/plugin.ts";

export type OverlayType = "subnet" | "full";
export type OverlayEncap = "ipip" | "fou";

export interface RouterOptions {
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;

  /** Write the node's pod CIDRs into the CNI configuration. */
  readonly enableCni: boolean;
  /** The MTU of bridge and pods follows that of the link with the node's primary address. */
  readonly autoMtu: boolean;
  readonly enableOverlay: boolean;
  readonly overlayType: OverlayType;
  readonly overlayEncap: OverlayEncap;
  /** UDP port of FOU tunnels. */
  readonly overlayEncapPort: number;
  readonly enablePodEgress: boolean;
  /** Say on AWS that the source and destination check of the instance has to go. */
  readonly disableSourceDestCheck: boolean;

  /** 0 stands for 64512. */
  readonly clusterAsn: number;
  /** IPv4 address, "generate", or "" for the node's primary address. */
  readonly routerId: string;
  readonly bgpPort: number;
  /** Of a peer, in each family; 0: no limit. */
  readonly bgpMaxPrefixes: number;
  /** ms. */
  readonly bgpHoldtime: number;
  readonly bgpGracefulRestart: boolean;
  /** ms. */
  readonly bgpGracefulRestartTime: number;
  /** ms. */
  readonly bgpGracefulRestartDeferralTime: number;
  readonly nodesFullMesh: boolean;
  readonly enableIbgp: boolean;
  readonly overrideNexthop: boolean;
  readonly advertiseClusterIp: boolean;
  readonly advertiseExternalIp: boolean;
  readonly advertiseLoadbalancerIp: boolean;
  readonly advertisePodCidr: boolean;
  /** One route for a service range, and for single VIPs only where nodes differ. */
  readonly advertiseServiceRanges: boolean;

  /** Canonical addresses of routers that every node peers with; the lists below are parallel to it, or empty. */
  readonly peerRouterIps: readonly string[];
  readonly peerRouterAsns: readonly number[];
  readonly peerRouterPorts: readonly number[];
  /** Base64, "" for none. */
  readonly peerRouterPasswords: readonly string[];
  readonly peerRouterPasswordsFile: string;
  /** Takes effect from 2 on. */
  readonly peerRouterMultihopTtl: number;
  readonly enableBfd: boolean;
  readonly bfdPort: number;
  readonly bfdDetectionMultiplier: number;
  /** ms. */
  readonly bfdDesiredMinTxInterval: number;
  /** ms. */
  readonly bfdRequiredMinRxInterval: number;

  /** Canonical. */
  readonly serviceClusterIpRange: readonly string[];
  readonly serviceExternalIpRange: readonly string[];
  readonly loadbalancerIpRange: readonly string[];
  readonly strictExternalIpValidation: boolean;
}

const FIELDS = [
  "enableIpv4",
  "enableIpv6",
  "enableCni",
  "autoMtu",
  "enableOverlay",
  "overlayType",
  "overlayEncap",
  "overlayEncapPort",
  "enablePodEgress",
  "disableSourceDestCheck",
  "clusterAsn",
  "routerId",
  "bgpPort",
  "bgpMaxPrefixes",
  "bgpHoldtime",
  "bgpGracefulRestart",
  "bgpGracefulRestartTime",
  "bgpGracefulRestartDeferralTime",
  "nodesFullMesh",
  "enableIbgp",
  "overrideNexthop",
  "advertiseClusterIp",
  "advertiseExternalIp",
  "advertiseLoadbalancerIp",
  "advertisePodCidr",
  "advertiseServiceRanges",
  "peerRouterIps",
  "peerRouterAsns",
  "peerRouterPorts",
  "peerRouterPasswords",
  "peerRouterPasswordsFile",
  "peerRouterMultihopTtl",
  "enableBfd",
  "bfdPort",
  "bfdDetectionMultiplier",
  "bfdDesiredMinTxInterval",
  "bfdRequiredMinRxInterval",
  "serviceClusterIpRange",
  "serviceExternalIpRange",
  "loadbalancerIpRange",
  "strictExternalIpValidation",
] as const satisfies readonly (keyof RouterOptions)[];

/** Takes the router's part of the parsed flags, whose values are validated already. */
export function parseOptions(raw: unknown): RouterOptions {
  return takeOptions<RouterOptions>("Router", raw, FIELDS);
}
