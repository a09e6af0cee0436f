/** What we offer, what a peer's OPEN must be like, and what both make of each other (RFC 4271 section 6.2). */

import type { Family } from "../../../../kernel/ip.ts";
import type { GracefulRestartOptions } from "../types.ts";
import { Writer } from "../wire/bytes.ts";
import { CapabilityCode, ErrorCode, UNICAST } from "../wire/constants.ts";
import { BgpError } from "../wire/error.ts";
import type { GracefulRestart, Open } from "../wire/open.ts";

/** What a session needs to know of us and of the peer. */
export interface SessionConfig {
  readonly localAs: number;
  readonly routerId: number;
  /** 0: any. */
  readonly peerAs: number;
  readonly holdSeconds: number;
  readonly connectRetrySeconds: number;
  readonly passive: boolean;
  readonly families: readonly Family[];
  readonly gracefulRestart: GracefulRestartOptions | undefined;
  readonly hostname: string | undefined;
}

/** The state of our own restart when an OPEN is sent. */
export interface RestartState {
  readonly restarting: boolean;
  /** Families whose forwarding state survived. */
  readonly forwarding: readonly Family[];
}

export interface Negotiated {
  readonly asn: number;
  readonly routerId: number;
  readonly external: boolean;
  /** 0: neither hold timer nor keepalives. */
  readonly holdSeconds: number;
  readonly keepaliveSeconds: number;
  readonly families: readonly Family[];
  readonly fourOctetAs: boolean;
  readonly extendedMessage: boolean;
  readonly extendedNextHop: boolean;
  readonly routeRefresh: boolean;
  readonly enhancedRefresh: boolean;
  /** What the peer offers, where we do too. */
  readonly gracefulRestart: GracefulRestart | undefined;
  /** Codes. */
  readonly sent: readonly number[];
  readonly received: readonly number[];
}

/** Our OPEN. */
export function ourOpen(config: SessionConfig, restart: RestartState): Open {
  const graceful = config.gracefulRestart;
  const capabilities = {
    families: config.families,
    routeRefresh: true,
    enhancedRefresh: true,
    fourOctetAs: true,
    extendedMessage: true,
    extendedNextHop: config.families.includes(4),
    gracefulRestart: graceful === undefined ? undefined : {
      restarting: restart.restarting,
      notification: false,
      seconds: graceful.restartSeconds,
      families: config.families.map((family) => ({
        family,
        forwarding: restart.forwarding.includes(family),
      })),
    },
    hostname: config.hostname,
  };
  const codes: number[] = [
    CapabilityCode.Multiprotocol,
    CapabilityCode.RouteRefresh,
    ...(capabilities.extendedNextHop ? [CapabilityCode.ExtendedNextHop] : []),
    CapabilityCode.ExtendedMessage,
    ...(graceful === undefined ? [] : [CapabilityCode.GracefulRestart]),
    CapabilityCode.FourOctetAs,
    CapabilityCode.EnhancedRouteRefresh,
    ...(config.hostname === undefined ? [] : [CapabilityCode.Fqdn]),
  ];
  return {
    asn: config.localAs,
    holdSeconds: config.holdSeconds,
    routerId: config.routerId,
    capabilities: { ...capabilities, codes },
  };
}

/**
 * What holds between us and a peer that sent this OPEN.
 *
 * @throws {BgpError} 2/x when it cannot be accepted
 */
export function negotiate(config: SessionConfig, ours: Open, theirs: Open): Negotiated {
  const { asn, routerId, capabilities } = theirs;
  if (asn === 0 || (config.peerAs !== 0 && asn !== config.peerAs)) {
    throw open(2, `The peer is in AS ${asn}, not in ${config.peerAs}`);
  }
  const external = asn !== config.localAs;
  // RFC 6286 section 2.2: within an AS identifiers differ.
  if (routerId === 0) throw open(3, "The peer's router id is 0.0.0.0");
  if (!external && routerId === config.routerId) {
    throw open(3, "The peer has our router id: give every node one of its own");
  }
  if (theirs.holdSeconds === 1 || theirs.holdSeconds === 2) {
    throw open(6, `The peer offers a hold time of ${theirs.holdSeconds} s`);
  }
  // RFC 4760 section 8: without the capability, IPv4 unicast alone.
  const offered = capabilities.families ?? [4];
  const families = config.families.filter((family) => offered.includes(family));
  if (families.length === 0) {
    const data = new Writer();
    for (const family of config.families) {
      data.u8(CapabilityCode.Multiprotocol).u8(4).u16(family === 4 ? 1 : 2).u8(0).u8(UNICAST);
    }
    throw new BgpError(
      `The peer speaks none of our families (IPv${config.families.join(", IPv")})`,
      ErrorCode.OpenMessage,
      7,
      data.take(),
    );
  }
  const holdSeconds = Math.min(ours.holdSeconds, theirs.holdSeconds);
  return {
    asn,
    routerId,
    external,
    holdSeconds,
    keepaliveSeconds: holdSeconds / 3,
    families,
    fourOctetAs: capabilities.fourOctetAs,
    extendedMessage: capabilities.extendedMessage,
    extendedNextHop: capabilities.extendedNextHop && ours.capabilities.extendedNextHop,
    routeRefresh: capabilities.routeRefresh,
    enhancedRefresh: capabilities.enhancedRefresh,
    gracefulRestart: ours.capabilities.gracefulRestart === undefined
      ? undefined
      : capabilities.gracefulRestart,
    sent: ours.capabilities.codes,
    received: capabilities.codes,
  };
}

function open(subcode: number, message: string): BgpError {
  return new BgpError(message, ErrorCode.OpenMessage, subcode);
}
