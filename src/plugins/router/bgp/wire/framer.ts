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

const LEAST: Readonly<Record<number, number>> = {
  [MessageType.Open]: 29,
  [MessageType.Update]: 23,
  [MessageType.Notification]: 21,
  [MessageType.Keepalive]: 19,
  [MessageType.RouteRefresh]: 23,
};

export class Framer {
  /** Longest message that is taken; RFC 8654 raises it once both sides have offered that. */
  limit = MAX_LENGTH;
  #rest: Uint8Array | undefined;

  /**
   * The messages that are complete now. The views are valid while the caller keeps `chunk` unchanged.
   *
   * @throws {BgpError} 1/x: nothing after it can be read; what came before it in this chunk has been yielded
   */
  *feed(chunk: Uint8Array): Generator<Frame, void, undefined> {
    // A Buffer, for the sake of readers that want bytes as text.
    let bytes: Uint8Array = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    if (this.#rest !== undefined) {
      bytes = Buffer.concat([this.#rest, chunk]);
      this.#rest = undefined;
    }
    let at = 0;
    while (bytes.length - at >= HEADER_LENGTH) {
      const length = this.#check(bytes, at);
      if (bytes.length - at < length) break;
      yield { type: u8(bytes, at + 18), bytes, start: at + HEADER_LENGTH, end: at + length };
      at += length;
    }
    // A copy: a view would keep a chunk of half a megabyte alive.
    if (at < bytes.length) this.#rest = copy(bytes, at, bytes.length);
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
