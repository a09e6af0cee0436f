/** What the rules depend on beside pods, namespaces and policies: the flags, and the ranges of pods on this node. */

import { canonicalCidr, type Family } from "../../kernel/ip.ts";
import {
  type Input,
  type Node,
  type ServiceCIDR,
  serviceRanges,
  type Store,
} from "../../kernel/plugin.ts";
import type { ServiceRange } from "./compile-base.ts";
import type { Facts } from "./desired.ts";
import type { FirewallOptions } from "./options.ts";

export function familiesOf(options: FirewallOptions): readonly Family[] {
  return [...(options.enableIpv4 ? [4 as const] : []), ...(options.enableIpv6 ? [6 as const] : [])];
}

export function factsOf(
  node: Node | undefined,
  options: FirewallOptions,
  serviceCIDRs: Iterable<ServiceCIDR> = [],
): Facts {
  const ranges = (cidrs: readonly string[], words: (cidr: string, i: number) => string) =>
    cidrs.map((cidr, i): ServiceRange => ({ cidr, words: words(cidr, i) }));
  return {
    families: familiesOf(options),
    keepEstablished: options.netpolKeepEstablished,
    defaultDeny: options.netpolDefaultDeny,
    podCIDRs: options.netpolDefaultDeny && node !== undefined ? podCIDRsOf(node) : [],
    serviceRanges: [
      ...ranges(
        serviceRanges(options.serviceClusterIpRange, serviceCIDRs),
        (_, i) => `allow traffic to ${i === 0 ? "primary" : "secondary"} cluster IP range`,
      ),
      ...ranges(
        options.serviceExternalIpRange,
        (cidr) => `allow traffic to external IP range: ${cidr}`,
      ),
      ...ranges(
        options.loadbalancerIpRange,
        (cidr) => `allow traffic to load balancer IP range: ${cidr}`,
      ),
    ],
    nodePorts: options.serviceNodePortRange,
  };
}

/** From kube-router's annotations, else from the spec. */
function podCIDRsOf({ metadata: { annotations }, spec }: Node): readonly string[] {
  const annotated = [
    ...(annotations["kube-router.io/pod-cidrs"] ?? "").split(","),
    annotations["kube-router.io/pod-cidr"] ?? "",
  ].map((text) => text.trim()).filter((text) => text !== "");
  const given = annotated.length > 0 ? annotated : spec.podCIDRs;
  return [...new Set(given.flatMap((text) => canonicalCidr(text) ?? []))];
}

export interface FactsInput extends Input {
  readonly value: Facts;
}

/**
 * The facts, which wake all units when they differ: heartbeats of the Node do not. Not synced before the Node of this host was
 * seen: under a wrong name the node has no pods, and all rules of an earlier life would go. One that goes later counts as it was.
 */
export function factsInput(
  nodes: Store<Node>,
  serviceCIDRs: Store<ServiceCIDR>,
  name: string,
  options: FirewallOptions,
): FactsInput {
  let last: Node | undefined;
  const compute = (): Facts => {
    last = nodes.get(name) ?? last;
    return factsOf(last, options, serviceCIDRs.values());
  };
  const listeners = new Set<(changed: boolean) => void>();
  let value = compute();
  const update = (): void => {
    const next = compute();
    const changed = JSON.stringify(next) !== JSON.stringify(value);
    if (changed) value = next;
    for (const listener of listeners) listener(changed);
  };
  nodes.subscribe(update);
  serviceCIDRs.subscribe(update);
  return {
    name: "node",
    get synced() {
      return nodes.synced && serviceCIDRs.synced && last !== undefined;
    },
    get waitsFor() {
      return nodes.synced && last === undefined
        ? `Node "${name}" not found; if that is not this node's name, correct --hostname-override, or NODE_NAME, or ` +
          "the host's name"
        : undefined;
    },
    get value() {
      return value;
    },
    subscribe(wake) {
      const listener = (changed: boolean): void => wake(changed ? "all" : []);
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}
