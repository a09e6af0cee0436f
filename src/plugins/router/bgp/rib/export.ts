/** What a peer is told of a path (RFC 4271 sections 5.1 and 9.2, RFC 4456, RFC 1997), or why it is told nothing. */

import type { Family } from "../../../../kernel/ip.ts";
import type { RouteSource } from "../types.ts";
import { type Attributes, NO_BYTES, prependPath } from "../wire/attributes.ts";
import { NO_ADVERTISE, NO_EXPORT, NO_EXPORT_SUBCONFED } from "../wire/communities.ts";
import { DEFAULT_LOCAL_PREF } from "./decision.ts";
import type { CompiledModification, CompiledPolicy, Decision, Route } from "./policy.ts";

/** A peer, as far as what it is told depends on it. Equal ones are told the same. */
export interface ExportTarget {
  readonly external: boolean;
  readonly client: boolean;
  readonly localAs: number;
  readonly clusterId: number;
  readonly policy: CompiledPolicy;
  /** Our addresses, for `next hop self`; by family. */
  readonly self: { readonly 4: Uint8Array | undefined; readonly 6: Uint8Array | undefined };
  /** IPv4 prefixes may have an IPv6 next hop (RFC 8950). */
  readonly extendedNextHop: boolean;
}

/** Where the path comes from. */
export interface ExportSource {
  readonly source: RouteSource;
  readonly client: boolean;
  readonly routerId: number;
}

/** A path that is to be announced: the attributes follow from set, statement and source alone. */
export interface Accepted {
  readonly decision: Decision;
}

/** Whether the path is announced to the target: by which statement, or one sentence that says why not. */
export function judgeExport(
  route: Route,
  from: ExportSource,
  target: ExportTarget,
): Accepted | string {
  const { attributes } = route;
  if (from.source === "ibgp" && !target.external && !from.client && !target.client) {
    return "learned from an internal peer, and neither is a client of ours (RFC 4456)";
  }
  for (const community of attributes.communities) {
    if (community === NO_ADVERTISE) return "it has the community no-advertise";
    if (target.external && (community === NO_EXPORT || community === NO_EXPORT_SUBCONFED)) {
      return "it has the community no-export";
    }
  }
  const decision = target.policy.decide(route);
  if (!decision.accept) return `rejected by export ${decision.name}`;
  const hop = nextHop(attributes, route.family, from, target, decision.set);
  if (typeof hop === "string") return hop;
  return { decision };
}

/** The attributes as the target gets them. Only for what `judgeExport` accepted. */
export function exportAttributes(
  attributes: Attributes,
  family: Family,
  from: ExportSource,
  target: ExportTarget,
  set: CompiledModification | undefined,
): Attributes {
  const hop = nextHop(attributes, family, from, target, set);
  let result: Attributes = { ...attributes, nextHop: typeof hop === "string" ? NO_BYTES : hop };
  if (target.external) {
    // Our AS first, what the policy prepends before it. MED of others stays within our AS (section 5.1.4).
    result = {
      ...result,
      asPath: prependPath(result.asPath, target.localAs, 1),
      localPref: undefined,
      originatorId: undefined,
      clusterList: [],
      med: from.source === "local" ? result.med : undefined,
    };
  } else if (from.source === "ibgp") {
    result = {
      ...result,
      localPref: result.localPref ?? DEFAULT_LOCAL_PREF,
      originatorId: result.originatorId ?? from.routerId,
      clusterList: [target.clusterId, ...result.clusterList],
    };
  } else result = { ...result, localPref: result.localPref ?? DEFAULT_LOCAL_PREF };
  if (set === undefined) return result;
  const changed = set.apply(result);
  return target.external ? { ...changed, localPref: undefined } : changed;
}

/**
 * Section 5.1.3: towards external peers ourselves, unless the route is our own and names one; within the AS unchanged.
 * A policy has the last word.
 */
function nextHop(
  attributes: Attributes,
  family: Family,
  from: ExportSource,
  target: ExportTarget,
  set: CompiledModification | undefined,
): Uint8Array | string {
  const wanted = set?.nextHop;
  if (wanted !== undefined && wanted !== "self" && fits(wanted, family, target)) return wanted;
  const self = wanted === "self" || attributes.nextHop.length === 0 ||
    (target.external && from.source !== "local");
  if (!self) {
    return fits(attributes.nextHop, family, target)
      ? attributes.nextHop
      : "its next hop is of the other family, and the peer takes none";
  }
  const own = target.self[family];
  if (own !== undefined) return own;
  if (family === 4 && target.extendedNextHop && target.self[6] !== undefined) return target.self[6];
  return `we have no IPv${family} address to be its next hop`;
}

function fits(hop: Uint8Array, family: Family, target: ExportTarget): boolean {
  return hop.length === 4 ? family === 4 : family === 6 || target.extendedNextHop;
}
