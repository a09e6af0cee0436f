/** What people and metrics see of the core. Text and objects are made here, at the edge, and nowhere inside. */

import { type Family, formatIp, ipFamily, ipv4Text } from "../../../kernel/ip.ts";
import { familiesOf } from "./config.ts";
import type { Core } from "./core.ts";
import { told } from "./flush.ts";
import { FAMILIES, judgeImport, type Peer, refuseSet } from "./peer.ts";
import type { AttributeSet } from "./rib/attributes.ts";
import { type Candidate, decide, whyLost } from "./rib/decision.ts";
import { LOCAL } from "./rib/rib.ts";
import type {
  BestChange,
  FamilyCounters,
  NeighborView,
  Origin,
  PathView,
  RouteSource,
  UsedPath,
  WhyView,
} from "./types.ts";
import { type Attributes, NO_BYTES, pathText } from "./wire/attributes.ts";
import { communityText, largeCommunityTexts } from "./wire/communities.ts";
import { capabilityName } from "./wire/constants.ts";
import { parsePrefix, prefixText } from "./wire/prefix.ts";

const ORIGINS: readonly Origin[] = ["igp", "egp", "incomplete"];

type AttributeView = Pick<
  PathView,
  | "nextHop"
  | "linkLocal"
  | "asPath"
  | "origin"
  | "med"
  | "localPref"
  | "communities"
  | "largeCommunities"
  | "originatorId"
  | "clusterList"
  | "atomicAggregate"
  | "aggregator"
>;

function attributeView(attributes: Attributes): AttributeView {
  const { nextHop, aggregator } = attributes;
  return {
    ...hopView(nextHop),
    asPath: pathText(attributes.asPath),
    origin: ORIGINS[attributes.origin] ?? "incomplete",
    med: attributes.med,
    localPref: attributes.localPref,
    communities: attributes.communities.map(communityText),
    largeCommunities: largeCommunityTexts(attributes.largeCommunities),
    originatorId: attributes.originatorId === undefined
      ? undefined
      : ipv4Text(attributes.originatorId),
    clusterList: attributes.clusterList.map(ipv4Text),
    atomicAggregate: attributes.atomicAggregate,
    aggregator: aggregator === undefined
      ? undefined
      : `${aggregator.asn} ${ipv4Text(aggregator.address)}`,
  };
}

/** Of a row of the Adj-RIB-In; of the Loc-RIB with `used`. */
export function pathView(core: Core, family: Family, row: number, used: boolean): PathView {
  const rib = core.ribs[family];
  const id = rib.prefixOf(row);
  const index = rib.peerOf(row);
  const peer = core.peerAt(index);
  const set = (used ? rib.usedOf(row) : undefined) ?? rib.receivedOf(row);
  const inUse = rib.inUse(id);
  if (set === undefined) throw new RangeError(`Row ${row} holds no path`);
  return {
    prefix: rib.prefixes.text(id),
    ...attributeView(set),
    peer: peer?.address,
    source: peer?.origin.source ?? "local",
    class: index === LOCAL ? core.classes[family].get(id) : undefined,
    stale: rib.isStale(row),
    since: rib.sinceOf(row) * 1000,
    best: rib.best(id) === row,
    multipath: inUse.length > 1 && inUse.includes(row),
    rejected: rib.usedOf(row) === undefined && peer !== undefined
      ? whyRejected(core, family, id, peer, set)
      : undefined,
  };
}

function whyRejected(
  core: Core,
  family: Family,
  id: number,
  peer: Peer,
  set: AttributeSet,
): string {
  const { prefixes } = core.ribs[family];
  const judged = refuseSet(peer, set, core.self) ?? judgeImport(
    peer,
    {
      family,
      words: prefixes.words,
      at: id * (family === 4 ? 1 : 4),
      length: prefixes.lengths[id] ?? 0,
      source: peer.origin.source,
      class: core.classes[family].get(id),
      attributes: set,
    },
    set,
    core.attributes,
  );
  return typeof judged === "string" ? judged : "rejected by import";
}

export function bestChange(core: Core, family: Family, id: number): BestChange {
  const rib = core.ribs[family];
  return {
    prefix: rib.prefixes.text(id),
    family,
    paths: rib.inUse(id).map((row) => usedPath(core, family, row)),
  };
}

/** Equal ones are one object: next hops are few. */
const usedPaths = new WeakMap<Uint8Array, Map<RouteSource, UsedPath>>();

function usedPath(core: Core, family: Family, row: number): UsedPath {
  const rib = core.ribs[family];
  const hop = rib.usedOf(row)?.nextHop ?? NO_BYTES;
  const source = core.peerAt(rib.peerOf(row))?.origin.source ?? "local";
  const bySource = usedPaths.get(hop) ?? new Map<RouteSource, UsedPath>();
  usedPaths.set(hop, bySource);
  const path = bySource.get(source) ?? { ...hopView(hop), source };
  bySource.set(source, path);
  return path;
}

function hopView(hop: Uint8Array): Pick<PathView, "nextHop" | "linkLocal"> {
  return {
    nextHop: hop.length === 0 ? undefined : formatIp(hop.subarray(0, 16)),
    linkLocal: hop.length === 32 ? formatIp(hop.subarray(16)) : undefined,
  };
}

/** All that is used now. */
export function* allBest(core: Core): Generator<BestChange, void, undefined> {
  for (const family of FAMILIES) {
    const rib = core.ribs[family];
    for (let id = 0; id < rib.prefixes.limit; id++) {
      if (rib.best(id) > 0) yield bestChange(core, family, id);
    }
  }
}

export function* ribView(
  core: Core,
  which: "in" | "out" | "local",
  only: Peer | undefined,
): Generator<PathView, void, undefined> {
  for (const family of FAMILIES) {
    const rib = core.ribs[family];
    if (which === "out") {
      for (const peer of only === undefined ? core.peers.values() : [only]) {
        yield* adjRibOut(core, family, peer);
      }
      continue;
    }
    for (let id = 0; id < rib.prefixes.limit; id++) {
      for (const row of which === "local" ? rib.inUse(id) : rib.rows(id)) {
        const index = rib.peerOf(row);
        if (which === "in" && (index === LOCAL || (only !== undefined && only.index !== index))) {
          continue;
        }
        yield pathView(core, family, row, which === "local");
      }
    }
  }
}

function* adjRibOut(
  core: Core,
  family: Family,
  peer: Peer,
): Generator<PathView, void, undefined> {
  const rib = core.ribs[family];
  for (let id = 0; id < rib.prefixes.limit; id++) {
    if (!peer.out[family].advertised.has(id)) continue;
    const what = told(core, peer, family, id);
    if (typeof what === "string") continue;
    const row = rib.best(id);
    yield {
      ...pathView(core, family, row, true),
      ...attributeView(what.attributes),
      peer: peer.address,
    };
  }
}

/** @throws {RangeError} when the text is no CIDR and no address */
export function whyView(core: Core, text: string): WhyView {
  const cidr = text.includes("/") ? text : `${text}/${ipFamily(text) === 6 ? 128 : 32}`;
  const prefix = parsePrefix(cidr);
  if (prefix === undefined) throw new RangeError(`"${text}" is no CIDR and no IP address`);
  const { family, words } = prefix;
  const rib = core.ribs[family];
  const known = (length: number): number => {
    const shorter = parsePrefix(`${cidr.split("/")[0]}/${length}`);
    const id = shorter === undefined ? -1 : rib.prefixes.find(shorter.words, 0, length);
    return id >= 0 && rib.rows(id).length > 0 ? id : -1;
  };
  const exact = rib.prefixes.find(words, 0, prefix.length);
  const id = exact >= 0 && rib.rows(exact).length > 0 ? exact : -1;
  let covering: string | undefined;
  for (let length = prefix.length - 1; id < 0 && length >= 0; length--) {
    const shorter = known(length);
    if (shorter < 0) continue;
    covering = rib.prefixes.text(shorter);
    break;
  }
  return {
    prefix: prefixText(family, words, prefix.length),
    covering,
    paths: id < 0 ? [] : whyPaths(core, family, id),
    peers: [...core.peers.values()].filter((peer) => familiesOf(peer.config).includes(family))
      .map((peer) => whyPeer(core, family, id, peer)),
  };
}

function whyPaths(core: Core, family: Family, id: number): WhyView["paths"] {
  const rib = core.ribs[family];
  const inUse = rib.inUse(id);
  const ordered = ranked(rib.candidates(id));
  const winner = ordered[0];
  const rejected = rib.rows(id).filter((row) => !ordered.some((path) => path.row === row));
  return [
    ...ordered.map((path) => ({
      ...pathView(core, family, path.row, true),
      lost: path === winner || winner === undefined || inUse.includes(path.row)
        ? undefined
        : whyLost(winner, path),
    })),
    ...rejected.map((row) => ({ ...pathView(core, family, row, false), lost: undefined })),
  ];
}

/** By taking the best away again and again: MED has no order among all. */
function ranked(candidates: readonly Candidate[]): Candidate[] {
  const left = [...candidates];
  const result: Candidate[] = [];
  while (left.length > 0) {
    const [best] = decide(left, 1);
    if (best === undefined) break;
    result.push(best);
    left.splice(left.indexOf(best), 1);
  }
  return result;
}

function whyPeer(core: Core, family: Family, id: number, peer: Peer): WhyView["peers"][number] {
  const what = id < 0 ? "we have no path to it" : told(core, peer, family, id);
  const advertised = id >= 0 && peer.out[family].advertised.has(id);
  if (typeof what === "string") return { peer: peer.address, advertised, reason: what };
  return {
    peer: peer.address,
    advertised,
    reason: advertised
      ? `accepted by export ${what.by}`
      : peer.blocked
      ? "it waits: the peer does not read"
      : "it is about to be sent",
  };
}

export function neighborViews(core: Core): NeighborView[] {
  const counts = { 4: core.ribs[4].counts(), 6: core.ribs[6].counts() };
  return [...core.peers.values()].map((peer) => {
    const { session, config } = peer;
    const heard = session.heard;
    const family = (of: Family): FamilyCounters => {
      const count = counts[of].get(peer.index);
      return {
        received: count?.received ?? 0,
        accepted: count?.accepted ?? 0,
        stale: count?.stale ?? 0,
        advertised: peer.out[of].advertised.count,
        endOfRib: peer.endOfRib[of],
      };
    };
    return {
      address: peer.address,
      configuredAsn: config.asn,
      asn: heard?.asn ?? 0,
      routerId: heard === undefined ? undefined : ipv4Text(heard.routerId),
      type: peer.origin.source === "ebgp" ? "external" : "internal",
      state: session.state,
      since: session.since,
      localAddress: peer.ends?.localAddress,
      localPort: peer.ends?.localPort,
      remotePort: peer.ends?.remotePort,
      holdSeconds: heard?.holdSeconds,
      keepaliveSeconds: heard?.keepaliveSeconds,
      families: heard?.families ?? familiesOf(config),
      capabilities: {
        sent: (heard?.sent ?? []).map(capabilityName),
        received: (heard?.received ?? []).map(capabilityName),
      },
      received: { ...session.received },
      sent: { ...session.sent },
      established: session.establishedCount,
      flaps: peer.flaps,
      lastError: session.lastError,
      lastErrorAt: session.lastErrorAt,
      lastNotification: session.lastNotification,
      restartingUntil: peer.restartUntil,
      bfd: peer.bfd,
      prefixes: { 4: family(4), 6: family(6) },
    };
  });
}
