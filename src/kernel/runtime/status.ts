/** Status as data: what `routelet status`, the health endpoints and tests read. */

export type PluginPhase =
  /** Inputs are not synced yet; Linux is untouched. */
  | "waiting"
  /** The first round runs. */
  | "starting"
  /** One clean round is done and nothing is wrong with the plugin as a whole. */
  | "ready"
  /** Something is wrong with the plugin as a whole; `reason` says what. It is retried. */
  | "degraded"
  | "stopped";

/** One thing that is wrong with one object; everything else goes on. */
export interface Problem {
  /** "conflict": another holds the key. "failed": Linux refused. "problem": the object is at fault. */
  readonly type: "conflict" | "failed" | "problem";
  /** The unit, or the kind and key of Linux state. */
  readonly subject: string;
  /** The unit that wants what Linux refused. */
  readonly unit?: string;
  readonly reason: string;
}

export interface PluginStatus {
  readonly name: string;
  /** Where a third party's plugin came from; absent for those that are built in. */
  readonly file?: string;
  readonly phase: PluginPhase;
  readonly reason?: string;
  /** Items of ours in Linux, by kind. */
  readonly owned: Readonly<Record<string, number>>;
  /** Keys and units that are not settled. */
  readonly pending: number;
  readonly problems: readonly Problem[];
  /** Number of problems, of which `problems` may list only the first ones. */
  readonly problemCount: number;
  readonly rounds: number;
  /** Duration of the last round, ms. */
  readonly lastRoundMs?: number;
  /** Unix time in ms of the last round without a failure of the plugin as a whole. */
  readonly lastSuccess?: number;
}
