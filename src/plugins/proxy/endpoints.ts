/** Which endpoints serve a Service port (EndpointSlice semantics, KEP-0752 and KEP-1669). */

import { canonicalIp, type Family } from "../../kernel/ip.ts";
import type { EndpointSlice } from "../../kernel/plugin.ts";

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
  const ready = new Map<string, Endpoint>();
  const draining = new Map<string, Endpoint>();
  for (const slice of slices) {
    if (slice.addressType !== (choice.family === 4 ? "IPv4" : "IPv6")) continue;
    const ports = portNumbers(slice, choice.portName);
    if (ports.length === 0) continue;
    for (const endpoint of slice.endpoints) {
      if (choice.scope !== "cluster" && endpoint.nodeName !== choice.scope.node) continue;
      const group = classify(endpoint, choice.publishNotReady);
      // The addresses of one endpoint are fungible: the first is enough.
      const address = canonicalIp(endpoint.addresses[0] ?? "");
      if (group === undefined || address === undefined) continue;
      for (const port of ports) {
        (group === "ready" ? ready : draining).set(`${address} ${port}`, { address, port });
      }
    }
  }
  const chosen = ready.size > 0 ? ready : draining;
  return [...chosen.keys()].toSorted().map((key) => chosen.get(key) as Endpoint);
}

type SliceEndpoint = EndpointSlice["endpoints"][number];

/** `nil` means true for ready and serving, false for terminating (discovery/v1 field texts). */
function classify(
  { conditions }: SliceEndpoint,
  publishNotReady: boolean,
): "ready" | "draining" | undefined {
  const terminating = conditions.terminating ?? false;
  if ((conditions.ready ?? true) && (!terminating || publishNotReady)) return "ready";
  return terminating && (conditions.serving ?? true) ? "draining" : undefined;
}

/** Numbers of the slice's ports of that name. A port without a number says "all ports", which no proxy can serve. */
function portNumbers(slice: EndpointSlice, name: string): readonly number[] {
  return slice.ports.flatMap((port) =>
    port.name === name && port.port !== undefined ? [port.port] : []
  );
}
