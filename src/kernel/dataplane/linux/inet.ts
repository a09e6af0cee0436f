/** IP addresses as text and as bytes in network order: what inet_pton and inet_ntop do, without a call. */

import ipaddr from "ipaddr.js";
import { ipv6Into, ipv6Text } from "../../ipv6.ts";

/**
 * Writes `text` at `offset`: 4 bytes for IPv4, 16 for IPv6.
 *
 * @returns how many bytes were written; 0 when `text` is not an address, or does not fit
 */
export function writeAddress(bytes: Uint8Array, offset: number, text: string): 0 | 4 | 16 {
  return text.includes(":") ? writeIpv6(bytes, offset, text) : writeIpv4(bytes, offset, text);
}

function writeIpv4(bytes: Uint8Array, offset: number, text: string): 0 | 4 {
  if (offset + 4 > bytes.length) return 0;
  let value = 0;
  let digits = 0;
  let parts = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = i === text.length ? 46 : text.charCodeAt(i);
    if (c === 46) {
      if (digits === 0 || value > 255 || parts === 4) return 0;
      bytes[offset + parts++] = value;
      value = 0;
      digits = 0;
    } else if (c >= 48 && c <= 57 && digits < 3) {
      // "010" is 8 to some and 10 to others: refused, as inet_pton does.
      if (digits > 0 && value === 0) return 0;
      value = value * 10 + c - 48;
      digits++;
    } else return 0;
  }
  return parts === 4 ? 4 : 0;
}

function writeIpv6(bytes: Uint8Array, offset: number, text: string): 0 | 16 {
  if (offset + 16 <= bytes.length && ipv6Into(text, bytes, offset)) return 16;
  // A zone ("%eth0") is no part of an address in a netlink attribute.
  if (offset + 16 > bytes.length || text.includes("%") || !ipaddr.IPv6.isValid(text)) return 0;
  bytes.set(ipaddr.IPv6.parse(text).toByteArray(), offset);
  return 16;
}

/** The canonical text (RFC 5952) of an address of `length` 4 or 16 at `offset`; empty for other lengths. */
export function readAddress(bytes: Uint8Array, offset: number, length: number): string {
  if (offset + length > bytes.length) return "";
  if (length === 4) {
    return `${bytes[offset]}.${bytes[offset + 1]}.${bytes[offset + 2]}.${bytes[offset + 3]}`;
  }
  if (length !== 16) return "";
  return ipv6Text(bytes, offset);
}
