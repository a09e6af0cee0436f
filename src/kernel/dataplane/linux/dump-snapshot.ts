/**
 * Whether a netlink list is byte for byte what it was at the last look: the cheapest question that there is where Linux has no
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
  /** -1 where the last look failed. */
  #lastLength = -1;
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

  /** Reads the list. False the first time, where anything differs, and where it could not be read. */
  same(): boolean {
    const length = this.#read();
    const same = length >= 0 && length === this.#lastLength &&
      this.#next.compare(this.#last, 0, length, 0, length) === 0;
    [this.#last, this.#next] = [this.#next, this.#last];
    this.#lastLength = length;
    return same;
  }

  /** Bytes of the list, in `#next`; -1 where it was not read as a whole. */
  #read(): number {
    const c = libc();
    if (c.send(this.#fd, this.#request, this.#request.length, 0) < 0) return -1;
    let length = 0;
    for (;;) {
      const count = c.recvmmsg(this.#fd, this.#headers, AT_ONCE, MSG_WAITFORONE, null);
      for (let i = 0; i < count; i++) {
        const size = this.#headersView.getUint32(i * MMSGHDR + LENGTH_AT, true);
        const flags = this.#headersView.getUint32(i * MMSGHDR + FLAGS_AT, true);
        if ((flags & MSG_TRUNC) !== 0) return this.#giveUp();
        this.#keep(i, size, length);
        length += size;
        const end = this.#ends(i * SLOT, size);
        if (end !== undefined) return end ? length : -1;
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
  #giveUp(): -1 {
    while (receiveNow(this.#fd, this.#slots) > 0);
    return -1;
  }
}
