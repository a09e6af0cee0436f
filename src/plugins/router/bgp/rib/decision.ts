/**
 * Phase 2 of the decision process (RFC 4271 section 9.1.2), with RFC 4456 section 9 and RFC 6286.
 *
 * RFC 5004 (prefer the path that is best already) is left out: what is best depends on the paths alone, never on the
 * order in which they came.
 */

import type { RouteSource } from "../types.ts";
import type { AttributeSet } from "./attributes.ts";

/** RFC 4271 section 5.1.5 leaves it open; 100 is what every speaker takes. */
export const DEFAULT_LOCAL_PREF = 100;

/** Of whom a path is. */
export interface Origin {
  readonly source: RouteSource;
  readonly routerId: number;
  /** Of the peer, so that text order is numeric order. */
  readonly rank: string;
}

export interface Candidate {
  readonly row: number;
  readonly set: AttributeSet;
  readonly origin: Origin;
}

/** Why the second of two lost, by the names of the RFC. */
const STEPS = [
  "lower LOCAL_PREF",
  "learned, where the other is local",
  "longer AS_PATH",
  "higher ORIGIN",
  "higher MULTI_EXIT_DISC",
  "internal, where the other is external",
  "higher router identifier",
  "longer CLUSTER_LIST",
  "higher peer address",
] as const;

function localPref({ localPref }: AttributeSet): number {
  return localPref ?? DEFAULT_LOCAL_PREF;
}

/** Steps before MED: negative when `a` is better. */
function compareBeforeMed(a: Candidate, b: Candidate): number {
  return localPref(b.set) - localPref(a.set) ||
    Number(b.origin.source === "local") - Number(a.origin.source === "local") ||
    a.set.pathLength - b.set.pathLength || a.set.origin - b.set.origin;
}

/** Steps after MED that make two paths unequal for multipath as well. */
function compareKind(a: Candidate, b: Candidate): number {
  return Number(a.origin.source === "ibgp") - Number(b.origin.source === "ibgp");
}

function compareTies(a: Candidate, b: Candidate): number {
  return (a.set.originatorId ?? a.origin.routerId) - (b.set.originatorId ?? b.origin.routerId) ||
    a.set.clusterList.length - b.set.clusterList.length ||
    (a.origin.rank < b.origin.rank ? -1 : a.origin.rank > b.origin.rank ? 1 : 0);
}

function compareAfterMed(a: Candidate, b: Candidate): number {
  return compareKind(a, b) || compareTies(a, b);
}

/** Step c compares only paths of one neighbouring AS; no MED counts as the lowest (section 9.1.2.2 c). */
function worseMed(a: Candidate, b: Candidate): boolean {
  return a.set.neighborAs === b.set.neighborAs && (a.set.med ?? 0) > (b.set.med ?? 0);
}

/**
 * The paths to use, best first: the best, and up to `most` - 1 that differ from it in nothing but the ties and have another
 * next hop. None for no candidates.
 */
export function decide(candidates: readonly Candidate[], most: number): readonly Candidate[] {
  const [first, ...others] = candidates;
  if (first === undefined || others.length === 0) return candidates;
  let top: Candidate[] = [first];
  for (const other of others) {
    const order = compareBeforeMed(other, top[0] ?? other);
    if (order < 0) top = [other];
    else if (order === 0) top.push(other);
  }
  if (top.length > 1) {
    top = top.filter((path) => !top.some((other) => worseMed(path, other)));
    top.sort(compareAfterMed);
  }
  const best = top[0];
  if (best === undefined || most <= 1 || best.origin.source === "local") return top.slice(0, 1);
  const used: Candidate[] = [];
  for (const path of top) {
    if (used.length >= most || compareKind(best, path) !== 0) break;
    if (!used.some(({ set }) => sameBytes(set.nextHop, path.set.nextHop))) used.push(path);
  }
  return used;
}

/** What decided against `loser`, as part of a sentence. */
export function whyLost(winner: Candidate, loser: Candidate): string {
  const differences = [
    localPref(winner.set) - localPref(loser.set),
    Number(winner.origin.source === "local") - Number(loser.origin.source === "local"),
    loser.set.pathLength - winner.set.pathLength,
    loser.set.origin - winner.set.origin,
    worseMed(loser, winner) ? 1 : 0,
    compareKind(loser, winner),
    (loser.set.originatorId ?? loser.origin.routerId) -
    (winner.set.originatorId ?? winner.origin.routerId),
    loser.set.clusterList.length - winner.set.clusterList.length,
  ];
  // A path that lost by MED to a third one may be better than the winner by a later step.
  const step = differences.findIndex((difference) => difference !== 0);
  if (step === -1) return STEPS[8];
  return (differences[step] ?? 0) > 0 ? STEPS[step] ?? STEPS[8] : STEPS[4];
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
