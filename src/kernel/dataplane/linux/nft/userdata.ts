/**
 * User data of nf_tables objects: Linux keeps it and does not look at it. nft (libnftnl) writes type, length and value in a row and
 * prints comments out of it; types that it does not know it skips. Our mark is such a type.
 */

import type { MessageWriter } from "../message.ts";
import { clamp } from "../iptables-render.ts";

const COMMENT = 0;
const MARK = 0x72;
/** nft refuses to read a longer comment back: 128 bytes with the NUL. */
const COMMENT_BYTES = 127;

const PLAIN = /^[ -~]*$/;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function piece(type: number, text: string): Uint8Array {
  const value = encoder.encode(text);
  const bytes = new Uint8Array(value.length + 3);
  bytes[0] = type;
  bytes[1] = value.length + 1;
  bytes.set(value, 2);
  return bytes;
}

/** One text of a type. */
export function writeText(w: MessageWriter, attribute: number, type: number, text: string): void {
  w.data(attribute, piece(type, text));
}

export function writeRuleData(
  w: MessageWriter,
  attribute: number,
  { comment, mark }: { readonly comment?: string; readonly mark: string },
): void {
  const text = clamp(comment ?? "", COMMENT_BYTES);
  if (PLAIN.test(text) && PLAIN.test(mark)) {
    // As nearly all are: 20,000 rules have one each.
    const first = text === "" ? 0 : text.length + 3;
    const at = w.zeroes(attribute, first + mark.length + 3);
    if (at < 0) return;
    if (first > 0) plainPiece(w.bytes, at, COMMENT, text);
    plainPiece(w.bytes, at + first, MARK, mark);
    return;
  }
  const parts = [...(text === "" ? [] : [piece(COMMENT, text)]), piece(MARK, mark)];
  const bytes = new Uint8Array(parts.reduce((so, part) => so + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  w.data(attribute, bytes);
}

/** A text of ASCII, into bytes that are zero. */
function plainPiece(bytes: Uint8Array, at: number, type: number, text: string): void {
  bytes[at] = type;
  bytes[at + 1] = text.length + 1;
  for (let i = 0; i < text.length; i++) bytes[at + 2 + i] = text.charCodeAt(i);
}

/** The text of a type, if there is one. Never reads outside of the data. */
export function readText(data: Uint8Array, type: number): string | undefined {
  for (let at = 0; at + 2 <= data.length;) {
    const length = data[at + 1] ?? 0;
    if (data[at] === type) {
      const value = data.subarray(at + 2, Math.min(data.length, at + 2 + length));
      const nul = value.indexOf(0);
      return decoder.decode(nul < 0 ? value : value.subarray(0, nul));
    }
    at += 2 + length;
  }
  return undefined;
}

export function readRuleData(data: Uint8Array): {
  readonly comment: string | undefined;
  readonly mark: string | undefined;
} {
  return { comment: readText(data, COMMENT), mark: readText(data, MARK) };
}
