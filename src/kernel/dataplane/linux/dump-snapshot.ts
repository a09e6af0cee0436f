/**
 * What of a netlink list is not byte for byte what it was at the last look: the cheapest question that there is where Linux has no
 * events. Nothing is decoded, and datagrams come 64 at a call: ipsets are listed one a datagram.
 */

import { ptr } from "bun:ffi";
import { closeFile, libc } from "./ffi.ts";
import { MessageWriter, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR } from "./message.ts";
import { openSocket, receiveNow, type SocketOptions } from "./socket.ts";

/** Datagrams a call, and room for each: a longer one is truncated, and told so. */
const AT_ONCE = 64;
const SLOT = 2048;
/** struct mmsghdr: struct msghdr, then the length that came. */
const MMSGHDR = 64;
const IOVEC = 16;
const IOV_AT = 16;
const IOVLEN_AT = 24;
const FLAGS_AT = 48;
const LENGTH_AT = 56;
const MSG_TRUNC = 0x20;
/** Waits for the first datagram only. */
const MSG_WAITFORONE = 0x10000;
const HEADER = 16;

export class DumpSnapshot {
  readonly #fd: number;
  readonly #request: Uint8Array;
  // Linux is given their addresses: buffers of their own, which stay where they are.
  readonly #slots = Buffer.from(new ArrayBuffer(AT_ONCE * SLOT));
  readonly #slotsView = new DataView(this.#slots.buffer);
  readonly #vectors = new Uint8Array(new ArrayBuffer(AT_ONCE * IOVEC));
  readonly #headers = new Uint8Array(new ArrayBuffer(AT_ONCE * MMSGHDR));
  readonly #headersView = new DataView(this.#headers.buffer);
  #last = Buffer.alloc(0);
  /** Where each datagram ends; undefined where the last look failed. */
  #lastEnds: readonly number[] | undefined;
  #next = Buffer.alloc(0);

  /**
   * @param write begins and ends the message that asks for the list
   * @throws {KernelError} where the socket cannot be opened
   */
  constructor(
    protocol: number,
    write: (writer: MessageWriter) => void,
    options: Pick<SocketOptions, "namespace"> = {},
  ) {
    this.#fd = openSocket(protocol, options);
    // Always the same sequence number: answers carry it.
    const writer = new MessageWriter(HEADER * 16);
    writer.sequence = 1;
    write(writer);
    writer.addFlags(0, NLM_F_DUMP);
    this.#request = writer.bytes.slice(0, writer.position);
    const vectors = new DataView(this.#vectors.buffer);
    for (let i = 0; i < AT_ONCE; i++) {
      vectors.setBigUint64(i * IOVEC, BigInt(ptr(this.#slots)) + BigInt(i * SLOT), true);
      vectors.setBigUint64(i * IOVEC + 8, BigInt(SLOT), true);
      const vector = BigInt(ptr(this.#vectors)) + BigInt(i * IOVEC);
      this.#headersView.setBigUint64(i * MMSGHDR + IOV_AT, vector, true);
      this.#headersView.setBigUint64(i * MMSGHDR + IOVLEN_AT, 1n, true);
    }
  }

  close(): void {
    closeFile(this.#fd);
  }

  /**
   * Reads the list.
   *
   * @returns the datagrams that are not what they were at the last look; undefined the first time, where the list is not made of
   *   as many and as long ones as it was, and where it could not be read
   */
  moved(): readonly Uint8Array[] | undefined {
    const before = this.#lastEnds;
    const ends = this.#read();
    [this.#last, this.#next] = [this.#next, this.#last];
    this.#lastEnds = ends;
    if (before === undefined || ends?.length !== before.length) return undefined;
    const moved: Uint8Array[] = [];
    for (let i = 0, from = 0; i < ends.length; i++) {
      const end = ends[i] ?? 0;
      if (end !== before[i]) return undefined;
      if (this.#last.compare(this.#next, from, end, from, end) !== 0) {
        moved.push(new Uint8Array(this.#last.subarray(from, end)));
      }
      from = end;
    }
    return moved;
  }

  /** Where the datagrams of the list end in `#next`; undefined where it was not read as a whole. */
  #read(): readonly number[] | undefined {
    const c = libc();
    if (c.send(this.#fd, this.#request, this.#request.length, 0) < 0) return undefined;
    const ends: number[] = [];
    let length = 0;
    for (;;) {
      const count = c.recvmmsg(this.#fd, this.#headers, AT_ONCE, MSG_WAITFORONE, null);
      for (let i = 0; i < count; i++) {
        const size = this.#headersView.getUint32(i * MMSGHDR + LENGTH_AT, true);
        const flags = this.#headersView.getUint32(i * MMSGHDR + FLAGS_AT, true);
        if ((flags & MSG_TRUNC) !== 0) return this.#giveUp();
        this.#keep(i, size, length);
        length += size;
        ends.push(length);
        const end = this.#ends(i * SLOT, size);
        if (end !== undefined) return end ? ends : undefined;
      }
      if (count <= 0) return this.#giveUp();
    }
  }

  #keep(slot: number, size: number, at: number): void {
    if (at + size > this.#next.length) {
      const larger = Buffer.alloc(2 * (at + size));
      this.#next.copy(larger, 0, 0, at);
      this.#next = larger;
    }
    this.#slots.copy(this.#next, at, slot * SLOT, slot * SLOT + size);
  }

  /** Whether a datagram ends the list well; undefined where it does not end it. */
  #ends(from: number, size: number): boolean | undefined {
    for (let at = from; at + HEADER <= from + size;) {
      const type = this.#slotsView.getUint16(at + 4, true);
      if (type === NLMSG_DONE || type === NLMSG_ERROR) {
        return this.#slotsView.getInt32(at + HEADER, true) === 0;
      }
      at += Math.max(HEADER, this.#slotsView.getUint32(at, true) + 3 & ~3);
    }
    return undefined;
  }

  /** What is left of the list must not be taken for the next one's. */
  #giveUp(): undefined {
    while (receiveNow(this.#fd, this.#slots) > 0);
    return undefined;
  }
}
