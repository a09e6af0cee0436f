/** What the speaker's thread and BFD's tell each other. */

export type BfdState = "down" | "init" | "up" | "admin-down";

/** A session that should run. */
export interface BfdPeer {
  readonly address: string;
  readonly localAddress: string;
  readonly multihop: boolean;
  /** Where the peer listens. */
  readonly port: number;
  readonly detectMultiplier: number;
  /** Microseconds. */
  readonly desiredMinTx: number;
  /** Microseconds. */
  readonly requiredMinRx: number;
}

export interface ToWorker {
  readonly peers: readonly BfdPeer[];
  /** Answered when they are set. */
  readonly done?: true;
}

export type FromWorker =
  | {
    readonly kind: "changed";
    readonly peer: string;
    readonly state: BfdState;
    readonly diagnostic: string;
  }
  | {
    readonly kind: "report";
    readonly message: string;
    readonly fields: Record<string, string>;
  }
  | { readonly kind: "done" };
