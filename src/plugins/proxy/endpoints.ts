/** Which endpoints serve a Service port (EndpointSlice semantics, KEP-0752 and KEP-1669). */

import { canonicalIp, type Family } from "../../kernel/ip.ts";
import type { EndpointSlice, IpvsProtocol } from "../../kernel/plugin.ts";

/** One address and port to send to. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** Whose endpoints may be used: all, or those of the node that is named. */
export type Scope = "cluster" | { readonly node: string };

export interface EndpointChoice {
  readonly family: Family;
  /** Port name of the Service; "" where it has none. */
  readonly portName: string;
  /** Protocol of the Service's port: slices of before a change of protocol are not for it. */
  readonly protocol: IpvsProtocol;
  readonly scope: Scope;
  /** Whether the Service publishes addresses that are not ready: only then may a terminating one count as ready. */
  readonly publishNotReady: boolean;
}

/**
 * The endpoints of one port and family: in the scope, the first non-empty of those that are ready and do not
 * terminate, and those that terminate and still serve. Never one that fails its readiness probe.
 *
 * Slices are merged; an address and port that stands in two of them, as happens while an endpoint moves, counts once.
 * Sorted, so that equal states compare equal.
 */
export function chooseEndpoints(
  slices: readonly EndpointSlice[],
  choice: EndpointChoice,
): readonly Endpoint[] {
  const { ready, draining } = matchingEndpoints(
    slices,
    choice,
    (endpoint) => classify(endpoint, choice.publishNotReady),
  );
  return ready.length > 0 ? ready : draining;
}

/** What becomes of an endpoint. */
type Group = "ready" | "draining";

/** The endpoints of a port, family and scope, by group, each sorted and once. */
export function matchingEndpoints(
  slices: readonly EndpointSlice[],
  choice: EndpointChoice,
  groupOf: (endpoint: SliceEndpoint) => Group | undefined,
): Readonly<Record<Group, readonly Endpoint[]>> {
  const ready: Endpoint[] = [];
  const draining: Endpoint[] = [];
  const addressType = choice.family === 4 ? "IPv4" : "IPv6";
  for (const slice of slices) {
    if (slice.addressType !== addressType) continue;
    for (const { name, port, protocol } of slice.ports) {
      // A port without a number says "all ports", which no proxy can serve.
      if (name !== choice.portName || port === undefined) continue;
      if (protocol.toLowerCase() !== choice.protocol) continue;
      for (const endpoint of slice.endpoints) {
        if (choice.scope !== "cluster" && endpoint.nodeName !== choice.scope.node) continue;
        const group = groupOf(endpoint);
        if (group === undefined) continue;
        // The addresses of one endpoint are fungible: the first is enough.
        const address = canonicalIp(endpoint.addresses[0] ?? "");
        // An IPv4-mapped IPv6 address is an IPv4 one, which a slice of IPv6 cannot mean.
        if (address === undefined || address.includes(":") !== (choice.family === 6)) continue;
        (group === "ready" ? ready : draining).push({ address, port });
      }
    }
  }
  return { ready: inOrder(ready), draining: inOrder(draining) };
}

/** Sorted in place, each once. Without a key for each: this runs for every endpoint of the cluster. */
function inOrder(endpoints: Endpoint[]): readonly Endpoint[] {
  if (endpoints.length < 2) return endpoints;
  endpoints.sort(compare);
  return endpoints.some(isRepeated) ? endpoints.filter((...at) => !isRepeated(...at)) : endpoints;
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
function classify(
  { conditions }: SliceEndpoint,
  publishNotReady: boolean,
): Group | undefined {
  const terminating = conditions.terminating ?? false;
  if ((conditions.ready ?? true) && (!terminating || publishNotReady)) return "ready";
  return terminating && (conditions.serving ?? true) ? "draining" : undefined;
}
