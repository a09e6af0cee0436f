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
}

export const link: Resource<Link> = {
  kind: "link",
  foundation: true,
  key: (l) => l.name,
  equal: (want, have) =>
    want.type === have.type && want.up === have.up &&
    (want.mtu === undefined || want.mtu === have.mtu),
  describe: (l) =>
    `link ${l.name} type ${l.type}${l.mtu === undefined ? "" : ` mtu ${l.mtu}`} ${
      l.up ? "up" : "down"
    }`,
  remedy: ({ name }) =>
    `stop the program that made it${
      // Its names for links: kube-dummy-if, kube-bridge, kube-tunnel-if.
      name.startsWith("kube-")
        ? " (kube-router makes links of this name)"
        : ""} and remove it with "ip link del ${name}"`,
};
