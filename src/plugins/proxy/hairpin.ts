/**
 * Hairpin: a pod that calls a Service and is given itself as endpoint. Without more it waits in vain: its answer to
 * itself never leaves it, so that nobody turns the addresses back. The source becomes the VIP, and the pod's
 * bridge port may send a frame back to where it came from.
 */

import { contains } from "../../kernel/ip.ts";
import {
  type BridgeHairpin,
  type Chain,
  type FilterRule,
  type HostAddress,
  type IpSet,
  type IpSetMember,
  type Jump,
  POD_BRIDGE,
  type Service,
} from "../../kernel/plugin.ts";
import { isOn } from "./annotations.ts";
import type { NodeFamily } from "./node.ts";
import type { Frontend, ServicePlan } from "./service-plan.ts";

export const HAIRPIN_ANNOTATION = "kube-router.io/service.hairpin";
export const HAIRPIN_EXTERNAL_ANNOTATION = "kube-router.io/service.hairpin.externalips";
export const HAIRPIN_CHAIN = "KUBE-ROUTER-HAIRPIN";
/** Endpoints of this node that may call themselves: address, protocol and port, and the address again. */
const SET = "kube-router-hairpin";

/** One Service's part: frontends at which its pods of this node may reach themselves. */
export interface HairpinPart {
  readonly frontends: readonly Frontend[];
  readonly problems: readonly string[];
}

/** Whether a Service may have hairpin rules, by annotation alone. */
export function mayHairpin({ metadata }: Service): boolean {
  return metadata.annotations[HAIRPIN_ANNOTATION] !== undefined;
}

/** What one Service needs. @param always `--hairpin-mode` */
export function hairpinPart(plan: ServicePlan, node: string, always: boolean): HairpinPart {
  const problems: string[] = [];
  const { service } = plan;
  const on = isSwitchedOn(service, HAIRPIN_ANNOTATION, problems) || always;
  const external = isSwitchedOn(service, HAIRPIN_EXTERNAL_ANNOTATION, problems);
  const frontends = on
    ? plan.frontends.filter(({ kind, endpoints }) =>
      (kind === "clusterIP" || kind === "nodePort" || (kind === "externalIP" && external)) &&
      endpoints.some(({ of }) => of.nodeName === node)
    )
    : [];
  return { frontends, problems };
}

function isSwitchedOn(service: Service, name: string, problems: string[]): boolean {
  if (service.metadata.annotations[name]?.trim().toLowerCase() === "false") {
    problems.push(
      `Annotation ${name} is "false", which kube-router takes for on; here it is off, remove it`,
    );
    return false;
  }
  return isOn(service, name, problems);
}

export interface HairpinItems {
  readonly sets: readonly IpSet[];
  readonly members: readonly IpSetMember[];
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
}

/** What all parts want of Linux together; nothing of a family where no Service needs it. */
export function hairpinItems(
  parts: readonly HairpinPart[],
  node: string,
  families: readonly NodeFamily[],
): HairpinItems {
  const items = families.map((family) =>
    familyItems(parts.flatMap(({ frontends }) => frontends), node, family)
  );
  return {
    sets: items.flatMap(({ sets }) => sets),
    members: items.flatMap(({ members }) => members),
    chains: items.flatMap(({ chains }) => chains),
    jumps: items.flatMap(({ jumps }) => jumps),
  };
}

function familyItems(
  all: readonly Frontend[],
  node: string,
  { family, address: nodeAddress }: NodeFamily,
): HairpinItems {
  const set = `${family === 6 ? "inet6:" : ""}${SET}`;
  const entries = new Set<string>();
  const rules = new Map<string, FilterRule>();
  for (const { address, port, protocol, endpoints, family: own } of all) {
    if (own !== family) continue;
    for (const endpoint of endpoints) {
      // A pod of the host's network reaches itself without leaving the host.
      if (endpoint.of.nodeName !== node || endpoint.address === nodeAddress) continue;
      entries.add(`${endpoint.address},${protocol}:${endpoint.port},${endpoint.address}`);
      rules.set(`${address} ${port}`, {
        matches: [{ kind: "ipvs", vaddr: address, vport: port }],
        target: { kind: "snat", to: address },
      });
    }
  }
  if (rules.size === 0) return { sets: [], members: [], chains: [], jumps: [] };
  const place = { family, table: "nat" } as const;
  return {
    sets: [{ name: set, type: "hash:ip,port,ip", family }],
    members: [...entries].map((entry) => ({ set, entry })),
    chains: [{ ...place, name: HAIRPIN_CHAIN, rules: inOrder(rules) }],
    jumps: [{
      ...place,
      from: "POSTROUTING",
      to: HAIRPIN_CHAIN,
      matches: [
        { kind: "ipvs", direction: "original" },
        { kind: "set", set, directions: ["src", "dst", "dst"] },
      ],
      comment: "pods that reach themselves by a service",
      // Before all that masquerades: the pod is to see the VIP.
      first: true,
    }],
  };
}

function inOrder(rules: ReadonlyMap<string, FilterRule>): readonly FilterRule[] {
  return [...rules].toSorted(([a], [b]) => a < b ? -1 : 1).map(([, rule]) => rule);
}

/** Links that carry an address of the node's pod CIDRs: the bridges that its pods hang on. */
export function podBridges(
  families: readonly NodeFamily[],
  host: readonly HostAddress[],
): readonly BridgeHairpin[] {
  const cidrs = families.flatMap(({ podCIDRs }) => podCIDRs);
  const found = host.filter(({ link, address }) =>
    cidrs.length === 0 ? link === POD_BRIDGE : cidrs.some((cidr) => contains(cidr, address))
  );
  return [...new Set(found.map(({ link }) => link))].toSorted().map((bridge) => ({ bridge }));
}
