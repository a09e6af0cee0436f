import type { Family, Resource } from "../resource.ts";

/** One next hop of a route. */
export interface NextHop {
  readonly gateway?: string;
  readonly link?: string;
}

/** A route. Mark: its protocol number is the owner's, or Linux made it itself on a link of ours. */
export interface Route {
  readonly family: Family;
  /** Table number: 254 main, 255 local. */
  readonly table: number;
  readonly type: "unicast" | "local" | "blackhole" | "unreachable";
  /** Canonical prefix, "0.0.0.0/0" for the default route. */
  readonly destination: string;
  /** Metric; 0 for IPv4 where none is given; Linux makes 1024 of 0 for IPv6, so give 1024 there. */
  readonly metric: number;
  /** Empty for blackhole and unreachable. More than one: equal-cost multipath. */
  readonly nextHops: readonly NextHop[];
  /** Preferred source address (RTA_PREFSRC). */
  readonly source?: string;
  /** Read from Linux only: its own route behind ours at the same place, without effect. Nobody wants one. */
  readonly behind?: true;
}

function hopText(hop: NextHop): string {
  return `${hop.gateway === undefined ? "" : ` via ${hop.gateway}`}${
    hop.link === undefined ? "" : ` dev ${hop.link}`
  }`;
}

function hopsText(route: Route): string {
  return route.nextHops.length > 1
    ? route.nextHops.map((hop) => ` nexthop${hopText(hop)}`).toSorted().join("")
    : route.nextHops.map(hopText).join("");
}

export const route: Resource<Route> = {
  kind: "route",
  key: (r) =>
    `${r.destination} table ${r.table} metric ${r.metric}${r.behind === true ? " behind" : ""}`,
  equal: (want, have) =>
    want.type === have.type && want.source === have.source && hopsText(want) === hopsText(have),
  describe: (r) =>
    `route ${r.type} ${r.destination}${hopsText(r)} table ${r.table}${
      r.source === undefined ? "" : ` src ${r.source}`
    }${r.metric === 0 ? "" : ` metric ${r.metric}`}`,
  // Twins of our routes: for IPv6 ours have a metric, and Linux's in the table local have none.
  isLitter: (r) => r.behind === true || (r.family === 6 && r.table === 255 && r.metric === 0),
  parentKind: "link",
  parent: (r) => r.nextHops[0]?.link ?? "",
  parentMayBeOthers: true,
};
