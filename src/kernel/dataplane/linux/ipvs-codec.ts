/**
 * IPVS over generic netlink (linux/ip_vs.h): services and destinations to messages and back.
 *
 * Mixed byte orders: addresses, ports and the IPv4 netmask are in network order, all else in the machine's. Addresses always
 * take 16 bytes (`union nf_inet_addr`), IPv4 in the first four.
 */

import type { Family } from "../resource.ts";
import {
  type IpvsDestination,
  ipvsFwmarkId,
  type IpvsProtocol,
  type IpvsService,
  type IpvsServiceId,
  ipvsServiceId,
} from "../resources/ipvs.ts";
import type { AttributeReader } from "./attribute.ts";
import { GENL_HEADER, genlHeader } from "./genl.ts";
import { readAddress, writeAddress } from "./inet.ts";
import { type MessageReader, MessageWriter } from "./message.ts";

export const IPVS_FAMILY = "IPVS";
const IPVS_VERSION = 1;

export const IPVS_CMD_NEW_SERVICE = 1;
export const IPVS_CMD_SET_SERVICE = 2;
export const IPVS_CMD_DEL_SERVICE = 3;
export const IPVS_CMD_GET_SERVICE = 4;
export const IPVS_CMD_NEW_DEST = 5;
export const IPVS_CMD_SET_DEST = 6;
export const IPVS_CMD_DEL_DEST = 7;
export const IPVS_CMD_GET_DEST = 8;
export const IPVS_CMD_SET_CONFIG = 12;
export const IPVS_CMD_GET_CONFIG = 13;
export const IPVS_CMD_GET_INFO = 15;

const IPVS_CMD_ATTR_SERVICE = 1;
const IPVS_CMD_ATTR_DEST = 2;

const SVC_AF = 1;
const SVC_PROTOCOL = 2;
const SVC_ADDR = 3;
const SVC_PORT = 4;
const SVC_FWMARK = 5;
const SVC_SCHED_NAME = 6;
const SVC_FLAGS = 7;
const SVC_TIMEOUT = 8;
const SVC_NETMASK = 9;
const SVC_STATS = 10;
const SVC_STATS64 = 12;

const DEST_ADDR = 1;
const DEST_PORT = 2;
const DEST_FWD_METHOD = 3;
const DEST_WEIGHT = 4;
const DEST_U_THRESH = 5;
const DEST_L_THRESH = 6;
const DEST_ACTIVE_CONNS = 7;
const DEST_INACT_CONNS = 8;
const DEST_PERSIST_CONNS = 9;
const DEST_STATS = 10;
const DEST_ADDR_FAMILY = 11;
const DEST_STATS64 = 12;

const AF_INET = 2;
const AF_INET6 = 10;
export const SVC_F_PERSISTENT = 0x1;
/** IP_VS_SVC_F_SCHED1 to SCHED3. */
export const SVC_F_SCHEDULER = 0x38;
const FWD_MASK = 0x7;

const PROTOCOL_NUMBER = { tcp: 6, udp: 17, sctp: 132 } as const satisfies Record<
  IpvsProtocol,
  number
>;
const FWD_NUMBER = { masq: 0, tunnel: 2, route: 3 } as const satisfies Record<
  IpvsDestination["method"],
  number
>;

/** The protocol of a number; undefined for what IPVS has no services for. */
export function ipvsProtocol(number: number): IpvsProtocol | undefined {
  return number === 6 ? "tcp" : number === 17 ? "udp" : number === 132 ? "sctp" : undefined;
}

/** The forwarding method of IP_VS_CONN_F_*; local node (1) and bypass (4) count as masquerading, as ipvsadm sets it. */
export function ipvsMethod(flags: number): IpvsDestination["method"] {
  const method = flags & FWD_MASK;
  return method === 2 ? "tunnel" : method === 3 ? "route" : "masq";
}

export function protocolNumber(protocol: IpvsProtocol): number {
  return PROTOCOL_NUMBER[protocol];
}

function addressFamily(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** Starts a message of the IPVS family. */
export function beginIpvs(w: MessageWriter, familyId: number, command: number): void {
  w.begin(familyId);
  genlHeader(w, command, IPVS_VERSION);
}

/** Where the fields of a service's identity are in a message; -1 where there is none. */
interface KeyPlaces {
  readonly protocol: number;
  readonly address: number;
  readonly port: number;
  readonly fwmark: number;
}

/** The attributes that identify a service, zero. A firewall mark replaces the address: Linux looks at it first, even at 0. */
function placeKey(w: MessageWriter, id: IpvsServiceId): KeyPlaces {
  w.u16(SVC_AF, addressFamily(id.family));
  if (id.fwmark !== 0) {
    return { protocol: -1, address: -1, port: -1, fwmark: w.zeroes(SVC_FWMARK, 4) };
  }
  return {
    protocol: w.zeroes(SVC_PROTOCOL, 2),
    address: w.zeroes(SVC_ADDR, 16),
    port: w.zeroes(SVC_PORT, 2),
    fwmark: -1,
  };
}

/** Fills in the identity; errors are kept by the writer. */
function patchKey(w: MessageWriter, places: KeyPlaces, id: IpvsServiceId): void {
  if (places.fwmark >= 0) return w.view.setUint32(places.fwmark, id.fwmark, true);
  w.view.setUint16(places.protocol, PROTOCOL_NUMBER[id.protocol], true);
  if (writeAddress(w.bytes, places.address, id.address) === 0) {
    w.fail(`"${id.address}" is no IP address`);
  }
  if (!(id.port >= 0 && id.port <= 0xffff)) w.fail(`port ${id.port} is not between 0 and 65535`);
  w.view.setUint16(places.port, id.port, false);
}

/** Whether messages for both have their fields at the same places. */
function sameLayout(a: IpvsServiceId, b: IpvsServiceId): boolean {
  return a.family === b.family && (a.fwmark === 0) === (b.fwmark === 0);
}

/**
 * Writes messages for services: NEW, SET or DEL. Like those for destinations they are copied from the one before and patched:
 * in a fresh process, whose code is not compiled yet, that takes half the time of writing each attribute.
 */
export class ServiceWriter {
  readonly #familyId: number;
  readonly #draft = new MessageWriter(256);
  #template: Uint8Array = new Uint8Array(0);
  #last: IpvsService | undefined;
  #command = 0;
  #key: KeyPlaces = { protocol: -1, address: -1, port: -1, fwmark: -1 };
  #flags = -1;
  #timeout = -1;

  constructor(familyId: number) {
    this.#familyId = familyId;
  }

  write(w: MessageWriter, command: number, service: IpvsService): void {
    const last = this.#last;
    if (
      last === undefined || command !== this.#command || last.scheduler !== service.scheduler ||
      !sameLayout(last.id, service.id)
    ) this.#compose(command, service);
    this.#last = service;
    const draft = this.#draft;
    draft.error = undefined;
    patchKey(draft, this.#key, service.id);
    if (this.#flags >= 0) {
      // All bits are ours: the mask that follows says that absent flags are to be cleared.
      const persistent = service.persistence > 0 ? SVC_F_PERSISTENT : 0;
      draft.view.setUint32(
        this.#flags,
        service.schedulerFlags & SVC_F_SCHEDULER | persistent,
        true,
      );
      const timeout = service.persistence;
      if (!(timeout >= 0 && timeout <= 0x7fffffff)) {
        draft.fail(`persistence ${timeout} is no time-out`);
      }
      draft.view.setUint32(this.#timeout, timeout, true);
    }
    if (draft.error !== undefined) w.fail(draft.error);
    copyTemplate(w, this.#template);
  }

  #compose(command: number, service: IpvsService): void {
    const w = this.#draft;
    w.reset();
    beginIpvs(w, this.#familyId, command);
    const nest = w.open(IPVS_CMD_ATTR_SERVICE);
    this.#key = placeKey(w, service.id);
    this.#flags = this.#timeout = -1;
    if (command === IPVS_CMD_NEW_SERVICE || command === IPVS_CMD_SET_SERVICE) {
      w.string(SVC_SCHED_NAME, service.scheduler);
      this.#flags = w.zeroes(SVC_FLAGS, 8);
      w.view.setUint32(this.#flags + 4, 0xffffffff, true);
      this.#timeout = w.zeroes(SVC_TIMEOUT, 4);
      // IPv4: 255.255.255.255 as raw bytes. IPv6: a prefix length. Another value makes Linux mix up clients.
      w.u32(SVC_NETMASK, service.id.family === 4 ? 0xffffffff : 128);
    }
    w.close(nest);
    w.end();
    this.#template = w.bytes.subarray(0, w.position);
    this.#command = command;
  }
}

/** Appends a copy of a whole message; returns where it starts, or -1 when the buffer is full. */
function copyTemplate(w: MessageWriter, template: Uint8Array): number {
  const at = w.reserve(template.length);
  if (at < 0) return -1;
  w.bytes.set(template, at);
  w.stamp(at);
  return at;
}

/** One whole message that names a service: GET_SERVICE, or GET_DEST for a dump of its destinations. */
export function writeServiceQuery(
  w: MessageWriter,
  familyId: number,
  command: number,
  id: IpvsServiceId,
): void {
  beginIpvs(w, familyId, command);
  const nest = w.open(IPVS_CMD_ATTR_SERVICE);
  patchKey(w, placeKey(w, id), id);
  w.close(nest);
  w.end();
}

/** Writes messages for destinations: NEW, SET or DEL, each copied from the one before and patched. */
export class DestinationWriter {
  readonly #familyId: number;
  readonly #draft = new MessageWriter(256);
  #template: Uint8Array = new Uint8Array(0);
  #service: IpvsServiceId | undefined;
  #command = 0;
  #key: KeyPlaces = { protocol: -1, address: -1, port: -1, fwmark: -1 };
  // Where in the template the payloads start.
  #family = 0;
  #address = 0;
  #port = 0;
  #method = 0;
  #weight = 0;

  constructor(familyId: number) {
    this.#familyId = familyId;
  }

  write(w: MessageWriter, command: number, destination: IpvsDestination): void {
    const service = destination.service;
    if (service !== this.#service || command !== this.#command) this.#turnTo(command, service);
    if (this.#draft.error !== undefined) w.fail(this.#draft.error);
    const at = copyTemplate(w, this.#template);
    if (at < 0) return;
    const size = writeAddress(w.bytes, at + this.#address, destination.address);
    if (size === 0) w.fail(`"${destination.address}" is no IP address`);
    const { port, weight } = destination;
    if (!(port >= 0 && port <= 0xffff)) w.fail(`port ${port} is not between 0 and 65535`);
    if (!(weight >= 0 && weight <= 0x7fffffff)) w.fail(`weight ${weight} is not a positive number`);
    w.view.setUint16(at + this.#family, size === 16 ? AF_INET6 : AF_INET, true);
    w.view.setUint16(at + this.#port, port, false);
    w.view.setUint32(at + this.#method, FWD_NUMBER[destination.method], true);
    w.view.setUint32(at + this.#weight, weight, true);
  }

  /** Makes the template one for this service. */
  #turnTo(command: number, service: IpvsServiceId): void {
    const last = this.#service;
    if (last === undefined || command !== this.#command || !sameLayout(last, service)) {
      this.#compose(command, service);
    }
    this.#service = service;
    this.#draft.error = undefined;
    patchKey(this.#draft, this.#key, service);
  }

  #compose(command: number, service: IpvsServiceId): void {
    const w = this.#draft;
    w.reset();
    beginIpvs(w, this.#familyId, command);
    const key = w.open(IPVS_CMD_ATTR_SERVICE);
    this.#key = placeKey(w, service);
    w.close(key);
    const nest = w.open(IPVS_CMD_ATTR_DEST);
    this.#family = w.zeroes(DEST_ADDR_FAMILY, 2);
    this.#address = w.zeroes(DEST_ADDR, 16);
    this.#port = w.zeroes(DEST_PORT, 2);
    this.#method = w.zeroes(DEST_FWD_METHOD, 4);
    this.#weight = w.zeroes(DEST_WEIGHT, 4);
    w.u32(DEST_U_THRESH, 0);
    w.u32(DEST_L_THRESH, 0);
    w.close(nest);
    w.end();
    this.#template = w.bytes.subarray(0, w.position);
    this.#command = command;
  }
}

/** Counters and current rates of a service or a destination. */
export interface IpvsStatistics {
  /** Connections scheduled. */
  readonly connections: number;
  readonly inPackets: number;
  readonly outPackets: number;
  readonly inBytes: number;
  readonly outBytes: number;
  /** Per second, as Linux estimates them every two seconds. */
  readonly connectionRate: number;
  readonly inPacketRate: number;
  readonly outPacketRate: number;
  readonly inByteRate: number;
  readonly outByteRate: number;
}

const NO_STATISTICS: IpvsStatistics = {
  connections: 0,
  inPackets: 0,
  outPackets: 0,
  inBytes: 0,
  outBytes: 0,
  connectionRate: 0,
  inPacketRate: 0,
  outPacketRate: 0,
  inByteRate: 0,
  outByteRate: 0,
};

const STATISTICS_FIELDS = Object.keys(NO_STATISTICS) as readonly (keyof IpvsStatistics)[];

/** IPVS_STATS_ATTR_*: 64 bits each, or 32 for most in the older form; the numbers follow the order of the fields. */
function readStatistics(reader: AttributeReader): IpvsStatistics {
  const result: Record<keyof IpvsStatistics, number> = { ...NO_STATISTICS };
  while (reader.next()) {
    const field = STATISTICS_FIELDS[reader.type - 1];
    if (field !== undefined) result[field] = reader.length >= 8 ? reader.u64() : reader.u32();
  }
  return result;
}

/** A service as Linux tells of it. */
export interface ServiceEntry {
  readonly item: IpvsService;
  readonly statistics: IpvsStatistics;
}

/** A destination as Linux tells of it. */
export interface DestinationEntry {
  readonly item: IpvsDestination;
  readonly active: number;
  readonly inactive: number;
  readonly persistent: number;
  readonly statistics: IpvsStatistics;
}

/** Reads the service of an answer to GET_SERVICE; undefined for garbage and for what IPVS should not have. */
export function readService(
  message: MessageReader,
  statistics = false,
): ServiceEntry | undefined {
  const attributes = message.attributes(GENL_HEADER);
  while (attributes.next()) {
    if (attributes.type !== IPVS_CMD_ATTR_SERVICE) continue;
    const entry = readServiceAttributes(attributes.inner(), statistics);
    if (typeof entry === "string") message.error ??= entry;
    else return entry;
  }
  if (attributes.error !== undefined) message.error ??= attributes.error;
  return undefined;
}

function readServiceAttributes(
  a: AttributeReader,
  withStatistics: boolean,
): ServiceEntry | string | undefined {
  let af = 0, protocol = 0, port = 0, fwmark = 0, flags = 0, timeout = 0, netmask = 0;
  let scheduler = "", addressAt = -1;
  let statistics = NO_STATISTICS;
  while (a.next()) {
    switch (a.type) {
      case SVC_AF:
        af = a.u16();
        break;
      case SVC_PROTOCOL:
        protocol = a.u16();
        break;
      case SVC_ADDR:
        if (a.length >= 16) addressAt = a.start;
        break;
      case SVC_PORT:
        port = a.u16be();
        break;
      case SVC_FWMARK:
        fwmark = a.u32();
        break;
      case SVC_SCHED_NAME:
        scheduler = a.string();
        break;
      case SVC_FLAGS:
        flags = a.u32();
        break;
      case SVC_TIMEOUT:
        timeout = a.u32();
        break;
      case SVC_NETMASK:
        netmask = a.u32();
        break;
      case SVC_STATS:
      case SVC_STATS64:
        // The 64-bit form follows the other and wins.
        if (withStatistics) a.nested((inner) => statistics = readStatistics(inner));
        break;
    }
  }
  if (a.error !== undefined) return a.error;
  const family: Family | undefined = af === AF_INET ? 4 : af === AF_INET6 ? 6 : undefined;
  if (family === undefined) return `Service of address family ${af}`;
  const address = addressAt < 0 ? "" : readAddress(a.bytes, addressAt, family === 4 ? 4 : 16);
  const item = serviceItem({
    family,
    protocol,
    address,
    port,
    fwmark,
    scheduler,
    flags,
    timeout,
    netmask,
  });
  return item === undefined ? undefined : { item, statistics };
}

/** A service's fields as Linux holds them. */
export interface RawService {
  readonly family: Family;
  readonly protocol: number;
  readonly address: string;
  readonly port: number;
  readonly fwmark: number;
  readonly scheduler: string;
  readonly flags: number;
  readonly timeout: number;
  readonly netmask: number;
}

/** The item for Linux's fields; undefined for a protocol that we have no word for. */
export function serviceItem(raw: RawService): IpvsService | undefined {
  const protocol = raw.fwmark === 0 ? ipvsProtocol(raw.protocol) : "tcp";
  if (protocol === undefined) return undefined;
  const persistent = (raw.flags & SVC_F_PERSISTENT) !== 0;
  const whole = raw.family === 4 ? 0xffffffff : 128;
  return {
    id: raw.fwmark === 0
      ? ipvsServiceId(raw.family, protocol, raw.address, raw.port)
      : ipvsFwmarkId(raw.family, raw.fwmark),
    scheduler: raw.scheduler,
    schedulerFlags: raw.flags & SVC_F_SCHEDULER,
    // A mask that groups clients is nothing that we set: -1 equals no wanted value, so it is repaired.
    persistence: !persistent ? 0 : raw.netmask === whole ? raw.timeout : -1,
  };
}

/** Reads the destination of an answer to GET_DEST for `service`. */
export function readDestination(
  message: MessageReader,
  service: IpvsServiceId,
  statistics = false,
): DestinationEntry | undefined {
  const attributes = message.attributes(GENL_HEADER);
  while (attributes.next()) {
    if (attributes.type !== IPVS_CMD_ATTR_DEST) continue;
    const entry = readDestinationAttributes(attributes.inner(), service, statistics);
    if (typeof entry === "string") message.error ??= entry;
    else return entry;
  }
  if (attributes.error !== undefined) message.error ??= attributes.error;
  return undefined;
}

function readDestinationAttributes(
  a: AttributeReader,
  service: IpvsServiceId,
  withStatistics: boolean,
): DestinationEntry | string {
  // Kernels before 3.18 do not say the family: then it is the service's.
  let af = service.family === 4 ? AF_INET : AF_INET6;
  let addressAt = -1, port = 0, method = 0, weight = 0, active = 0, inactive = 0, persistent = 0;
  let statistics = NO_STATISTICS;
  while (a.next()) {
    switch (a.type) {
      case DEST_ADDR:
        if (a.length >= 16) addressAt = a.start;
        break;
      case DEST_PORT:
        port = a.u16be();
        break;
      case DEST_FWD_METHOD:
        method = a.u32();
        break;
      case DEST_WEIGHT:
        weight = a.u32();
        break;
      case DEST_ACTIVE_CONNS:
        active = a.u32();
        break;
      case DEST_INACT_CONNS:
        inactive = a.u32();
        break;
      case DEST_PERSIST_CONNS:
        persistent = a.u32();
        break;
      case DEST_ADDR_FAMILY:
        af = a.u16();
        break;
      case DEST_STATS:
      case DEST_STATS64:
        if (withStatistics) a.nested((inner) => statistics = readStatistics(inner));
        break;
    }
  }
  if (a.error !== undefined) return a.error;
  if (addressAt < 0) return "Destination without an address";
  const address = readAddress(a.bytes, addressAt, af === AF_INET ? 4 : 16);
  const item: IpvsDestination = { service, address, port, weight, method: ipvsMethod(method) };
  return { item, active, inactive, persistent, statistics };
}
