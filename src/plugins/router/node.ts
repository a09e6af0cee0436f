/** What the router reads of a Node object, its own or another: addresses and pod CIDRs. */

import { canonicalCidr, canonicalIp, type Family, ipFamily, parseCidr } from "../../kernel/ip.ts";
import type { Node } from "../../kernel/plugin.ts";

/** The families that flags switch on. */
export interface EnabledFamilies {
  readonly enableIpv4: boolean;
  readonly enableIpv6: boolean;
}

export interface NodeAddresses {
  /**
   * First internal address of `status.addresses`, whatever its family, else the first external one: by it nodes peer.
   * Absent where the node has none.
   */
  readonly primary?: string;
  /** Canonical, internal ones before external ones, in the API's order. */
  readonly all: readonly string[];
}

/** The addresses of a node. Names and texts that are no addresses are passed over. */
export function nodeAddresses(node: Node): NodeAddresses {
  const all = [
    ...new Set(
      ["InternalIP", "ExternalIP"].flatMap((type) =>
        node.status.addresses.filter((a) => a.type === type)
          .flatMap((a) => canonicalIp(a.address) ?? [])
      ),
    ),
  ];
  const [primary] = all;
  return { all, ...(primary === undefined ? {} : { primary }) };
}

/** The address that stands for a node in a family: its primary one if it fits, else its first of that family. */
export function bestAddress(
  { primary, all }: NodeAddresses,
  family: Family,
): string | undefined {
  return primary !== undefined && ipFamily(primary) === family
    ? primary
    : all.find((address) => ipFamily(address) === family);
}

/**
 * The families that are switched on and that the node has an address of. kube-router lets a node speak for a family that
 * its flags switch off.
 */
export function nodeFamilies(
  addresses: NodeAddresses,
  { enableIpv4, enableIpv6 }: EnabledFamilies,
): readonly Family[] {
  return ([4, 6] as const).filter((family) =>
    (family === 4 ? enableIpv4 : enableIpv6) && bestAddress(addresses, family) !== undefined
  );
}

const POD_CIDRS = "kube-router.io/pod-cidrs";
const POD_CIDR = "kube-router.io/pod-cidr";

export interface PodCidrs {
  /** Canonical, in the order in which they are given. */
  readonly cidrs: readonly string[];
  readonly problems: readonly string[];
}

/**
 * A node's pod CIDRs: of its annotations where it has any, else of its spec. One rule for all that needs them; kube-router
 * has three, which disagree. An item that is no CIDR costs only itself.
 */
export function podCidrs(node: Node): PodCidrs {
  const { annotations } = node.metadata;
  const annotated = [POD_CIDRS, POD_CIDR].flatMap((name) =>
    (annotations[name] ?? "").split(",").map((text) => ({ name, text: text.trim() }))
  ).filter(({ text }) => text !== "");
  if (annotated.length === 0) return { cidrs: canonical(node.spec.podCIDRs), problems: [] };
  const problems = annotated.filter(({ text }) => parseCidr(text) === undefined)
    .map(({ name, text }) =>
      `Annotation ${name} has "${text}", which is no CIDR such as "10.244.1.0/24"; it is left out`
    );
  return { cidrs: canonical(annotated.map(({ text }) => text)), problems };
}

function canonical(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.flatMap((text) => canonicalCidr(text) ?? []))];
}

/** Those of a family. */
export function ofFamily(cidrs: readonly string[], family: Family): readonly string[] {
  return cidrs.filter((cidr) => parseCidr(cidr)?.family === family);
}
