/**
 * State inside the network namespaces of this node's pods. A namespace is named by an address of its pod, which is all
 * that an EndpointSlice tells of it.
 */

import type { Family, Resource } from "../resource.ts";

/**
 * A tunnel end in a pod, which takes what comes for the pod's address in IPIP and has no other end of its own. It is set
 * up when it is made. Mark: the alias text says `routelet:<owner>:<inode of this node's network namespace>`.
 */
export interface PodLink {
  /** The pod's address, canonical: the way to its namespace, and the local end of the tunnel. */
  readonly pod: string;
  /** At most 15 characters (IFNAMSIZ). */
  readonly name: string;
  /** rtnetlink IFLA_INFO_KIND. */
  readonly type: "ipip" | "ip6tnl";
  /** Administrative state. */
  readonly up: boolean;
  /**
   * IPv4's reverse path filter on this link; absent: not looked at. "loose": what comes in here and is answered by
   * another link passes. Only the link's own value is written (0, or 2 where the pod's `all` filters strictly), which
   * goes with the link.
   */
  readonly reversePath?: "loose" | "strict";
}

/** An address on a link of ours in a pod. Mark: it is on such a link, and we never add one elsewhere. */
export interface PodAddress {
  readonly pod: string;
  readonly link: string;
  readonly family: Family;
  /** Canonical text, without prefix. */
  readonly address: string;
  /** Prefix length: 32 or 128 for a VIP. */
  readonly prefix: number;
}

function linkKey(pod: string, name: string): string {
  return `${name} in pod ${pod}`;
}

export const podLink: Resource<PodLink> = {
  kind: "pod.link",
  key: (l) => linkKey(l.pod, l.name),
  equal: (want, have) =>
    want.type === have.type && want.up === have.up &&
    (want.reversePath === undefined || want.reversePath === have.reversePath),
  describe: (l) =>
    `link ${l.name} type ${l.type} local ${l.pod} ${l.up ? "up" : "down"}${
      l.reversePath === undefined ? "" : ` rp_filter ${l.reversePath}`
    } in pod ${l.pod}`,
};

export const podAddress: Resource<PodAddress> = {
  kind: "pod.address",
  key: (a) => `${a.address}/${a.prefix} dev ${linkKey(a.pod, a.link)}`,
  equal: () => true,
  describe: (a) => `address ${a.address}/${a.prefix} dev ${linkKey(a.pod, a.link)}`,
  parentKind: "pod.link",
  parent: (a) => linkKey(a.pod, a.link),
};
