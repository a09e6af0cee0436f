/**
 * The speaker without I/O: peers, sessions and RIBs. What happens comes in by methods with the time, what has to be done goes
 * out through `CoreOutput`. Times are milliseconds of one clock; the same inputs give the same outputs.
 *
 * Decisions and announcements wait for `flush`, so that what comes in together is decided once and sent together.
 */

import type { Family } from "../../../kernel/ip.ts";
import {
  checkOptions,
  checkPeer,
  peerKey,
  routerIdNumber,
  sessionConfig,
  sessionKey,
} from "./config.ts";
import { LocalRoutes } from "./local-routes.ts";
import { glanceOf, takeUpdates } from "./intake.ts";
import { ISSUES, reimport, take } from "./received.ts";
import { changeClusterId } from "./reflector.ts";
import { Settling } from "./settling.ts";
import { clearPaths, clearStale, isLate, peerIsBack, peerIsGone, STALE_SECONDS } from "./stale.ts";
import type { BfdState, CoreOutput, Refusal } from "./output.ts";
import { type ExportCache, flushPeer, hasWork, markDifference, resend } from "./flush.ts";
import {
  createPeer,
  exportPolicy,
  exportTarget,
  FAMILIES,
  importPolicy,
  type Peer,
  type Self,
  setEnds,
} from "./peer.ts";
import { AttributeTable } from "./rib/attributes.ts";
import type { Origin } from "./rib/decision.ts";
import { Rib } from "./rib/rib.ts";
import type { Negotiated, RestartState } from "./session/negotiate.ts";
import { type Endpoints, Session, type SessionOutput } from "./session/session.ts";
import { report, tellFailure } from "./tell.ts";
import type { LocalRoute, PeerConfig, SpeakerEvent, SpeakerOptions } from "./types.ts";
import { CeaseCode } from "./wire/constants.ts";
import type { Frame } from "./wire/framer.ts";
import { decodeRefresh, RefreshSubtype } from "./wire/messages.ts";
import { UpdateDecoder } from "./wire/update.ts";

export class Core {
  readonly options: SpeakerOptions;
  self: Self;
  readonly attributes = new AttributeTable();
  readonly ribs: { readonly 4: Rib; readonly 6: Rib };
  readonly peers = new Map<string, Peer>();
  readonly #byIndex: (Peer | undefined)[] = [undefined];
  readonly #freeIndexes: number[] = [];
  readonly #out: CoreOutput;
  readonly #byConnection = new Map<number, Peer>();
  #connections = 0;
  readonly #routes = new LocalRoutes();
  /** By family and prefix number. */
  readonly classes = { 4: new Map<number, string>(), 6: new Map<number, string>() };
  #routesKnown = false;
  #peersKnown = false;
  #startedAt: number | undefined;
  readonly #settling: Settling;
  readonly #local: Origin;
  readonly #exports: ExportCache = new Map();
  /** No deadline is before this; a later one may be. */
  #nextTick = Number.POSITIVE_INFINITY;

  /** @throws {RangeError} that names the option */
  constructor(options: SpeakerOptions, out: CoreOutput) {
    checkOptions(options);
    this.options = options;
    this.#out = out;
    const routerId = routerIdNumber(options.routerId, "Router id");
    this.self = { asn: options.asn, routerId, clusterId: routerId };
    this.#local = { source: "local", routerId, rank: "" };
    const origin = (peer: number) => this.#byIndex[peer]?.origin ?? this.#local;
    const most = Math.max(1, options.multipath ?? 1);
    this.ribs = {
      4: new Rib(4, this.attributes, origin, most),
      6: new Rib(6, this.attributes, origin, most),
    };
    this.#settling = new Settling(options);
  }

  /** The number that the next connection will have. */
  get upcomingConnection(): number {
    return this.#connections + 1;
  }

  peerAt(index: number): Peer | undefined {
    return this.#byIndex[index];
  }

  settled(family: Family): boolean {
    return this.#settling.settled(family);
  }

  /** Whether `flush` has something to do. */
  get flushable(): boolean {
    return this.#work || this.ribs[4].dirty || this.ribs[6].dirty;
  }

  /** Whether it should not wait: what a peer has begun to be told goes on. */
  get pressing(): boolean {
    return this.#pressing;
  }

  /** When `tick` is next needed. */
  get deadline(): number {
    return this.#nextTick;
  }

  start(now: number): void {
    this.#now = now;
    this.#startedAt = now;
    this.#startSessions(now);
    this.#checkSettled(now);
  }

  /** @throws {RangeError} that names the peer and the setting; then nothing has changed */
  setPeers(configs: readonly PeerConfig[], now: number): void {
    this.#now = now;
    const wanted = new Map<string, PeerConfig>();
    for (const config of configs) {
      checkPeer(config, this.self.asn);
      importPolicy(config);
      exportPolicy(config, config.asn !== this.self.asn);
      const key = peerKey(config.address);
      if (wanted.has(key)) throw new RangeError(`Peer "${key}" is there twice`);
      wanted.set(key, config);
    }
    for (const peer of [...this.peers.values()]) {
      if (!wanted.has(peer.address)) this.#removePeer(peer, now);
    }
    for (const [address, config] of wanted) {
      const peer = this.peers.get(address);
      if (peer === undefined) this.#addPeer(address, config, now);
      else if (peer.config !== config) this.#changePeer(peer, config, now);
    }
    this.#peersKnown = true;
    this.#checkSettled(now);
    this.#retime();
  }

  /** @throws {RangeError} that names the route; then nothing has changed */
  setLocalRoutes(routes: readonly LocalRoute[], now: number): void {
    this.#now = now;
    this.#routes.set(this, routes, Math.floor(now / 1000));
    this.#routesKnown = true;
    this.#startSessions(now);
    this.#retime();
  }

  /** Some of them. @throws {RangeError} that names the route; then nothing has changed */
  changeLocalRoutes(
    changes: Iterable<readonly [prefix: string, route: LocalRoute | undefined]>,
    now: number,
  ): void {
    this.#now = now;
    this.#routes.change(this, changes, Math.floor(now / 1000));
  }

  setClusterId(text: string | undefined, now: number): void {
    this.#now = now;
    if (changeClusterId(this, text)) this.#work = true;
  }

  connected(connection: number, ends: Endpoints, now: number): void {
    this.#now = now;
    const peer = this.#byConnection.get(connection);
    if (peer === undefined) return this.#out.close(connection, true);
    peer.session.connected(connection, ends, now);
    this.#retime(peer);
  }

  /** A connection from the address of a peer; its number, or why it is not taken. */
  accepted(from: string, ends: Endpoints, now: number): number | Refusal {
    this.#now = now;
    const peer = this.peers.get(peerKey(from));
    if (peer === undefined) return { reason: "no such peer is configured", expected: false };
    const local = peer.config.localAddress;
    if (local !== undefined && peerKey(local) !== peerKey(ends.localAddress)) {
      const reason = `it came to ${ends.localAddress}, not to the local address ${local}`;
      return { reason, expected: false };
    }
    const connection = this.#nextConnection(peer);
    if (peer.session.accepted(connection, ends, now)) {
      this.#retime(peer);
      return connection;
    }
    this.#byConnection.delete(connection);
    const reason = peer.config.shutdown ? "the peer is shut down" : "the session is Idle";
    return { reason, expected: true };
  }

  closed(connection: number, reason: string, now: number): void {
    this.#now = now;
    const peer = this.#byConnection.get(connection);
    if (peer === undefined) return;
    this.#byConnection.delete(connection);
    peer.session.closed(connection, reason, now);
    this.#retime(peer);
  }

  data(connection: number, bytes: Uint8Array, now: number): void {
    const peer = this.#byConnection.get(connection);
    if (peer === undefined) return;
    this.#now = now;
    peer.session.data(connection, bytes, now);
    this.#retime(peer);
  }

  /** Whether the driver holds bytes of this connection that the network has not taken. */
  blocked(connection: number, blocked: boolean, now: number): void {
    this.#now = now;
    const peer = this.#byConnection.get(connection);
    if (peer === undefined) return;
    peer.session.blocked(connection, blocked, now);
    peer.blocked = blocked;
    if (!blocked) this.#work = this.#pressing = true;
    this.#retime(peer);
  }

  tick(now: number): void {
    this.#now = now;
    let next = this.#nextTick = Number.POSITIVE_INFINITY;
    for (const peer of this.peers.values()) {
      let at = peer.session.deadline();
      if (now >= at) {
        peer.session.tick(now);
        at = peer.session.deadline();
      }
      const late = isLate(peer, now);
      if (late !== undefined) this.#dropStale(peer, late);
      next = Math.min(next, at, peer.restartUntil ?? next, peer.staleUntil ?? next);
    }
    this.#checkSettled(now);
    this.#nextTick = Math.min(this.#nextTick, next, this.#settlingDeadline());
  }

  /** Decides about what changed and writes what the peers have to know; one turn's worth of it. */
  flush(now: number): void {
    this.#now = now;
    for (const family of FAMILIES) {
      const rib = this.ribs[family];
      if (!rib.dirty) continue;
      const changed = rib.decide();
      if (changed.length > 0) {
        for (const peer of this.peers.values()) {
          if (peer.negotiated === undefined || !peer.negotiated.families.includes(family)) continue;
          peer.out[family].markAll(changed, rib, peer.index);
        }
        this.#out.best(family, changed);
      }
    }
    for (const peer of this.peers.values()) {
      if (!hasWork(this, peer)) continue;
      flushPeer(this, peer, this.#exports, (bytes, messages) => {
        peer.session.sent.update += messages;
        if (peer.connection !== undefined) this.#out.send(peer.connection, bytes);
      });
    }
    this.#exports.clear();
    this.#work = this.#pressing = [...this.peers.values()].some((peer) => hasWork(this, peer));
    for (const family of FAMILIES) {
      // A number may be given away again only when nobody's list holds it.
      const rib = this.ribs[family];
      if (!rib.sweepable) continue;
      let idle = !rib.dirty;
      for (const peer of this.peers.values()) idle &&= peer.out[family].idle;
      if (idle) rib.sweep();
    }
  }

  reset(address: string, soft: boolean, reason: string | undefined, now: number): boolean {
    this.#now = now;
    const peer = this.peers.get(peerKey(address));
    if (peer === undefined) return false;
    if (!soft) {
      peer.session.reset(now, CeaseCode.AdministrativeReset, "reset by us", 1, reason);
    } else if (peer.negotiated !== undefined && peer.connection !== undefined) {
      for (const family of peer.negotiated.families) {
        this.#resend(peer, family, false);
        if (!peer.negotiated.routeRefresh) continue;
        peer.session.sendRefresh(peer.connection, family, RefreshSubtype.Request);
      }
    }
    this.#retime();
    return true;
  }

  /** Ends all sessions. */
  stop(graceful: boolean, reason: string | undefined, now: number): void {
    this.#now = now;
    for (const { session } of this.peers.values()) {
      if (graceful) session.abandon(now);
      else session.stop(now, CeaseCode.AdministrativeShutdown, reason);
    }
    this.#startedAt = undefined;
  }

  /** What BFD says of a peer. Only a fall from Up ends a session, and never by the peer's own wish (RFC 5882). */
  bfd(address: string, state: BfdState, diagnostic: string, now: number): void {
    const peer = this.peers.get(address);
    if (peer === undefined) return;
    const before = peer.bfd;
    peer.bfd = state;
    if (before === state) return;
    this.#event("info", peer, "The BFD session changed", { state, diagnostic });
    if (before !== "up" || state !== "down") return;
    this.#now = now;
    peer.session.reset(
      now,
      CeaseCode.BfdDown,
      `BFD went down (${diagnostic}): sent 6/10 (cease: BFD down)`,
      1,
    );
    this.#retime();
  }

  /** Some peer may have something to be sent. */
  #work = false;
  #pressing = false;
  #now = 0;

  #resend(peer: Peer, family: Family, withEnd: boolean): void {
    resend(peer, family, withEnd);
    this.#work = true;
  }

  #startSessions(now: number): void {
    if (this.#startedAt === undefined || !this.#routesKnown) return;
    for (const peer of this.peers.values()) {
      if (!peer.config.shutdown) peer.session.start(now);
    }
    this.#retime();
  }

  #addPeer(address: string, config: PeerConfig, now: number): void {
    const index = this.#freeIndexes.pop() ?? this.#byIndex.length;
    const peer: Peer = createPeer(
      index,
      address,
      config,
      this.#session(config, () => peer),
      this.self.asn,
    );
    this.#byIndex[index] = peer;
    this.peers.set(address, peer);
    if (this.#startedAt !== undefined && this.#routesKnown && !config.shutdown) {
      peer.session.start(now);
    }
  }

  #removePeer(peer: Peer, now: number): void {
    peer.session.stop(now, CeaseCode.PeerDeconfigured);
    clearPaths(this, peer);
    this.peers.delete(peer.address);
    this.#byIndex[peer.index] = undefined;
    this.#freeIndexes.push(peer.index);
    this.#out.bfd();
  }

  #changePeer(peer: Peer, config: PeerConfig, now: number): void {
    const old = peer.config;
    peer.config = config;
    const key = sessionKey(config);
    const restart = key !== peer.sessionKey;
    if (restart) {
      peer.sessionKey = key;
      if (peer.session.state !== "Idle") {
        this.#event("info", peer, "The session starts anew because its configuration changed");
      }
      peer.session.stop(now, CeaseCode.ConfigurationChange);
      clearPaths(this, peer);
      const established = peer.session.establishedCount;
      peer.session = this.#session(config, () => peer);
      peer.session.establishedCount = established;
      const external = config.asn !== this.self.asn;
      peer.origin = { ...peer.origin, source: external ? "ebgp" : "ibgp", routerId: 0 };
      peer.bfdLocal = undefined;
      peer.failures.clear();
    }
    if (config.shutdown && !old.shutdown && !restart) {
      const text = typeof config.shutdown === "string" ? config.shutdown : undefined;
      peer.session.stop(now, CeaseCode.AdministrativeShutdown, text);
    }
    const running = this.#startedAt !== undefined && this.#routesKnown;
    if (running && !config.shutdown) peer.session.start(now);
    const imports = importPolicy(config);
    if (imports.key !== peer.import.key) {
      peer.import = imports;
      reimport(this, peer);
    }
    const exports = exportPolicy(config, peer.negotiated?.external ?? config.asn !== this.self.asn);
    const hops = JSON.stringify(config.nextHop) !== JSON.stringify(old.nextHop);
    if (exports.key !== peer.export.key || hops) {
      peer.export = exports;
      const before = peer.target;
      if (peer.negotiated !== undefined && peer.ends !== undefined && before !== undefined) {
        peer.target = exportTarget(peer, peer.negotiated, peer.ends, this.self);
        markDifference(this, peer, before);
        this.#work = true;
      }
    }
    if (JSON.stringify(config.bfd) !== JSON.stringify(old.bfd)) this.#out.bfd();
  }

  #session(config: PeerConfig, peer: () => Peer): Session {
    const output: SessionOutput = {
      dial: (connection) => this.#out.dial(connection, peer().config),
      send: (connection, bytes) => this.#out.send(connection, bytes),
      close: (connection, abort) => {
        this.#byConnection.delete(connection);
        this.#out.close(connection, abort);
      },
      established: (negotiated, ends, connection, now) =>
        this.#established(peer(), negotiated, ends, connection, now),
      down: (reason, lost, now) => this.#down(peer(), reason, lost, now),
      updates: (framer) => takeUpdates(this, peer(), framer, Math.floor(this.#now / 1000)),
      update: (frame) => this.#update(peer(), frame),
      refresh: (frame) => this.#refresh(peer(), frame),
      failed: (reason, level) => tellFailure(this.#out, peer(), reason, level),
      restart: () => this.#restartState(),
      random: () => this.#out.random(),
      nextConnection: () => this.#nextConnection(peer()),
    };
    return new Session(sessionConfig(this.options, this.self, config), output);
  }

  #nextConnection(peer: Peer): number {
    const connection = ++this.#connections;
    this.#byConnection.set(connection, peer);
    return connection;
  }

  #restartState(): RestartState {
    return { restarting: !this.#settling.done, forwarding: this.options.restarting ?? [] };
  }

  #established(
    peer: Peer,
    negotiated: Negotiated,
    ends: Endpoints,
    connection: number,
    now: number,
  ): void {
    peer.negotiated = negotiated;
    setEnds(peer, ends);
    peer.connection = connection;
    peer.blocked = false;
    peer.failures.clear();
    peer.origin = {
      source: negotiated.external ? "ebgp" : "ibgp",
      routerId: negotiated.routerId,
      rank: peer.origin.rank,
    };
    peer.export = exportPolicy(peer.config, negotiated.external);
    peer.target = exportTarget(peer, negotiated, ends, this.self);
    peer.glance = glanceOf(peer, negotiated, this.self);
    peer.decoder = new UpdateDecoder({
      fourOctetAs: negotiated.fourOctetAs,
      external: negotiated.external,
      extendedNextHop: negotiated.extendedNextHop,
      families: negotiated.families,
    }, this.attributes);
    peerIsBack(this, peer, negotiated, now);
    for (const family of negotiated.families) {
      peer.out[family].reset();
      this.#resend(peer, family, false);
      peer.out[family].endOfRibDue = true;
    }
    this.#event("info", peer, "The session is Established", {
      asn: negotiated.asn,
      families: negotiated.families.map((family) => `IPv${family}`).join(" "),
      holdSeconds: negotiated.holdSeconds,
    });
    if (peer.config.bfd !== undefined) {
      peer.bfdLocal = ends.localAddress;
      this.#out.bfd();
    }
    this.#checkSettled(now);
  }

  #down(peer: Peer, reason: string, lost: boolean, now: number): void {
    const { negotiated } = peer;
    if (negotiated === undefined) return;
    peer.flaps++;
    const keepsFor = peerIsGone(this, peer, negotiated, lost, now);
    peer.negotiated = undefined;
    peer.target = undefined;
    peer.decoder = undefined;
    peer.glance = undefined;
    setEnds(peer, undefined);
    peer.connection = undefined;
    peer.blocked = false;
    this.#event("warn", peer, "The session went down", {
      reason,
      ...(keepsFor === 0 ? {} : { keepsRoutesForSeconds: keepsFor }),
    });
    this.#checkSettled(now);
  }

  /** @throws {BgpError} that ends the session */
  #update(peer: Peer, frame: Frame): void {
    const update = peer.decoder?.decode(frame);
    if (update === undefined) return;
    for (const { cost, message } of update.issues) {
      const event = { level: "warn", message: ISSUES[cost], fields: { reason: message } } as const;
      report(this.#out, peer, `${cost} ${message}`, event, this.#now);
    }
    take(this, peer, update, Math.floor(this.#now / 1000));
    if (update.endOfRib !== undefined) this.#endOfRib(peer, update.endOfRib);
  }

  #endOfRib(peer: Peer, family: Family): void {
    if (peer.negotiated === undefined || !peer.negotiated.families.includes(family)) return;
    peer.endOfRib[family] = true;
    clearStale(this, peer, family);
    if (!peer.stale[4] && !peer.stale[6]) peer.staleUntil = undefined;
    this.#checkSettled(this.#now);
  }

  /** RFC 2918, RFC 7313. @throws {BgpError} 7/1 */
  #refresh(peer: Peer, frame: Frame): void {
    const { negotiated } = peer;
    if (negotiated === undefined) return;
    const { family, subtype } = decodeRefresh(frame, negotiated.enhancedRefresh);
    if (family === undefined || !negotiated.families.includes(family)) return;
    if (subtype === RefreshSubtype.Request) {
      this.#resend(peer, family, negotiated.enhancedRefresh);
      if (negotiated.enhancedRefresh && peer.connection !== undefined) {
        peer.session.sendRefresh(peer.connection, family, RefreshSubtype.Begin);
      }
    } else if (!negotiated.enhancedRefresh) return;
    else if (subtype === RefreshSubtype.Begin) {
      peer.stale[family] = this.ribs[family].markStale(peer.index) > 0;
      peer.staleUntil = this.#now + 1000 * STALE_SECONDS;
    } else if (subtype === RefreshSubtype.End) clearStale(this, peer, family);
  }

  #checkSettled(now: number): void {
    if (this.#startedAt === undefined || this.#settling.done) return;
    const settled = this.#settling.check(
      this.#startedAt,
      now,
      this.#peersKnown,
      this.#routesKnown,
      this.peers.values(),
    );
    for (const family of settled) {
      for (const peer of this.peers.values()) {
        if (peer.negotiated?.families.includes(family)) this.#resend(peer, family, false);
      }
      this.#work = true;
      this.#event("info", undefined, "The family is settled after our restart", {
        family: `IPv${family}`,
      });
      this.#out.settled(family);
    }
  }

  #dropStale(peer: Peer, reason: string): void {
    for (const family of FAMILIES) clearStale(this, peer, family);
    this.#event("warn", peer, "Stale routes of the peer are withdrawn", { reason });
  }

  /** Deadlines only move: looking at all of them again is left to `tick`. */
  #retime(only?: Peer): void {
    let at = this.#nextTick;
    for (const peer of only === undefined ? this.peers.values() : [only]) {
      at = Math.min(
        at,
        peer.session.deadline(),
        peer.restartUntil ?? at,
        peer.staleUntil ?? at,
      );
    }
    this.#nextTick = Math.min(at, this.#settlingDeadline());
  }

  #settlingDeadline(): number {
    return this.#startedAt === undefined
      ? Number.POSITIVE_INFINITY
      : this.#settling.deadline(this.#startedAt, this.#now);
  }

  #event(
    level: SpeakerEvent["level"],
    peer: Peer | undefined,
    message: string,
    fields: NonNullable<SpeakerEvent["fields"]> = {},
  ): void {
    this.#out.event({ level, peer: peer?.address, message, fields });
  }
}
