/** What the proxy must know of the node it runs on. */

import {
  canonicalCidr,
  canonicalIp,
  contains,
  type Family,
  ipFamily,
  parseCidr,
} from "../../kernel/ip.ts";
import type { HostAddress, Node } from "../../kernel/plugin.ts";
import type { ExternalRanges } from "./external-ranges.ts";
import type { ProxyOptions } from "./options.ts";
import { obstacle } from "./vip-binding.ts";
import { VIP_LINK } from "./vip-link.ts";

/** One family's facts. */
export interface NodeFamily {
  readonly family: Family;
  /** The node's primary address: source of what the node itself sends to VIPs, target of SNAT, NodePort address. */
  readonly address: string;
  /** Pod CIDRs of this node; empty when unknown. */
  readonly podCIDRs: readonly string[];
}

/** Facts of the families that are enabled and that the node has an address of (kube-router mixes these up: trap T4). */
export function nodeFamilies(
  node: Node | undefined,
  options: Pick<ProxyOptions, "enableIpv4" | "enableIpv6">,
): readonly NodeFamily[] {
  if (node === undefined) return [];
  const addresses = addressesOf(node);
  const cidrs = podCIDRsOf(node);
  return ([4, 6] as const)
    .filter((family) => family === 4 ? options.enableIpv4 : options.enableIpv6)
    .flatMap((family) => {
      const address = addresses.find((a) => ipFamily(a) === family);
      if (address === undefined) return [];
      return [{ family, address, podCIDRs: cidrs.filter((c) => parseCidr(c)?.family === family) }];
    });
}

/** The Node of this host, and what is wrong with it. */
export interface OwnNode {
  /** As it was last seen with an address of an enabled family; undefined before the first time. */
  readonly node: Node | undefined;
  readonly problems: readonly string[];
}

/**
 * Looks for the Node of this host and remembers it: a Node that is gone for a moment, or whose kubelet has cleared its
 * addresses, must not take all Services out of Linux. This memory is the exception to "state decides", and lasts as
 * long as the process.
 */
export function ownNode(
  name: string,
  options: Pick<ProxyOptions, "enableIpv4" | "enableIpv6">,
): (nodes: Iterable<Node>) => OwnNode {
  let last: Node | undefined;
  return (nodes) => {
    const now = [...nodes].find(({ metadata }) => metadata.name === name);
    if (now !== undefined && nodeFamilies(now, options).length > 0) {
      last = now;
      return { node: now, problems: podCIDRProblems(now) };
    }
    const kept = last === undefined
      ? ""
      : `; what was last known of it, address ${
        nodeFamilies(last, options).map(({ address }) => address).join(" and ")
      }, stays in use`;
    const fault = now === undefined
      ? `Node "${name}" not found${kept}; if that is not this node's name, correct --hostname-override, ` +
        "or NODE_NAME, or the host's name"
      : `Node "${name}" has no ${enabledText(options)} address in status.addresses${kept}; ` +
        "its kubelet or cloud controller has to set one";
    return { node: last, problems: [fault] };
  };
}

function enabledText({ enableIpv4, enableIpv6 }: Parameters<typeof ownNode>[1]): string {
  return [...(enableIpv4 ? ["IPv4"] : []), ...(enableIpv6 ? ["IPv6"] : [])].join(" or ");
}

/** What is known of the nodes and of this host, as far as Services depend on it. */
export interface NodeFacts {
  readonly families: readonly NodeFamily[];
  readonly zone?: string;
  /** As {@linkcode ServiceContext} has them. */
  readonly ownAddresses: readonly string[];
  readonly otherNodes: readonly string[];
  /** By the text of each range that may be bound as one route: what forbids that. */
  readonly obstacles: Readonly<Record<string, string>>;
}

const ZONE = "topology.kubernetes.io/zone";

/**
 * Everything at once, since one change of a node may bear on all of it.
 *
 * @param self the Node of this host, which `nodes` may lack or hold in another state
 */
export function nodeFacts(
  self: Node | undefined,
  nodes: readonly Node[],
  host: readonly HostAddress[],
  options: ProxyOptions,
  ranges: ExternalRanges,
): NodeFacts {
  const zone = self?.metadata.labels[ZONE];
  const own = [
    ...(self === undefined ? [] : addressesOf(self)),
    // Addresses on our own link are VIPs.
    ...host.filter(({ link }) => link !== VIP_LINK).flatMap((h) => canonicalIp(h.address) ?? []),
  ];
  const otherNodes = nodes.filter(({ metadata }) => metadata.name !== self?.metadata.name);
  const others = otherNodes.flatMap(addressesOf);
  const external = [...ranges.external, ...ranges.loadBalancer];
  const mayBeExternal = (address: string): boolean =>
    !ranges.strict || external.some((range) => contains(range, address));
  const around = {
    addresses: [...own, ...others],
    networks: [
      ...[...otherNodes, ...self === undefined ? [] : [self]].flatMap(podCIDRsOf),
      ...options.excludedCidrs,
    ]
      .flatMap((text) => parseCidr(text) ?? []),
  };
  return {
    families: nodeFamilies(self, options),
    ...(zone === undefined ? {} : { zone }),
    ownAddresses: [...new Set(own)].filter(mayBeExternal).toSorted(),
    otherNodes: others.filter((each) => !own.includes(each) && mayBeExternal(each)).toSorted(),
    obstacles: Object.fromEntries(
      [...ranges.cluster, ...external].flatMap((range) => {
        const found = obstacle(range, around);
        return found === undefined ? [] : [[range.text, found]];
      }),
    ),
  };
}

/** Canonical addresses, internal before external; names are no addresses. */
export function addressesOf(node: Node): readonly string[] {
  return ["InternalIP", "ExternalIP"].flatMap((type) =>
    node.status.addresses.filter((a) => a.type === type)
      .flatMap((a) => canonicalIp(a.address) ?? [])
  );
}

const POD_CIDRS = ["kube-router.io/pod-cidrs", "kube-router.io/pod-cidr"] as const;

/**
 * From kube-router's annotations, else from the spec; either of the two annotations is enough (trap T33). What is no CIDR
 * costs itself; annotations without a single one count as absent.
 */
function podCIDRsOf({ metadata, spec }: Node): readonly string[] {
  const good = (texts: readonly string[]): readonly string[] =>
    texts.flatMap((text) => canonicalCidr(text) ?? []);
  const annotated = good(POD_CIDRS.flatMap((name) => items(metadata.annotations[name])));
  return [...new Set(annotated.length > 0 ? annotated : good(spec.podCIDRs))];
}

function items(list = ""): readonly string[] {
  return list.split(",").map((text) => text.trim()).filter((text) => text !== "");
}

/** What is wrong with a Node's pod CIDRs: each text that is none, and what is done without it. */
export function podCIDRProblems(node: Node): readonly string[] {
  const { metadata: { name, annotations }, spec } = node;
  const used = podCIDRsOf(node);
  const instead = used.length > 0
    ? `${used.join(", ")} is taken`
    : "none is known, and all traffic to Services gets the node's address as its source";
  const sources = [
    ...POD_CIDRS.map((key) => [`annotation ${key}`, items(annotations[key])] as const),
    ["spec.podCIDRs", spec.podCIDRs] as const,
  ];
  return sources.flatMap(([where, texts]) => {
    const bad = texts.filter((text) => canonicalCidr(text) === undefined);
    if (bad.length === 0) return [];
    const list = bad.map((text) => `"${text}"`).join(", ");
    const remedy = `correct it to CIDRs such as "10.244.1.0/24"`;
    return [`Node "${name}": ${where} holds ${list}, which is no CIDR; ${instead}; ${remedy}`];
  });
}
