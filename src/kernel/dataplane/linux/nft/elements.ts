/**
 * Members of sets as keys of nf_tables: each field of a key takes whole registers of 4 bytes. In the words of ipset:
 * "10.0.0.1", "10.0.0.0/8", "10.0.0.1,tcp:80", "10.0.0.1,tcp:80,10.0.0.0/8".
 */

import type { Family } from "../../resource.ts";
import type { IpSet, IpSetMember } from "../../resources/ipset.ts";
import { readAddress, writeAddress } from "../inet.ts";
import { PROTOCOL_NAMES, PROTOCOLS } from "../ipset-codec.ts";
import { maskOf } from "./rules.ts";

/** Types of fields, as nft numbers them to print their values. */
const TYPE_IP = { 4: 7, 6: 8 } as const;
const TYPE_PROTOCOL = 12;
const TYPE_SERVICE = 13;
const TYPE_MARK = 19;
/** nft shifts the types of a key's fields together, six bits each. */
const TYPE_BITS = 6;

const NOMATCH = 0x100;

export function addressLength(family: Family): 4 | 16 {
  return family === 4 ? 4 : 16;
}

/** What a set's keys are made of. */
export interface KeyType {
  readonly type: number;
  readonly length: number;
  /** Bytes of each field, where there are several: what Linux must know of ranges in one of them. */
  readonly fields: readonly number[];
  /** Members are networks: the last field is a range. */
  readonly ranges: boolean;
}

export function keyType({ type, family }: Pick<IpSet, "type" | "family">): KeyType {
  const address = addressLength(family);
  const ip = { type: TYPE_IP[family], length: address };
  const fields = type === "hash:ip" || type === "hash:net" ? [ip] : [
    ip,
    { type: TYPE_PROTOCOL, length: 1 },
    { type: TYPE_SERVICE, length: 2 },
    ...(type === "hash:ip,port" ? [] : [ip]),
  ];
  return { ...joined(fields), ranges: hasNetworks(type) };
}

/** The key of the book of a set of networks: its key, and the prefix' length with the flag "nomatch". */
export function bookKeyType(set: Pick<IpSet, "type" | "family">): KeyType {
  const own = keyType(set);
  return {
    type: own.type << TYPE_BITS | TYPE_MARK,
    length: own.length + 4,
    fields: [...own.fields, 4],
    ranges: false,
  };
}

function joined(fields: readonly { readonly type: number; readonly length: number }[]) {
  return {
    type: fields.reduce((so, field) => so << TYPE_BITS | field.type, 0),
    length: fields.reduce((so, field) => so + (field.length + 3 & ~3), 0),
    fields: fields.map(({ length }) => length),
  };
}

export function hasNetworks(type: IpSet["type"]): boolean {
  return type === "hash:net" || type === "hash:ip,port,net";
}

/** A member as a key; `prefix` is that of the last address. Undefined for a text that is none of the set's kind. */
export function parseEntry(
  set: Pick<IpSet, "type" | "family">,
  entry: string,
): { readonly key: Uint8Array; readonly prefix: number } | undefined {
  const key = new Uint8Array(keyLength(set));
  const prefix = writeKey(set, entry, key, 0);
  return prefix < 0 ? undefined : { key, prefix };
}

/** Bytes of a key. */
export function keyLength({ type, family }: Pick<IpSet, "type" | "family">): number {
  const size = addressLength(family);
  const dimensions = type.split(",").length;
  return dimensions === 1 ? size : dimensions === 2 ? size + 8 : 2 * size + 8;
}

/**
 * Writes a member as a key into bytes that are zero.
 *
 * @returns the prefix of the last address, or -1 where the text is none of the set's kind
 */
export function writeKey(
  { type, family }: Pick<IpSet, "type" | "family">,
  entry: string,
  bytes: Uint8Array,
  at: number,
): number {
  const size = addressLength(family);
  if (type === "hash:ip") return writeAddress(bytes, at, entry) === size ? size * 8 : -1;
  if (type === "hash:net") return writeNetwork(entry, size, bytes, at);
  const comma = entry.indexOf(",");
  const second = entry.indexOf(",", comma + 1);
  if (comma < 0 || (second < 0) !== (type === "hash:ip,port")) return -1;
  if (writeAddress(bytes, at, entry.slice(0, comma)) !== size) return -1;
  const service = entry.slice(comma + 1, second < 0 ? undefined : second);
  const colon = service.indexOf(":");
  const name = service.slice(0, Math.max(0, colon));
  const protocol = PROTOCOLS[name] ?? Number(name || NaN);
  const port = Number(service.slice(colon + 1) || NaN);
  if (!(protocol >= 0 && protocol <= 255 && port >= 0 && port <= 0xffff)) return -1;
  bytes[at + size] = protocol;
  bytes[at + size + 4] = port >> 8;
  bytes[at + size + 5] = port & 0xff;
  if (second < 0) return size * 8;
  const last = entry.slice(second + 1);
  if (type === "hash:ip,port,net") return writeNetwork(last, size, bytes, at + size + 8);
  return writeAddress(bytes, at + size + 8, last) === size ? size * 8 : -1;
}

function writeNetwork(text: string, size: 4 | 16, bytes: Uint8Array, at: number): number {
  const slash = text.indexOf("/");
  const prefix = slash < 0 ? size * 8 : Number(text.slice(slash + 1) || NaN);
  if (!(Number.isInteger(prefix) && prefix >= 0 && prefix <= size * 8)) return -1;
  if (writeAddress(bytes, at, slash < 0 ? text : text.slice(0, slash)) !== size) return -1;
  const mask = maskOf(prefix, size);
  for (let i = 0; i < size; i++) bytes[at + i] = (bytes[at + i] ?? 0) & (mask[i] ?? 0);
  return prefix;
}

/** A key as a member's text; the opposite of {@linkcode parseEntry}. */
export function entryText(
  { type, family }: Pick<IpSet, "type" | "family">,
  key: Uint8Array,
  prefix?: number,
): string {
  const size = addressLength(family);
  const first = readAddress(key, 0, size);
  const dimensions = type.split(",").length;
  const net = prefix === undefined || prefix === size * 8 ? "" : `/${prefix}`;
  if (dimensions === 1) return `${first}${net}`;
  const protocol = key[size] ?? 0;
  const port = (key[size + 4] ?? 0) << 8 | (key[size + 5] ?? 0);
  const service = `${first},${PROTOCOL_NAMES.get(protocol) ?? protocol}:${port}`;
  return dimensions === 2 ? service : `${service},${readAddress(key, size + 8, size)}${net}`;
}

/** The key under which a member stands in the book. */
export function bookKey(key: Uint8Array, prefix: number, nomatch: boolean): Uint8Array {
  const result = new Uint8Array(key.length + 4);
  result.set(key);
  new DataView(result.buffer).setUint32(key.length, prefix | (nomatch ? NOMATCH : 0), true);
  return result;
}

/** The member of a key of the book. */
export function readBookKey(
  set: Pick<IpSet, "name" | "type" | "family">,
  bytes: Uint8Array,
): IpSetMember {
  const at = bytes.length - 4;
  const word = new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true);
  const entry = entryText(set, bytes.subarray(0, at), word & 0xff);
  return { set: set.name, entry, ...((word & NOMATCH) === 0 ? {} : { nomatch: true }) };
}
