/** Tunnels to other nodes: their names, and what they are in Linux. */

import { createHash } from "node:crypto";
import { type Family, ipFamily } from "../../kernel/ip.ts";
import type { FouPort, Link, Route } from "../../kernel/plugin.ts";
import type { OverlayEncap } from "./options.ts";

/** Route table of kube-router for what pods send to other nodes themselves. */
export const TUNNEL_TABLE = 77;

/**
 * The name of the tunnel to a next hop, as kube-router has it: 11 digits of SHA-256 over the address without its separators.
 * Two addresses may have one name by construction (21.3.0.4 and 2.13.0.4): the items differ, so that the later one is
 * reported as a conflict and never sent to the wrong node.
 */
export function tunnelName(nextHop: string): string {
  const digest = createHash("sha256").update(nextHop.replaceAll(/[.:]/g, "")).digest("hex");
  return `tun-${digest.slice(0, 11)}`;
}

/** Whether a link is a tunnel as kube-router makes them. A name that is the hash of its other end is no accident. */
export function isTunnel({ name, tunnel }: Link): boolean {
  return tunnel !== undefined && name === tunnelName(tunnel.remote);
}

export interface TunnelOptions {
  readonly encap: OverlayEncap;
  /** UDP port of FOU. */
  readonly port: number;
}

/** TTL of FOU tunnels, which kube-router sets. */
const FOU_TTL = 225;

/** The tunnel from `local` to `remote`, both of one family, canonical. */
export function tunnelLink(local: string, remote: string, { encap, port }: TunnelOptions): Link {
  const gue = encap === "fou";
  return {
    name: tunnelName(remote),
    type: ipFamily(remote) === 6 ? "ip6tnl" : "ipip",
    up: true,
    tunnel: {
      local,
      remote,
      ttl: gue ? FOU_TTL : 0,
      ...(gue ? { gue: { port } } : {}),
    },
  };
}

/** The way to the other end itself, for what pods send to that node: the rules of {@linkcode podRules} lead there. */
export function tunnelRoute(remote: string): Route {
  const family: Family = ipFamily(remote) === 6 ? 6 : 4;
  return {
    family,
    table: TUNNEL_TABLE,
    type: "unicast",
    destination: `${remote}/${family === 4 ? 32 : 128}`,
    metric: family === 4 ? 0 : 1024,
    nextHops: [{ link: tunnelName(remote) }],
  };
}

/** The ports that take FOU (GUE) packets in, one a family. */
export function fouPorts(families: readonly Family[], port: number): readonly FouPort[] {
  return families.map((family) => ({ family, port }));
}
