/** Which endpoints serve a Service port (EndpointSlice semantics, KEP-0752, KEP-1669, KEP-2433, KEP-3015). */

import { canonicalIp, type Family } from "../../kernel/ip.ts";
import type { EndpointSlice, IpvsProtocol } from "../../kernel/plugin.ts";

/** One address and port to send to. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
  /** The endpoint of the slice that it comes from: its node, pod, conditions and hints. */
  readonly of: EndpointSlice["endpoints"][number];
}

/** Whose endpoints may be used: all, or those of the node that is named. */
export type Scope = "cluster" | { readonly node: string };

/** Where this node is, for topology hints. */
export interface Place {
  readonly node: string;
  /** The node's label `topology.kubernetes.io/zone`; absent where it has none. */
  readonly zone?: string;
}

/** What endpoints are looked for. */
export interface EndpointQuery {
  readonly family: Family;
  /** Port name of the Service; "" where it has none. */
  readonly portName: string;
  /** Protocol of the Service's port: slices of before a change of protocol are not for it. */
  readonly protocol: IpvsProtocol;
  /** Whether the Service publishes addresses that are not ready: only then may a terminating one count as ready. */
  readonly publishNotReady: boolean;
}

export interface EndpointChoice extends EndpointQuery {
  readonly scope: Scope;
  /** Absent: hints are not looked at. */
  readonly place?: Place;
}

/** All endpoints that may serve a port, of both kinds sorted and each once. */
export interface Candidates {
  /** Ready, and not about to end. */
  readonly ready: readonly Endpoint[];
  /** About to end, and still serving. */
  readonly draining: readonly Endpoint[];
}

/** The endpoints of one port and family that {@linkcode select} takes. */
export function chooseEndpoints(
  slices: readonly EndpointSlice[],
  choice: EndpointChoice,
): readonly Endpoint[] {
  return select(findEndpoints(slices, choice), choice.scope, choice.place);
}

/**
 * Finds what may serve a port. Never an endpoint that fails its readiness probe.
 *
 * Slices are merged; an address and port that stands in two of them, as happens while an endpoint moves, counts once.
 * Sorted, so that equal states compare equal.
 */
export function findEndpoints(slices: readonly EndpointSlice[], query: EndpointQuery): Candidates {
  return matchingEndpoints(slices, query, query.publishNotReady ? classifyAll : classify);
}

const NONE: readonly Endpoint[] = [];

/** What becomes of an endpoint. */
type Group = keyof Candidates;

/** The endpoints of a port and family, by group, each sorted and once. */
export function matchingEndpoints(
  slices: readonly EndpointSlice[],
  query: EndpointQuery,
  groupOf: (endpoint: SliceEndpoint) => Group | undefined,
): Candidates {
  const ready: Endpoint[] = [];
  let draining: Endpoint[] | undefined;
  const addressType = query.family === 4 ? "IPv4" : "IPv6";
  for (const slice of slices) {
    if (slice.addressType !== addressType) continue;
    for (const { name, port, protocol } of slice.ports) {
      // A port without a number says "all ports", which no proxy can serve.
      if (name !== query.portName || port === undefined) continue;
      if (protocol.toLowerCase() !== query.protocol) continue;
      for (const endpoint of slice.endpoints) {
        const group = groupOf(endpoint);
        if (group === undefined) continue;
        const address = canonicalEndpoint(endpoint, query.family);
        if (address === undefined) continue;
        (group === "ready" ? ready : draining ??= []).push({ address, port, of: endpoint });
      }
    }
  }
  return { ready: inOrder(ready), draining: draining === undefined ? NONE : inOrder(draining) };
}

/** The address of an endpoint of that family, canonical; undefined where it has none. */
export function canonicalEndpoint(endpoint: SliceEndpoint, family: Family): string | undefined {
  // The addresses of one endpoint are fungible: the first is enough.
  const address = canonicalIp(endpoint.addresses[0] ?? "");
  // An IPv4-mapped IPv6 address is an IPv4 one, which a slice of IPv6 cannot mean.
  return address?.includes(":") === (family === 6) ? address : undefined;
}

/**
 * In the scope, the first non-empty of those that are ready, and those that are about to end and still serve. Hints
 * narrow the ready ones of the cluster; a Local policy goes before them.
 */
export function select(
  { ready, draining }: Candidates,
  scope: Scope,
  place?: Place,
): readonly Endpoint[] {
  if (scope !== "cluster") {
    const local = onNode(ready, scope.node);
    return local.length > 0 ? local : onNode(draining, scope.node);
  }
  if (ready.length === 0) return draining;
  return place === undefined || ready[0]?.of.hints === undefined ? ready : nearest(ready, place);
}

function onNode(endpoints: readonly Endpoint[], node: string): readonly Endpoint[] {
  return endpoints.filter(({ of }) => of.nodeName === node);
}

/**
 * The endpoints that hints give to this node, else those that they give to its zone, else all. Hints count only if
 * every endpoint has them and some name this place: a partial or old set of them would starve a node (KEP-2433).
 */
function nearest(ready: readonly Endpoint[], { node, zone }: Place): readonly Endpoint[] {
  if (ready.every(({ of }) => (of.hints?.forNodes.length ?? 0) > 0)) {
    const here = ready.filter(({ of }) => of.hints?.forNodes.includes(node) === true);
    if (here.length > 0) return here;
  }
  if (zone === undefined) return ready;
  if (!ready.every(({ of }) => (of.hints?.forZones.length ?? 0) > 0)) return ready;
  const near = ready.filter(({ of }) => of.hints?.forZones.includes(zone) === true);
  return near.length > 0 ? near : ready;
}

/** Endpoints up to which they are sorted by insertion: `sort` makes copies. */
const FEW = 32;

/** Sorted in place, each once. Without a key for each: this runs for every endpoint of the cluster. */
function inOrder(endpoints: Endpoint[]): readonly Endpoint[] {
  if (endpoints.length < 2) return endpoints;
  if (endpoints.length > FEW) endpoints.sort(compare);
  else insertInOrder(endpoints);
  return endpoints.some(isRepeated) ? endpoints.filter((...at) => !isRepeated(...at)) : endpoints;
}

function insertInOrder(endpoints: Endpoint[]): void {
  for (let i = 1; i < endpoints.length; i++) {
    const one = endpoints[i] as Endpoint;
    let at = i;
    for (; at > 0 && compare(endpoints[at - 1] as Endpoint, one) > 0; at--) {
      endpoints[at] = endpoints[at - 1] as Endpoint;
    }
    endpoints[at] = one;
  }
}

function compare(a: Endpoint, b: Endpoint): number {
  return a.address < b.address ? -1 : a.address > b.address ? 1 : a.port - b.port;
}

function isRepeated(one: Endpoint, index: number, all: readonly Endpoint[]): boolean {
  const before = all[index - 1];
  return before !== undefined && compare(before, one) === 0;
}

export type SliceEndpoint = EndpointSlice["endpoints"][number];

/** `nil` means true for ready and serving, false for terminating (discovery/v1 field texts). */
function classify({ conditions }: SliceEndpoint): Group | undefined {
  const terminating = conditions.terminating ?? false;
  if ((conditions.ready ?? true) && !terminating) return "ready";
  return terminating && (conditions.serving ?? true) ? "draining" : undefined;
}

/** As `classify`, for a Service that publishes addresses that are not ready. */
function classifyAll(endpoint: SliceEndpoint): Group | undefined {
  return endpoint.conditions.ready ?? true ? "ready" : classify(endpoint);
}
