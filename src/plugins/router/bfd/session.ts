/**
 * One BFD session in asynchronous mode, without echo (RFC 5880 section 6.8), without I/O: packets and times in, packets out.
 * Times are milliseconds of the caller's clock.
 */

import { type ControlPacket, Diagnostic, State } from "./wire.ts";

export interface BfdConfig {
  readonly discriminator: number;
  readonly detectMultiplier: number;
  /** Microseconds. */
  readonly desiredMinTx: number;
  /** Microseconds. */
  readonly requiredMinRx: number;
}

export interface BfdOutput {
  send(packet: ControlPacket): void;
  changed(state: State, diagnostic: number, remoteState: State): void;
  /** From 0 up to 1. */
  random(): number;
}

/** Section 6.8.3: until a session is Up it costs no more than this. */
const SLOW_US = 1_000_000;
const NEVER = Number.POSITIVE_INFINITY;

export class BfdSession {
  state: State = State.Down;
  diagnostic: number = Diagnostic.None;
  remoteState: State = State.Down;
  readonly #config: BfdConfig;
  readonly #out: BfdOutput;
  #remoteDiscriminator = 0;
  /** Section 6.8.1: 1 until the peer says otherwise. */
  #remoteMinRx = 1;
  #remoteMinTx = 0;
  #remoteMultiplier = 0;
  #remoteDemand = false;
  #polling = false;
  #sendAt: number;
  #lastSent = Number.NEGATIVE_INFINITY;
  #detectAt = NEVER;

  constructor(config: BfdConfig, out: BfdOutput, now: number) {
    this.#config = config;
    this.#out = out;
    this.#sendAt = now;
  }

  get discriminator(): number {
    return this.#config.discriminator;
  }

  /** When `tick` is next needed. */
  get deadline(): number {
    return Math.min(this.#sendAt, this.#detectAt);
  }

  /** How long silence lasts before the session is down, in milliseconds; 0 before the peer spoke (section 6.8.4). */
  get detectionMs(): number {
    return this.#remoteMultiplier * Math.max(this.#config.requiredMinRx, this.#remoteMinTx) / 1000;
  }

  /** A packet that was addressed to this session (section 6.8.6). */
  receive(packet: ControlPacket, now: number): void {
    const shorter = packet.requiredMinRx < this.#remoteMinRx;
    this.#remoteDiscriminator = packet.myDiscriminator;
    this.remoteState = packet.state;
    this.#remoteDemand = packet.demand;
    this.#remoteMinRx = packet.requiredMinRx;
    this.#remoteMinTx = packet.desiredMinTx;
    this.#remoteMultiplier = packet.detectMultiplier;
    if (packet.final) this.#polling = false;
    this.#detectAt = now + this.detectionMs;
    const before = this.state;
    if (packet.state === State.AdminDown) {
      if (before !== State.Down) this.#become(State.Down, Diagnostic.NeighborSignalledDown);
    } else if (before === State.Down) {
      if (packet.state === State.Down) this.#become(State.Init, Diagnostic.None);
      else if (packet.state === State.Init) this.#become(State.Up, Diagnostic.None);
    } else if (before === State.Init) {
      if (packet.state !== State.Down) this.#become(State.Up, Diagnostic.None);
    } else if (packet.state === State.Down) {
      this.#become(State.Down, Diagnostic.NeighborSignalledDown);
    }
    // Section 6.8.7: at once, without regard to the timer.
    if (packet.poll) this.#send(now, true);
    // The peer is told of a new state at once, and does not wait out our slow interval when it may go faster.
    if (this.state !== before) this.#send(now, false);
    else if (shorter || this.#sendAt === NEVER) this.#schedule();
  }

  tick(now: number): void {
    if (now >= this.#detectAt) {
      this.#detectAt = NEVER;
      // Section 6.8.1: a peer that has been silent for so long may come back with another discriminator.
      this.#remoteDiscriminator = 0;
      this.#remoteMinRx = 1;
      if (this.state !== State.Down) {
        this.#become(State.Down, Diagnostic.DetectionTimeExpired);
        this.#send(now, false);
      }
    }
    if (now >= this.#sendAt) this.#send(now, false);
  }

  /** The last packet of a session that we end. */
  close(): void {
    this.state = State.AdminDown;
    this.diagnostic = Diagnostic.AdministrativelyDown;
    this.#out.send(this.#packet(false));
  }

  #become(state: State, diagnostic: number): void {
    this.state = state;
    this.diagnostic = diagnostic;
    // Up changes our interval, and a change is confirmed by a poll sequence (section 6.8.3).
    this.#polling = state === State.Up;
    this.#out.changed(state, diagnostic, this.remoteState);
  }

  #send(now: number, final: boolean): void {
    this.#out.send(this.#packet(final));
    if (final) return;
    this.#lastSent = now;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#remoteMinRx === 0 || (this.#remoteDemand && this.#isSteady())) {
      this.#sendAt = NEVER;
      return;
    }
    const interval = Math.max(this.#desiredMinTx(), this.#remoteMinRx) / 1000;
    // Section 6.8.7: 75 to 100 % of it, to 90 % where one lost packet is already too many.
    const most = this.#config.detectMultiplier === 1 ? 0.9 : 1;
    this.#sendAt = this.#lastSent + interval * (0.75 + (most - 0.75) * this.#out.random());
  }

  #isSteady(): boolean {
    return this.state === State.Up && this.remoteState === State.Up && !this.#polling;
  }

  #desiredMinTx(): number {
    const { desiredMinTx } = this.#config;
    return this.state === State.Up ? desiredMinTx : Math.max(desiredMinTx, SLOW_US);
  }

  #packet(final: boolean): ControlPacket {
    return {
      diagnostic: this.diagnostic,
      state: this.state,
      poll: this.#polling && !final,
      final,
      // We live and die with the control plane.
      controlPlaneIndependent: false,
      demand: false,
      detectMultiplier: this.#config.detectMultiplier,
      myDiscriminator: this.#config.discriminator,
      yourDiscriminator: this.#remoteDiscriminator,
      desiredMinTx: this.#desiredMinTx(),
      requiredMinRx: this.#config.requiredMinRx,
      requiredMinEchoRx: 0,
    };
  }
}
