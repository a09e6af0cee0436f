/** What the router says to the speaker and reads from it. Data only, so that two configurations can be compared. */

import type { Family } from "../../../kernel/ip.ts";

/** What a speaker is for its whole life; another one of these is another speaker. */
export interface SpeakerOptions {
  /** Our autonomous system, 1 to 4294967294. */
  readonly asn: number;
  /** BGP identifier, a dotted quad that is not 0.0.0.0. */
  readonly routerId: string;
  /** Where connections are taken. None: the speaker only dials. */
  readonly listen: readonly { readonly address: string; readonly port: number }[];
  /** How many paths of one prefix may be used side by side. Default 1. */
  readonly multipath?: number;
  /** Offered to every peer that does not say otherwise. Absent: not offered. */
  readonly gracefulRestart?: GracefulRestartOptions;
  /**
   * The families whose forwarding state survived a restart of this process (RFC 4724 section 4.1). Absent or empty on
   * a first start: then neither the restart bit nor the forwarding bit is ever sent.
   */
  readonly restarting?: readonly Family[];
  /** Told to peers in the FQDN capability. */
  readonly hostname?: string;
}

export interface GracefulRestartOptions {
  /** Seconds for which peers are asked to keep our routes, 1 to 4095. */
  readonly restartSeconds: number;
  /** Seconds for which a restarted speaker waits for End-of-RIB at most, 1 to 65535. */
  readonly deferralSeconds: number;
}

/** One neighbour. Its address is its key. Only what is marked "restarts" ends the session when it changes. */
export interface PeerConfig {
  /** IPv4 or IPv6, link-local with a zone (`fe80::1%eth0`). */
  readonly address: string;
  /** Of the peer, when we dial. Default 179. Restarts. */
  readonly port?: number;
  /** 0: any (that is how kube-router's full mesh peers). Restarts. */
  readonly asn: number;
  /** Address to dial from and to be dialled at. Default: any. Restarts. */
  readonly localAddress?: string;
  /** Default: the family of the address. Restarts. */
  readonly families?: readonly Family[];
  /** Key of TCP MD5 (RFC 2385), 1 to 80 bytes. Restarts. Never logged. */
  readonly password?: string | Uint8Array;
  /** Offered hold time in seconds: 0 (no keepalives) or 3 to 65535. Default 90. Restarts. */
  readonly holdSeconds?: number;
  /** Seconds between attempts to connect. Default 5, times 0.75 to 1. */
  readonly connectRetrySeconds?: number;
  /** Never dial. Restarts. */
  readonly passive?: boolean;
  /** TTL of our packets to an external peer that is several hops away, 2 to 255. Restarts. */
  readonly multihop?: number;
  /** GTSM (RFC 5082): we send TTL 255 and drop what comes from more than so many hops away (1: direct). Restarts. */
  readonly ttlSecurity?: number;
  /** A client of ours (RFC 4456). Restarts. */
  readonly routeReflectorClient?: boolean;
  /** false: not with this peer. Restarts. */
  readonly gracefulRestart?: boolean;
  /** Prefixes a family may have before the session is ended with Cease/1. */
  readonly maxPrefixes?: number;
  /** Default: accept. A change is applied to what is held, without a word to the peer. */
  readonly import?: Policy;
  /** Default: everything to internal peers, only local routes to external ones (RFC 8212). A change sends the difference. */
  readonly export?: Policy;
  /** Our address of each family, where `next hop self` is to be written. Default: our end of the session. */
  readonly nextHop?: { readonly 4?: string; readonly 6?: string };
  readonly bfd?: BfdOptions;
  /** Administratively down; text goes to the peer (RFC 9003). */
  readonly shutdown?: boolean | string;
}

export interface BfdOptions {
  /** Where the peer listens. Default 3784, or 4784 when `multihop` is set. */
  readonly port?: number;
  /** 1 to 255. Default 3. */
  readonly detectMultiplier?: number;
  /** Microseconds. Default 1000000. */
  readonly desiredMinTx?: number;
  /** Microseconds. Default 1000000. */
  readonly requiredMinRx?: number;
}

/** Statements are tried in order, the first that matches decides. */
export interface Policy {
  readonly statements: readonly Statement[];
  readonly default: "accept" | "reject";
}

export interface Statement {
  /** Shown by `why`. */
  readonly name: string;
  /** All that are given must match. */
  readonly match?: Match;
  readonly action: "accept" | "reject";
  readonly set?: Modification;
}

export interface Match {
  readonly family?: Family;
  /** Any of these. An empty list matches nothing. */
  readonly prefixes?: readonly PrefixMatch[];
  /**
   * The class that our own route to the prefix was given, any of these: on export that route itself, on import one that we have
   * beside what is learned.
   */
  readonly classes?: readonly string[];
  readonly source?: readonly RouteSource[];
  /** Any of these, as `65000:1`, `65000:1:2` or a well-known name. */
  readonly communities?: readonly string[];
}

/** A prefix and its lengths: exactly this one, unless `max` (and `min`) say more. */
export interface PrefixMatch {
  readonly prefix: string;
  readonly min?: number;
  readonly max?: number;
}

export interface Modification {
  readonly prepend?: { readonly asn: number; readonly count: number };
  /** Added; communities as `65000:1`, a number, or a well-known name. */
  readonly communities?: readonly string[];
  readonly largeCommunities?: readonly string[];
  /** "self", or an address that is used for routes of its own family. */
  readonly nextHop?: string;
  readonly localPref?: number;
  readonly med?: number;
}

export type RouteSource = "local" | "ibgp" | "ebgp";

/** A route of our own. */
export interface LocalRoute {
  /** Canonical CIDR. */
  readonly prefix: string;
  /** Of the prefix's family, or IPv6 for an IPv4 prefix with extended next hop. Absent: "self" to every peer. */
  readonly nextHop?: string;
  /** What policies match by: "pod", "vip". */
  readonly class?: string;
  readonly origin?: Origin;
  readonly med?: number;
  readonly localPref?: number;
  readonly communities?: readonly string[];
  readonly largeCommunities?: readonly string[];
}

export type Origin = "igp" | "egp" | "incomplete";

/** RFC 4271 section 8.2.2. */
export type SessionState =
  | "Idle"
  | "Connect"
  | "Active"
  | "OpenSent"
  | "OpenConfirm"
  | "Established";

/** A path as a person reads it. */
export interface PathView {
  readonly prefix: string;
  readonly nextHop: string | undefined;
  /** Second address of an IPv6 next hop (RFC 2545 section 3). */
  readonly linkLocal: string | undefined;
  /** As `65001 65002 {65003,65004}`; empty for our own. */
  readonly asPath: string;
  readonly origin: Origin;
  readonly med: number | undefined;
  readonly localPref: number | undefined;
  readonly communities: readonly string[];
  readonly largeCommunities: readonly string[];
  readonly originatorId: string | undefined;
  readonly clusterList: readonly string[];
  readonly atomicAggregate: boolean;
  readonly aggregator: string | undefined;
  /** Address of the peer it came from, or goes to; absent for our own. */
  readonly peer: string | undefined;
  readonly source: RouteSource;
  /** Class of a local route. */
  readonly class: string | undefined;
  /** The peer restarts, or refreshes, and has not confirmed it. */
  readonly stale: boolean;
  /** Milliseconds of the driver's clock when it was learned or changed. */
  readonly since: number;
  readonly best: boolean;
  /** Used beside the best. */
  readonly multipath: boolean;
  /** Why it is not used; absent: it is a candidate. */
  readonly rejected: string | undefined;
}

/** What a route of Linux needs of a path: with a full feed there are half a million of them. */
export type UsedPath = Pick<PathView, "nextHop" | "linkLocal" | "source">;

/** A prefix whose use changed: `paths` are all to be used now, best first; none: it is gone. */
export interface BestChange {
  readonly prefix: string;
  readonly family: Family;
  readonly paths: readonly UsedPath[];
}

export interface FamilyCounters {
  /** In the Adj-RIB-In. */
  readonly received: number;
  /** Of these, those that import accepted. */
  readonly accepted: number;
  readonly advertised: number;
  /** In the Adj-RIB-In, waiting to be confirmed after a restart of the peer. */
  readonly stale: number;
  /** End-of-RIB came. */
  readonly endOfRib: boolean;
}

export interface MessageCounters {
  readonly open: number;
  readonly update: number;
  readonly notification: number;
  readonly keepalive: number;
  readonly refresh: number;
}

export interface NeighborView {
  readonly address: string;
  readonly configuredAsn: number;
  /** 0 until an OPEN came. */
  readonly asn: number;
  readonly routerId: string | undefined;
  readonly type: "internal" | "external";
  readonly state: SessionState;
  /** Clock of the driver when the state was entered. */
  readonly since: number;
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  readonly remotePort: number | undefined;
  /** Negotiated, in seconds. */
  readonly holdSeconds: number | undefined;
  readonly keepaliveSeconds: number | undefined;
  readonly families: readonly Family[];
  /** Names of capabilities. */
  readonly capabilities: { readonly sent: readonly string[]; readonly received: readonly string[] };
  readonly received: MessageCounters;
  readonly sent: MessageCounters;
  /** Times that it was Established. */
  readonly established: number;
  /** Times that it fell from Established. */
  readonly flaps: number;
  /** Of the last end, or of the last attempt: one sentence. */
  readonly lastError: string | undefined;
  readonly lastErrorAt: number | undefined;
  /** The last NOTIFICATION that was sent or received, with its reason. */
  readonly lastNotification: string | undefined;
  /** What the peer restarts for: seconds left, or absent. */
  readonly restartingUntil: number | undefined;
  readonly bfd: "down" | "init" | "up" | "admin-down" | undefined;
  readonly prefixes: { readonly 4: FamilyCounters; readonly 6: FamilyCounters };
}

/** Why a prefix is, or is not, used and advertised. */
export interface WhyView {
  readonly prefix: string;
  /** The longest known prefix that covers it, where it is unknown itself. */
  readonly covering: string | undefined;
  /** Best first, with what decided against each of the others. */
  readonly paths: readonly (PathView & { readonly lost: string | undefined })[];
  readonly peers: readonly {
    readonly peer: string;
    readonly advertised: boolean;
    /** One sentence: by which statement, or what stands against it. */
    readonly reason: string;
  }[];
}

/** What happened, for log and metrics. Never holds a password. */
export interface SpeakerEvent {
  readonly level: "debug" | "info" | "warn";
  readonly peer: string | undefined;
  readonly message: string;
  readonly fields?: Readonly<Record<string, string | number | boolean>>;
}
