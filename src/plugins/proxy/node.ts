/** What the proxy must know of the node it runs on. */

import { canonicalCidr, canonicalIp, type Family, ipFamily, parseCidr } from "../../kernel/ip.ts";
import type { Node } from "../../kernel/plugin.ts";
import type { ProxyOptions } from "./options.ts";

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

/** Canonical addresses, internal before external; names are no addresses. */
function addressesOf(node: Node): readonly string[] {
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
