/** All kinds of Linux state, in the order in which they are made. They go in the reverse order. */

import type { TableRef } from "../resource.ts";
import { type Address, address } from "./address.ts";
import { type Advertisement, advertisement } from "./advertisement.ts";
import { type Bridge, bridge } from "./bridge.ts";
import { type CniConf, cniConf } from "./cni.ts";
import { type Chain, chain, type Jump, jump } from "./filter.ts";
import { type FouPort, fouPort } from "./fou.ts";
import { type BridgeHairpin, bridgeHairpin } from "./hairpin.ts";
import { type HealthCheck, healthCheck } from "./health-check.ts";
import { type IpSet, ipset, type IpSetMember, ipsetMember } from "./ipset.ts";
import { type IpvsDestination, ipvsDestination, type IpvsService, ipvsService } from "./ipvs.ts";
import { type IpvsTimeout, ipvsTimeout } from "./ipvs-timeout.ts";
import { type Link, link } from "./link.ts";
import { type PodAddress, podAddress, type PodLink, podLink } from "./pod.ts";
import { type Route, route } from "./route.ts";
import { type Rule, rule } from "./rule.ts";
import { type Sysctl, sysctl } from "./sysctl.ts";

/** A reference to every kind, for plugins to want items of. */
export interface Tables {
  readonly fouPorts: TableRef<FouPort>;
  readonly links: TableRef<Link>;
  readonly bridges: TableRef<Bridge>;
  readonly sysctls: TableRef<Sysctl>;
  readonly addresses: TableRef<Address>;
  readonly routes: TableRef<Route>;
  readonly rules: TableRef<Rule>;
  readonly bridgeHairpins: TableRef<BridgeHairpin>;
  readonly podLinks: TableRef<PodLink>;
  readonly podAddresses: TableRef<PodAddress>;
  readonly ipsets: TableRef<IpSet>;
  readonly ipsetMembers: TableRef<IpSetMember>;
  readonly chains: TableRef<Chain>;
  readonly jumps: TableRef<Jump>;
  readonly ipvsServices: TableRef<IpvsService>;
  readonly ipvsDestinations: TableRef<IpvsDestination>;
  readonly ipvsTimeouts: TableRef<IpvsTimeout>;
  readonly cniConfs: TableRef<CniConf>;
  readonly healthChecks: TableRef<HealthCheck>;
  readonly advertisements: TableRef<Advertisement>;
}

export const tables: Tables = {
  fouPorts: { resource: fouPort },
  links: { resource: link },
  bridges: { resource: bridge },
  sysctls: { resource: sysctl },
  addresses: { resource: address },
  routes: { resource: route },
  rules: { resource: rule },
  bridgeHairpins: { resource: bridgeHairpin },
  podLinks: { resource: podLink },
  podAddresses: { resource: podAddress },
  ipsets: { resource: ipset },
  ipsetMembers: { resource: ipsetMember },
  chains: { resource: chain },
  jumps: { resource: jump },
  ipvsServices: { resource: ipvsService },
  ipvsDestinations: { resource: ipvsDestination },
  ipvsTimeouts: { resource: ipvsTimeout },
  cniConfs: { resource: cniConf },
  healthChecks: { resource: healthCheck },
  advertisements: { resource: advertisement },
};

/**
 * Kinds in dependency order: sets before the rules that name them, links before their addresses, a route's source
 * address before the route, IPVS after all that it needs, so that no connection is accepted before its way back stands;
 * and last what tells others that it does.
 */
export const creationOrder: readonly string[] = Object.values(tables).map((ref) =>
  (ref as TableRef<never>).resource.kind
);

export type {
  Address,
  Advertisement,
  Bridge,
  BridgeHairpin,
  Chain,
  CniConf,
  FouPort,
  HealthCheck,
  IpSet,
  IpSetMember,
  IpvsDestination,
  IpvsService,
  IpvsTimeout,
  Jump,
  Link,
  PodAddress,
  PodLink,
  Route,
  Rule,
  Sysctl,
};
