/** The little of protobuf's wire format that asking a container runtime needs (protobuf.dev, "Encoding"). */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** One field of a message: a number, or bytes (text, or a message within). */
export interface ProtoField {
  readonly number: number;
  /** Of varints; 0 for others. Exact below 2^53. */
  readonly value: number;
  /** Of length-delimited fields; empty for others. */
  readonly bytes: Uint8Array;
}

/**
 * The fields of a message, in order.
 *
 * @throws {RangeError} when it ends in the middle of a field, or has a wire type that is not in use
 */
export function readFields(message: Uint8Array): readonly ProtoField[] {
  const fields: ProtoField[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = message[at++];
      if (byte === undefined) throw new RangeError("Message ends within a number");
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError("Number of more than ten bytes");
  };
  const take = (length: number): Uint8Array => {
    if (length > message.length - at) throw new RangeError("Message ends within a field");
    at += length;
    return message.subarray(at - length, at);
  };
  while (at < message.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const type = tag % 8;
    if (type === VARINT) fields.push({ number, value: varint(), bytes: NOTHING });
    else if (type === BYTES) fields.push({ number, value: 0, bytes: take(varint()) });
    else if (type === FIXED64 || type === FIXED32) take(type === FIXED64 ? 8 : 4);
    else throw new RangeError(`Wire type ${type} is not in use`);
  }
  return fields;
}

const NOTHING = new Uint8Array(0);
const decoder = new TextDecoder();

/** The bytes of each field of that number. */
export function messagesOf(message: Uint8Array, number: number): readonly Uint8Array[] {
  return readFields(message).filter((f) => f.number === number).map(({ bytes }) => bytes);
}

/** Text of the last field of that number; empty where there is none, as protobuf has it. */
export function textOf(message: Uint8Array, number: number): string {
  return decoder.decode(messagesOf(message, number).at(-1) ?? NOTHING);
}

/** Writes fields in the order given: text, bytes (a message within) or a number that is not negative. */
export function writeFields(
  fields: readonly (readonly [number: number, value: string | Uint8Array | number])[],
): Uint8Array {
  const out: number[] = [];
  const varint = (value: number): void => {
    for (; value >= 0x80; value = Math.floor(value / 128)) out.push((value % 128) | 0x80);
    out.push(value);
  };
  for (const [number, value] of fields) {
    if (typeof value === "number") {
      varint(number * 8 + VARINT);
      varint(value);
      continue;
    }
    const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
    varint(number * 8 + BYTES);
    varint(bytes.length);
    for (const byte of bytes) out.push(byte);
  }
  return Uint8Array.from(out);
}
