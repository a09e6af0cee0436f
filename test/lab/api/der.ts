/** The few forms of DER (X.690) that a certificate needs. */

type Bytes = Uint8Array;

export function der(tag: number, ...parts: readonly Bytes[]): Bytes {
  const body = Buffer.concat(parts);
  const length = body.length;
  const head = length < 128
    ? [tag, length]
    : length < 256
    ? [tag, 0x81, length]
    : [tag, 0x82, length >> 8, length & 255];
  return Buffer.concat([Uint8Array.from(head), body]);
}

export const sequence = (...parts: readonly Bytes[]): Bytes => der(0x30, ...parts);
export const set = (...parts: readonly Bytes[]): Bytes => der(0x31, ...parts);
export const octets = (bytes: Bytes): Bytes => der(0x04, bytes);
export const bits = (bytes: Bytes, unused = 0): Bytes => der(0x03, Uint8Array.of(unused), bytes);
export const utf8 = (text: string): Bytes => der(0x0c, Buffer.from(text));
export const boolean = (value: boolean): Bytes => der(0x01, Uint8Array.of(value ? 255 : 0));
/** Context-specific, constructed. */
export const tagged = (tag: number, ...parts: readonly Bytes[]): Bytes => der(0xa0 | tag, ...parts);
/** Context-specific, primitive. */
export const implicit = (tag: number, bytes: Bytes): Bytes => der(0x80 | tag, bytes);

/** A positive INTEGER from big-endian bytes. */
export function integer(bytes: Bytes): Bytes {
  const first = bytes.findIndex((byte) => byte !== 0);
  const trimmed = first < 0 ? Uint8Array.of(0) : bytes.subarray(first);
  // A set high bit would make it negative.
  return (trimmed[0] ?? 0) > 127 ? der(0x02, Uint8Array.of(0), trimmed) : der(0x02, trimmed);
}

export function oid(text: string): Bytes {
  const [first = 0, second = 0, ...rest] = text.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 127];
    for (let left = arc >>> 7; left > 0; left >>>= 7) groups.unshift((left & 127) | 128);
    bytes.push(...groups);
  }
  return der(0x06, Uint8Array.from(bytes));
}

/** RFC 5280 4.1.2.5: UTCTime until 2049, GeneralizedTime after. */
export function time(date: Date): Bytes {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  return date.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(digits.slice(2)))
    : der(0x18, Buffer.from(digits));
}

export function pem(label: string, bytes: Bytes): string {
  const lines = Buffer.from(bytes).toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
