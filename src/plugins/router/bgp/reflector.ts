/** The cluster that a route reflector stands for (RFC 4456 section 7): no OPEN has it, so sessions stay when it changes. */

import { ipv4Number } from "../../../kernel/ip.ts";
import type { Core } from "./core.ts";
import { markDifference } from "./flush.ts";
import { glanceOf } from "./intake.ts";
import { exportTarget } from "./peer.ts";
import { reimport } from "./received.ts";

/**
 * Loops are looked for anew in what is held, and clients are told what differs.
 *
 * @param text a dotted quad; undefined: the router id
 * @returns whether it is another one
 */
export function changeClusterId(core: Core, text: string | undefined): boolean {
  const clusterId = text === undefined ? core.self.routerId : ipv4Number(text);
  if (clusterId === core.self.clusterId) return false;
  core.self = { ...core.self, clusterId };
  for (const peer of core.peers.values()) {
    reimport(core, peer);
    const { ends, negotiated, target } = peer;
    if (negotiated === undefined || ends === undefined || target === undefined) continue;
    peer.glance = glanceOf(peer, negotiated, core.self);
    peer.target = exportTarget(peer, negotiated, ends, core.self);
    markDifference(core, peer, target);
  }
  return true;
}
