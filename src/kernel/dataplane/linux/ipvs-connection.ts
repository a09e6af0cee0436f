/** The way to IPVS in one network namespace: sockets, the family's id, and one user at a time. */

import { KernelError } from "../errors.ts";
import type { IpvsDestination, IpvsServiceId } from "../resources/ipvs.ts";
import { resolveOrLoadFamily } from "./genl.ts";
import {
  beginIpvs,
  type DestinationEntry,
  DestinationWriter,
  IPVS_CMD_GET_DEST,
  IPVS_CMD_GET_SERVICE,
  IPVS_CMD_NEW_DEST,
  IPVS_CMD_NEW_SERVICE,
  IPVS_FAMILY,
  readDestination,
  readService,
  type ServiceEntry,
  ServiceWriter,
  writeServiceQuery,
} from "./ipvs-codec.ts";
import { IpvsSockopt } from "./ipvs-sockopt.ts";
import { MessageWriter } from "./message.ts";
import { NETLINK_GENERIC, NetlinkSocket } from "./socket.ts";
import { ipvsFwmarkId, ipvsServiceId } from "../resources/ipvs.ts";

/** What an open connection offers; got from {@linkcode IpvsConnection.ready}. */
export interface IpvsHandle {
  readonly socket: NetlinkSocket;
  readonly sockopt: IpvsSockopt;
  readonly familyId: number;
}

/** Opens on first use, so that a kernel without IPVS is an error of the first operation and not of the start. */
export class IpvsConnection {
  readonly #namespace: number | string | undefined;
  #handle: IpvsHandle | undefined;
  #opening: Promise<IpvsHandle> | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #pending = 0;
  #closed = false;

  constructor(namespace?: number | string) {
    this.#namespace = namespace;
  }

  /** The handle if it is open already: for the drift check, which opens nothing. */
  get open(): IpvsHandle | undefined {
    return this.#handle;
  }

  /**
   * Opens the connection, or gives the open one.
   *
   * @throws {KernelError} ENOSUPPORT when Linux has no IPVS and the module cannot be loaded
   */
  async ready(): Promise<IpvsHandle> {
    if (this.#handle !== undefined) return this.#handle;
    return await (this.#opening ??= this.#open().finally(() => this.#opening = undefined));
  }

  async #open(): Promise<IpvsHandle> {
    const namespace = this.#namespace;
    const socket = new NetlinkSocket(NETLINK_GENERIC, namespace === undefined ? {} : { namespace });
    try {
      const familyId = await resolveOrLoadFamily(socket, IPVS_FAMILY, "ip_vs");
      if (this.#closed) throw new KernelError("use ipvs", "EBADF", { detail: "it was closed" });
      return this.#handle = { socket, sockopt: new IpvsSockopt(namespace), familyId };
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** Whether exclusive work runs or waits. */
  get busy(): boolean {
    return this.#pending > 0;
  }

  /** Runs `work` when no other work on this connection runs. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    this.#pending++;
    const result = this.#last.then(work).finally(() => this.#pending--);
    // Not its value: the outcomes of 60,000 changes would stay in memory until the next ones.
    this.#last = result.then(() => undefined, () => undefined);
    return result;
  }

  close(): void {
    this.#closed = true;
    this.#handle?.socket.close();
    this.#handle?.sockopt.close();
    this.#handle = undefined;
  }
}

/** All services of the namespace, of both families and firewall marks. @throws {KernelError} */
export async function listServices(
  handle: IpvsHandle,
  statistics = false,
): Promise<readonly ServiceEntry[]> {
  return await handle.socket.dump(
    "list ipvs services",
    (w) => {
      beginIpvs(w, handle.familyId, IPVS_CMD_GET_SERVICE);
      w.end();
    },
    (message) => readService(message, statistics),
  );
}

/** One service by netlink; undefined when Linux has none. @throws {KernelError} */
export function getService(handle: IpvsHandle, id: IpvsServiceId): ServiceEntry | undefined {
  let entry: ServiceEntry | undefined;
  try {
    handle.socket.request(
      "read ipvs service",
      (w) => writeServiceQuery(w, handle.familyId, IPVS_CMD_GET_SERVICE, id),
      (message) => entry ??= readService(message),
      id.key,
    );
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  return entry;
}

function isMissing(error: unknown): boolean {
  return error instanceof KernelError && (error.code === "ESRCH" || error.code === "ENOENT");
}

/** The destinations of a service with their counters, by netlink. A missing service has none. @throws {KernelError} */
export function dumpDestinations(
  handle: IpvsHandle,
  id: IpvsServiceId,
  statistics = false,
): readonly DestinationEntry[] {
  // IPVS never marks a dump as interrupted.
  return handle.socket.dumpOnce(
    "list ipvs destinations",
    (w) => writeServiceQuery(w, handle.familyId, IPVS_CMD_GET_DEST, id),
    (message) => readDestination(message, id, statistics),
  ) ?? [];
}

/**
 * The destinations of a service by the cheapest way: one getsockopt for IPv4, a netlink dump for IPv6.
 *
 * @param expected how many there probably are
 * @throws {KernelError}
 */
export function listDestinations(
  handle: IpvsHandle,
  id: IpvsServiceId,
  expected = 8,
): readonly IpvsDestination[] {
  return id.family === 4
    ? handle.sockopt.destinations(id, expected) ?? []
    : dumpDestinations(handle, id).map((entry) => entry.item);
}

/**
 * Encodes a table without sending it, so that the encoder is compiled before it is first needed: the first 10,000 services
 * of a fresh process would take twice as long. Takes a few ms on ordinary hardware.
 */
export function warmUp(services = 1000, destinations = 5): void {
  const w = new MessageWriter();
  const serviceWriter = new ServiceWriter(1);
  const writer = new DestinationWriter(1);
  for (let i = 0; i < services; i++) {
    const id = i % 64 === 63
      ? ipvsFwmarkId(4, i)
      : ipvsServiceId(4, "tcp", `10.0.${i >> 8}.${i & 255}`, 80);
    const service = { id, scheduler: "rr", schedulerFlags: 0, persistence: 0 };
    if (w.position > w.bytes.length - 2048) w.reset();
    serviceWriter.write(w, IPVS_CMD_NEW_SERVICE, service);
    for (let k = 0; k < destinations; k++) {
      const address = `10.1.${k}.${i & 255}`;
      writer.write(w, IPVS_CMD_NEW_DEST, {
        service: id,
        address,
        port: 80,
        weight: 1,
        method: "masq",
      });
    }
  }
}
