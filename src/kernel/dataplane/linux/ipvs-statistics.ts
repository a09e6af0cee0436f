/** The whole IPVS table with its counters, for `status` and for people. Costs a dump per service: not for a loop. */

import type { IpvsEntry } from "../dataplane.ts";
import type { IpvsServiceId } from "../resources/ipvs.ts";
import { GENL_HEADER } from "./genl.ts";
import {
  beginIpvs,
  type DestinationEntry,
  IPVS_CMD_GET_INFO,
  type IpvsStatistics,
  type ServiceEntry,
} from "./ipvs-codec.ts";
import {
  dumpDestinations,
  type IpvsConnection,
  type IpvsHandle,
  listServices,
} from "./ipvs-connection.ts";
import {
  compareDestinations,
  compareServices,
  ipvsTableText,
  type IpvsTextEntry,
} from "./ipvs-text.ts";

const IPVS_INFO_ATTR_VERSION = 1;
const IPVS_INFO_ATTR_CONN_TAB_SIZE = 2;

export interface IpvsInfo {
  /** "1.2.1" */
  readonly version: string;
  /** Buckets of the connection table. */
  readonly size: number;
}

export interface IpvsServiceStatistics extends ServiceEntry {
  readonly destinations: readonly DestinationEntry[];
}

/** Version and size of the connection table. @throws {KernelError} */
export function readIpvsInfo(handle: IpvsHandle): IpvsInfo {
  let version = 0, size = 0;
  handle.socket.request("read ipvs information", (w) => {
    beginIpvs(w, handle.familyId, IPVS_CMD_GET_INFO);
    w.end();
  }, (message) => {
    const a = message.attributes(GENL_HEADER);
    while (a.next()) {
      if (a.type === IPVS_INFO_ATTR_VERSION) version = a.u32();
      else if (a.type === IPVS_INFO_ATTR_CONN_TAB_SIZE) size = a.u32();
    }
  });
  return { version: `${version >>> 16}.${version >>> 8 & 0xff}.${version & 0xff}`, size };
}

/**
 * Services with their destinations, all with counters, those of others too.
 *
 * @param only which services, by key; default all
 * @throws {KernelError}
 */
export function readIpvsStatistics(
  connection: IpvsConnection,
  only: (key: string) => boolean = () => true,
): Promise<readonly IpvsServiceStatistics[]> {
  return connection.exclusive(async () => {
    const handle = await connection.ready();
    const services = await listServices(handle, true);
    const result: IpvsServiceStatistics[] = [];
    for (const service of services) {
      if (!only(service.item.id.key)) continue;
      if (result.length % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
      result.push({ ...service, destinations: dumpDestinations(handle, service.item.id, true) });
    }
    return result;
  });
}

/**
 * The table as `ipvsadm -Ln` prints it, cut off after `most` services; `left` of them are missing.
 *
 * @throws {KernelError}
 */
export function readIpvsTable(
  connection: IpvsConnection,
  most: number,
): Promise<{ readonly text: string; readonly left: number }> {
  return connection.exclusive(async () => {
    const handle = await connection.ready();
    const services = (await listServices(handle, true)).toSorted(compareServices);
    const entries: IpvsTextEntry[] = [];
    for (const { item } of services.slice(0, most)) {
      if (entries.length % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
      entries.push({ item, destinations: dumpDestinations(handle, item.id, true) });
    }
    return {
      text: ipvsTableText(readIpvsInfo(handle), entries),
      left: services.length - entries.length,
    };
  });
}

/**
 * The services that are asked for with their destinations, all with counters, in the order of `ipvsadm -Ln`.
 *
 * @throws {KernelError}
 */
export function readIpvsEntries(
  connection: IpvsConnection,
  only: (id: IpvsServiceId) => boolean,
  most = Infinity,
): Promise<{ readonly entries: readonly IpvsEntry[]; readonly left: number }> {
  return connection.exclusive(async () => {
    const handle = await connection.ready();
    const services = (await listServices(handle, true)).filter(({ item }) => only(item.id))
      .toSorted(compareServices);
    const entries: IpvsEntry[] = [];
    for (const { item, statistics } of services.slice(0, most)) {
      if (entries.length % 64 === 63) await new Promise((resolve) => setImmediate(resolve));
      entries.push({
        item,
        counters: statistics,
        destinations: dumpDestinations(handle, item.id, true).toSorted(compareDestinations).map(
          ({ item, active, inactive, statistics }) => ({
            item,
            active,
            inactive,
            counters: statistics,
          }),
        ),
      });
    }
    return { entries, left: services.length - entries.length };
  });
}

/** The counters of all services, without their destinations: one dump, cheap enough for each scrape. */
export function serviceStatistics(
  connection: IpvsConnection,
): Promise<readonly { readonly id: IpvsServiceId; readonly counters: IpvsStatistics }[]> {
  return connection.exclusive(async () => {
    const services = await listServices(await connection.ready(), true);
    return services.map(({ item, statistics }) => ({ id: item.id, counters: statistics }));
  });
}
