/**
 * IPv6 addresses between text and bytes, for the many: hundreds of thousands of them pass at a start, and a library that
 * splits text into arrays takes 20 µs for each. Odd spellings are not for here: `ip.ts` knows them.
 */

const COLON = 58;
const HEX = "0123456789abcdef";

/**
 * Writes the 16 bytes of an address in plain spelling: groups of one to four hexadecimal digits, with or without one "::".
 *
 * @returns false where it is spelled in any other way, or is no address; what stands in `bytes` then is nothing
 */
export function ipv6Into(text: string, bytes: Uint8Array, offset = 0): boolean {
  const { length } = text;
  if (length < 2 || length > 39) return false;
  let groups = 0;
  /** Groups before "::". */
  let gap = -1;
  let at = 0;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gap = 0;
    at = 2;
  }
  while (at < length) {
    let value = 0;
    const begin = at;
    for (; at < length; at++) {
      const digit = hexDigit(text.charCodeAt(at));
      if (digit < 0) break;
      value = value << 4 | digit;
    }
    if (at === begin || at - begin > 4 || groups === 8) return false;
    bytes[offset + 2 * groups] = value >> 8;
    bytes[offset + 2 * groups + 1] = value;
    groups++;
    if (at === length) break;
    if (text.charCodeAt(at) !== COLON) return false;
    at++;
    if (at === length) return false;
    if (text.charCodeAt(at) !== COLON) continue;
    if (gap >= 0) return false;
    gap = groups;
    at++;
  }
  if (gap < 0) return groups === 8;
  // RFC 4291, 2.2: "::" stands for at least one group.
  if (groups > 7) return false;
  const tail = 2 * (groups - gap);
  bytes.copyWithin(offset + 16 - tail, offset + 2 * gap, offset + 2 * groups);
  bytes.fill(0, offset + 2 * gap, offset + 16 - tail);
  return true;
}

/** The canonical text (RFC 5952) of 16 bytes, as hexadecimal groups alone. */
export function ipv6Text(bytes: Uint8Array, offset = 0): string {
  let best = -1;
  let longest = 1;
  for (let group = 0; group < 8; group++) {
    let end = group;
    while (end < 8 && groupAt(bytes, offset, end) === 0) end++;
    if (end - group > longest) {
      best = group;
      longest = end - group;
    }
    if (end > group) group = end;
  }
  let text = "";
  for (let group = 0; group < 8; group++) {
    if (group === best) {
      text += "::";
      group += longest - 1;
      continue;
    }
    const afterGap = best >= 0 && group === best + longest;
    if (group > 0 && !afterGap) text += ":";
    text += hexText(groupAt(bytes, offset, group));
  }
  return text;
}

function groupAt(bytes: Uint8Array, offset: number, group: number): number {
  return (bytes[offset + 2 * group] ?? 0) << 8 | (bytes[offset + 2 * group + 1] ?? 0);
}

function hexText(value: number): string {
  const last = HEX[value & 15] ?? "";
  if (value < 0x10) return last;
  const third = HEX[value >> 4 & 15] ?? "";
  if (value < 0x100) return third + last;
  const second = HEX[value >> 8 & 15] ?? "";
  return value < 0x1000 ? second + third + last : (HEX[value >> 12] ?? "") + second + third + last;
}

function hexDigit(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  if (code >= 97 && code <= 102) return code - 87;
  if (code >= 65 && code <= 70) return code - 55;
  return -1;
}
