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
export function nodeFamilies(node: Node | undefined, options: ProxyOptions): readonly NodeFamily[] {
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

/** Everything at once, since one change of a node may bear on all of it. */
export function nodeFacts(
  name: string,
  nodes: readonly Node[],
  host: readonly HostAddress[],
  options: ProxyOptions,
  ranges: ExternalRanges,
): NodeFacts {
  const self = nodes.find((node) => node.metadata.name === name);
  const zone = self?.metadata.labels[ZONE];
  const own = [
    ...(self === undefined ? [] : addressesOf(self)),
    // Addresses on our own link are VIPs.
    ...host.filter(({ link }) => link !== VIP_LINK).flatMap((h) => canonicalIp(h.address) ?? []),
  ];
  const others = nodes.filter((node) => node !== self).flatMap(addressesOf);
  const external = [...ranges.external, ...ranges.loadBalancer];
  const mayBeExternal = (address: string): boolean =>
    !ranges.strict || external.some((range) => contains(range, address));
  const around = {
    addresses: [...own, ...others],
    networks: [...nodes.flatMap(podCIDRsOf), ...options.excludedCidrs]
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

/** From kube-router's annotations, else from the spec; either of the two annotations is enough (trap T33). */
function podCIDRsOf(node: Node): readonly string[] {
  const { annotations } = node.metadata;
  const annotated = [
    ...(annotations["kube-router.io/pod-cidrs"] ?? "").split(","),
    annotations["kube-router.io/pod-cidr"] ?? "",
  ].map((text) => text.trim()).filter((text) => text !== "");
  const given = annotated.length > 0 ? annotated : node.spec.podCIDRs;
  return [...new Set(given.flatMap((text) => canonicalCidr(text) ?? []))];
}
