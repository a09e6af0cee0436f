/**
 * Netlink attributes (linux/netlink.h `struct nlattr`): a 4-byte header (length with header, type), the payload, zero
 * padding to 4 bytes. Header fields are in the machine's order, which is little-endian on x86-64 and arm64.
 *
 * Both cursors keep their first error instead of throwing, so that code which builds or reads a message has no error
 * branches; whoever owns the message asks once at the end.
 */

import { readAddress, writeAddress } from "./inet.ts";

/** Payload is nested attributes. */
export const NLA_F_NESTED = 0x8000;
/** Payload is in network byte order (ipset demands the flag). */
export const NLA_F_NET_BYTEORDER = 0x4000;
const TYPE_MASK = 0x3fff;

/** `length` rounded up to the 4 bytes that netlink aligns to. */
export function align4(length: number): number {
  return (length + 3) & ~3;
}

const encoder = new TextEncoder();
const utf8 = new TextDecoder();

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7f) return false;
  return true;
}

/** Appends attributes (and raw struct fields) to a fixed buffer that is made once and used again and again. */
export class AttributeWriter {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where the next byte goes. */
  position = 0;
  /** The buffer was too small for what was put since the last `reset`. */
  overflow = false;
  /** First value that could not be encoded, in words. */
  error: string | undefined;

  constructor(capacity: number) {
    this.bytes = new Uint8Array(new ArrayBuffer(capacity));
    this.view = new DataView(this.bytes.buffer);
  }

  reset(): void {
    this.position = 0;
    this.overflow = false;
    this.error = undefined;
  }

  /** Keeps the first error; `what` reads like "port 70000 is not an unsigned 16-bit number". */
  fail(what: string): void {
    this.error ??= what;
  }

  /** Takes `length` bytes and returns where they start, or -1 when the buffer is full. */
  reserve(length: number): number {
    const at = this.position;
    if (at + length > this.bytes.length) {
      this.overflow = true;
      return -1;
    }
    this.position = at + length;
    return at;
  }

  // Raw fields, for the fixed struct between a message's header and its attributes.

  rawU8(value: number): void {
    const at = this.reserve(1);
    if (at >= 0) this.bytes[at] = this.#checked(value, 0xff, 8);
  }
  rawU16(value: number, bigEndian = false): void {
    const at = this.reserve(2);
    if (at >= 0) this.view.setUint16(at, this.#checked(value, 0xffff, 16), !bigEndian);
  }
  rawU32(value: number, bigEndian = false): void {
    const at = this.reserve(4);
    if (at >= 0) this.view.setUint32(at, this.#checked(value, 0xffffffff, 32), !bigEndian);
  }
  rawI32(value: number): void {
    const at = this.reserve(4);
    if (at >= 0) this.view.setInt32(at, value, true);
  }
  rawBytes(data: Uint8Array): void {
    const at = this.reserve(data.length);
    if (at >= 0) this.bytes.set(data, at);
  }
  rawZero(length: number): void {
    const at = this.reserve(length);
    if (at >= 0) this.bytes.fill(0, at, at + length);
  }
  /** Zeroes up to the next multiple of 4. */
  pad(): void {
    this.rawZero(align4(this.position) - this.position);
  }

  // Attributes. `type` may carry NLA_F_NESTED or NLA_F_NET_BYTEORDER.

  u8(type: number, value: number): void {
    const at = this.#header(type, 1);
    // Writes the padding too: the buffer holds what an earlier message left.
    if (at >= 0) this.view.setUint32(at, this.#checked(value, 0xff, 8), true);
  }
  u16(type: number, value: number): void {
    const at = this.#header(type, 2);
    if (at >= 0) this.view.setUint32(at, this.#checked(value, 0xffff, 16), true);
  }
  /** 16 bits in network order: ports. */
  u16be(type: number, value: number): void {
    const at = this.#header(type, 2);
    if (at >= 0) this.view.setUint32(at, this.#checked(value, 0xffff, 16) << 16 >>> 0, false);
  }
  u32(type: number, value: number): void {
    const at = this.#header(type, 4);
    if (at >= 0) this.view.setUint32(at, this.#checked(value, 0xffffffff, 32), true);
  }
  u32be(type: number, value: number): void {
    const at = this.#header(type, 4);
    if (at >= 0) this.view.setUint32(at, this.#checked(value, 0xffffffff, 32), false);
  }
  i32(type: number, value: number): void {
    const at = this.#header(type, 4);
    if (at >= 0) this.view.setInt32(at, value, true);
  }
  u64(type: number, value: bigint, bigEndian = false): void {
    const at = this.#header(type, 8);
    if (at >= 0) this.view.setBigUint64(at, value, !bigEndian);
  }
  /** `length` zero bytes to be filled in; returns where they start, or -1 when the buffer is full. */
  zeroes(type: number, length: number): number {
    const at = this.#header(type, length);
    if (at >= 0) this.bytes.fill(0, at, at + length);
    return at;
  }
  data(type: number, data: Uint8Array): void {
    const at = this.#header(type, data.length);
    if (at >= 0) this.bytes.set(data, at);
  }
  /** Text with a closing NUL. */
  string(type: number, text: string): void {
    const plain = isAscii(text);
    const room = plain ? this.#header(type, text.length + 1) : -1;
    if (room >= 0) {
      for (let i = 0; i < text.length; i++) this.bytes[room + i] = text.charCodeAt(i);
      this.bytes[room + text.length] = 0;
    }
    if (plain) return;
    const data = encoder.encode(text);
    const at = this.#header(type, data.length + 1);
    if (at < 0) return;
    this.bytes.set(data, at);
    this.bytes[at + data.length] = 0;
  }
  /** No payload: its presence is the value. */
  flag(type: number): void {
    this.#header(type, 0);
  }
  /** An IP address in 4 or 16 bytes; an unparsable one is an error of the message. */
  address(type: number, text: string): void {
    const length = text.includes(":") ? 16 : 4;
    const at = this.#header(type, length);
    if (at >= 0 && writeAddress(this.bytes, at, text) === 0) {
      this.fail(`"${text}" is no IP address`);
    }
  }

  /** Attributes within an attribute. */
  nested(type: number, write: (writer: this) => void): void {
    const start = this.open(type);
    write(this);
    this.close(start);
  }
  /** Like {@linkcode nested} without a closure, for hot paths: opens the attribute and returns what `close` takes. */
  open(type: number): number {
    const start = this.position;
    this.#header(type | NLA_F_NESTED, 0);
    return start;
  }
  /** Ends the nested attribute that `open` began. */
  close(start: number): void {
    if (this.overflow) return;
    const length = this.position - start;
    // nla_len is 16 bits wide: a longer nest would be cut silently.
    if (length > 0xffff) this.fail(`Nested attribute of ${length} bytes is longer than 65535`);
    else this.view.setUint16(start, length, true);
  }

  /** Header, room for the payload, zeroed padding; returns where the payload starts, or -1. */
  #header(type: number, length: number): number {
    const total = length + 4;
    if (total > 0xffff) {
      this.fail(`Attribute of ${total} bytes is longer than 65535`);
      return -1;
    }
    const at = this.reserve(align4(total));
    if (at < 0) return -1;
    this.view.setUint32(at, total | type << 16, true);
    for (let i = at + total; i < this.position; i++) this.bytes[i] = 0;
    return at + 4;
  }

  #checked(value: number, max: number, bits: number): number {
    if (value >= 0 && value <= max && Math.floor(value) === value) return value;
    this.fail(`${value} is not an unsigned ${bits}-bit number`);
    return 0;
  }
}

/**
 * Walks the attributes between two offsets of a buffer, without copying. Never reads outside them, never throws:
 * garbage ends the walk and stays in `error`. Unknown attributes are skipped by not asking for them.
 *
 * ```ts
 * while (a.next()) {
 *   if (a.type === IFLA_MTU) mtu = a.u32();
 *   else if (a.type === IFLA_LINKINFO) a.nested((info) => { while (info.next()) … });
 * }
 * ```
 */
export class AttributeReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Attribute number without flags. */
  type = 0;
  /** Bytes of payload. */
  length = 0;
  /** Where the payload starts. */
  start = 0;
  /** First error, in words. */
  error: string | undefined;
  #next: number;
  readonly #end: number;

  constructor(
    bytes: Uint8Array,
    start = 0,
    end = bytes.length,
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
  ) {
    this.bytes = bytes;
    this.view = view;
    this.#next = start;
    this.#end = Math.min(end, bytes.length);
  }

  /** Moves to the next attribute; false at the end or at the first malformed header. */
  next(): boolean {
    const at = this.#next;
    const left = this.#end - at;
    if (left < 4) {
      // Up to 3 bytes may be left: the padding of the last attribute.
      this.type = this.length = 0;
      return false;
    }
    const total = this.view.getUint16(at, true);
    if (total < 4 || total > left) {
      this.fail(`Attribute at offset ${at} has length ${total} of ${left}`);
      this.type = this.length = 0;
      this.#next = this.#end;
      return false;
    }
    this.type = this.view.getUint16(at + 2, true) & TYPE_MASK;
    this.length = total - 4;
    this.start = at + 4;
    this.#next = at + align4(total);
    return true;
  }

  /** Keeps the first error. */
  fail(what: string): void {
    this.error ??= what;
  }

  u8(): number {
    return this.#has(1) ? this.bytes[this.start] ?? 0 : 0;
  }
  u16(): number {
    return this.#has(2) ? this.view.getUint16(this.start, true) : 0;
  }
  u16be(): number {
    return this.#has(2) ? this.view.getUint16(this.start, false) : 0;
  }
  u32(): number {
    return this.#has(4) ? this.view.getUint32(this.start, true) : 0;
  }
  u32be(): number {
    return this.#has(4) ? this.view.getUint32(this.start, false) : 0;
  }
  i32(): number {
    return this.#has(4) ? this.view.getInt32(this.start, true) : 0;
  }
  /** 64 bits as a number: exact below 2^53. */
  u64(): number {
    return this.#has(8)
      ? this.view.getUint32(this.start + 4, true) * 0x1_0000_0000 +
        this.view.getUint32(this.start, true)
      : 0;
  }
  /** Text up to the first NUL or the end. */
  string(): string {
    let text = "";
    for (let i = this.start; i < this.start + this.length; i++) {
      const c = this.bytes[i] ?? 0;
      if (c === 0) return text;
      if (c > 0x7e) return this.#decoded();
      text += String.fromCharCode(c);
    }
    return text;
  }
  /** Canonical text of an IP address in 4 or 16 bytes; empty, with an error, for other lengths. */
  address(): string {
    if (this.length !== 4 && this.length !== 16) {
      this.fail(`Attribute ${this.type} has ${this.length} bytes, which is no IP address`);
      return "";
    }
    return readAddress(this.bytes, this.start, this.length);
  }
  /** A copy of the payload. */
  data(): Uint8Array {
    return this.bytes.slice(this.start, this.start + this.length);
  }
  /** The attributes within this one; an error in them becomes an error of this reader. */
  nested(read: (inner: AttributeReader) => void): void {
    const inner = this.inner();
    read(inner);
    if (inner.error !== undefined) this.fail(inner.error);
  }
  /** Like {@linkcode nested} without a closure; the caller looks at the inner reader's `error`. */
  inner(): AttributeReader {
    return new AttributeReader(this.bytes, this.start, this.start + this.length, this.view);
  }

  #has(length: number): boolean {
    if (this.length >= length) return true;
    this.fail(`Attribute ${this.type} has ${this.length} bytes instead of ${length}`);
    return false;
  }

  #decoded(): string {
    const data = this.bytes.subarray(this.start, this.start + this.length);
    const nul = data.indexOf(0);
    return utf8.decode(nul < 0 ? data : data.subarray(0, nul));
  }
}
