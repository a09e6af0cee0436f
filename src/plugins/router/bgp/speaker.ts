/** The speaker as the router uses it: the core with its driver. */

import type { Family } from "../../../kernel/ip.ts";
import type {
  BestChange,
  LocalRoute,
  NeighborView,
  PathView,
  PeerConfig,
  SpeakerEvent,
  SpeakerOptions,
  WhyView,
} from "./types.ts";

export interface Speaker {
  /** Opens listeners and sessions. Rejects with the address where listening is refused, and leaves nothing open. */
  start(): Promise<void>;
  /** All neighbours that should be. @throws {RangeError} that names the peer and the setting; then nothing changes */
  setPeers(peers: readonly PeerConfig[]): void;
  /** All routes of our own. @throws {RangeError} that names the route; then nothing changes */
  setLocalRoutes(routes: readonly LocalRoute[]): void;
  /** Called with the prefixes whose use changed, coalesced; at once with all that are used. Returns the end of it. */
  onBest(listener: (changes: readonly BestChange[]) => void): () => void;
  onEvent(listener: (event: SpeakerEvent) => void): () => void;
  /** A family came to be settled. */
  onSettled(listener: (family: Family) => void): () => void;
  settled(family: Family): boolean;
  neighbors(): readonly NeighborView[];
  /** Adj-RIB-In and Adj-RIB-Out are those of `peer`, or of all peers. */
  rib(which: "in" | "out" | "local", peer?: string): Iterable<PathView>;
  /** @throws {RangeError} when it is no CIDR and no address */
  why(prefix: string): WhyView;
  /** Ends and restarts one session; soft: asks for the peer's routes again and sends ours. False: no such peer. */
  reset(peer: string, how?: { readonly soft?: boolean; readonly reason?: string }): boolean;
  /** Ends all sessions, closes everything. Graceful: without a NOTIFICATION, so that peers keep our routes. */
  stop(how?: { readonly graceful?: boolean; readonly reason?: string }): Promise<void>;
}

export function createSpeaker(_options: SpeakerOptions): Speaker {
  throw new Error("The BGP speaker is not built yet");
}
