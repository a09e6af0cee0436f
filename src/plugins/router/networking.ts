/** What pods need of this node whatever routes there are: bridge, sets, packet rules, sysctls, policy rules. */

import { type Family, ipFamily } from "../../kernel/ip.ts";
import {
  type Bridge,
  type Chain,
  type CniConf,
  type FilterRule,
  type FouPort,
  type HostAddress,
  type IpSet,
  type IpSetMember,
  type Jump,
  type Node,
  POD_BRIDGE,
  type Rule,
  type Sysctl,
} from "../../kernel/plugin.ts";
import { nodeAddresses, nodeFamilies, ofFamily, podCidrs } from "./node.ts";
import type { RouterOptions } from "./options.ts";
import type { KnownNodes } from "./own-node.ts";
import { fouPorts, TUNNEL_TABLE } from "./tunnels.ts";

export const FORWARD_CHAIN = "KUBE-ROUTER-RT-FORWARD";
export const EGRESS_CHAIN = "KUBE-ROUTER-RT-EGRESS";

/**
 * Priority of the rules that send what pods send to table 77: before the main table (32766), behind those of direct server
 * return (32764), whose answers must not be drawn into a tunnel.
 */
const POD_RULE_PRIORITY = 32765;

/** The default of kube-router's environment variable KUBE_ROUTER_CNI_CONF_FILE. */
export const CNI_CONF = "/etc/cni/net.d/10-kuberouter.conf";

/** What this node's networking depends on. */
export interface NetworkingFacts {
  readonly families: readonly Family[];
  /** Pod CIDRs of this node, canonical. */
  readonly podCidrs: readonly string[];
  /** The link that carries the node's primary address; absent: none does. */
  readonly link?: string;
  /** Its MTU, where `--auto-mtu` and it is known. */
  readonly mtu?: number;
  readonly problems: readonly string[];
}

/** Gathers the facts. */
export function networkingFacts(
  { own: node, problem }: Pick<KnownNodes, "own" | "problem">,
  self: string,
  host: readonly HostAddress[],
  options: Pick<
    RouterOptions,
    | "enableIpv4"
    | "enableIpv6"
    | "autoMtu"
    | "disableSourceDestCheck"
    | "enableOverlay"
    | "overlayType"
  >,
): NetworkingFacts {
  if (node === undefined) return { families: [], podCidrs: [], problems: toList(problem) };
  const addresses = nodeAddresses(node);
  const families = nodeFamilies(addresses, options);
  const own = podCidrs(node);
  const cidrs = own.cidrs.filter((cidr) =>
    families.includes(ofFamily([cidr], 4).length === 1 ? 4 : 6)
  );
  const problems = [...toList(problem), ...own.problems];
  if (cidrs.length === 0) {
    problems.push(
      `Node "${self}" has no pod CIDR of an enabled family in spec.podCIDRs, nor in its annotation ` +
        "kube-router.io/pod-cidrs; the router makes no pod network here, and BGP announces Services alone: let " +
        "kube-controller-manager allocate them (--allocate-node-cidrs), or leave pods to others by --run-router=false",
    );
  }
  // With tunnels everywhere all that leaves the instance has its own address.
  const bare = !options.enableOverlay || options.overlayType !== "full";
  if (options.disableSourceDestCheck && bare && node.spec.providerID?.startsWith("aws")) {
    problems.push(
      `Node "${self}" is on AWS ("${node.spec.providerID}"), which drops what pods send until the source and destination ` +
        "check of the instance is off, and routelet calls no cloud: turn it off (aws ec2 modify-instance-attribute " +
        "--no-source-dest-check), or use --overlay-type=full; --disable-source-dest-check=false takes this message away",
    );
  }
  const uplink = host.find(({ address }) => address === addresses.primary);
  if (addresses.primary !== undefined && uplink === undefined) {
    problems.push(
      `No link of this host has the address "${addresses.primary}" of Node "${self}"; set status.addresses right`,
    );
  }
  return {
    families,
    podCidrs: cidrs,
    ...(uplink === undefined ? {} : { link: uplink.link }),
    ...(options.autoMtu && uplink?.mtu !== undefined ? { mtu: uplink.mtu } : {}),
    problems,
  };
}

function toList(problem: string | undefined): readonly string[] {
  return problem === undefined ? [] : [problem];
}

export interface NetworkingItems {
  readonly bridges: readonly Bridge[];
  readonly cniConfs: readonly CniConf[];
  readonly sysctls: readonly Sysctl[];
  readonly rules: readonly Rule[];
  readonly fouPorts: readonly FouPort[];
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
}

/**
 * All of this node but the sets, which depend on all nodes.
 *
 * @param aggregates networks that are announced for the Services in them
 */
export function networkingItems(
  facts: NetworkingFacts,
  options: Pick<
    RouterOptions,
    | "enableCni"
    | "enableIpv6"
    | "enableOverlay"
    | "overlayEncap"
    | "overlayEncapPort"
    | "enablePodEgress"
  >,
  cniPath: string,
  aggregates: readonly string[] = [],
): NetworkingItems {
  const { families, mtu } = facts;
  const withMtu = mtu === undefined ? {} : { mtu };
  const overlay = options.enableOverlay;
  const refused = families.filter((family) => ofFamily(aggregates, family).length > 0);
  if (facts.podCidrs.length === 0) {
    return {
      bridges: [],
      cniConfs: [],
      sysctls: [],
      rules: [],
      fouPorts: [],
      chains: refused.map((family) => forwardChain(family, ofFamily(aggregates, family), [])),
      jumps: refused.map(forwardJump),
    };
  }
  return {
    bridges: [{ name: POD_BRIDGE, ...withMtu }],
    cniConfs: options.enableCni
      ? [{ path: cniPath, podCidrs: byFamily(facts.podCidrs), ...withMtu }]
      : [],
    sysctls: sysctls(families, options.enableIpv6),
    rules: overlay ? podRules(facts.podCidrs) : [],
    fouPorts: overlay && options.overlayEncap === "fou"
      ? fouPorts(families, options.overlayEncapPort)
      : [],
    chains: families.flatMap((family) => [
      forwardChain(family, ofFamily(aggregates, family), acceptedForPods(facts.link)),
      ...(options.enablePodEgress ? [egressChain(family)] : []),
    ]),
    jumps: families.flatMap((family) => [
      forwardJump(family),
      ...(options.enablePodEgress ? [egressJump(family)] : []),
    ]),
  };
}

function byFamily(cidrs: readonly string[]): readonly string[] {
  return [...ofFamily(cidrs, 4), ...ofFamily(cidrs, 6)];
}

/**
 * Sysctls that pod networking needs. kube-router leaves forwarding to the CNI plugin; without it nothing of this works, and
 * an agent that says it is ready must not depend on whether a pod was started before.
 */
function sysctls(families: readonly Family[], enableIpv6: boolean): readonly Sysctl[] {
  return [
    ...(enableIpv6 ? [{ path: "net/ipv6/conf/all/disable_ipv6", value: "0" }] : []),
    ...(families.includes(4)
      ? [
        { path: "net/ipv4/ip_forward", value: "1" },
        { path: "net/bridge/bridge-nf-call-iptables", value: "1" },
      ]
      : []),
    ...(families.includes(6)
      ? [
        { path: "net/ipv6/conf/all/forwarding", value: "1" },
        { path: "net/bridge/bridge-nf-call-ip6tables", value: "1" },
      ]
      : []),
  ];
}

/** What pods send to the addresses of other nodes goes by the tunnels too, so that it keeps their source. */
function podRules(cidrs: readonly string[]): readonly Rule[] {
  return cidrs.map((from) => ({
    family: from.includes(":") ? 6 : 4,
    priority: POD_RULE_PRIORITY,
    from,
    table: TUNNEL_TABLE,
  }));
}

/**
 * What belongs to a Service is not forwarded under the Service's address: proxies take it in, or have translated it before. An
 * address of an announced network that still has to be forwarded is nobody's, and would go back to the router that sent it here.
 */
function forwardChain(
  family: Family,
  aggregates: readonly string[],
  accepted: readonly FilterRule[],
): Chain {
  return {
    family,
    table: "filter",
    name: FORWARD_CHAIN,
    rules: [
      ...aggregates.map((prefix) => ({
        matches: [{ kind: "destination", prefix } as const],
        target: { kind: "reject" } as const,
        comment: "announced range: no service has this address",
      })),
      ...accepted,
    ],
  };
}

/** @param link that with the node's primary address */
function acceptedForPods(link: string | undefined): readonly FilterRule[] {
  const target = { kind: "accept" } as const;
  return [
    {
      matches: [{ kind: "input", link: POD_BRIDGE }],
      target,
      comment: "allow outbound traffic from pods",
    },
    {
      matches: [{ kind: "output", link: POD_BRIDGE }],
      target,
      comment: "allow inbound traffic to pods",
    },
    ...(link === undefined ? [] : [{
      matches: [{ kind: "output", link } as const],
      target,
      comment:
        "allow outbound node port traffic on node interface with which node ip is associated",
    }]),
  ];
}

/** Before the rules of others, some of which drop all that they do not know; behind the firewall's policies. */
function forwardJump(family: Family): Jump {
  return {
    family,
    table: "filter",
    from: "FORWARD",
    to: FORWARD_CHAIN,
    matches: [],
    comment: "pod networking",
    first: true,
  };
}

/** Names of the sets are kube-router's; those of IPv6 begin with "inet6:". */
export function setName(name: "pod-subnets" | "node-ips", family: Family): string {
  return `${family === 6 ? "inet6:" : ""}kube-router-${name}`;
}

function egressChain(family: Family): Chain {
  const pods = setName("pod-subnets", family);
  return {
    family,
    table: "nat",
    name: EGRESS_CHAIN,
    rules: [{
      matches: [
        { kind: "set", set: pods, directions: ["src"] },
        { kind: "set", set: pods, directions: ["dst"], negate: true },
        { kind: "set", set: setName("node-ips", family), directions: ["dst"], negate: true },
      ],
      target: { kind: "masquerade", fullyRandom: true },
      comment: "pods leave the cluster with the node's address",
    }],
  };
}

function egressJump(family: Family): Jump {
  return {
    family,
    table: "nat",
    from: "POSTROUTING",
    to: EGRESS_CHAIN,
    matches: [],
    comment: "pod egress",
  };
}

export interface SetItems {
  readonly sets: readonly IpSet[];
  readonly members: readonly IpSetMember[];
}

/** The two sets of a family that this node speaks, empty. */
export function clusterSets(families: readonly Family[]): readonly IpSet[] {
  return families.flatMap((family): readonly IpSet[] => [
    { name: setName("pod-subnets", family), type: "hash:net", family, timeout: 0 },
    { name: setName("node-ips", family), type: "hash:ip", family, timeout: 0 },
  ]);
}

/** Members for one node. One without pod CIDRs is none of the cluster's network, as in kube-router. */
export function nodeMembers(node: Node, families: readonly Family[]): readonly IpSetMember[] {
  const { cidrs } = podCidrs(node);
  if (cidrs.length === 0) return [];
  return families.flatMap((family) => [
    ...ofFamily(cidrs, family).map((cidr) => ({
      set: setName("pod-subnets", family),
      // As Linux lists it: a network of one address is that address.
      entry: cidr.replace(family === 4 ? /\/32$/ : /\/128$/, ""),
    })),
    ...nodeAddresses(node).all.filter((address) => ipFamily(address) === family)
      .map((entry) => ({ set: setName("node-ips", family), entry })),
  ]);
}
