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
function setPattern(owner: Owner): string {
  return {
    proxy: "kube-router-…",
    router: "kube-router-pod-subnets or kube-router-node-ips",
    firewall: "KUBE-SRC-…, KUBE-DST-… or kube-router-local-pods",
  }[owner.name] ?? `${thirdPartyPrefix(owner)}…`;
}

/** Whether a set of this name is the owner's. */
export function ownsSet(owner: Owner, name: string): boolean {
  return RESERVED[owner.name]?.test(name) ??
    name.replace(/^inet6:/, "").startsWith(thirdPartyPrefix(owner));
}

/** Why an owner may not touch a set of this name, whichever backend holds it; undefined where it may. */
export function notOwnSet(owner: Owner, name: string): string | undefined {
  return ownsSet(owner, name)
    ? undefined
    : `sets of "${owner.name}" are called ${setPattern(owner)}`;
}

/** Why a set of this name cannot be; undefined where it can. */
export function refuseSet(owner: Owner, name: string): string | undefined {
  return notOwnSet(owner, name) ??
    (name.length > 31 ? "the name of a set has at most 31 characters" : undefined);
}

/** Without dashes of the name's own: sets of "lb-pool" are none of "lb". */
function thirdPartyPrefix(owner: Owner): string {
  return `rl-${owner.name.replaceAll("-", "_")}-`;
}
