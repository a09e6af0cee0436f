/** What the agent and a plugin's process tell each other. All of it is plain data. */

import type { ApiFailureCode, ApiWrite } from "../cluster/cluster-api.ts";
import type { KindName, KubeObject } from "../cluster/kinds.ts";
import type { HostAddress, Tables, Watch } from "../plugin.ts";
import type { Level } from "../observe/log.ts";
import type { Labels } from "../observe/metrics.ts";

/** From the agent. */
export type ToGuest =
  | {
    readonly type: "load";
    /** The module's path. */
    readonly file: string;
    readonly name: string;
    /** Options as they were given: texts of flags, values of the YAML file. */
    readonly given: Readonly<Record<string, unknown>>;
    readonly node: string;
    readonly host: readonly HostAddress[];
  }
  /** The first list of a kind. */
  | {
    readonly type: "replace";
    readonly kind: KindName;
    readonly objects: readonly KubeObject[];
    readonly resourceVersion: string;
  }
  | {
    readonly type: "update";
    readonly kind: KindName;
    readonly events: readonly (readonly [key: string, object: KubeObject | undefined])[];
    readonly resourceVersion: string;
  }
  | { readonly type: "host"; readonly values: readonly HostAddress[] }
  /** Asks for results that carry this number once everything before it is served. */
  | { readonly type: "serve"; readonly number: number }
  | { readonly type: "ping" }
  /** Answers a question to the API server. */
  | {
    readonly type: "api";
    readonly number: number;
    readonly result?: unknown;
    readonly failure?: { readonly code: ApiFailureCode; readonly message: string };
  }
  /** Background tasks may begin. */
  | { readonly type: "begin" }
  | { readonly type: "stop" };

/** What a plugin says of itself. */
export interface GuestMeta {
  readonly summary: string;
  readonly watches: readonly Watch[];
  readonly tables: readonly (keyof Tables)[];
  readonly writes: readonly ApiWrite[];
  /** Names of its reconcilers, in order. */
  readonly reconcilers: readonly string[];
}

/** What one unit wants. */
export interface UnitResult {
  readonly reconciler: number;
  readonly unit: string;
  /** Which unit wins when two want one key. */
  readonly rank?: string;
  readonly wants: readonly (readonly [table: keyof Tables, item: unknown])[];
  readonly reports: readonly string[];
  /** What `desired` threw: what the unit wanted before stays. */
  readonly failure?: string;
  /** The unit is gone and wants nothing. */
  readonly gone?: true;
}

export type MetricType = "counter" | "gauge" | "histogram";

/** From the plugin's process. */
export type FromGuest =
  | { readonly type: "stage"; readonly stage: "load" | "setup" }
  | { readonly type: "ready"; readonly meta: GuestMeta }
  /** It cannot run; `final` where trying again does not help. */
  | { readonly type: "failed"; readonly reason: string; readonly final: boolean }
  | {
    readonly type: "results";
    readonly units: readonly UnitResult[];
    /** Set in the last part: all that came before this number's question is served. */
    readonly number?: number;
    /** Whether all inputs are synced; without that there are no units. */
    readonly synced: boolean;
    readonly waitsFor?: string;
    /** Its own code threw outside of a unit. */
    readonly fault?: string;
  }
  | { readonly type: "pong" }
  /** A question to the API server; what it may ask is decided by the agent. */
  | {
    readonly type: "api";
    readonly number: number;
    readonly method: string;
    readonly args: readonly unknown[];
  }
  | {
    readonly type: "log";
    readonly level: Level;
    readonly message: string;
    readonly fields?: object;
  }
  | {
    readonly type: "metric";
    readonly metric: MetricType;
    readonly name: string;
    readonly help: string;
    readonly labels: readonly string[];
    readonly buckets?: readonly number[];
    /** Absent: all series of a gauge are dropped. */
    readonly value?: number;
    readonly of?: Labels;
  }
  | { readonly type: "stopped" };
