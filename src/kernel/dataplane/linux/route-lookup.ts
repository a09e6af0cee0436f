/** Asks Linux which way it would send a packet, for commands that explain. */

import { KernelError } from "../errors.ts";
import type { Family } from "../resource.ts";
import { decodeRoute, type RouteOrigin, writeRouteLookup } from "./rtnl-route.ts";
import { type LinkInfo, Rtnl } from "./rtnl.ts";

/** The way of a packet. */
export interface FoundRoute {
  /** "local": it is for this host. */
  readonly type: "unicast" | "local" | "blackhole" | "unreachable";
  readonly destination: string;
  readonly table: number;
  /** Route protocol number: who made it. */
  readonly protocol: number;
  /** Source address that the host takes for its own packets. */
  readonly source?: string;
  /** More than one for equal-cost paths. */
  readonly hops: readonly FoundHop[];
}

export interface FoundHop {
  readonly gateway?: string;
  readonly link?: string;
  /** Set where the link is a tunnel: "ipip", "ip6tnl" … and its other end, where it has one. */
  readonly tunnel?: { readonly type: string; readonly remote?: string };
}

/** Why there is no way: the errno's name. */
export interface NoRoute {
  readonly error: string;
}

const TUNNELS: ReadonlySet<string> = new Set(["ipip", "ip6tnl", "sit", "gre", "vxlan", "geneve"]);

export interface RouteLookups {
  /**
   * @param from a source whose packets this host would forward; absent: the packets are the host's own
   */
  route(address: string, from?: string): FoundRoute | NoRoute;
  close(): void;
}

/** Opens the lookups of this network namespace. @throws {KernelError} */
export async function openRouteLookups(): Promise<RouteLookups> {
  const rtnl = new Rtnl();
  let links: readonly LinkInfo[];
  try {
    links = await rtnl.links();
  } catch (error) {
    rtnl.close();
    throw error;
  }
  const linkOf = (index: number) => links.find((link) => link.index === index);
  const nameOf = (index: number) => linkOf(index)?.name ?? `link ${index}`;

  function ask(address: string, origin?: RouteOrigin): FoundRoute | NoRoute {
    const family: Family = address.includes(":") ? 6 : 4;
    let found: FoundRoute | undefined;
    try {
      rtnl.socket.request(
        "read route",
        (w) => writeRouteLookup(w, family, address, origin),
        (message) => {
          const info = decodeRoute(message, nameOf);
          if (info === undefined) return;
          const { route, protocol } = info;
          found = {
            type: route.type,
            destination: route.destination,
            table: route.table,
            protocol,
            ...(route.source === undefined ? {} : { source: route.source }),
            hops: route.nextHops.map(({ gateway, link }) => {
              const info = links.find(({ name }) => name === link);
              return {
                ...(gateway === undefined ? {} : { gateway }),
                ...(link === undefined ? {} : { link }),
                ...(info === undefined || !TUNNELS.has(info.type) ? {} : {
                  tunnel: {
                    type: info.type,
                    ...(info.tunnel === undefined ? {} : { remote: info.tunnel.remote }),
                  },
                }),
              };
            }),
          };
        },
        address,
      );
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return { error: error.code };
    }
    return found ?? { error: "ENODATA" };
  }

  return {
    route(address, from) {
      const own = ask(address);
      if (from === undefined || from.includes(":") !== address.includes(":")) return own;
      const back = ask(from);
      const link = "error" in back || back.type !== "unicast" ? undefined : back.hops[0]?.link;
      const index = links.find(({ name }) => name === link)?.index;
      if (index === undefined) return own;
      const forwarded = ask(address, { source: from, index });
      // A host that does not forward, or a source that it would not expect there, says more about the question than the way.
      return "error" in forwarded && !("error" in own) &&
          ["EINVAL", "EXDEV"].includes(forwarded.error)
        ? own
        : forwarded;
    },
    close: () => rtnl.close(),
  };
}
