/**
 * The Services as the newest that is known of each: what a watch has told, or what an answer to a write or a read said later.
 * A watch lags; whoever decides by it alone gives an address a second time.
 */

import type { Service, Store } from "../../src/kernel/third-party.ts";
import { keyOf } from "./claims.ts";

export interface View {
  /** An answer of the API server. */
  learn(service: Service): void;
  get(key: string): Service | undefined;
  all(): readonly Service[];
}

/**
 * Whether a resourceVersion is later than another. They are decimal numbers that grow over the whole cluster (KEP-5504), too
 * large for a double.
 */
export function isLater(a: string, b: string): boolean {
  return a.length === b.length ? a > b : a.length > b.length;
}

/** Whether two states of a Service say the same. */
function same(one: Service, other: Service): boolean {
  const { metadata: { resourceVersion } } = one;
  return Bun.deepEquals(one, { ...other, metadata: { ...other.metadata, resourceVersion } });
}

export function newestOf(store: Pick<Store<Service>, "get" | "values" | "resourceVersion">): View {
  const learnt = new Map<string, Service>();

  /** What was learnt, while it is newer than what the watch has told. */
  function newer(key: string): Service | undefined {
    const known = learnt.get(key);
    if (known === undefined) return undefined;
    const told = store.get(key);
    // One that the watch does not have: not yet, or no more.
    const past = told === undefined ? store.resourceVersion : told.metadata.resourceVersion;
    const { resourceVersion } = known.metadata;
    const isNewer = isLater(resourceVersion, past) &&
      // A list, after a gap of the watch, leaves an object as it is that says the same again: what was learnt between is over.
      (told === undefined || isLater(resourceVersion, store.resourceVersion) || same(told, known));
    if (isNewer) return known;
    learnt.delete(key);
    return undefined;
  }

  return {
    learn(service) {
      const key = keyOf(service);
      const known = newer(key);
      const { resourceVersion } = service.metadata;
      if (known !== undefined && isLater(known.metadata.resourceVersion, resourceVersion)) return;
      learnt.set(key, service);
    },
    get: (key) => newer(key) ?? store.get(key),
    all() {
      const services = [...store.values()].map((service) => newer(keyOf(service)) ?? service);
      const unseen = [...learnt.keys()].filter((key) => store.get(key) === undefined);
      return [...services, ...unseen.flatMap((key) => newer(key) ?? [])];
    },
  };
}
