/**
 * When what an earlier life left in Linux may go after a start: when the peers have told what they have.
 *
 * The speaker itself waits for no peer that restarts too, or two of them would wait for each other (RFC 4724 section 4.1).
 * Linux need not do the same: a route that is taken away a moment before such a peer tells it again costs packets, one
 * that stays for a while longer costs nothing.
 */

import type { Family } from "../../kernel/ip.ts";
import type { NeighborView, Speaker } from "./bgp/mod.ts";

export interface FirstRoutesOptions {
  /** How long a session has, or the first one may take, where nothing says that the peer has told all. ms. */
  readonly settleAfter: number;
  /** Of graceful restart, where this start is a restart that peers were asked to bridge; ms. */
  readonly restart?: { readonly restartMs: number; readonly deferralMs: number };
}

/** Whether a family's first set of routes is known; asked again and again, by one clock in ms that begins at the start. */
export type FirstRoutes = (
  speaker: Pick<Speaker, "settled" | "neighbors">,
  family: Family,
  sinceStart: number,
) => boolean;

export function firstRoutes({ settleAfter, restart }: FirstRoutesOptions): FirstRoutes {
  /** When a session was first seen, by address and how often the peer was Established. */
  const seen = new Map<string, number>();
  const hasTold = (neighbor: NeighborView, family: Family, now: number): boolean => {
    const { address, established, families, prefixes, state, capabilities } = neighbor;
    if (state !== "Established") {
      // One that is away may still come back for as long as it was asked to keep our routes.
      return now >= Math.max(settleAfter, restart?.restartMs ?? 0);
    }
    if (!families.includes(family) || prefixes[family].endOfRib) return true;
    // Who offers graceful restart says when it is done (RFC 4724 section 3), at the latest when its own deferral is over.
    if (restart !== undefined && capabilities.received.includes("graceful-restart")) {
      return now >= restart.deferralMs;
    }
    // Many others send no End-of-RIB.
    const session = `${address} ${established}`;
    const since = seen.get(session) ?? now;
    seen.set(session, since);
    return now - since >= settleAfter;
  };
  return (speaker, family, now) => {
    // Each is looked at, so that the time of all sessions runs.
    const missing = speaker.neighbors().filter((neighbor) => !hasTold(neighbor, family, now));
    return missing.length === 0 && speaker.settled(family);
  };
}
