/**
 * One neighbour: the state machine of RFC 4271 section 8 over its connections, without I/O.
 *
 * It is told what happens, with the time, and answers through `SessionOutput`. Its times are milliseconds of the caller's
 * clock; `deadline` says when `tick` has something to do.
 */

import type { Family } from "../../../../kernel/ip.ts";
import type { MessageCounters, SessionState } from "../types.ts";
import { CeaseCode, ErrorCode, MAX_EXTENDED_LENGTH, MessageType } from "../wire/constants.ts";
import { BgpError, errorName, shutdownData, shutdownText } from "../wire/error.ts";
import { type Frame, Framer } from "../wire/framer.ts";
import {
  decodeNotification,
  encodeNotification,
  encodeRefresh,
  KEEPALIVE,
} from "../wire/messages.ts";
import { decodeOpen, encodeOpen, type Open } from "../wire/open.ts";
import {
  negotiate,
  type Negotiated,
  ourOpen,
  type RestartState,
  type SessionConfig,
} from "./negotiate.ts";

/** Ends of a connection, as the driver saw them. */
export interface Endpoints {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remotePort: number;
}

/** Where a session's outputs go. All are called at once, in order. */
export interface SessionOutput {
  dial(connection: number): void;
  send(connection: number, bytes: Uint8Array): void;
  /** After what was sent; abort: at once. */
  close(connection: number, abort: boolean): void;
  established(negotiated: Negotiated, ends: Endpoints, connection: number, now: number): void;
  /** It is not Established any more. Lost: the connection ended without a NOTIFICATION of either side. */
  down(reason: string, lost: boolean, now: number): void;
  /**
   * Of an Established session: takes UPDATEs that it understands at once from where the framer is, and says how many. What it
   * leaves comes as messages. @throws {BgpError} to end the session with it
   */
  updates(framer: Framer): number;
  /** A message of an Established session. @throws {BgpError} to end the session with it */
  update(frame: Frame): void;
  /** As `update`. */
  refresh(frame: Frame): void;
  /** A connection, or an attempt, failed or ended. "info": the network or the peer ended it without a word. */
  failed(reason: string, level: "warn" | "info"): void;
  /** Our state for the next OPEN. */
  restart(): RestartState;
  /** From 0 up to 1. */
  random(): number;
  /** A number that no other connection has. */
  nextConnection(): number;
}

/** RFC 4271 asks for minutes; where only one end has GTSM or MD5 a connection hangs here, and both are stuck with it. */
const OPEN_SENT_SECONDS = 20;
/** RFC 9687 section 3. */
const SEND_HOLD_SECONDS = 480;
const FIRST_DIAL_SECONDS = 1;
/** After too many prefixes: they will still be there in a second. */
const LIMIT_IDLE_SECONDS = 300;
const MOST_IDLE_SECONDS = 60;
/** Established for so long, a session has proven itself: the back-off begins anew. */
const PROVEN_SECONDS = 60;
/** A connection this much younger than the session is no collision, but a peer that restarted. */
const RESTART_GAP_MS = 1000;
const NEVER = Number.POSITIVE_INFINITY;

/** From the least to the furthest. */
const STATES: readonly SessionState[] = [
  "Idle",
  "Active",
  "Connect",
  "OpenSent",
  "OpenConfirm",
  "Established",
];

type Phase = "Connect" | "OpenSent" | "OpenConfirm" | "Established";

interface Connection {
  readonly id: number;
  readonly outgoing: boolean;
  readonly openedAt: number;
  readonly framer: Framer;
  phase: Phase;
  ends: Endpoints | undefined;
  ours: Open | undefined;
  negotiated: Negotiated | undefined;
  holdAt: number;
  keepaliveAt: number;
  blockedAt: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class Session {
  readonly received: Mutable<MessageCounters> = counters();
  readonly sent: Mutable<MessageCounters> = counters();
  /** When the state last changed. */
  since = 0;
  establishedCount = 0;
  lastError: string | undefined;
  /** The last one that was sent or received, with its reason. */
  lastNotification: string | undefined;
  lastErrorAt: number | undefined;
  readonly #config: SessionConfig;
  readonly #out: SessionOutput;
  readonly #connections = new Map<number, Connection>();
  #started = false;
  /** While set, nothing is dialled or taken: IdleHoldTimer. */
  #idleUntil = 0;
  #idleSeconds = 0;
  #dialAt = NEVER;
  #establishedAt = 0;
  #state: SessionState = "Idle";

  constructor(config: SessionConfig, out: SessionOutput) {
    this.#config = config;
    this.#out = out;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** Of the Established connection. */
  get negotiated(): Negotiated | undefined {
    return this.#established()?.negotiated;
  }

  get ends(): Endpoints | undefined {
    return this.#established()?.ends;
  }

  /** What the furthest OPEN said of the peer. */
  get heard(): Negotiated | undefined {
    for (const { negotiated } of this.#connections.values()) {
      if (negotiated !== undefined) return negotiated;
    }
    return undefined;
  }

  /** ManualStart. */
  start(now: number): void {
    if (this.#started) return;
    this.#started = true;
    this.#idleUntil = 0;
    this.#scheduleDial(now, FIRST_DIAL_SECONDS * this.#out.random());
    this.#update(now);
  }

  /** ManualStop: Cease/`subcode`, with a text where the subcode has one. */
  stop(now: number, subcode: number, text?: string): void {
    this.#started = false;
    this.#dialAt = NEVER;
    this.#endAll(now, `stopped by us: ${errorName(ErrorCode.Cease, subcode)}`, {
      code: ErrorCode.Cease,
      subcode,
      data: shutdownData(text),
    });
    this.#update(now);
  }

  /** Ends every connection without a word, so that the peer takes it for a restart (RFC 4724). */
  abandon(now: number): void {
    this.#started = false;
    this.#dialAt = NEVER;
    this.#endAll(now, "closed for a graceful restart", undefined);
    this.#update(now);
  }

  /** Ends the session with a Cease and starts it again after `idleSeconds`. */
  reset(now: number, subcode: number, reason: string, idleSeconds: number, text?: string): void {
    if (!this.#started) return;
    this.#endAll(now, reason, { code: ErrorCode.Cease, subcode, data: shutdownData(text) });
    this.#rest(now, idleSeconds);
    this.#update(now);
  }

  /** A connection that we dialled is up (TcpConnectionConfirmed). */
  connected(id: number, ends: Endpoints, now: number): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return this.#out.close(id, true);
    connection.ends = ends;
    this.#sendOpen(connection, now);
    this.#update(now);
  }

  /** A peer's connection (Tcp_CR_Acked). False: not taken; the driver closes it. */
  accepted(id: number, ends: Endpoints, now: number): boolean {
    if (!this.#started || now < this.#idleUntil) return false;
    const connection = newConnection(id, false, now);
    connection.ends = ends;
    // A second one of the peer's before the first got anywhere: the first is dead.
    for (const other of [...this.#connections.values()]) {
      if (!other.outgoing && other.phase !== "Established") this.#drop(other, true);
    }
    this.#connections.set(id, connection);
    this.#sendOpen(connection, now);
    this.#update(now);
    return true;
  }

  /** A connection ended, or was never made (TcpConnectionFails). */
  closed(id: number, reason: string, now: number): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    this.#connections.delete(id);
    this.#fail(reason, now, "info");
    if (connection.phase === "Established") this.#fell(now, reason, true);
    if (this.#started && now >= this.#idleUntil) {
      this.#scheduleDial(
        now,
        connection.phase === "Established" ? FIRST_DIAL_SECONDS : this.#config.connectRetrySeconds,
      );
    }
    this.#update(now);
  }

  /** Whether the driver could hand all that was sent to the network. */
  blocked(id: number, blocked: boolean, now: number): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) connection.blockedAt = blocked ? now : NEVER;
  }

  data(id: number, bytes: Uint8Array, now: number): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    try {
      const { framer } = connection;
      framer.push(bytes);
      for (;;) {
        if (connection.phase === "Established") this.#updates(connection, now);
        const frame = framer.next();
        if (frame === undefined) break;
        this.#message(connection, frame, now);
        if (!this.#connections.has(id)) break;
      }
    } catch (error) {
      if (!(error instanceof BgpError)) throw error;
      this.fail(error, now, id);
    }
    this.#update(now);
  }

  /** UPDATEs as nearly all are, as many as come one after the other. */
  #updates(connection: Connection, now: number): void {
    const { framer } = connection;
    let count = this.#out.updates(framer);
    // The message that came in pieces, and then the chunk behind it.
    while (framer.turn()) count += this.#out.updates(framer);
    if (count === 0) return;
    this.received.update += count;
    this.#restartHold(connection, now);
  }

  /** Answers a mistake of the peer's with its NOTIFICATION; the neighbour rests for a while. */
  fail(error: BgpError, now: number, id?: number): void {
    const connection = id === undefined ? this.#established() : this.#connections.get(id);
    if (connection === undefined) return;
    this.#notify(connection, error.code, error.subcode, error.data);
    const reason = `${error.message}: sent ${errorName(error.code, error.subcode)}`;
    const was = connection.phase;
    this.#drop(connection, false);
    this.lastNotification = reason;
    this.#fail(reason, now);
    if (was === "Established") this.#fell(now, reason, false);
    // A collision's other connection may be the good one.
    if (error.code === ErrorCode.Cease && error.subcode === CeaseCode.MaximumPrefixes) {
      this.#rest(now, LIMIT_IDLE_SECONDS);
    } else if (this.#connections.size === 0 || was === "Established") this.#backOff(now);
    this.#update(now);
  }

  /** Asks for a family's routes again (RFC 2918), or encloses our answer (RFC 7313). */
  sendRefresh(id: number, family: Family, subtype: number): void {
    this.sent.refresh++;
    this.#out.send(id, encodeRefresh(family, subtype));
  }

  /** When `tick` is next needed. */
  deadline(): number {
    let at = this.#dialAt;
    if (this.#started && this.#idleUntil > 0) at = Math.min(at, this.#idleUntil);
    for (const { holdAt, keepaliveAt, blockedAt } of this.#connections.values()) {
      at = Math.min(at, holdAt, keepaliveAt, blockedAt + 1000 * this.#sendHold());
    }
    return at;
  }

  tick(now: number): void {
    if (!this.#started && this.#connections.size === 0) return;
    if (this.#idleUntil > 0 && now >= this.#idleUntil) {
      this.#idleUntil = 0;
      if (this.#started) this.#scheduleDial(now, 0);
    }
    for (const connection of [...this.#connections.values()]) this.#timers(connection, now);
    if (now >= this.#dialAt) {
      this.#dialAt = NEVER;
      this.#dial(now);
    }
    this.#update(now);
  }

  #timers(connection: Connection, now: number): void {
    if (now >= connection.holdAt && connection.phase === "Connect") {
      this.#drop(connection, true);
      this.#fail(
        `No answer to our connection within ${OPEN_SENT_SECONDS} s (is the password the same at both ends?)`,
        now,
      );
      this.#scheduleDial(now, this.#config.connectRetrySeconds);
      return;
    }
    if (now >= connection.holdAt) {
      const seconds = connection.negotiated?.holdSeconds ?? OPEN_SENT_SECONDS;
      const message = connection.phase === "OpenSent"
        ? `No OPEN came within ${seconds} s (do both ends agree about TTL security and the password?)`
        : `Nothing came within the hold time of ${seconds} s`;
      this.fail(new BgpError(message, ErrorCode.HoldTimerExpired, 0), now, connection.id);
      return;
    }
    if (now >= connection.blockedAt + 1000 * this.#sendHold()) {
      // RFC 9687: a NOTIFICATION would not get through either.
      const reason = "The peer has not read for too long: send hold timer expired";
      this.#drop(connection, true);
      this.#fail(reason, now);
      if (connection.phase === "Established") this.#fell(now, reason, false);
      this.#backOff(now);
      return;
    }
    if (now >= connection.keepaliveAt) this.#keepalive(connection, now);
  }

  #sendHold(): number {
    return Math.max(SEND_HOLD_SECONDS, 2 * this.#config.holdSeconds);
  }

  #dial(now: number): void {
    if (!this.#started || this.#config.passive || now < this.#idleUntil) return;
    for (const { outgoing, phase } of this.#connections.values()) {
      if (outgoing || phase === "Established") return;
    }
    const id = this.#out.nextConnection();
    const connection = newConnection(id, true, now);
    connection.holdAt = now + 1000 * OPEN_SENT_SECONDS;
    this.#connections.set(id, connection);
    this.#out.dial(id);
  }

  #sendOpen(connection: Connection, now: number): void {
    connection.ours = ourOpen(this.#config, this.#out.restart());
    connection.phase = "OpenSent";
    connection.holdAt = now + 1000 * OPEN_SENT_SECONDS;
    this.sent.open++;
    this.#out.send(connection.id, encodeOpen(connection.ours));
  }

  #message(connection: Connection, frame: Frame, now: number): void {
    this.#count(this.received, frame.type);
    if (frame.type === MessageType.Notification) return this.#notified(connection, frame, now);
    switch (connection.phase) {
      case "Connect":
        return;
      case "OpenSent":
        if (frame.type !== MessageType.Open) throw unexpected(1, frame.type, "OpenSent");
        return this.#opened(connection, decodeOpen(frame), now);
      case "OpenConfirm":
        if (frame.type !== MessageType.Keepalive) throw unexpected(2, frame.type, "OpenConfirm");
        return this.#confirmed(connection, now);
      case "Established":
        if (frame.type === MessageType.Open) throw unexpected(3, frame.type, "Established");
        if (frame.type === MessageType.RouteRefresh) this.#out.refresh(frame);
        else {
          this.#restartHold(connection, now);
          if (frame.type === MessageType.Update) this.#out.update(frame);
        }
    }
  }

  #opened(connection: Connection, theirs: Open, now: number): void {
    if (connection.ours === undefined) return;
    const negotiated = negotiate(this.#config, connection.ours, theirs);
    if (!this.#survivesCollision(connection, negotiated, now)) return;
    connection.negotiated = negotiated;
    connection.phase = "OpenConfirm";
    if (negotiated.extendedMessage) connection.framer.limit = MAX_EXTENDED_LENGTH;
    connection.holdAt = NEVER;
    this.#restartHold(connection, now);
    this.#keepalive(connection, now);
  }

  /** RFC 4271 section 6.8. Both ends apply it to the same pair, and keep the same one. */
  #survivesCollision(connection: Connection, { routerId, asn }: Negotiated, now: number): boolean {
    for (const other of [...this.#connections.values()]) {
      if (other === connection) continue;
      if (other.phase === "Established") {
        const restarted = !connection.outgoing && other.negotiated?.gracefulRestart !== undefined &&
          connection.openedAt > this.#establishedAt + RESTART_GAP_MS;
        if (!restarted) {
          this.#collided(connection);
          return false;
        }
        // RFC 4724 section 4.2: no word to the old connection, which nobody reads any more.
        this.#drop(other, true);
        this.#fell(now, "The peer opened a new connection: it has restarted", true);
      } else if (other.phase === "OpenConfirm") {
        const { localAs, routerId: ours } = this.#config;
        const oursWins = ours > routerId || (ours === routerId && localAs > asn);
        const loser = connection.outgoing === oursWins ? other : connection;
        this.#collided(loser);
        if (loser === connection) return false;
      }
    }
    return true;
  }

  #collided(connection: Connection): void {
    this.#notify(connection, ErrorCode.Cease, CeaseCode.CollisionResolution, new Uint8Array(0));
    this.#drop(connection, false);
  }

  #confirmed(connection: Connection, now: number): void {
    const { negotiated, ends } = connection;
    if (negotiated === undefined || ends === undefined) return;
    connection.phase = "Established";
    this.#restartHold(connection, now);
    this.#dialAt = NEVER;
    this.#establishedAt = now;
    this.establishedCount++;
    for (const other of [...this.#connections.values()]) {
      // One that still connects or waits for an OPEN lost by being late.
      if (other !== connection && other.phase === "Connect") this.#drop(other, true);
    }
    this.#update(now);
    this.#out.established(negotiated, ends, connection.id, now);
  }

  #notified(connection: Connection, frame: Frame, now: number): void {
    const { code, subcode, data } = decodeNotification(frame);
    const was = connection.phase;
    this.#drop(connection, false);
    const collision = code === ErrorCode.Cease && subcode === CeaseCode.CollisionResolution;
    if (collision && this.#connections.size > 0 && was !== "Established") return;
    const withText = code === ErrorCode.Cease &&
      (subcode === CeaseCode.AdministrativeShutdown || subcode === CeaseCode.AdministrativeReset);
    const text = withText ? shutdownText(data) : undefined;
    const reason = `The peer sent ${errorName(code, subcode)}${
      text === undefined ? "" : `, "${text}"`
    }`;
    this.lastNotification = reason;
    this.#fail(reason, now);
    if (was === "Established") this.#fell(now, reason, false);
    if (this.#connections.size === 0) this.#backOff(now);
  }

  #keepalive(connection: Connection, now: number): void {
    this.sent.keepalive++;
    this.#out.send(connection.id, KEEPALIVE);
    const seconds = connection.negotiated?.keepaliveSeconds ?? 0;
    connection.keepaliveAt = seconds === 0
      ? NEVER
      : now + 1000 * seconds * (0.75 + 0.25 * this.#out.random());
  }

  #restartHold(connection: Connection, now: number): void {
    const seconds = connection.negotiated?.holdSeconds ?? 0;
    connection.holdAt = seconds === 0 ? NEVER : now + 1000 * seconds;
  }

  #endAll(
    now: number,
    reason: string,
    notification:
      | { readonly code: number; readonly subcode: number; readonly data: Uint8Array }
      | undefined,
  ): void {
    const established = this.#established() !== undefined;
    for (const connection of [...this.#connections.values()]) {
      if (notification !== undefined && connection.phase !== "Connect") {
        const { code, subcode, data } = notification;
        this.#notify(connection, code, subcode, data);
      }
      this.#drop(connection, connection.phase === "Connect");
    }
    if (established) {
      if (notification !== undefined) this.lastNotification = reason;
      this.#fail(reason, now);
      this.#fell(now, reason, notification === undefined);
    }
  }

  #notify(connection: Connection, code: number, subcode: number, data: Uint8Array): void {
    if (connection.phase === "Connect") return;
    this.sent.notification++;
    this.#out.send(connection.id, encodeNotification({ code, subcode, data }));
  }

  #drop(connection: Connection, abort: boolean): void {
    this.#connections.delete(connection.id);
    this.#out.close(connection.id, abort);
  }

  #fell(now: number, reason: string, lost: boolean): void {
    if (now - this.#establishedAt >= 1000 * PROVEN_SECONDS) this.#idleSeconds = 0;
    this.#update(now);
    this.#out.down(reason, lost, now);
  }

  /** DampPeerOscillations: 1, 2, 4 … 60 s. */
  #backOff(now: number): void {
    this.#idleSeconds = Math.min(MOST_IDLE_SECONDS, Math.max(1, this.#idleSeconds * 2));
    this.#rest(now, this.#idleSeconds);
  }

  #rest(now: number, seconds: number): void {
    for (const connection of [...this.#connections.values()]) this.#drop(connection, true);
    this.#dialAt = NEVER;
    this.#idleUntil = now + 1000 * seconds * (0.75 + 0.25 * this.#out.random());
  }

  #scheduleDial(now: number, seconds: number): void {
    if (this.#config.passive) return;
    const at = now + 1000 * seconds * (0.75 + 0.25 * this.#out.random());
    this.#dialAt = Math.min(this.#dialAt, at);
  }

  #fail(reason: string, now: number, level: "warn" | "info" = "warn"): void {
    this.lastError = reason;
    this.lastErrorAt = now;
    this.#out.failed(reason, level);
  }

  #established(): Connection | undefined {
    for (const connection of this.#connections.values()) {
      if (connection.phase === "Established") return connection;
    }
    return undefined;
  }

  #count(into: Mutable<MessageCounters>, type: number): void {
    if (type === MessageType.Open) into.open++;
    else if (type === MessageType.Update) into.update++;
    else if (type === MessageType.Notification) into.notification++;
    else if (type === MessageType.Keepalive) into.keepalive++;
    else if (type === MessageType.RouteRefresh) into.refresh++;
  }

  /** The neighbour's state is that of its furthest connection. */
  #update(now: number): void {
    let state: SessionState = !this.#started || this.#idleUntil > now ? "Idle" : "Active";
    for (const { phase } of this.#connections.values()) {
      if (STATES.indexOf(phase) > STATES.indexOf(state)) state = phase;
    }
    if (state === this.#state) return;
    this.#state = state;
    this.since = now;
  }
}

function newConnection(id: number, outgoing: boolean, now: number): Connection {
  return {
    id,
    outgoing,
    openedAt: now,
    framer: new Framer(),
    phase: "Connect",
    ends: undefined,
    ours: undefined,
    negotiated: undefined,
    holdAt: NEVER,
    keepaliveAt: NEVER,
    blockedAt: NEVER,
  };
}

function counters(): Mutable<MessageCounters> {
  return { open: 0, update: 0, notification: 0, keepalive: 0, refresh: 0 };
}

function unexpected(subcode: number, type: number, state: string): BgpError {
  return new BgpError(
    `A message of type ${type} came in ${state}`,
    ErrorCode.FiniteStateMachine,
    subcode,
  );
}
