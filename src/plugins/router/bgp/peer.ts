/** A neighbour as the core keeps it: configuration, session, and what of the RIBs is its own. */

import { canonicalIp, type Family, ipBytes } from "../../../kernel/ip.ts";
import type { AttributeSet, AttributeTable } from "./rib/attributes.ts";
import type { Origin } from "./rib/decision.ts";
import type { ExportTarget } from "./rib/export.ts";
import { type CompiledPolicy, compilePolicy, type Route } from "./rib/policy.ts";
import { BitSet } from "./rib/prefixes.ts";
import type { Rib } from "./rib/rib.ts";
import type { Endpoints, Session } from "./session/session.ts";
import type { Negotiated } from "./session/negotiate.ts";
import type { PeerConfig, Policy } from "./types.ts";
import { pathHas } from "./wire/attributes.ts";
import type { UpdateDecoder } from "./wire/update.ts";
import { hex } from "./wire/bytes.ts";
import type { PeerGlance } from "./intake.ts";
import { peerFamily, sessionKey } from "./config.ts";

export const FAMILIES: readonly Family[] = [4, 6];

/** Adj-RIB-Out of one family: what was announced, and what still has to be looked at. */
export class PeerOut {
  readonly advertised = new BitSet();
  /** Prefixes that changed. */
  pending: number[] = [];
  readonly isPending = new BitSet();
  /** While everything is sent: the next prefix to look at. Else -1. */
  cursor = -1;
  endOfRibDue = false;
  /** Our answer to a route refresh ends with EoRR (RFC 7313). */
  refreshEndDue = false;

  get idle(): boolean {
    return this.cursor < 0 && this.pending.length === 0;
  }

  /** Prefixes changed. What comes from the peer itself does not concern it, unless it was told of another path before. */
  markAll(ids: ArrayLike<number>, rib: Rib, self: number): void {
    // A full feed, to the one who sends it.
    if (rib.decidedFrom === self && this.advertised.count === 0) return;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i] ?? 0;
      const best = rib.best(id);
      if (best > 0 && rib.peerOf(best) === self && !this.advertised.has(id)) continue;
      this.mark(id);
    }
  }

  /** A prefix has to be looked at, unless the cursor will come to it. */
  mark(id: number): void {
    if (this.cursor >= 0 && id >= this.cursor) return;
    if (this.isPending.add(id)) this.pending.push(id);
  }

  reset(): void {
    this.advertised.clear();
    this.pending = [];
    this.isPending.clear();
    this.cursor = -1;
    this.endOfRibDue = false;
    this.refreshEndDue = false;
  }
}

export interface Peer {
  /** In the RIBs; 0 is the speaker itself. */
  readonly index: number;
  readonly address: string;
  config: PeerConfig;
  sessionKey: string;
  session: Session;
  origin: Origin;
  import: CompiledPolicy;
  export: CompiledPolicy;
  /** While Established. */
  target: ExportTarget | undefined;
  negotiated: Negotiated | undefined;
  ends: Endpoints | undefined;
  /** Our end, as it would stand in a next hop. */
  ownHop: Uint8Array | undefined;
  decoder: UpdateDecoder<AttributeSet> | undefined;
  /** How its UPDATEs are read at a glance, while Established with IPv4. */
  glance: PeerGlance | undefined;
  readonly out: { readonly 4: PeerOut; readonly 6: PeerOut };
  /** Paths in the Adj-RIB-In. */
  readonly held: { 4: number; 6: number };
  readonly endOfRib: { 4: boolean; 6: boolean };
  readonly stale: { 4: boolean; 6: boolean };
  /** Until then a peer that is gone may come back, and its stale routes stay. */
  restartUntil: number | undefined;
  /** Until then one that is back has to confirm them. */
  staleUntil: number | undefined;
  connection: number | undefined;
  blocked: boolean;
  flaps: number;
  bfd: "down" | "init" | "up" | "admin-down" | undefined;
  /** The address that BFD runs from, once a session told it. */
  bfdLocal: string | undefined;
  /** When something of a sort was last reported. */
  readonly reported: Map<string, number>;
  /** Why there was no session, since it was last Established: what is told already. */
  readonly failures: Set<string>;
}

/** A neighbour that has told nothing yet. @throws {RangeError} that names a policy's value */
export function createPeer(
  index: number,
  address: string,
  config: PeerConfig,
  session: Session,
  localAs: number,
): Peer {
  const external = config.asn !== localAs;
  return {
    index,
    address,
    config,
    sessionKey: sessionKey(config),
    session,
    origin: { source: external ? "ebgp" : "ibgp", routerId: 0, rank: rankOf(address) },
    import: importPolicy(config),
    export: exportPolicy(config, external),
    target: undefined,
    negotiated: undefined,
    ends: undefined,
    ownHop: undefined,
    decoder: undefined,
    glance: undefined,
    out: { 4: new PeerOut(), 6: new PeerOut() },
    held: { 4: 0, 6: 0 },
    endOfRib: { 4: false, 6: false },
    stale: { 4: false, 6: false },
    restartUntil: undefined,
    staleUntil: undefined,
    connection: undefined,
    blocked: false,
    flaps: 0,
    bfd: undefined,
    bfdLocal: undefined,
    reported: new Map(),
    failures: new Set(),
  };
}

const ACCEPT: Policy = { statements: [], default: "accept" };
/** RFC 8212: without a policy nothing that we learned goes to an external peer. */
const OWN_ONLY: Policy = {
  statements: [{ name: "own routes", match: { source: ["local"] }, action: "accept" }],
  default: "reject",
};

/** @throws {RangeError} that names the peer */
export function importPolicy(config: PeerConfig): CompiledPolicy {
  return compiled(config.import ?? ACCEPT, config);
}

/** @throws {RangeError} that names the peer */
export function exportPolicy(config: PeerConfig, external: boolean): CompiledPolicy {
  return compiled(config.export ?? (external ? OWN_ONLY : ACCEPT), config);
}

/** Equal policies are one: a mesh of 500 peers has one list of 10,000 prefixes, not 500. */
const shared = new Map<string, WeakRef<CompiledPolicy>>();
const byObject = new WeakMap<Policy, CompiledPolicy>();

function compiled(policy: Policy, config: PeerConfig): CompiledPolicy {
  const same = byObject.get(policy);
  if (same !== undefined) return same;
  const key = JSON.stringify(policy);
  let result = shared.get(key)?.deref();
  if (result === undefined) {
    try {
      result = compilePolicy(policy);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw new RangeError(`Peer "${config.address}": ${error.message}`);
    }
    if (shared.size > 1000) shared.clear();
    shared.set(key, new WeakRef(result));
  }
  byObject.set(policy, result);
  return result;
}

/** Peers in numeric order of their addresses, as text. */
function rankOf(address: string): string {
  const bytes = ipBytes(address.replace(/%.*$/, "")) ?? new Uint8Array(0);
  return `${bytes.length === 4 ? 4 : 6}${hex(bytes)}`;
}

export interface Self {
  readonly asn: number;
  readonly routerId: number;
  readonly clusterId: number;
}

/** Why a set from this peer can be no candidate, whatever the prefix (RFC 4271 section 9.1.2, RFC 4456 section 8). */
export function refuseSet(peer: Peer, set: AttributeSet, self: Self): string | undefined {
  if (pathHas(set.asPath, self.asn)) return `our AS ${self.asn} is in its AS_PATH`;
  const external = peer.origin.source === "ebgp";
  if (external && peer.negotiated !== undefined && set.neighborAs !== peer.negotiated.asn) {
    return `its AS_PATH does not begin with the peer's AS ${peer.negotiated.asn}`;
  }
  if (set.originatorId === self.routerId) return "we are its originator";
  if (set.clusterList.includes(self.clusterId)) return "our cluster is in its CLUSTER_LIST";
  const own = peer.ownHop;
  if (own !== undefined && startsWith(set.nextHop, own)) return "its next hop is our own address";
  return undefined;
}

/** The ends of a session that stands now, or that there is none. */
export function setEnds(peer: Peer, ends: Endpoints | undefined): void {
  peer.ends = ends;
  peer.ownHop = ends === undefined ? undefined : ipBytes(ends.localAddress.replace(/%.*$/, ""));
}

function startsWith(hop: Uint8Array, address: Uint8Array): boolean {
  if (hop.length !== address.length && hop.length !== 2 * address.length) return false;
  for (let i = 0; i < address.length; i++) if (hop[i] !== address[i]) return false;
  return true;
}

/** What import makes of a route that `refuseSet` let pass: the set to use, or why it is rejected. */
export function judgeImport(
  peer: Peer,
  route: Route,
  set: AttributeSet,
  table: AttributeTable,
): AttributeSet | string {
  if (peer.import.trivial) return peer.import.decide(route).accept ? set : "rejected by default";
  const decision = peer.import.decide(route);
  if (!decision.accept) return `rejected by import ${decision.name}`;
  if (decision.set === undefined) return set;
  const key = `i${decision.set.key}\u0000${table.key(set.id)}`;
  const known = table.get(key);
  if (known !== undefined) return known;
  const changed = decision.set.apply(set);
  const { nextHop } = decision.set;
  const hop = nextHop instanceof Uint8Array && nextHop.length === set.nextHop.length
    ? nextHop
    : set.nextHop;
  return table.add(key, { ...changed, nextHop: hop });
}

/** What decides about export to this peer, once both ends are known. */
export function exportTarget(
  peer: Peer,
  negotiated: Negotiated,
  ends: Endpoints,
  self: Self,
): ExportTarget {
  const own = (family: Family): Uint8Array | undefined => {
    const text = peer.config.nextHop?.[family] ??
      (peerFamily(ends.localAddress) === family ? ends.localAddress : undefined);
    const plain = text === undefined ? undefined : canonicalIp(text.replace(/%.*$/, ""));
    return plain === undefined ? undefined : ipBytes(plain);
  };
  return {
    external: negotiated.external,
    client: peer.config.routeReflectorClient === true && !negotiated.external,
    localAs: self.asn,
    clusterId: self.clusterId,
    policy: peer.export,
    self: { 4: own(4), 6: own(6) },
    extendedNextHop: negotiated.extendedNextHop,
  };
}
