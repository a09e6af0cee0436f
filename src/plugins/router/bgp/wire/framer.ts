/** Cuts a stream into messages (RFC 4271 section 4.1) and frames those that go out. */

import { copy, putU16, u16, u32, u8 } from "./bytes.ts";
import { ErrorCode, HEADER_LENGTH, MAX_LENGTH, MessageType } from "./constants.ts";
import { BgpError } from "./error.ts";

/** A message within the bytes that were fed: `start` and `end` enclose its body. */
export interface Frame {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

const NOTHING = new Uint8Array(0);

const LEAST: Readonly<Record<number, number>> = {
  [MessageType.Open]: 29,
  [MessageType.Update]: 23,
  [MessageType.Notification]: 21,
  [MessageType.Keepalive]: 19,
  [MessageType.RouteRefresh]: 23,
};

/**
 * Feed it with `push`; then `next` gives one message after the other. Who reads messages from `bytes` itself moves `at`. The
 * bytes are valid while the caller keeps what it pushed unchanged.
 */
export class Framer {
  /** Longest message that is taken; RFC 8654 raises it once both sides have offered that. */
  limit = MAX_LENGTH;
  bytes: Uint8Array = NOTHING;
  at = 0;
  /** What follows `bytes`: they are one message that came in pieces. */
  #more: Uint8Array | undefined;
  /** The beginning of a message. */
  #rest: Uint8Array | undefined;

  /** @throws {BgpError} as `next` */
  push(chunk: Uint8Array): void {
    const rest = this.#rest;
    if (rest === undefined) {
      this.bytes = chunk;
      this.at = 0;
      return;
    }
    // Joined with as little as makes a message of it: chunks are half a megabyte.
    let start = Math.min(Math.max(0, HEADER_LENGTH - rest.length), chunk.length);
    let message = join(rest, chunk, 0, start);
    if (message.length >= HEADER_LENGTH) {
      const missing = Math.min(this.#check(message, 0) - message.length, chunk.length - start);
      if (missing > 0) {
        message = join(message, chunk, start, start + missing);
        start += missing;
      }
    }
    this.#rest = undefined;
    this.bytes = message;
    this.at = 0;
    this.#more = start < chunk.length ? chunk.subarray(start) : undefined;
  }

  /** Goes on to what follows `bytes` once they are used up. False: nothing does, or they are not. */
  turn(): boolean {
    if (this.#more === undefined || this.at < this.bytes.length) return false;
    this.bytes = this.#more;
    this.at = 0;
    this.#more = undefined;
    return true;
  }

  /**
   * The next message that is complete, or nothing.
   *
   * @throws {BgpError} 1/x: nothing after it can be read
   */
  next(): Frame | undefined {
    for (;;) {
      const { bytes, at } = this;
      if (bytes.length - at >= HEADER_LENGTH) {
        const length = this.#check(bytes, at);
        if (bytes.length - at >= length) {
          this.at = at + length;
          return { type: u8(bytes, at + 18), bytes, start: at + HEADER_LENGTH, end: at + length };
        }
      }
      // A message that is not complete is all of `bytes`, or their end.
      if (!this.turn()) break;
    }
    // A copy: a view would keep a chunk of half a megabyte alive.
    if (this.at < this.bytes.length) this.#rest = copy(this.bytes, this.at, this.bytes.length);
    this.bytes = NOTHING;
    this.at = 0;
    return undefined;
  }

  /**
   * The messages that are complete now.
   *
   * @throws {BgpError} 1/x: nothing after it can be read; what came before it in this chunk has been yielded
   */
  *feed(chunk: Uint8Array): Generator<Frame, void, undefined> {
    this.push(chunk);
    for (let frame = this.next(); frame !== undefined; frame = this.next()) yield frame;
  }

  #check(bytes: Uint8Array, at: number): number {
    if ((u32(bytes, at) & u32(bytes, at + 4) & u32(bytes, at + 8) & u32(bytes, at + 12)) !== -1) {
      throw new BgpError("The marker is not all ones", ErrorCode.MessageHeader, 1);
    }
    const length = u16(bytes, at + 16);
    const type = u8(bytes, at + 18);
    const least = LEAST[type];
    const wrong = length < HEADER_LENGTH || length > this.#limit(type) ||
      (least !== undefined && length < least) ||
      (type === MessageType.Keepalive && length !== HEADER_LENGTH);
    if (wrong) {
      throw new BgpError(
        `A message of type ${type} has length ${length}`,
        ErrorCode.MessageHeader,
        2,
        copy(bytes, at + 16, at + 18),
      );
    }
    if (least === undefined) {
      throw new BgpError(
        `Message type ${type} is unknown`,
        ErrorCode.MessageHeader,
        3,
        copy(bytes, at + 18, at + 19),
      );
    }
    return length;
  }

  /** RFC 8654 section 4: OPEN and KEEPALIVE stay short. */
  #limit(type: number): number {
    return type === MessageType.Open || type === MessageType.Keepalive ? MAX_LENGTH : this.limit;
  }
}

function join(first: Uint8Array, second: Uint8Array, from: number, to: number): Uint8Array {
  const bytes = new Uint8Array(first.length + to - from);
  bytes.set(first);
  bytes.set(second.subarray(from, to), first.length);
  return bytes;
}

/** Writes the 19 octets of a header at `at`. */
export function putHeader(bytes: Uint8Array, at: number, length: number, type: number): void {
  bytes.fill(0xff, at, at + 16);
  putU16(bytes, at + 16, length);
  bytes[at + 18] = type;
}

/** A whole message. */
export function frame(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_LENGTH + body.length);
  putHeader(bytes, 0, bytes.length, type);
  bytes.set(body, HEADER_LENGTH);
  return bytes;
}
