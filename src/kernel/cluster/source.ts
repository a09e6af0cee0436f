/** Where the cluster's objects come from: an API server, or a folder of manifests. */

import type { ClusterApi } from "./cluster-api.ts";
import type { KindName, KindTypes } from "./kinds.ts";
import type { Store } from "./store.ts";

export interface Watch {
  readonly kind: KindName;
  /** Only the object that is named like this node; for nodes. */
  readonly only?: "self";
}

/**
 * One store a kind. Reading a store that nobody asked for throws, naming the kind and the metadata
 * field that must list it: an empty store would look like an empty cluster.
 */
export type Stores = { readonly [K in KindName]: Store<KindTypes[K]> };

export interface KindState {
  readonly kind: KindName;
  readonly synced: boolean;
  readonly objects: number;
  readonly resourceVersion: string;
  /** A watch is open, or the folder was read without an error. */
  readonly connected: boolean;
  /** The last error since the connection was last good; absent when all is well. */
  readonly lastError?: string;
  /** Milliseconds since the epoch when anything last came from the source; 0 before. */
  readonly lastEventAt: number;
  /** Full lists after the first. */
  readonly relists: number;
}

export interface SourceState {
  /** URL of the API server without credentials, or the folder. */
  readonly from: string;
  readonly connected: boolean;
  readonly kinds: readonly KindState[];
}

export interface ClusterSource {
  readonly stores: Stores;
  readonly state: SourceState;
  /** Where objects can be written to; absent for a folder of manifests. */
  readonly api?: ClusterApi;
  /**
   * What could not be read even once since the start, a text each with place and reason: the stores are filled and lack its
   * objects. What an earlier run has made of them must not be removed for that. Absent or empty: they hold all there is.
   */
  readonly unread?: readonly string[];
  /** Idempotent per kind; can be called again with more. Returns at once: stores say when synced. */
  readonly start: (watches: readonly Watch[]) => void;
  readonly stop: () => Promise<void>;
}
