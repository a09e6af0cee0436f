/** What is told of a peer. What a peer does, however often, must not fill a log. */

import type { CoreOutput } from "./output.ts";
import type { Peer } from "./peer.ts";
import type { SpeakerEvent } from "./types.ts";

const REPORT_EVERY_MS = 60_000;
/** Texts hold what a peer sent: there may be any number of them. */
const MOST = 100;

/** Once a minute for each peer and sort. */
export function report(
  out: Pick<CoreOutput, "event">,
  peer: Peer,
  sort: string,
  event: Omit<SpeakerEvent, "peer">,
  now: number,
): void {
  const last = peer.reported.get(sort);
  if (last !== undefined && now < last + REPORT_EVERY_MS) return;
  if (peer.reported.size >= MOST) peer.reported.clear();
  peer.reported.set(sort, now);
  out.event({ ...event, peer: peer.address });
}

/** An attempt failed: each reason once until the session is Established or configured anew, then only for who looks closely. */
export function tellFailure(
  out: Pick<CoreOutput, "event">,
  peer: Peer,
  reason: string,
  level: "warn" | "info",
): void {
  // Of a session that was Established the same reason is told with its end.
  const known = peer.negotiated !== undefined || peer.failures.has(reason);
  if (peer.failures.size >= MOST) peer.failures.clear();
  if (!known) peer.failures.add(reason);
  out.event({
    level: known ? "debug" : level,
    peer: peer.address,
    message: "No session with the peer",
    fields: { reason },
  });
}
