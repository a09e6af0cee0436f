/**
 * IP addresses and CIDRs as text in one canonical form, so that two spellings of one address are one key.
 *
 * Canonical: IPv4 dotted decimal without leading zeros; IPv6 as RFC 5952; an IPv4-mapped IPv6 address is the
 * IPv4 address. Objects that an old API server let in hold other spellings (KEP-4858); they are normalised here
 * and never crash. Nothing here throws: text that is no address gives `undefined` or `false`.
 */
import ipaddr from "ipaddr.js";
import { ipv6Into, ipv6Text } from "./ipv6.ts";

/** 4 or 6. */
export type Family = 4 | 6;

/** A network: `address` is canonical with its host bits cleared, `text` is `address/prefix`. */
export interface Cidr {
  readonly family: Family;
  readonly address: string;
  readonly prefix: number;
  readonly text: string;
  /** Network address in network byte order, 4 or 16 bytes. */
  readonly bytes: Uint8Array;
}

const SCRATCH = new Uint8Array(16);
const ZERO = 48;
const NINE = 57;
const DOT = 46;

/**
 * Dotted decimal to an unsigned 32 bit number, or -1. Leading zeros count as decimal, as Kubernetes reads them
 * (never as octal), and canonical text needs no allocation: this runs for each endpoint of the cluster.
 */
export function ipv4Number(text: string): number {
  const length = text.length;
  if (length < 7 || length > 45) return -1;
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code >= ZERO && code <= NINE) {
      octet = octet === -1 ? code - ZERO : octet * 10 + code - ZERO;
      if (octet > 255) return -1;
    } else if (code === DOT && octet !== -1 && dots < 3) {
      value = value * 256 + octet;
      octet = -1;
      dots++;
    } else return -1;
  }
  return dots === 3 && octet !== -1 ? value * 256 + octet : -1;
}

/** The dotted decimal text of an unsigned 32 bit number. */
export function ipv4Text(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** The canonical text of an address, or `undefined` when it is none. Zones (`fe80::1%eth0`) are none. */
export function canonicalIp(text: string): string | undefined {
  const v4 = ipv4Number(text);
  if (v4 !== -1) return isCanonical(text, v4) ? text : ipv4Text(v4);
  const bytes = ipv6Into(text, SCRATCH) ? SCRATCH : ipv6Bytes(text);
  if (bytes === undefined) return undefined;
  const canonical = formatIp(bytes);
  // The text that is there already, so that there is one of it.
  return canonical === text ? text : canonical;
}

/** The address in network byte order, 4 bytes or 16 (IPv4-mapped: 4), or `undefined` when it is none. */
export function ipBytes(text: string): Uint8Array | undefined {
  const v4 = ipv4Number(text);
  if (v4 !== -1) return numberBytes(v4);
  const bytes = ipv6Bytes(text);
  return bytes !== undefined && isMapped(bytes) ? bytes.slice(12) : bytes;
}

/** The canonical text of 4 or 16 bytes in network byte order. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) {
    return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  }
  if (isMapped(bytes)) return formatIp(bytes.subarray(12));
  return ipv6Text(bytes);
}

/** The family of an address or a network after normalising, or `undefined` when it is neither. */
export function ipFamily(text: string): Family | undefined {
  if (ipv4Number(text) !== -1) return 4;
  if (text.includes("/")) return parseCidr(text)?.family;
  const bytes = ipBytes(text);
  return bytes === undefined ? undefined : bytes.length === 4 ? 4 : 6;
}

/** Whether the text is an address in any spelling. */
export function isIp(text: string): boolean {
  return ipBytes(text) !== undefined;
}

/**
 * The network of `address/prefix` with host bits cleared, or `undefined` when it is none. An IPv4-mapped network
 * of 96 bits or more is the IPv4 network.
 */
export function parseCidr(text: string): Cidr | undefined {
  const slash = text.indexOf("/");
  if (slash === -1) return undefined;
  const digits = text.slice(slash + 1);
  if (!/^[0-9]{1,3}$/.test(digits)) return undefined;
  const address = text.slice(0, slash);
  let prefix = Number(digits);
  const v4 = ipv4Number(address);
  let bytes = v4 === -1 ? ipv6Bytes(address) : numberBytes(v4);
  if (bytes === undefined || prefix > bytes.length * 8) return undefined;
  if (bytes.length === 16 && prefix >= 96 && isMapped(bytes)) {
    bytes = bytes.slice(12);
    prefix -= 96;
  }
  maskInPlace(bytes, prefix);
  const canonical = formatIp(bytes);
  return {
    family: bytes.length === 4 ? 4 : 6,
    address: canonical,
    prefix,
    text: `${canonical}/${prefix}`,
    bytes,
  };
}

/** The canonical text of a network, host bits cleared, or `undefined` when it is none. */
export function canonicalCidr(text: string): string | undefined {
  return parseCidr(text)?.text;
}

/** The network that holds this address alone (`/32` or `/128`), or `undefined` when it is no address. */
export function hostCidr(text: string): Cidr | undefined {
  const canonical = canonicalIp(text);
  if (canonical === undefined) return undefined;
  return parseCidr(`${canonical}/${canonical.includes(":") ? 128 : 32}`);
}

/** Whether the network holds the address. False across families and for text that is no network or address. */
export function contains(cidr: Cidr | string, ip: string): boolean {
  const network = typeof cidr === "string" ? parseCidr(cidr) : cidr;
  if (network === undefined) return false;
  if (network.family === 4) {
    const value = ipv4Number(ip);
    if (value !== -1) {
      if (network.prefix === 0) return true;
      const shift = 32 - network.prefix;
      return (bytesNumber(network.bytes) >>> shift) === (value >>> shift);
    }
  }
  const bytes = ipBytes(ip);
  if (bytes === undefined || bytes.length !== network.bytes.length) return false;
  maskInPlace(bytes, network.prefix);
  for (let i = 0; i < bytes.length; i++) if (bytes[i] !== network.bytes[i]) return false;
  return true;
}

/** Whether one of the networks holds the address. Without a closure: this runs for each Service of the cluster. */
export function isWithin(cidrs: readonly Cidr[], ip: string): boolean {
  for (const cidr of cidrs) if (contains(cidr, ip)) return true;
  return false;
}

/** Order for sorted output: IPv4 before IPv6, then by number; text that is no address comes last, by text. */
export function compareIps(a: string, b: string): number {
  const left = ipBytes(a);
  const right = ipBytes(b);
  if (left === undefined || right === undefined) {
    if (left !== undefined) return -1;
    if (right !== undefined) return 1;
    return a < b ? -1 : a > b ? 1 : 0;
  }
  if (left.length !== right.length) return left.length - right.length;
  for (let i = 0; i < left.length; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** `address:port`, with the brackets that an IPv6 address needs. */
export function joinHostPort(address: string, port: number): string {
  return address.includes(":") && !address.startsWith("[")
    ? `[${address}]:${port}`
    : `${address}:${port}`;
}

/** Bytes of the text of an octet. */
function digits(octet: number): number {
  return octet > 99 ? 3 : octet > 9 ? 2 : 1;
}

/** Whether the text of an IPv4 address is as short as it can be: without leading zeros. */
function isCanonical(text: string, value: number): boolean {
  return text.length === 3 + digits(value >>> 24) + digits((value >>> 16) & 255) +
      digits((value >>> 8) & 255) + digits(value & 255);
}

function ipv6Bytes(text: string): Uint8Array | undefined {
  const fast = new Uint8Array(16);
  if (ipv6Into(text, fast)) return fast;
  if (!text.includes(":") || text.length > 64 || text.includes("%")) return undefined;
  let plain = text;
  const colon = text.lastIndexOf(":");
  if (text.includes(".")) {
    // The dotted tail is ours to read: ipaddr.js takes leading zeros as octal.
    const tail = ipv4Number(text.slice(colon + 1));
    if (tail === -1) return undefined;
    plain = `${text.slice(0, colon + 1)}${(tail >>> 16).toString(16)}:${
      (tail & 0xffff).toString(16)
    }`;
  }
  // Old objects may hold groups with more than four digits' worth of zeros; ipaddr.js takes only four.
  plain = plain.replace(/(^|:)0+([0-9a-fA-F]{4})(?=:|$)/g, "$1$2");
  if (!ipaddr.IPv6.isValid(plain)) return undefined;
  return Uint8Array.from(ipaddr.IPv6.parse(plain).toByteArray());
}

function isMapped(bytes: Uint8Array): boolean {
  for (let i = 0; i < 10; i++) if (bytes[i] !== 0) return false;
  return bytes[10] === 0xff && bytes[11] === 0xff;
}

function numberBytes(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
}

function bytesNumber(bytes: Uint8Array): number {
  return (((bytes[0] ?? 0) << 24) | ((bytes[1] ?? 0) << 16) | ((bytes[2] ?? 0) << 8) |
    (bytes[3] ?? 0)) >>> 0;
}

function maskInPlace(bytes: Uint8Array, prefix: number): void {
  for (let i = 0; i < bytes.length; i++) {
    const bits = prefix - i * 8;
    if (bits >= 8) continue;
    bytes[i] = bits <= 0 ? 0 : (bytes[i] ?? 0) & (0xff << (8 - bits));
  }
}
