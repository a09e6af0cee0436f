/** Route messages of rtnetlink (linux/rtnetlink.h `struct rtmsg`): pure writing and reading. */

import type { Family } from "../resource.ts";
import type { NextHop, Route } from "../resources/route.ts";
import { AttributeReader } from "./attribute.ts";
import { readAddress } from "./inet.ts";
import type { MessageReader, MessageWriter } from "./message.ts";
import { AF_INET, AF_INET6 } from "./rtnl.ts";

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

/** Bytes of struct rtmsg. */
const RTMSG = 12;
const RTA_DST = 1;
const RTA_SRC = 2;
const RTA_IIF = 3;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_MULTIPATH = 9;
const RTA_TABLE = 15;
const RTA_VIA = 18;
/** Bytes of struct rtnexthop. */
const RTNEXTHOP = 8;

export const RTPROT_KERNEL = 2;
export const RT_TABLE_LOCAL = 255;
export const RTN_LOCAL = 2;
const RTM_F_CLONED = 0x200;
const RTM_F_FIB_MATCH = 0x2000;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_HOST = 254;
const RT_SCOPE_NOWHERE = 255;

const TYPES: Readonly<Record<Route["type"], number>> = {
  unicast: 1,
  local: RTN_LOCAL,
  blackhole: 6,
  unreachable: 7,
};
const TYPE_NAMES = new Map(Object.entries(TYPES).map(([name, n]) => [n, name as Route["type"]]));

/** A route as Linux describes it: its links by index. */
export interface RouteInfo {
  readonly route: Route;
  readonly protocol: number;
  /** Index of the link of the first next hop; 0: none. */
  readonly index: number;
}

/** What writing needs to know about Linux. */
export interface RouteContext {
  readonly protocol: number;
  /** A delete names the link as well: another link may have the same address. */
  readonly onLink?: boolean;
  /** Index of a link by name, or undefined. */
  index(link: string): number | undefined;
}

/** Splits "10.0.0.0/8"; `undefined` where there is no length. */
export function splitPrefix(text: string): readonly [address: string, length: number] | undefined {
  const slash = text.lastIndexOf("/");
  const length = Number(text.slice(slash + 1));
  return slash < 0 || !Number.isInteger(length) || slash === text.length - 1
    ? undefined
    : [text.slice(0, slash), length];
}

function writeHead(
  w: MessageWriter,
  family: Family,
  length: number,
  rest: {
    readonly table: number;
    readonly protocol: number;
    readonly scope: number;
    readonly type: number;
    readonly flags: number;
    /** Bits of RTA_SRC; 0 without one. */
    readonly sourceLength?: number;
  },
): void {
  w.rawU8(family === 4 ? AF_INET : AF_INET6);
  w.rawU8(length);
  w.rawU8(rest.sourceLength ?? 0);
  w.rawU8(0);
  w.rawU8(rest.table < 256 ? rest.table : 0);
  w.rawU8(rest.protocol);
  w.rawU8(rest.scope);
  w.rawU8(rest.type);
  w.rawU32(rest.flags);
}

/** Writes RTM_NEWROUTE or RTM_DELROUTE. */
export function writeRoute(
  w: MessageWriter,
  type: number,
  flags: number,
  route: Route,
  context: RouteContext,
): void {
  const prefix = splitPrefix(route.destination);
  if (prefix === undefined) {
    w.fail(`"${route.destination}" is no prefix`);
    return;
  }
  const [address, length] = prefix;
  w.begin(type, flags);
  writeHead(w, route.family, length, {
    table: route.table,
    protocol: context.protocol,
    scope: scopeOf(route, type),
    type: TYPES[route.type],
    flags: 0,
  });
  if (length > 0) w.address(RTA_DST, address);
  w.u32(RTA_TABLE, route.table);
  if (route.metric !== 0) w.u32(RTA_PRIORITY, route.metric);
  if (type === RTM_NEWROUTE) {
    if (route.source !== undefined) w.address(RTA_PREFSRC, route.source);
    writeHops(w, route, context);
  } else if (context.onLink === true) writeHops(w, route, context);
  w.end();
}

function scopeOf(route: Route, type: number): number {
  // IPv6 knows no scopes. A delete must not be compared by scope: 255 means any.
  if (route.family === 6) return 0;
  if (type !== RTM_NEWROUTE) return RT_SCOPE_NOWHERE;
  // EINVAL without: `ip` adds it silently.
  if (route.type === "local") return RT_SCOPE_HOST;
  const gateway = route.nextHops.some((hop) => hop.gateway !== undefined);
  return route.type === "unicast" && !gateway ? RT_SCOPE_LINK : 0;
}

function writeHops(w: MessageWriter, route: Route, context: RouteContext): void {
  const [only] = route.nextHops;
  if (only !== undefined && route.nextHops.length === 1) {
    if (only.link !== undefined) w.u32(RTA_OIF, linkIndex(w, only.link, context));
    writeGateway(w, route.family, only);
    return;
  }
  if (route.nextHops.length === 0) return;
  w.nested(RTA_MULTIPATH, () => {
    for (const hop of route.nextHops) {
      const start = w.position;
      w.rawU16(0);
      w.rawU8(0);
      w.rawU8(0);
      w.rawI32(hop.link === undefined ? 0 : linkIndex(w, hop.link, context));
      writeGateway(w, route.family, hop);
      if (!w.overflow) w.view.setUint16(start, w.position - start, true);
    }
  });
}

function linkIndex(w: MessageWriter, name: string, context: RouteContext): number {
  const index = context.index(name);
  if (index === undefined) w.fail(`there is no link "${name}"`);
  return index ?? 0;
}

function writeGateway(w: MessageWriter, family: Family, hop: NextHop): void {
  const gateway = hop.gateway;
  if (gateway === undefined) return;
  if (family === 6 || !gateway.includes(":")) {
    w.address(RTA_GATEWAY, gateway);
    return;
  }
  // IPv4 through an IPv6 neighbour (RFC 8950): struct rtvia is a family and an address.
  const at = w.position;
  w.address(RTA_VIA, gateway);
  if (w.overflow) return;
  // Moves the 16 bytes up by 2 for the family.
  w.reserve(2);
  w.bytes.copyWithin(at + 6, at + 4, at + 20);
  w.view.setUint16(at + 4, AF_INET6, true);
  w.view.setUint16(at, 22, true);
  w.pad();
}

/** What a dump is to hold; absent: no filter. */
export interface RouteFilter {
  readonly family: Family;
  readonly protocol?: number;
  readonly table?: number;
  readonly type?: number;
  /** Index of the outgoing link. */
  readonly index?: number;
}

/** Writes a dump request. With strict checking Linux filters, so that a full feed of another daemon costs no copying. */
export function writeRouteDump(w: MessageWriter, filter: RouteFilter): void {
  w.begin(RTM_GETROUTE);
  writeHead(w, filter.family, 0, {
    table: 0,
    protocol: filter.protocol ?? 0,
    scope: 0,
    type: filter.type ?? 0,
    flags: 0,
  });
  if (filter.table !== undefined) w.u32(RTA_TABLE, filter.table);
  if (filter.index !== undefined) w.u32(RTA_OIF, filter.index);
  w.end();
}

/** From where a packet comes that is to be forwarded: rules and reverse path filters may ask. */
export interface RouteOrigin {
  readonly source: string;
  /** Index of the link that it comes in by. */
  readonly index: number;
}

/** Writes a request for the one route that Linux would take for an address (RTM_F_FIB_MATCH: the route, not the way). */
export function writeRouteLookup(
  w: MessageWriter,
  family: Family,
  address: string,
  origin?: RouteOrigin,
): void {
  w.begin(RTM_GETROUTE);
  writeHead(w, family, family === 4 ? 32 : 128, {
    table: 0,
    protocol: 0,
    scope: 0,
    type: 0,
    flags: RTM_F_FIB_MATCH,
    ...(origin === undefined ? {} : { sourceLength: family === 4 ? 32 : 128 }),
  });
  w.address(RTA_DST, address);
  if (origin !== undefined) {
    w.address(RTA_SRC, origin.source);
    w.u32(RTA_IIF, origin.index);
  }
  w.end();
}

/**
 * Decodes RTM_NEWROUTE and RTM_DELROUTE. Undefined for other messages, for types that we never write (broadcast,
 * multicast, anycast …), for cached routes and for link-local destinations, which are Linux's own.
 */
export function decodeRoute(
  message: MessageReader,
  linkName: (index: number) => string,
): RouteInfo | undefined {
  if (message.type !== RTM_NEWROUTE && message.type !== RTM_DELROUTE) return undefined;
  const af = message.u8(0);
  const type = TYPE_NAMES.get(message.u8(7));
  const cloned = (message.u32(8) & RTM_F_CLONED) !== 0;
  if ((af !== AF_INET && af !== AF_INET6) || type === undefined || cloned) return undefined;
  const family: Family = af === AF_INET ? 4 : 6;
  let table = message.u8(4);
  let address = family === 4 ? "0.0.0.0" : "::";
  let metric = 0;
  let source: string | undefined;
  let gateway: string | undefined;
  let index = 0;
  let hops: readonly RawHop[] | undefined;
  const a = message.attributes(RTMSG);
  while (a.next()) {
    if (a.type === RTA_DST) address = a.address();
    else if (a.type === RTA_TABLE) table = a.u32();
    else if (a.type === RTA_PRIORITY) metric = a.u32();
    else if (a.type === RTA_PREFSRC) source = a.address();
    else if (a.type === RTA_GATEWAY) gateway = a.address();
    else if (a.type === RTA_VIA) gateway = via(a);
    else if (a.type === RTA_OIF) index = a.u32();
    else if (a.type === RTA_MULTIPATH) hops = readHops(a);
  }
  if (a.error !== undefined) return undefined;
  const destination = `${address}/${message.u8(1)}`;
  if (destination.startsWith("fe80:") || destination.startsWith("ff")) return undefined;
  const raw = hops ?? [{ index, ...(gateway === undefined ? {} : { gateway }) }];
  return {
    route: {
      family,
      table,
      type,
      destination,
      metric,
      // Linux gives IPv6 blackholes the loopback link.
      nextHops: type === "blackhole" || type === "unreachable" ? [] : raw.map((hop) => ({
        ...(hop.gateway === undefined ? {} : { gateway: hop.gateway }),
        ...(hop.index === 0 ? {} : { link: linkName(hop.index) }),
      })),
      ...(source === undefined ? {} : { source }),
    },
    protocol: message.u8(5),
    index: raw[0]?.index ?? 0,
  };
}

interface RawHop {
  readonly index: number;
  readonly gateway?: string;
}

function via(a: AttributeReader): string {
  return readAddress(a.bytes, a.start + 2, a.length - 2);
}

/** struct rtnexthop, one after the other, each followed by its attributes. */
function readHops(a: AttributeReader): readonly RawHop[] {
  const hops: RawHop[] = [];
  const end = a.start + a.length;
  for (let at = a.start; at + RTNEXTHOP <= end;) {
    const length = a.view.getUint16(at, true);
    if (length < RTNEXTHOP || at + length > end) {
      a.fail(`Next hop at offset ${at} has length ${length}`);
      break;
    }
    let gateway: string | undefined;
    const inner = new AttributeReader(a.bytes, at + RTNEXTHOP, at + length, a.view);
    while (inner.next()) {
      if (inner.type === RTA_GATEWAY) gateway = inner.address();
      else if (inner.type === RTA_VIA) gateway = via(inner);
    }
    if (inner.error !== undefined) a.fail(inner.error);
    hops.push({
      index: a.view.getInt32(at + 4, true),
      ...(gateway === undefined ? {} : { gateway }),
    });
    at += (length + 3) & ~3;
  }
  return hops;
}
