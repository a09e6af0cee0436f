/** Checks what the router asks for, and says which part of a session hangs on what. */

import { canonicalIp, type Family, ipBytes, ipFamily, ipv4Number } from "../../../kernel/ip.ts";
import type { SessionConfig } from "./session/negotiate.ts";
import type { LocalRoute, PeerConfig, SpeakerOptions } from "./types.ts";
import { type Attributes, EMPTY, NO_BYTES } from "./wire/attributes.ts";
import { parseCommunities, parseLargeCommunities } from "./rib/policy.ts";
import { parsePrefix, type Prefix } from "./wire/prefix.ts";

const ORIGINS = { igp: 0, egp: 1, incomplete: 2 } as const;
const DEFAULT_HOLD_SECONDS = 90;
const DEFAULT_CONNECT_RETRY_SECONDS = 5;
const BGP_PORT = 179;

/** @throws {RangeError} that names the setting, the value and what is allowed */
export function checkOptions(options: SpeakerOptions): void {
  check(isAsn(options.asn), `AS number "${options.asn}" must be from 1 to 4294967294, not 23456`);
  routerIdNumber(options.routerId, "Router id");
  for (const { address, port } of options.listen) {
    check(ipBytes(address) !== undefined, `Listen address "${address}" is no IP address`);
    check(isPort(port), `Listen port "${port}" must be from 1 to 65535`);
  }
  const restart = options.gracefulRestart;
  if (restart === undefined) return;
  check(
    inRange(restart.restartSeconds, 1, 4095),
    `Graceful restart time "${restart.restartSeconds}" must be from 1 to 4095 s`,
  );
  check(
    inRange(restart.deferralSeconds, 1, 65535),
    `Graceful restart deferral time "${restart.deferralSeconds}" must be from 1 to 65535 s`,
  );
}

/** @throws {RangeError} that names the peer, the setting, the value and what is allowed */
export function checkPeer(peer: PeerConfig, localAs: number): void {
  const of = `Peer "${peer.address}"`;
  const family = peerFamily(peer.address);
  check(family !== undefined, `${of} is no IP address`);
  check(
    peer.asn === 0 || isAsn(peer.asn) || peer.asn === localAs,
    `${of} has AS number "${peer.asn}": it must be from 1 to 4294967294, not 23456, or 0 for any`,
  );
  check(peer.port === undefined || isPort(peer.port), `${of} has port "${peer.port}"`);
  if (peer.localAddress !== undefined) {
    check(
      peerFamily(peer.localAddress) === family,
      `${of} has local address "${peer.localAddress}": it must be an address of its family`,
    );
  }
  const hold = peer.holdSeconds ?? DEFAULT_HOLD_SECONDS;
  check(
    hold === 0 || inRange(hold, 3, 65535),
    `${of} has hold time "${hold}": it must be 0 or from 3 to 65535 s`,
  );
  if (peer.password !== undefined) {
    const { length } = passwordBytes(peer.password);
    check(length >= 1 && length <= 80, `${of} has a password of ${length} bytes, not of 1 to 80`);
  }
  for (const name of ["multihop", "ttlSecurity"] as const) {
    const value = peer[name];
    check(
      value === undefined || inRange(value, 1, 255),
      `${of} has ${name} "${value}": it must be from 1 to 255`,
    );
  }
  check(
    peer.multihop === undefined || peer.ttlSecurity === undefined,
    `${of} has both multihop and ttlSecurity: a session has one of them`,
  );
  check(
    peer.families === undefined || peer.families.length > 0,
    `${of} has no address family`,
  );
  for (const of4 of [4, 6] as const) {
    const hop = peer.nextHop?.[of4];
    check(
      hop === undefined || ipFamily(hop) === of4,
      `${of} has IPv${of4} next hop "${hop}", which is none`,
    );
  }
  const bfd = peer.bfd;
  if (bfd === undefined) return;
  check(bfd.port === undefined || isPort(bfd.port), `${of} has BFD port "${bfd.port}"`);
  check(
    inRange(bfd.detectMultiplier ?? 3, 1, 255),
    `${of} has BFD multiplier "${bfd.detectMultiplier}": it must be from 1 to 255`,
  );
  for (const name of ["desiredMinTx", "requiredMinRx"] as const) {
    check(
      inRange(bfd[name] ?? 1, 1, 4294967295),
      `${of} has BFD ${name} "${bfd[name]}": it must be from 1 to 4294967295 µs`,
    );
  }
}

/** Equal for two configurations of a peer that differ in nothing that its session hangs on. */
export function sessionKey(peer: PeerConfig): string {
  return JSON.stringify([
    peer.port ?? BGP_PORT,
    peer.asn,
    peer.localAddress,
    familiesOf(peer),
    peer.password === undefined ? "" : Array.from(passwordBytes(peer.password)),
    peer.holdSeconds ?? DEFAULT_HOLD_SECONDS,
    peer.passive ?? false,
    peer.multihop,
    peer.ttlSecurity,
    peer.routeReflectorClient ?? false,
    peer.gracefulRestart ?? true,
  ]);
}

/** What a session needs of all that is configured. */
export function sessionConfig(
  options: SpeakerOptions,
  self: { readonly asn: number; readonly routerId: number },
  peer: PeerConfig,
): SessionConfig {
  return {
    localAs: self.asn,
    routerId: self.routerId,
    peerAs: peer.asn,
    holdSeconds: peer.holdSeconds ?? DEFAULT_HOLD_SECONDS,
    connectRetrySeconds: peer.connectRetrySeconds ?? DEFAULT_CONNECT_RETRY_SECONDS,
    passive: peer.passive ?? false,
    families: familiesOf(peer),
    gracefulRestart: peer.gracefulRestart === false ? undefined : options.gracefulRestart,
    hostname: options.hostname,
  };
}

export function familiesOf(peer: PeerConfig): readonly Family[] {
  return peer.families ?? [peerFamily(peer.address) ?? 4];
}

/** Without a zone. */
export function peerFamily(address: string): Family | undefined {
  return ipFamily(address.replace(/%.*$/, ""));
}

/** The form under which a peer is known: canonical, the zone as it is. */
export function peerKey(address: string): string {
  const [plain = "", zone] = address.split("%");
  const canonical = canonicalIp(plain) ?? plain;
  return zone === undefined ? canonical : `${canonical}%${zone}`;
}

export function passwordBytes(password: string | Uint8Array): Uint8Array {
  return typeof password === "string" ? new TextEncoder().encode(password) : password;
}

/** @throws {RangeError} that names it */
export function routerIdNumber(text: string, name: string): number {
  const value = ipv4Number(text);
  check(value > 0, `${name} "${text}" must be an IPv4 address that is not 0.0.0.0`);
  return value;
}

export interface CheckedRoute {
  readonly route: LocalRoute;
  readonly prefix: Prefix;
  readonly attributes: Attributes;
  /** Equal for equal attributes. */
  readonly key: string;
}

/** @throws {RangeError} that names the route, the setting, the value and what is allowed */
export function checkRoute(route: LocalRoute): CheckedRoute {
  const of = `Route "${route.prefix}"`;
  const prefix = parsePrefix(route.prefix);
  if (prefix === undefined) throw new RangeError(`${of} is no CIDR`);
  const nextHop = route.nextHop === undefined ? NO_BYTES : ipBytes(route.nextHop);
  if (nextHop === undefined || (prefix.family === 6 && nextHop.length === 4)) {
    throw new RangeError(`${of} has next hop "${route.nextHop}", which is none of its family`);
  }
  return {
    route,
    prefix,
    attributes: {
      ...EMPTY,
      origin: ORIGINS[route.origin ?? "igp"],
      nextHop,
      med: route.med,
      localPref: route.localPref,
      communities: parseCommunities(route.communities ?? [], of),
      largeCommunities: parseLargeCommunities(route.largeCommunities ?? [], of).flat(),
    },
    key: `l${
      JSON.stringify([
        route.nextHop,
        route.origin,
        route.med,
        route.localPref,
        route.communities,
        route.largeCommunities,
      ])
    }`,
  };
}

function isAsn(asn: number): boolean {
  return inRange(asn, 1, 4294967294) && asn !== 23456;
}

function isPort(port: number): boolean {
  return inRange(port, 1, 65535);
}

function inRange(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}

function check(good: boolean, message: string): asserts good {
  if (!good) throw new RangeError(message);
}
