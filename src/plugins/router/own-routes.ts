/** The routes of our own that the speaker announces, by prefix: all of them, or what follows from one VIP that moved. */

import { hostCidr, parseCidr } from "../../kernel/ip.ts";
import type { LocalRoute } from "./bgp/mod.ts";
import { POD_CLASS, VIP_CLASS } from "./speaker-config.ts";

/** What the routes depend on besides the VIPs. */
export interface OwnRoutesInput {
  /** Pod CIDRs of this node, canonical. */
  readonly podCidrs: readonly string[];
  /** This node's address of each family; routes of a family without one are left out. */
  readonly nextHops: { readonly 4?: string; readonly 6?: string };
}

/** The VIPs that this node announces. */
export interface Announced {
  addresses(): Iterable<string>;
  has(address: string): boolean;
}

export interface OwnRoutes {
  /** Live view, never to be kept. */
  readonly all: ReadonlyMap<string, LocalRoute>;
  /** Computes all of them anew. */
  renew(input: OwnRoutesInput): void;
  /** These VIPs came or went: the prefixes whose routes changed. */
  moved(addresses: Iterable<string>): readonly string[];
}

export function ownRoutes(vips: Announced): OwnRoutes {
  const all = new Map<string, LocalRoute>();
  let input: OwnRoutesInput = { podCidrs: [], nextHops: {} };
  const put = (prefix: string | undefined, name: string): void => {
    const route = prefix === undefined ? undefined : localRoute(prefix, name, input.nextHops);
    if (route !== undefined) all.set(route.prefix, route);
  };
  return {
    all,
    renew(next) {
      input = next;
      all.clear();
      for (const cidr of input.podCidrs) put(cidr, POD_CLASS);
      for (const address of vips.addresses()) put(hostCidr(address)?.text, VIP_CLASS);
    },
    moved(addresses) {
      const changed: string[] = [];
      for (const address of addresses) {
        const prefix = hostCidr(address)?.text;
        // A pod network of one address is a pod network.
        if (prefix === undefined || all.get(prefix)?.class === POD_CLASS) continue;
        if (vips.has(address)) put(prefix, VIP_CLASS);
        else all.delete(prefix);
        changed.push(prefix);
      }
      return changed;
    },
  };
}

function localRoute(
  prefix: string,
  name: string,
  nextHops: OwnRoutesInput["nextHops"],
): LocalRoute | undefined {
  const family = parseCidr(prefix)?.family;
  const nextHop = family === undefined ? undefined : nextHops[family];
  return nextHop === undefined ? undefined : { prefix, nextHop, class: name, origin: "igp" };
}
