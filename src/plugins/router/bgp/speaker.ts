/** The speaker as the router uses it: the core with its driver. */

import type { Family } from "../../../kernel/ip.ts";
import { Bfd, type BfdPeer } from "../bfd/mod.ts";
import { familiesOf, peerKey } from "./config.ts";
import { Core } from "./core.ts";
import type { CoreOutput } from "./output.ts";
import { Driver } from "./driver/driver.ts";
import { rehearsal } from "./rehearsal.ts";
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
import { allBest, bestChange, neighborViews, ribView, whyView } from "./views.ts";

export interface Speaker {
  /** Opens listeners and sessions. Rejects with the address where listening is refused, and leaves nothing open. */
  start(): Promise<void>;
  /** All neighbours that should be. @throws {RangeError} that names the peer and the setting; then nothing changes */
  setPeers(peers: readonly PeerConfig[]): void;
  /** All routes of our own. @throws {RangeError} that names the route; then nothing changes */
  setLocalRoutes(routes: readonly LocalRoute[]): void;
  /** Where connections are taken, in place of what was given at first. @throws {Error} as `start`; then nothing changes */
  listen(addresses: SpeakerOptions["listen"]): void;
  /**
   * Some of them, by prefix, once all were said; those without a route go. Costs what changes.
   *
   * @throws {RangeError} that names the route; then nothing changes
   */
  changeLocalRoutes(
    changes: Iterable<readonly [prefix: string, route: LocalRoute | undefined]>,
  ): void;
  /** Cluster of a route reflector, a dotted quad; undefined: the router id (RFC 4456 section 7). No session is touched. */
  setClusterId(clusterId: string | undefined): void;
  /** Called with the prefixes whose use changed, coalesced; at once with all that are used. Returns the end of it. */
  onBest(listener: (changes: readonly BestChange[]) => void): () => void;
  onEvent(listener: (event: SpeakerEvent) => void): () => void;
  /** A family came to be settled. */
  onSettled(listener: (family: Family) => void): () => void;
  /** Whether a family is settled, and all that was received is decided and told. */
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

/** Between the steps of a rehearsal. */
const REHEARSAL_REST_MS = 1;

export function createSpeaker(options: SpeakerOptions): Speaker {
  const best = new Set<(changes: readonly BestChange[]) => void>();
  const events = new Set<(event: SpeakerEvent) => void>();
  const settled = new Set<(family: Family) => void>();
  const emit = (event: SpeakerEvent): void => {
    for (const listener of events) listener(event);
  };
  const driver = new Driver(
    () => core,
    (message, { peer, ...fields }) => emit({ level: "warn", peer, message, fields }),
  );
  const bfd = new Bfd(
    (peer, state, diagnostic) => {
      core.bfd(peer, state, diagnostic, driver.now());
      driver.wake();
    },
    (message, fields) => emit({ level: "warn", peer: undefined, message, fields }),
  );
  const output: CoreOutput = {
    ...driver.output,
    best(family, ids) {
      if (best.size === 0) return;
      const changes = Array.from(ids, (id) => bestChange(core, family, id));
      for (const listener of best) listener(changes);
    },
    settled(family) {
      for (const listener of settled) listener(family);
    },
    event: emit,
    bfd: () => queueMicrotask(() => bfd.set(bfdSessions(core))),
  };
  const core = new Core(options, output);
  let { listen } = options;
  let started = false;
  let rehearsing: ReturnType<typeof setTimeout> | undefined;
  const rehearsed = new Set<Family>();
  /** A step of a rehearsal, and a rest for what else there is to do. */
  const rehearse = (steps: Iterator<void>, then: readonly Iterator<void>[]): void => {
    rehearsing = setTimeout(() => {
      try {
        if (steps.next().done !== true) return rehearse(steps, then);
        const [next, ...rest] = then;
        if (next !== undefined) rehearse(next, rest);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const message = "The receive path was not rehearsed: a full table will take longer";
        emit({ level: "warn", peer: undefined, message, fields: { reason } });
      }
    }, REHEARSAL_REST_MS);
    rehearsing.unref();
  };
  return {
    // deno-lint-ignore require-await -- a refusal is a rejection, as with every other start
    async start() {
      driver.listen(listen);
      started = true;
      core.start(driver.now());
      driver.wake();
    },
    setPeers(peers) {
      core.setPeers(peers, driver.now());
      // A mesh of nodes sends no full table.
      const external = peers.filter(({ asn }) => asn !== 0 && asn !== options.asn);
      const families = new Set(external.flatMap(familiesOf)).difference(rehearsed);
      for (const family of families) rehearsed.add(family);
      const [first, ...rest] = [...families].map(rehearsal);
      if (first !== undefined) rehearse(first, rest);
      driver.setKeys(peers);
      driver.wake();
    },
    setLocalRoutes(routes) {
      core.setLocalRoutes(routes, driver.now());
      driver.wake();
    },
    listen(addresses) {
      if (started) driver.listen(addresses);
      listen = addresses;
    },
    changeLocalRoutes(changes) {
      core.changeLocalRoutes(changes, driver.now());
      driver.wake();
    },
    setClusterId(clusterId) {
      core.setClusterId(clusterId, driver.now());
      driver.wake();
    },
    onBest(listener) {
      best.add(listener);
      const all = [...allBest(core)];
      if (all.length > 0) listener(all);
      return () => best.delete(listener);
    },
    onEvent(listener) {
      events.add(listener);
      return () => events.delete(listener);
    },
    onSettled(listener) {
      settled.add(listener);
      return () => settled.delete(listener);
    },
    // What End-of-RIB ended may have come a moment ago, and wait for the decision.
    settled: (family) => core.settled(family) && !core.ribs[family].dirty,
    neighbors: () => neighborViews(core),
    rib(which, peer) {
      const only = peer === undefined ? undefined : core.peers.get(peerKey(peer));
      return peer !== undefined && only === undefined ? [] : ribView(core, which, only);
    },
    why: (prefix) => whyView(core, prefix),
    reset(peer, how) {
      const done = core.reset(peer, how?.soft === true, how?.reason, driver.now());
      driver.wake();
      return done;
    },
    async stop(how) {
      clearTimeout(rehearsing);
      core.stop(how?.graceful === true, how?.reason, driver.now());
      await bfd.close();
      await driver.close();
    },
  };
}

/** The BFD sessions that should run: of peers that ask for it, once a session has told our end of it (RFC 5882). */
function bfdSessions(core: Core): BfdPeer[] {
  const sessions: BfdPeer[] = [];
  for (const { address, config, bfdLocal } of core.peers.values()) {
    if (config.bfd === undefined || bfdLocal === undefined || config.shutdown) continue;
    const multihop = config.multihop !== undefined;
    sessions.push({
      address,
      localAddress: bfdLocal,
      multihop,
      port: config.bfd.port ?? (multihop ? 4784 : 3784),
      detectMultiplier: config.bfd.detectMultiplier ?? 3,
      desiredMinTx: config.bfd.desiredMinTx ?? 1_000_000,
      requiredMinRx: config.bfd.requiredMinRx ?? 1_000_000,
    });
  }
  return sessions;
}
