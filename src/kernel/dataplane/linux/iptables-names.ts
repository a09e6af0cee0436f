/** Which chains are whose, by name: a chain has no field for a mark. The names are kube-router's where it has them. */

import type { Owner } from "../dataplane.ts";

const RESERVED: Readonly<Record<string, RegExp>> = {
  // All of KUBE-ROUTER- but what belongs to the two others.
  proxy: /^KUBE-ROUTER-(?!INPUT$|FORWARD$|OUTPUT$|RT-)/,
  router: /^KUBE-ROUTER-RT-/,
  firewall: /^(KUBE-NWPLCY-|KUBE-POD-FW-|KUBE-ROUTER-(INPUT|FORWARD|OUTPUT)$)/,
};

/** What an owner's chains are called, as a message says it. */
function chainPattern(owner: Owner): string {
  return {
    proxy: "KUBE-ROUTER-…",
    router: "KUBE-ROUTER-RT-…",
    firewall: "KUBE-NWPLCY-…, KUBE-POD-FW-…, KUBE-ROUTER-INPUT, -FORWARD or -OUTPUT",
  }[owner.name] ?? `${thirdPartyPrefix(owner)}…`;
}

/** Whether a chain of this name is the owner's. */
export function ownsChain(owner: Owner, name: string): boolean {
  return RESERVED[owner.name]?.test(name) ?? name.startsWith(thirdPartyPrefix(owner));
}

/** Why an owner may not touch a chain of this name, whichever backend holds it; undefined where it may. */
export function notOwnChain(owner: Owner, name: string): string | undefined {
  return ownsChain(owner, name)
    ? undefined
    : `chains of "${owner.name}" are called ${chainPattern(owner)}`;
}

function thirdPartyPrefix(owner: Owner): string {
  // Without dashes of its own: those of "lb-pool" are none of "lb".
  return `RL-${owner.name.toUpperCase().replaceAll("-", "_")}-`;
}
