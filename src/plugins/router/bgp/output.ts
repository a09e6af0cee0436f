/** What the core asks of whoever drives it. */

import type { Family } from "../../../kernel/ip.ts";
import type { Numbers } from "./rib/rib.ts";
import type { PeerConfig, SpeakerEvent } from "./types.ts";

/** What the driver does for the core. Nothing of it may call back into the core at once. */
export interface CoreOutput {
  dial(connection: number, peer: PeerConfig): void;
  send(connection: number, bytes: Uint8Array): void;
  close(connection: number, abort: boolean): void;
  /** Prefixes whose use changed. */
  best(family: Family, ids: Numbers): void;
  settled(family: Family): void;
  event(event: SpeakerEvent): void;
  /** The BFD sessions that should run have changed. */
  bfd(): void;
  random(): number;
}

/** Why a connection is not taken. Expected: the session rests, or is shut down, and that was told. */
export interface Refusal {
  readonly reason: string;
  readonly expected: boolean;
}

export type BfdState = "down" | "init" | "up" | "admin-down";
