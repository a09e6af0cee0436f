/** A pod of this node as rules: one chain a family, in kube-router's order. It depends on the pod's name and addresses alone. */

import type { Family } from "../../kernel/ip.ts";
import type { Chain, FilterRule, Match } from "../../kernel/plugin.ts";
import {
  ALLOWED,
  comment,
  COMMON_CHAIN,
  DEFAULT_CHAIN,
  namespaceChainName,
  PASSED,
  PASSED_DESTINATION,
  PASSED_SOURCE,
  podChainName,
} from "./names.ts";
import { addressesOf, type PodFacts } from "./pods.ts";

export interface PodOptions {
  readonly defaultDeny: boolean;
  readonly serviceRanges: readonly { readonly cidr: string }[];
}

export function compilePod(
  pod: PodFacts,
  families: readonly Family[],
  options: PodOptions,
): readonly Chain[] {
  return families.flatMap((family): readonly Chain[] => {
    const addresses = addressesOf(pod, family);
    if (addresses.length === 0) return [];
    const rules = rulesOf(pod, addresses, family, options);
    return [{ family, table: "filter", name: podChainName(pod.key), rules }];
  });
}

/** All conditions on addresses of the pod. */
export const from = (address: string): Match => ({ kind: "source", prefix: host(address) });
export const to = (address: string): Match => ({ kind: "destination", prefix: host(address) });

const DENIED: Match = { kind: "mark", mark: 0, mask: ALLOWED };

const FORGET_ALLOWED: FilterRule = {
  matches: [],
  target: { kind: "mark", set: 0, mask: ALLOWED },
};

/**
 * TCP is reset: an IPv6 client takes the first ICMP error for temporary and waits, and Linux limits the rate of those
 * errors. What IPVS has translated gets the ICMP error of kube-router, which IPVS translates back and a reset it would not.
 */
function rejectRules(
  addresses: readonly string[],
  serviceRanges: readonly { readonly cidr: string }[],
): readonly FilterRule[] {
  const tcp: Match = { kind: "protocol", protocol: "tcp" };
  const reject: FilterRule["target"] = { kind: "reject" };
  const reset: FilterRule["target"] = { kind: "reject", with: "tcp-reset" };
  return [
    ...addresses.map((address): FilterRule => ({
      matches: [tcp, DENIED, to(address), { kind: "originalDestination", prefix: host(address) }],
      target: reset,
    })),
    ...serviceRanges.map(({ cidr }): FilterRule => ({
      matches: [tcp, DENIED, { kind: "originalDestination", prefix: cidr }],
      target: reject,
    })),
    ...addresses.map((address): FilterRule => ({
      matches: [tcp, DENIED, from(address)],
      target: reset,
    })),
    { matches: [DENIED], target: reject },
  ];
}

function host(address: string): string {
  return `${address}/${address.includes(":") ? 128 : 32}`;
}

function rulesOf(
  pod: PodFacts,
  addresses: readonly string[],
  family: Family,
  { defaultDeny, serviceRanges }: PodOptions,
): readonly FilterRule[] {
  const { namespace, key } = pod;
  const judge = (match: Match, direction: "ingress" | "egress"): FilterRule => ({
    matches: [match],
    target: { kind: "jump", chain: namespaceChainName(namespace, direction) },
    comment: comment(`${namespace} ${direction} policies`),
  });
  const passed = (match: Match, mark: number): FilterRule => ({
    matches: [match],
    target: { kind: "mark", set: mark, mask: mark },
  });
  return [
    { ...FORGET_ALLOWED, comment: "marks of others permit nothing" },
    { matches: [], target: { kind: "jump", chain: COMMON_CHAIN }, comment: "common netpol rules" },
    // kubelet's probes, and all that is masqueraded to an address of the node.
    ...addresses.map((address): FilterRule => ({
      matches: [to(address), { kind: "local", side: "source" }],
      target: { kind: "accept" },
      comment: "from local node",
    })),
    ...addresses.flatMap((one) =>
      addresses.map((other): FilterRule => ({
        matches: [from(one), to(other)],
        target: { kind: "jump", chain: DEFAULT_CHAIN },
        comment: "pod to itself",
      }))
    ),
    ...addresses.map((address) => judge(from(address), "egress")),
    ...addresses.map((address) => judge(to(address), "ingress")),
    ...rejectRules(
      addresses,
      serviceRanges.filter(({ cidr }) => cidr.includes(":") === (family === 6)),
    )
      .map((rule) => ({ ...rule, comment: comment(`${key} reject`) })),
    FORGET_ALLOWED,
    {
      matches: [],
      target: { kind: "mark", set: PASSED, mask: PASSED },
      comment: "set netpol-ok mark",
    },
    ...(defaultDeny
      ? [
        ...addresses.map((address) => passed(from(address), PASSED_SOURCE)),
        ...addresses.map((address) => passed(to(address), PASSED_DESTINATION)),
      ]
      : []),
  ];
}
