/** BFD (RFC 5880, 5881, 5883) for the peers of the speaker, in a thread of its own. */

export type BfdState = "down" | "init" | "up" | "admin-down";

export interface BfdPeer {
  readonly address: string;
  readonly localAddress: string;
  readonly multihop: boolean;
  readonly port: number;
  readonly detectMultiplier: number;
  /** Microseconds. */
  readonly desiredMinTx: number;
  /** Microseconds. */
  readonly requiredMinRx: number;
}

export class Bfd {
  constructor(
    _changed: (peer: string, state: BfdState, diagnostic: string) => void,
    _report: (message: string, fields: Record<string, string>) => void,
  ) {}

  set(_peers: readonly BfdPeer[]): void {}

  async close(): Promise<void> {}
}
