import { canonicalCidr } from "../../ip.ts";
import type { Resource } from "../resource.ts";

/**
 * A network that the router is asked to announce by BGP to routers outside of the cluster, from this node. Mark: the request
 * is in this process's memory, under the name of the plugin, and goes with it.
 */
export interface Advertisement {
  /** The network in CIDR notation without host bits: "192.0.2.0/24", "2001:db8::/32"; one address is a "/32" or "/128". */
  readonly prefix: string;
  /** Address that the traffic goes to, of the prefix's family. Absent: this node's own. */
  readonly nextHop?: string;
  /**
   * Added to those that the node has for all it announces: "65000:1", "65000:1:2", a number of 32 bits or a well-known name such
   * as "no-export".
   */
  readonly communities?: readonly string[];
  /** LOCAL_PREF (RFC 4271 section 5.1.5), 0 to 4294967295, more is better; only peers of our own AS are told. Absent: 100. */
  readonly localPreference?: number;
  /** MULTI_EXIT_DISC (RFC 4271 section 5.1.4), 0 to 4294967295, less is better. Absent: none. */
  readonly med?: number;
}

export const advertisement: Resource<Advertisement> = {
  kind: "bgp.advertisement",
  key: (a) => canonicalCidr(a.prefix) ?? a.prefix,
  equal: (want, have) => textOf(want) === textOf(have),
  describe: (a) => `bgp advertisement ${textOf(a)}`,
  perPlugin: true,
  inProcess: true,
};

/** Takes what is no advertisement as well: a refusal describes it. */
function textOf({ prefix, nextHop, communities, localPreference, med }: Advertisement): string {
  return [
    canonicalCidr(String(prefix)) ?? `"${prefix}"`,
    ...(nextHop === undefined ? [] : [`next hop ${nextHop}`]),
    ...(communities === undefined || communities.length === 0
      ? []
      : [`communities ${[communities].flat().join(" ")}`]),
    ...(localPreference === undefined ? [] : [`local preference ${localPreference}`]),
    ...(med === undefined ? [] : [`med ${med}`]),
  ].join(" ");
}
