/** The helper's side of graceful restart (RFC 4724 section 4.2): what a peer leaves behind, and what becomes of it. */

import type { Family } from "../../../kernel/ip.ts";
import type { Core } from "./core.ts";
import { FAMILIES, type Peer } from "./peer.ts";
import type { Negotiated } from "./session/negotiate.ts";

/** A peer that is back must have confirmed its routes by then, even without End-of-RIB. */
export const STALE_SECONDS = 360;

/**
 * The session is not Established any more. Lost: the connection ended without a NOTIFICATION, so the peer may be restarting.
 *
 * @returns for how many seconds its routes are kept; 0 when none are
 */
export function peerIsGone(
  core: Core,
  peer: Peer,
  negotiated: Negotiated,
  lost: boolean,
  now: number,
): number {
  const graceful = lost ? negotiated.gracefulRestart : undefined;
  for (const family of negotiated.families) {
    const keeps = graceful !== undefined && graceful.seconds > 0 &&
      graceful.families.some((one) => one.family === family);
    if (keeps) {
      // What was stale already had its chance.
      clearStale(core, peer, family);
      peer.stale[family] = core.ribs[family].markStale(peer.index) > 0;
    } else clearFamily(core, peer, family);
    peer.out[family].reset();
    peer.endOfRib[family] = false;
  }
  peer.staleUntil = undefined;
  peer.restartUntil = undefined;
  if (graceful === undefined || !(peer.stale[4] || peer.stale[6])) return 0;
  peer.restartUntil = now + 1000 * graceful.seconds;
  return graceful.seconds;
}

/** It is back: stale routes stay only of the families whose forwarding state it says it kept. */
export function peerIsBack(core: Core, peer: Peer, negotiated: Negotiated, now: number): void {
  peer.restartUntil = undefined;
  for (const family of FAMILIES) {
    peer.endOfRib[family] = false;
    const kept = negotiated.families.includes(family) &&
      negotiated.gracefulRestart?.families.some((one) => one.family === family && one.forwarding);
    if (!kept) clearStale(core, peer, family);
  }
  if (peer.stale[4] || peer.stale[6]) peer.staleUntil = now + 1000 * STALE_SECONDS;
}

/** Why its stale routes are to go by now, if they are; once. */
export function isLate(peer: Peer, now: number): string | undefined {
  if (peer.restartUntil !== undefined && now >= peer.restartUntil) {
    peer.restartUntil = undefined;
    return "It has not come back within its restart time";
  }
  if (peer.staleUntil === undefined || now < peer.staleUntil) return undefined;
  peer.staleUntil = undefined;
  return `It has not confirmed its routes within ${STALE_SECONDS} s`;
}

export function clearStale(core: Core, peer: Peer, family: Family): void {
  if (!peer.stale[family]) return;
  peer.held[family] -= core.ribs[family].clear(peer.index, true);
  peer.stale[family] = false;
}

/** All that it ever told. */
export function clearPaths(core: Core, peer: Peer): void {
  for (const family of FAMILIES) clearFamily(core, peer, family);
  peer.restartUntil = undefined;
  peer.staleUntil = undefined;
}

function clearFamily(core: Core, peer: Peer, family: Family): void {
  if (peer.held[family] > 0) core.ribs[family].clear(peer.index);
  peer.held[family] = 0;
  peer.stale[family] = false;
}
