/** Items of Linux state, short to write. */

import {
  type IpvsDestination,
  type IpvsService,
  ipvsServiceId,
  type Link,
} from "../../src/kernel/plugin.ts";
import type { Address } from "../../src/kernel/dataplane/resources/address.ts";
import { tables } from "../../src/kernel/dataplane/resources/mod.ts";
import type { Route } from "../../src/kernel/dataplane/resources/route.ts";
import { type Wish, wish } from "./toy.ts";

export const dummy: Link = { name: "kube-dummy-if", type: "dummy", up: true };

export function vip(address: string, link = dummy.name): Address {
  const family = address.includes(":") ? 6 : 4;
  return { family, address, prefix: family === 4 ? 32 : 128, link };
}

/** A virtual service on "address:port", TCP. */
export function ipvs(at: string, changes: Partial<IpvsService> = {}): IpvsService {
  return { id: idOf(at), scheduler: "rr", schedulerFlags: 0, persistence: 0, ...changes };
}

/** A destination "address:port" of the service at `at`. */
export function destination(
  at: string,
  to: string,
  changes: Partial<IpvsDestination> = {},
): IpvsDestination {
  const [address, port] = split(to);
  return { service: idOf(at), address, port, weight: 1, method: "masq", ...changes };
}

export function route(to: string, changes: Partial<Route> = {}): Route {
  const link = { link: dummy.name };
  return {
    family: 4,
    table: 254,
    type: "unicast",
    destination: to,
    metric: 0,
    nextHops: [link],
    ...changes,
  };
}

/** A service with its destinations, as a unit wants them. */
export function served(at: string, ...to: readonly string[]): readonly Wish[] {
  return [
    wish(tables.ipvsServices, ipvs(at)),
    ...to.map((each) => wish(tables.ipvsDestinations, destination(at, each))),
  ];
}

export const wants = {
  link: (item: Link = dummy) => wish(tables.links, item),
  address: (address: string, link?: string) => wish(tables.addresses, vip(address, link)),
  route: (to: string, changes?: Partial<Route>) => wish(tables.routes, route(to, changes)),
  sysctl: (path: string, value: string) => wish(tables.sysctls, { path, value }),
};

function idOf(at: string) {
  const [address, port] = split(at);
  return ipvsServiceId(4, "tcp", address, port);
}

function split(at: string): readonly [string, number] {
  const colon = at.lastIndexOf(":");
  return [at.slice(0, colon), Number(at.slice(colon + 1))];
}
