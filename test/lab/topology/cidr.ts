/** Address arithmetic on `address/length` texts. */

import ipaddr from "ipaddr.js";

export interface Cidr {
  readonly family: 4 | 6;
  /** The address as given, host bits included. */
  readonly value: bigint;
  readonly length: number;
}

/** Throws where the text is no address with a prefix length. */
export function parseCidr(text: string): Cidr {
  const [address = "", length = "", more] = text.split("/");
  if (more !== undefined || !/^\d+$/.test(length) || !ipaddr.isValid(address)) {
    throw new Error(`"${text}" is not an address with a prefix length, like "10.0.0.1/24"`);
  }
  const parsed = ipaddr.parse(address);
  const family = parsed.kind() === "ipv4" ? 4 : 6;
  if (Number(length) > width(family)) throw new Error(`"${text}": the prefix length is too large`);
  return { family, value: toValue(parsed.toByteArray()), length: Number(length) };
}

export function isAddress(text: string): boolean {
  return ipaddr.isValid(text);
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(":") ? 6 : 4;
}

/** The address alone, in its usual form. */
export function addressOf(cidr: Cidr): string {
  return format(cidr.family, cidr.value);
}

/** The subnet: `192.168.1.7/24` → `192.168.1.0/24`. */
export function subnetOf(cidr: Cidr): string {
  return `${format(cidr.family, first(cidr))}/${cidr.length}`;
}

/** Address number `index` of the subnet; negative ones count from its end, -1 is the last. */
export function nth(cidr: Cidr, index: number): string {
  const size = 1n << BigInt(width(cidr.family) - cidr.length);
  const at = BigInt(index) < 0n ? size + BigInt(index) : BigInt(index);
  return format(cidr.family, first(cidr) + at);
}

export function contains(cidr: Cidr, address: string): boolean {
  if (familyOf(address) !== cidr.family) return false;
  const shift = BigInt(width(cidr.family) - cidr.length);
  const other = toValue(ipaddr.parse(address).toByteArray());
  return other >> shift === cidr.value >> shift;
}

function width(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

function first(cidr: Cidr): bigint {
  const shift = BigInt(width(cidr.family) - cidr.length);
  return cidr.value >> shift << shift;
}

function toValue(bytes: readonly number[]): bigint {
  return bytes.reduce((value, byte) => value << 8n | BigInt(byte), 0n);
}

function format(family: 4 | 6, value: bigint): string {
  const count = width(family) / 8;
  const bytes = Array.from(
    { length: count },
    (_, index) => Number(value >> BigInt(8 * (count - 1 - index)) & 255n),
  );
  return ipaddr.fromByteArray(bytes).toString();
}
