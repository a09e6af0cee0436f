/** A BGP speaker that says nothing and remembers what it was told. */

import type {
  BestChange,
  LocalRoute,
  NeighborView,
  PathView,
  PeerConfig,
  Speaker,
  SpeakerEvent,
  SpeakerOptions,
} from "../../src/plugins/router/bgp/mod.ts";

export interface FakeSpeaker extends Speaker {
  readonly options: SpeakerOptions;
  readonly peers: readonly PeerConfig[];
  readonly routes: readonly LocalRoute[];
  readonly clusterId: string | undefined;
  readonly listening: readonly string[];
  /** "start", "stop" and so on, in order. */
  readonly told: readonly string[];
  /** Lets it choose paths by these next hops; none: the prefix is gone. */
  learn(prefix: string, ...nextHops: readonly string[]): void;
  emit(event: SpeakerEvent): void;
}

export interface Speakers {
  readonly all: readonly FakeSpeaker[];
  readonly create: (options: SpeakerOptions) => Speaker;
  /** The one that was made last. */
  now(): FakeSpeaker;
  /** The next starts are refused with this. */
  refuseStart(message: string | undefined): void;
  /** The next configurations that name this peer or prefix are refused. */
  refuse(name: string | undefined): void;
  readonly neighbors: Partial<NeighborView>[];
}

export function fakeSpeakers(): Speakers {
  const all: FakeSpeaker[] = [];
  const neighbors: Partial<NeighborView>[] = [];
  let startError: string | undefined;
  let refused: string | undefined;
  const check = (names: readonly string[]): void => {
    if (refused !== undefined && names.includes(refused)) {
      throw new RangeError(`Peer "${refused}" cannot be: it was refused`);
    }
  };
  const create = (options: SpeakerOptions): Speaker => {
    const best = new Set<(changes: readonly BestChange[]) => void>();
    const events = new Set<(event: SpeakerEvent) => void>();
    const told: string[] = [];
    let peers: readonly PeerConfig[] = [];
    let routes: readonly LocalRoute[] = [];
    let clusterId: string | undefined;
    let listening: readonly string[] = [];
    const speaker: FakeSpeaker = {
      options,
      told,
      get peers() {
        return peers;
      },
      get routes() {
        return routes;
      },
      start() {
        told.push("start");
        return startError === undefined ? Promise.resolve() : Promise.reject(new Error(startError));
      },
      setPeers(next) {
        check(next.map(({ address }) => address));
        peers = next;
      },
      setLocalRoutes(next) {
        check(next.map(({ prefix }) => prefix));
        routes = next;
      },
      get listening() {
        return listening;
      },
      listen(next) {
        check(next.map(({ address }) => address));
        listening = next.map(({ address }) => address);
      },
      changeLocalRoutes(changes) {
        const byPrefix = new Map(routes.map((route) => [route.prefix, route]));
        for (const [prefix, route] of changes) {
          check([prefix]);
          if (route === undefined) byPrefix.delete(prefix);
          else byPrefix.set(prefix, route);
        }
        routes = [...byPrefix.values()];
      },
      get clusterId() {
        return clusterId;
      },
      setClusterId: (next) => void (clusterId = next),
      onBest(listener) {
        best.add(listener);
        return () => best.delete(listener);
      },
      onEvent(listener) {
        events.add(listener);
        return () => events.delete(listener);
      },
      onSettled: () => () => {},
      settled: () => true,
      neighbors: () => neighbors as NeighborView[],
      rib: () => [],
      why: (prefix) => ({ prefix, covering: undefined, paths: [], peers: [] }),
      reset: () => false,
      stop(how) {
        told.push(how?.graceful === true ? "stop gracefully" : "stop");
        return Promise.resolve();
      },
      learn(prefix, ...nextHops) {
        const paths = nextHops.map((nextHop) => ({ nextHop, source: "ibgp" }) as PathView);
        const family = prefix.includes(":") ? 6 : 4;
        for (const listener of best) listener([{ prefix, family, paths }]);
      },
      emit(event) {
        for (const listener of events) listener(event);
      },
    };
    all.push(speaker);
    return speaker;
  };
  return {
    all,
    create,
    neighbors,
    now() {
      const last = all.at(-1);
      if (last === undefined) throw new Error("No speaker was made");
      return last;
    },
    refuseStart: (message) => startError = message,
    refuse: (name) => refused = name,
  };
}
