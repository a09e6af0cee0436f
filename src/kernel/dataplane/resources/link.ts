import type { Resource } from "../resource.ts";

/** A link (network device) of ours. Mark: the name is ours and the alias text says `routelet:<owner>`. */
export interface Link {
  /** At most 15 characters (IFNAMSIZ). */
  readonly name: string;
  /** rtnetlink IFLA_INFO_KIND. */
  readonly type: "dummy" | "bridge" | "ipip" | "ip6tnl";
  /** Administrative state. */
  readonly up: boolean;
  /** Bytes; absent leaves Linux's value. */
  readonly mtu?: number;
  /** Both ends of an ipip or ip6tnl link; without one the link cannot be what is wanted of it. */
  readonly tunnel?: Tunnel;
}

/** A tunnel from one address to one other, of the family that the link's type has. */
export interface Tunnel {
  /** Canonical. */
  readonly local: string;
  /** Canonical. */
  readonly remote: string;
  /** TTL or hop limit of the outer packets; 0 takes that of the inner one. */
  readonly ttl: number;
  /** Generic UDP encapsulation to this port of the other end; absent: none. */
  readonly gue?: { readonly port: number };
}

function tunnelText({ tunnel }: Link): string {
  if (tunnel === undefined) return "";
  const { local, remote, ttl, gue } = tunnel;
  return ` local ${local} remote ${remote} ttl ${ttl === 0 ? "inherit" : ttl}${
    gue === undefined ? "" : ` encap gue encap-dport ${gue.port}`
  }`;
}

/** Whether two links have the same ends, in the same encapsulation. */
export function sameTunnel(one: Link, other: Link): boolean {
  return tunnelText(one) === tunnelText(other);
}

export const link: Resource<Link> = {
  kind: "link",
  foundation: true,
  key: (l) => l.name,
  equal: (want, have) =>
    want.type === have.type && want.up === have.up &&
    (want.tunnel === undefined || sameTunnel(want, have)) &&
    (want.mtu === undefined || want.mtu === have.mtu),
  describe: (l) =>
    `link ${l.name} type ${l.type}${tunnelText(l)}${l.mtu === undefined ? "" : ` mtu ${l.mtu}`} ${
      l.up ? "up" : "down"
    }`,
  remedy: ({ name }) =>
    `stop the program that made it${
      // Its names for links: kube-dummy-if, kube-bridge, kube-tunnel-if.
      name.startsWith("kube-")
        ? " (kube-router makes links of this name)"
        : ""} and remove it with "ip link del ${name}"`,
};
