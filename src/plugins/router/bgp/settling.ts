/** Our own restart (RFC 4724 section 4.1): which families still wait for End-of-RIB of the peers. */

import type { Family } from "../../../kernel/ip.ts";
import { familiesOf } from "./config.ts";
import type { Peer } from "./peer.ts";
import type { SpeakerOptions } from "./types.ts";

export class Settling {
  readonly #unsettled: Set<Family>;
  readonly #restartMs: number;
  readonly #deferralMs: number;

  constructor({ gracefulRestart, restarting }: SpeakerOptions) {
    this.#unsettled = new Set(gracefulRestart === undefined ? [] : restarting ?? []);
    this.#restartMs = 1000 * (gracefulRestart?.restartSeconds ?? 0);
    this.#deferralMs = 1000 * (gracefulRestart?.deferralSeconds ?? 0);
  }

  get done(): boolean {
    return this.#unsettled.size === 0;
  }

  settled(family: Family): boolean {
    return !this.#unsettled.has(family);
  }

  /** When time alone may settle something next. */
  deadline(startedAt: number, now: number): number {
    if (this.done) return Number.POSITIVE_INFINITY;
    const due = [startedAt + this.#restartMs, startedAt + this.#deferralMs];
    return Math.min(...due.filter((at) => at > now), Number.POSITIVE_INFINITY);
  }

  /** The families that came to be settled. Each goes its own way. */
  check(
    startedAt: number,
    now: number,
    peersKnown: boolean,
    routesKnown: boolean,
    peers: Iterable<Peer>,
  ): readonly Family[] {
    const late = now >= startedAt + this.#deferralMs;
    // By then a peer that kept our routes has dropped them, so it is not worth to wait for.
    const gone = now >= startedAt + this.#restartMs;
    const all = [...peers];
    const settled = [...this.#unsettled].filter((family) =>
      late || ((peersKnown || gone) && routesKnown &&
        all.every((peer) => isHeard(peer, family, gone)))
    );
    for (const family of settled) this.#unsettled.delete(family);
    return settled;
  }
}

function isHeard(peer: Peer, family: Family, gone: boolean): boolean {
  if (peer.config.shutdown || !familiesOf(peer.config).includes(family)) return true;
  if (peer.negotiated === undefined) return gone;
  if (peer.endOfRib[family] || !peer.negotiated.families.includes(family)) return true;
  // Who offers the capability sends End-of-RIB, also without naming a family (RFC 4724 section 3).
  const graceful = peer.negotiated.gracefulRestart;
  return graceful === undefined || graceful.restarting;
}
