/** Which ipsets are whose, by name: a set has no field for a mark. The names are kube-router's where it has them. */

import type { Owner } from "../dataplane.ts";

const RESERVED: Readonly<Record<string, RegExp>> = {
  // All of kube-router- but what belongs to the two others.
  proxy: /^(inet6:)?kube-router-(?!pod-subnets$|node-ips$|local-pods$)/,
  router: /^(inet6:)?kube-router-(pod-subnets|node-ips)$/,
  // Not all of KUBE-: kube-proxy's sets are called KUBE-CLUSTER-IP and the like.
  firewall: /^(inet6:)?(KUBE-SRC-|KUBE-DST-|kube-router-local-pods$)/,
};

/** What an owner's sets are called, as a message says it. */
export function setPattern(owner: Owner): string {
  return {
    proxy: "kube-router-…",
    router: "kube-router-pod-subnets or kube-router-node-ips",
    firewall: "KUBE-SRC-…, KUBE-DST-… or kube-router-local-pods",
  }[owner.name] ?? `rl-${owner.name}-…`;
}

/** Whether a set of this name is the owner's. */
export function ownsSet(owner: Owner, name: string): boolean {
  return RESERVED[owner.name]?.test(name) ??
    name.replace(/^inet6:/, "").startsWith(`rl-${owner.name}-`);
}
