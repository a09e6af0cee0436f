/**
 * From what the speaker chose to routes of Linux: directly where the next hop is on a link of ours, by a tunnel where it is
 * a node elsewhere and the overlay is on, and not at all otherwise.
 */

import {
  type Cidr,
  compareIps,
  contains,
  type Family,
  ipFamily,
  parseCidr,
} from "../../kernel/ip.ts";
import type { HostAddress, Link, NextHop, Node, Route } from "../../kernel/plugin.ts";
import { bestAddress, nodeAddresses, nodeFamilies } from "./node.ts";
import type { OverlayEncap, RouterOptions } from "./options.ts";
import { tunnelLink, tunnelName, tunnelRoute } from "./tunnels.ts";

/** A network that a link of this node is in. */
export interface Subnet {
  readonly cidr: Cidr;
  readonly link: string;
}

export interface Overlay {
  /** "none": no tunnels. */
  readonly type: "none" | "subnet" | "full";
  readonly encap: OverlayEncap;
  readonly port: number;
}

/** What the decision depends on besides the path. */
export interface RoutingContext {
  readonly overlay: Overlay;
  /** This node's address of each family that it speaks. */
  readonly local: { readonly 4?: string; readonly 6?: string };
  /** Its own addresses, canonical: never a next hop. */
  readonly own: readonly string[];
  /** Addresses of all other nodes, canonical: only to them tunnels are made. */
  readonly nodes: ReadonlySet<string>;
  /** Networks of the links that carry this node's addresses. */
  readonly subnets: readonly Subnet[];
}

/** A prefix and all next hops to be used for it. */
export interface Learned {
  /** Canonical. */
  readonly prefix: string;
  readonly nextHops: readonly LearnedHop[];
}

export interface LearnedHop {
  readonly address: string;
  /** Link-local address beside it (RFC 2545); not used. */
  readonly linkLocal?: string;
}

export interface RouteItems {
  readonly routes: readonly Route[];
  readonly links: readonly Link[];
  /** Why a next hop is not used. */
  readonly problems: readonly string[];
}

/** RT_TABLE_MAIN. */
export const MAIN_TABLE = 254;

/** Computes {@linkcode RoutingContext}. Addresses that the node claims and no link has count for no subnet. */
export function routingContext(
  self: string,
  nodes: readonly Node[],
  host: readonly HostAddress[],
  options: Pick<
    RouterOptions,
    | "enableIpv4"
    | "enableIpv6"
    | "enableOverlay"
    | "overlayType"
    | "overlayEncap"
    | "overlayEncapPort"
  >,
): RoutingContext {
  const own = nodes.find(({ metadata }) => metadata.name === self);
  const addresses = own === undefined ? { all: [] } : nodeAddresses(own);
  const families = nodeFamilies(addresses, options);
  const best = (family: Family): string | undefined =>
    families.includes(family) ? bestAddress(addresses, family) : undefined;
  const local = { 4: best(4), 6: best(6) };
  const subnets = host.filter(({ address }) => addresses.all.includes(address))
    .flatMap(({ address, prefix, link }): readonly Subnet[] => {
      const cidr = prefix === undefined ? undefined : parseCidr(`${address}/${prefix}`);
      return cidr === undefined ? [] : [{ cidr, link }];
    });
  return {
    overlay: {
      type: options.enableOverlay ? options.overlayType : "none",
      encap: options.overlayEncap,
      port: options.overlayEncapPort,
    },
    local: {
      ...(local[4] === undefined ? {} : { 4: local[4] }),
      ...(local[6] === undefined ? {} : { 6: local[6] }),
    },
    own: addresses.all,
    nodes: new Set(nodes.filter((node) => node !== own).flatMap((node) => nodeAddresses(node).all)),
    subnets,
  };
}

/** How a next hop is reached. */
type Way =
  | { readonly kind: "direct"; readonly hop: NextHop }
  | { readonly kind: "tunnel"; readonly hop: NextHop; readonly link: Link; readonly to: Route }
  | { readonly kind: "none"; readonly reason: string };

function wayTo({ address }: LearnedHop, family: Family, context: RoutingContext): Way {
  const none = (reason: string): Way => ({ kind: "none", reason });
  const hopFamily = ipFamily(address);
  if (hopFamily === undefined) return none(`next hop "${address}" is no IP address`);
  if (context.own.includes(address)) return none(`next hop "${address}" is this node itself`);
  // IPv4 by an IPv6 neighbour is RFC 8950; the other way round Linux knows no route.
  if (family === 6 && hopFamily === 4) {
    return none(`next hop "${address}" is IPv4, which cannot lead to an IPv6 network`);
  }
  const { overlay } = context;
  const subnet = context.subnets.find(({ cidr }) => contains(cidr, address));
  const wanted = context.nodes.has(address) &&
    (overlay.type === "full" || (overlay.type === "subnet" && subnet === undefined));
  if (wanted) {
    const local = context.local[hopFamily];
    if (local === undefined) {
      return none(`this node has no IPv${hopFamily} address for a tunnel to "${address}"`);
    }
    return {
      kind: "tunnel",
      hop: { link: tunnelName(address) },
      link: tunnelLink(local, address, overlay),
      to: tunnelRoute(address),
    };
  }
  if (subnet !== undefined) {
    // Linux always names the link when it lists a route; one without would never equal it.
    return { kind: "direct", hop: { gateway: address, link: subnet.link } };
  }
  return none(
    overlay.type === "none"
      ? `next hop "${address}" is on no link of this node, and --enable-overlay=false: the network between must know the way`
      : `next hop "${address}" is on no link of this node, and no node of the cluster`,
  );
}

/** What a learned prefix wants of Linux. */
export function routeItems({ prefix, nextHops }: Learned, context: RoutingContext): RouteItems {
  const family = parseCidr(prefix)?.family;
  if (family === undefined) {
    return { routes: [], links: [], problems: [`"${prefix}" is no CIDR`] };
  }
  const { hops, source, tunnelRoutes, links, problems } = waysBy(nextHops, family, context);
  if (hops.length === 0) return { routes: [], links, problems };
  const route: Route = {
    family,
    table: MAIN_TABLE,
    type: "unicast",
    destination: prefix,
    // Linux makes 1024 of 0 for IPv6.
    metric: family === 4 ? 0 : 1024,
    nextHops: hops,
    ...(source === undefined ? {} : { source }),
  };
  return { routes: [route, ...tunnelRoutes], links, problems };
}

/** What the routes of all prefixes by the same next hops have in common. */
interface Ways {
  readonly hops: readonly NextHop[];
  readonly source?: string;
  /** The ways to the ends of tunnels. */
  readonly tunnelRoutes: readonly Route[];
  readonly links: readonly Link[];
  readonly problems: readonly string[];
}

/** By list of next hops, which the routes of a feed share: one search for a way and one list of hops for all of them. */
type KnownWays = WeakMap<readonly LearnedHop[], { 4?: Ways; 6?: Ways }>;
const known = new WeakMap<RoutingContext, KnownWays>();

function waysBy(
  nextHops: readonly LearnedHop[],
  family: Family,
  context: RoutingContext,
): Ways {
  const byHops: KnownWays = known.get(context) ?? new WeakMap();
  known.set(context, byHops);
  const byFamily = byHops.get(nextHops) ?? {};
  byHops.set(nextHops, byFamily);
  return byFamily[family] ??= findWays(nextHops, family, context);
}

function findWays(
  nextHops: readonly LearnedHop[],
  family: Family,
  context: RoutingContext,
): Ways {
  const ways = nextHops.map((hop) => wayTo(hop, family, context));
  const usable = ways.filter((way) => way.kind !== "none");
  const tunnels = usable.filter((way) => way.kind === "tunnel");
  const source = context.local[family];
  return {
    hops: distinct(usable.map(({ hop }) => hop)),
    // A tunnel has no address of its own to take as the source. One route has one source, whatever its next hops.
    ...(tunnels.length > 0 && source !== undefined ? { source } : {}),
    tunnelRoutes: tunnels.map(({ to }) => to),
    links: tunnels.map(({ link }) => link),
    problems: ways.flatMap((way) => way.kind === "none" ? [way.reason] : []),
  };
}

/** Each once, in one order, so that equal sets are equal routes. */
function distinct(hops: readonly NextHop[]): readonly NextHop[] {
  const text = ({ gateway = "", link = "" }: NextHop): string => `${gateway} ${link}`;
  return [...new Map(hops.map((hop) => [text(hop), hop])).values()].toSorted((a, b) =>
    compareIps(a.gateway ?? "", b.gateway ?? "") || (text(a) < text(b) ? -1 : 1)
  );
}
