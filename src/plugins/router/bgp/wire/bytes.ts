/** Big-endian reads and writes. Callers have checked the bounds; past the end reads as 0. */

export function u8(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

export function u32(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)) >>> 0;
}

export function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** A buffer that grows, to write messages into. */
export class Writer {
  bytes: Uint8Array;
  length = 0;

  constructor(size = 256) {
    this.bytes = new Uint8Array(size);
  }

  /** Makes room for `count` more bytes and returns where they begin. */
  reserve(count: number): number {
    const at = this.length;
    this.length += count;
    if (this.length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.length));
      larger.set(this.bytes.subarray(0, at));
      this.bytes = larger;
    }
    return at;
  }

  u8(value: number): this {
    this.bytes[this.reserve(1)] = value;
    return this;
  }

  u16(value: number): this {
    const at = this.reserve(2);
    putU16(this.bytes, at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.reserve(4);
    putU32(this.bytes, at, value);
    return this;
  }

  put(bytes: Uint8Array): this {
    const at = this.reserve(bytes.length);
    this.bytes.set(bytes, at);
    return this;
  }

  /** A copy of what was written. */
  take(): Uint8Array {
    const bytes = this.bytes.slice(0, this.length);
    this.length = 0;
    return bytes;
  }
}

/** Bytes as lower-case hexadecimal, for messages to people. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A copy of its own. (`slice` of a Buffer is a view, which would keep half a megabyte of a stream alive.) */
export function copy(bytes: Uint8Array, from: number, to: number): Uint8Array {
  const result = new Uint8Array(to - from);
  result.set(bytes.subarray(from, to));
  return result;
}
