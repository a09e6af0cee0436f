/** The IPVS table as `ipvsadm -Ln` (1.31) prints it, column for column, for hosts without ipvsadm. */

import type { IpvsDestination, IpvsService, IpvsServiceId } from "../resources/ipvs.ts";
import { protocolNumber } from "./ipvs-codec.ts";
import { writeAddress } from "./inet.ts";
import type { IpvsInfo } from "./ipvs-statistics.ts";

/** What a line needs of a service and its destinations. */
export interface IpvsTextEntry {
  readonly item: IpvsService;
  readonly destinations: readonly {
    readonly item: IpvsDestination;
    readonly active: number;
    readonly inactive: number;
  }[];
}

const FORWARD = { masq: "Masq", tunnel: "Tunnel", route: "Route" } as const;

/** Ends with a line feed. Order: as ipvsadm sorts, addresses before firewall marks, IPv4 before IPv6. */
export function ipvsTableText(info: IpvsInfo, entries: readonly IpvsTextEntry[]): string {
  const lines = [
    `IP Virtual Server version ${info.version} (size=${info.size})`,
    "Prot LocalAddress:Port Scheduler Flags",
    "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
  ];
  for (const { item, destinations } of entries.toSorted(compareServices)) {
    lines.push(serviceLine(item));
    for (const each of destinations.toSorted(compareDestinations)) {
      const name = hostPort(each.item.address, each.item.port).padEnd(28);
      const forward = FORWARD[each.item.method].padEnd(7);
      const weight = `${each.item.weight}`.padEnd(6);
      const active = `${each.active}`.padEnd(10);
      lines.push(`  -> ${name} ${forward} ${weight} ${active} ${`${each.inactive}`.padEnd(10)}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function serviceLine(service: IpvsService): string {
  const { id, scheduler } = service;
  const name = id.fwmark === 0
    ? `${id.protocol.toUpperCase().padEnd(4)} ${hostPort(id.address, id.port)}`
    : `FWM  ${id.fwmark}${id.family === 6 ? " IPv6" : ""}`;
  // A service of another with a mask that groups clients: its time-out is not in the item.
  const persistent = service.persistence === 0
    ? ""
    : ` persistent ${service.persistence < 0 ? "(with a mask)" : service.persistence}`;
  return `${name} ${scheduler}${schedulerFlags(service)}${persistent}`;
}

/** Scheduler flags by name: the bits mean something for "sh" and "mh" only. */
function schedulerFlags({ scheduler, schedulerFlags: flags }: IpvsService): string {
  const hash = scheduler === "sh" || scheduler === "mh";
  const names = [
    hash ? `${scheduler}-fallback` : "flag-1",
    hash ? `${scheduler}-port` : "flag-2",
    "flag-3",
  ].filter((_, bit) => (flags & 0x08 << bit) !== 0);
  return names.length === 0 ? "" : ` (${names.join(",")})`;
}

function hostPort(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** The order of ipvsadm. */
export function compareServices(
  a: Pick<IpvsTextEntry, "item">,
  b: Pick<IpvsTextEntry, "item">,
): number {
  const x: IpvsServiceId = a.item.id;
  const y: IpvsServiceId = b.item.id;
  return x.fwmark - y.fwmark || x.family - y.family ||
    protocolNumber(x.protocol) - protocolNumber(y.protocol) ||
    compareAddresses(x.address, y.address) || x.port - y.port;
}

/** The order of ipvsadm. */
export function compareDestinations(
  a: IpvsTextEntry["destinations"][number],
  b: IpvsTextEntry["destinations"][number],
): number {
  return compareAddresses(a.item.address, b.item.address) || a.item.port - b.item.port;
}

function compareAddresses(a: string, b: string): number {
  const [x, y] = [new Uint8Array(16), new Uint8Array(16)];
  const difference = writeAddress(x, 0, a) - writeAddress(y, 0, b);
  return difference !== 0 ? difference : Buffer.compare(x, y);
}
