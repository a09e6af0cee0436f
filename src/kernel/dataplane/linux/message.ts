/** Netlink messages (linux/netlink.h `struct nlmsghdr`): writing many into one buffer, walking those that arrived. */

import { align4, AttributeReader, AttributeWriter } from "./attribute.ts";
import type { Refusal } from "./errno.ts";

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;
/** Bytes of `struct nlmsghdr`. */
export const NLMSG_HEADER = 16;

export const NLM_F_REQUEST = 0x001;
export const NLM_F_MULTI = 0x002;
export const NLM_F_ACK = 0x004;
export const NLM_F_ECHO = 0x008;
export const NLM_F_DUMP_INTR = 0x010;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
/** NLM_F_ROOT | NLM_F_MATCH. */
export const NLM_F_DUMP = 0x300;
const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;

const NLMSGERR_ATTR_MSG = 1;
const NLMSGERR_ATTR_OFFS = 2;

/** Bytes of one send: 64 KiB is as fast as larger ones and stays below the default SO_SNDBUF. */
export const BATCH_BYTES = 64 * 1024;

/**
 * Writes messages one after the other into one reusable buffer.
 *
 * ```ts
 * w.begin(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
 * w.rawU8(AF_INET); …            // the family's struct
 * w.address(IFA_LOCAL, "10.0.0.1");
 * w.end();                        // the socket does begin's sequence number, REQUEST and ACK
 * ```
 */
export class MessageWriter extends AttributeWriter {
  /** Sequence number of the message being written; the socket sets it. */
  sequence = 0;
  /** Where the message being written begins. */
  messageStart = 0;

  constructor(capacity: number = BATCH_BYTES) {
    super(capacity);
  }

  /** Starts a message. NLM_F_REQUEST is added. */
  begin(type: number, flags = 0): void {
    const at = this.reserve(NLMSG_HEADER);
    if (at < 0) return;
    this.messageStart = at;
    this.view.setUint32(at, 0, true);
    this.view.setUint32(at + 4, type | (flags | NLM_F_REQUEST) << 16, true);
    this.view.setUint32(at + 8, this.sequence, true);
    this.view.setUint32(at + 12, 0, true);
  }

  /** Ends the message: sets its length. */
  end(): void {
    if (this.overflow) return;
    this.view.setUint32(this.messageStart, this.position - this.messageStart, true);
  }

  /** Adds flags to the message that starts at `at`, e.g. NLM_F_ACK to the last of a batch. */
  addFlags(at: number, flags: number): void {
    this.view.setUint16(at + 6, this.view.getUint16(at + 6, true) | flags, true);
  }

  /** Sets the sequence number of a message that was copied as a whole. */
  stamp(at: number): void {
    this.messageStart = at;
    this.view.setUint32(at + 8, this.sequence, true);
  }
}

/**
 * Walks the messages of one datagram, without copying. What it gives is valid until the next receive. Like the
 * attribute reader it never throws: garbage ends the walk and stays in `error`.
 */
export class MessageReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  type = 0;
  flags = 0;
  sequence = 0;
  portId = 0;
  /** Where the payload starts and ends. */
  start = 0;
  end = 0;
  error: string | undefined;
  #next = 0;
  #length = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Begins a new datagram of `length` bytes at the start of the buffer. */
  load(length: number): void {
    this.#next = 0;
    this.#length = Math.min(length, this.bytes.length);
    this.error = undefined;
  }

  next(): boolean {
    const at = this.#next;
    const left = this.#length - at;
    if (left < NLMSG_HEADER) {
      if (left > 3) this.error ??= `${left} bytes at offset ${at} are no netlink message`;
      return false;
    }
    const length = this.view.getUint32(at, true);
    if (length < NLMSG_HEADER || length > left) {
      this.error ??= `Message at offset ${at} has length ${length} of ${left}`;
      this.#next = this.#length;
      return false;
    }
    this.type = this.view.getUint16(at + 4, true);
    this.flags = this.view.getUint16(at + 6, true);
    this.sequence = this.view.getUint32(at + 8, true);
    this.portId = this.view.getUint32(at + 12, true);
    this.start = at + NLMSG_HEADER;
    this.end = at + length;
    this.#next = at + align4(length);
    return true;
  }

  // Fields of the struct at the start of the payload, by their offset in it; 0 and an error past the end.

  u8(offset: number): number {
    return this.#has(offset, 1) ? this.bytes[this.start + offset] ?? 0 : 0;
  }
  u16(offset: number): number {
    return this.#has(offset, 2) ? this.view.getUint16(this.start + offset, true) : 0;
  }
  u16be(offset: number): number {
    return this.#has(offset, 2) ? this.view.getUint16(this.start + offset, false) : 0;
  }
  u32(offset: number): number {
    return this.#has(offset, 4) ? this.view.getUint32(this.start + offset, true) : 0;
  }
  i32(offset: number): number {
    return this.#has(offset, 4) ? this.view.getInt32(this.start + offset, true) : 0;
  }

  /** The attributes after a struct of `skip` bytes. */
  attributes(skip = 0): AttributeReader {
    const from = this.start + align4(skip);
    const reader = new AttributeReader(this.bytes, Math.min(from, this.end), this.end, this.view);
    if (from > this.end) reader.fail(`Message of type ${this.type} is shorter than its struct`);
    return reader;
  }

  /** The refusal that an NLMSG_ERROR or NLMSG_DONE carries; undefined for an ack. */
  refusal(): Refusal | undefined {
    const code = this.end - this.start >= 4 ? this.i32(0) : 0;
    if (code >= 0) return undefined;
    if ((this.flags & NLM_F_ACK_TLVS) === 0) return { errno: -code };
    // struct nlmsgerr: the error, then the header of the refused message, then the whole of it unless capped.
    let skip = 4;
    if (this.type === NLMSG_ERROR) {
      const request = (this.flags & NLM_F_CAPPED) !== 0 ? NLMSG_HEADER : this.u32(4);
      skip += align4(Math.min(request, this.end - this.start));
    }
    let text: string | undefined;
    let offset: number | undefined;
    const attributes = this.attributes(skip);
    while (attributes.next()) {
      if (attributes.type === NLMSGERR_ATTR_MSG) text = attributes.string();
      else if (attributes.type === NLMSGERR_ATTR_OFFS) offset = attributes.u32();
    }
    return {
      errno: -code,
      ...(text === undefined ? {} : { text }),
      ...(offset === undefined ? {} : { offset }),
    };
  }

  #has(offset: number, length: number): boolean {
    if (this.start + offset + length <= this.end) return true;
    this.error ??= `Message of type ${this.type} has ${this.end - this.start} bytes of payload`;
    return false;
  }
}
