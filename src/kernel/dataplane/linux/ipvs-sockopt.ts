/**
 * IPVS's older interface, getsockopt (linux/ip_vs.h). IPv4 only, but one call reads all services with the number of their
 * destinations, and one call all destinations of a service: a third of the calls that netlink takes.
 *
 * Structs are in the machine's order and alignment (the same on x86-64 and arm64); addresses and ports in network order.
 */

import type { IpvsDestination, IpvsService, IpvsServiceId } from "../resources/ipvs.ts";
import { errno, kernelError } from "./errno.ts";
import { closeFile, lastErrno, libc, throwErrno } from "./ffi.ts";
import { readAddress, writeAddress } from "./inet.ts";
import {
  ipvsMethod,
  protocolNumber,
  serviceItem,
  SVC_F_PERSISTENT,
  SVC_F_SCHEDULER,
} from "./ipvs-codec.ts";
import { inNetworkNamespace } from "./netns.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_IP = 0;
const IP_VS_SO_GET_INFO = 1153;
const IP_VS_SO_GET_SERVICES = 1154;
const IP_VS_SO_GET_DESTS = 1156;

/** struct ip_vs_service_entry: 104 bytes, after a header of 8. */
const SERVICE_HEADER = 8;
const SERVICE_SIZE = 104;
/** struct ip_vs_dest_entry: 96 bytes, after a header of 24. */
const DESTINATION_HEADER = 24;
const DESTINATION_SIZE = 96;

const PROTOCOL_CODE: Readonly<Record<number, number>> = { 6: 0, 17: 1, 132: 2 };

function pack(protocol: number, address: number, port: number): number {
  return (address * 0x10000 + port) * 4 + protocol;
}

const scratch = new Uint8Array(new ArrayBuffer(16));
const scratchView = new DataView(scratch.buffer);

/**
 * An IPv4 service's identity as one number below 2^50, so that thousands of them can be found without making texts; -1 for
 * IPv6 and firewall marks.
 */
export function serviceNumber(id: IpvsServiceId): number {
  if (id.family !== 4 || id.fwmark !== 0) return -1;
  if (writeAddress(scratch, 0, id.address) !== 4) return -1;
  const protocol = PROTOCOL_CODE[protocolNumber(id.protocol)] ?? 0;
  return pack(protocol, scratchView.getUint32(0, false), id.port);
}

/** Words of an entry before its statistics: identity, settings, number of destinations. */
const SETTINGS_WORDS = 12;
/** Protocol, address, port, firewall mark. */
const IDENTITY_WORDS = 4;

/** All IPv4 services as Linux holds them, read in place. A reader may keep two and compare them. */
export class ServiceTable {
  #bytes = new Uint8Array(new ArrayBuffer(SERVICE_HEADER));
  #view = new DataView(this.#bytes.buffer);
  #words = new Uint32Array(this.#bytes.buffer);
  length = 0;

  /** Room for `count` services; returns the buffer with its header filled in. */
  prepare(count: number): Uint8Array {
    const size = SERVICE_HEADER + count * SERVICE_SIZE;
    // Linux demands the exact size, and room that is reused stays in the cache.
    if (this.#bytes.length !== size) {
      this.#bytes = new Uint8Array(new ArrayBuffer(size));
      this.#view = new DataView(this.#bytes.buffer);
      this.#words = new Uint32Array(this.#bytes.buffer);
    }
    this.#view.setUint32(0, count, true);
    this.length = count;
    return this.#bytes;
  }
  /** Linux may have held fewer services than asked for; then it says so in the header. */
  received(): void {
    this.length = Math.min(this.length, this.#view.getUint32(0, true));
  }

  destinations(index: number): number {
    return this.#view.getUint32(this.#at(index) + 44, true);
  }

  /** Whether entry `index` differs from that of `other` in anything but statistics. */
  differs(other: ServiceTable, index: number): boolean {
    if (index >= other.length) return true;
    const start = this.#at(index) >>> 2;
    const mine = this.#words;
    const theirs = other.#words;
    for (let word = start; word < start + SETTINGS_WORDS; word++) {
      if (mine[word] !== theirs[word]) return true;
    }
    return false;
  }

  /** Whether entry `index` is the same service in `other`: adding and removing services shifts the rest. */
  sameIdentity(other: ServiceTable, index: number): boolean {
    if (index >= other.length) return false;
    const start = this.#at(index) >>> 2;
    for (let word = start; word < start + IDENTITY_WORDS; word++) {
      if (this.#words[word] !== other.#words[word]) return false;
    }
    return true;
  }

  /** The number of {@linkcode serviceNumber}; -1 with a firewall mark, or for a protocol that we have no word for. */
  number(index: number): number {
    const at = this.#at(index);
    const protocol = PROTOCOL_CODE[this.#view.getUint16(at, true)];
    if (protocol === undefined || this.#view.getUint32(at + 12, true) !== 0) return -1;
    return pack(protocol, this.#view.getUint32(at + 4, false), this.#view.getUint16(at + 8, false));
  }

  /** Whether the settings of entry `index` are those of `service`; its identity is not looked at. */
  matches(index: number, service: IpvsService): boolean {
    const at = this.#at(index);
    const view = this.#view;
    const name = service.scheduler;
    for (let i = 0; i < name.length; i++) {
      if (this.#bytes[at + 16 + i] !== name.charCodeAt(i)) return false;
    }
    const flags = view.getUint32(at + 32, true);
    return this.#bytes[at + 16 + name.length] === 0 &&
      (flags & SVC_F_SCHEDULER) === service.schedulerFlags &&
      ((flags & SVC_F_PERSISTENT) === 0
        ? service.persistence === 0
        : service.persistence === view.getUint32(at + 36, true) &&
          view.getUint32(at + 40, true) === 0xffffffff);
  }

  /** The service; undefined for a protocol that we have no word for. */
  item(index: number): IpvsService | undefined {
    const at = this.#at(index);
    const view = this.#view;
    const fwmark = view.getUint32(at + 12, true);
    return serviceItem({
      family: 4,
      protocol: view.getUint16(at, true),
      address: fwmark === 0 ? readAddress(this.#bytes, at + 4, 4) : "",
      port: view.getUint16(at + 8, false),
      fwmark,
      scheduler: text(this.#bytes, at + 16, 16),
      flags: view.getUint32(at + 32, true),
      timeout: view.getUint32(at + 36, true),
      netmask: view.getUint32(at + 40, true),
    });
  }

  #at(index: number): number {
    return SERVICE_HEADER + index * SERVICE_SIZE;
  }
}

function text(bytes: Uint8Array, start: number, length: number): string {
  let result = "";
  for (let i = start; i < start + length; i++) {
    const c = bytes[i] ?? 0;
    if (c === 0) break;
    result += String.fromCharCode(c);
  }
  return result;
}

/** A socket for getsockopt on IPVS, in one network namespace. */
export class IpvsSockopt {
  readonly #fd: number;
  readonly #info = new Uint8Array(new ArrayBuffer(12));
  readonly #length = new Uint8Array(new ArrayBuffer(4));
  readonly #lengthView = new DataView(this.#length.buffer);
  #destinations = new Uint8Array(new ArrayBuffer(DESTINATION_HEADER + 64 * DESTINATION_SIZE));
  #destinationsView = new DataView(this.#destinations.buffer);

  constructor(namespace?: number | string) {
    const open = () => libc().socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    this.#fd = namespace === undefined ? open() : inNetworkNamespace(namespace, open);
    if (this.#fd < 0) throwErrno("open a socket for IPVS");
  }

  close(): void {
    closeFile(this.#fd);
  }

  /** How many IPv4 services there are. Linux counts no others here. */
  serviceCount(): number {
    this.#get("read the IPVS summary", IP_VS_SO_GET_INFO, this.#info);
    return new DataView(this.#info.buffer).getUint32(8, true);
  }

  /** Reads all IPv4 services into `table`. */
  services(table: ServiceTable): void {
    for (let attempt = 0;; attempt++) {
      const buffer = table.prepare(this.serviceCount());
      // EINVAL: the number changed between the two calls.
      const code = this.#try(IP_VS_SO_GET_SERVICES, buffer);
      if (code === 0) return table.received();
      if (code !== errno.EINVAL || attempt === 3) {
        throw kernelError("list ipvs services", { errno: code });
      }
    }
  }

  /**
   * The destinations of an IPv4 service, in Linux's order; undefined when Linux has no such service.
   *
   * @param expected how many there should be; more are found as well, by a second call
   */
  destinations(service: IpvsServiceId, expected: number): IpvsDestination[] | undefined {
    // One more than expected, so that an unset last entry proves that the list is whole.
    for (let room = expected + 1;; room = room * 2 + 8) {
      const size = DESTINATION_HEADER + room * DESTINATION_SIZE;
      if (this.#destinations.length < size) {
        this.#destinations = new Uint8Array(new ArrayBuffer(size * 2));
        this.#destinationsView = new DataView(this.#destinations.buffer);
      }
      const bytes = this.#destinations;
      const view = this.#destinationsView;
      bytes.fill(0, 0, size);
      view.setUint16(0, service.fwmark === 0 ? protocolNumber(service.protocol) : 0, true);
      if (service.fwmark === 0) writeAddress(bytes, 4, service.address);
      view.setUint16(8, service.port, false);
      view.setUint32(12, service.fwmark, true);
      view.setUint32(16, room, true);
      const code = this.#try(IP_VS_SO_GET_DESTS, bytes, size);
      if (code === errno.ESRCH) return undefined;
      if (code !== 0) {
        throw kernelError("list ipvs destinations", { errno: code }, { object: service.key });
      }
      const result: IpvsDestination[] = [];
      let at = DESTINATION_HEADER;
      // Linux does not say how many it wrote; no destination has the address 0.0.0.0.
      for (; at < size && view.getUint32(at, true) !== 0; at += DESTINATION_SIZE) {
        result.push({
          service,
          address: readAddress(bytes, at, 4),
          port: view.getUint16(at + 4, false),
          weight: view.getInt32(at + 12, true),
          method: ipvsMethod(view.getUint32(at + 8, true)),
        });
      }
      if (at < size) return result;
    }
  }

  #get(op: string, option: number, buffer: Uint8Array): void {
    const code = this.#try(option, buffer);
    if (code !== 0) throw kernelError(op, { errno: code });
  }

  /** 0 or the error number. */
  #try(option: number, buffer: Uint8Array, size = buffer.length): number {
    this.#lengthView.setUint32(0, size, true);
    const result = libc().getsockopt(this.#fd, IPPROTO_IP, option, buffer, this.#length);
    return result === 0 ? 0 : lastErrno();
  }
}
