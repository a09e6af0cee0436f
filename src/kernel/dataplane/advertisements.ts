/**
 * What plugins ask the router to announce: a table of each plugin's own, and for the router one view over all of them. A prefix
 * that several ask for is there until the last of them lets go.
 */

import type { Owner } from "./dataplane.ts";
import type { Table } from "./resource.ts";
import { type Advertisement, advertisement as resource } from "./resources/advertisement.ts";

/** An advertisement and the plugin that asks for it. */
export interface RequestedAdvertisement {
  readonly plugin: string;
  readonly advertisement: Advertisement;
}

/** What is to be announced, as the router sees it. */
export interface AdvertisementRequests {
  /** Canonical; live. */
  prefixes(): Iterable<string>;
  /** Those of plugins that work, by the plugins' names: the first one's attributes count. */
  of(prefix: string): readonly RequestedAdvertisement[];
  /** Told of the prefixes for which something has changed. Returns what ends it. */
  subscribe(changed: (prefixes: readonly string[]) => void): () => void;
}

export interface Advertisements extends AdvertisementRequests {
  table(owner: Owner): Table<Advertisement>;
  /** What a plugin asks for does not count while it does not work: nobody knows whether it still would. */
  suspend(plugin: string, isSuspended: boolean): void;
}

/** Why an advertisement cannot be served; undefined where it can. */
export type AdvertisementCheck = (advertisement: Advertisement) => string | undefined;

/** @param check that of the router; absent: no router runs, and nothing can be announced */
export function createAdvertisements(check: AdvertisementCheck = noRouter): Advertisements {
  /** By plugin and prefix. */
  const plugins = new Map<string, Map<string, Advertisement>>();
  const suspended = new Set<string>();
  const listeners = new Set<(prefixes: readonly string[]) => void>();
  const tell = (prefixes: readonly string[]): void => {
    if (prefixes.length > 0) { for (const listener of listeners) listener(prefixes); }
  };
  const ofPlugin = (name: string): Map<string, Advertisement> => {
    const found = plugins.get(name) ?? new Map<string, Advertisement>();
    plugins.set(name, found);
    return found;
  };
  const working = (): readonly string[] =>
    [...plugins.keys()].filter((name) => !suspended.has(name)).toSorted();
  return {
    *prefixes() {
      yield* new Set(working().flatMap((name) => [...ofPlugin(name).keys()]));
    },
    of: (prefix) =>
      working().flatMap((plugin) => {
        const advertisement = ofPlugin(plugin).get(prefix);
        return advertisement === undefined ? [] : [{ plugin, advertisement }];
      }),
    subscribe(changed) {
      listeners.add(changed);
      return () => void listeners.delete(changed);
    },
    suspend(plugin, isSuspended) {
      if (suspended.has(plugin) === isSuspended) return;
      if (isSuspended) suspended.add(plugin);
      else suspended.delete(plugin);
      tell([...ofPlugin(plugin).keys()]);
    },
    table: ({ name }) => {
      const items = ofPlugin(name);
      return {
        resource,
        refuse: check,
        list: () => Promise.resolve([...items.values()].map((item) => ({ item, owned: true }))),
        apply(ops) {
          for (const { verb, item } of ops) {
            if (verb === "delete") items.delete(resource.key(item));
            else items.set(resource.key(item), item);
          }
          if (!suspended.has(name)) tell(ops.map(({ item }) => resource.key(item)));
          return Promise.resolve(ops.map((op) => ({ op })));
        },
      };
    },
  };
}

function noRouter(): string {
  return "nobody serves it, as no router runs on this node; start the agent with --run-router";
}
