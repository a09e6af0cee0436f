/**
 * How endpoints go: connections that they have go on for a while, and no new ones come (weight 0).
 *
 * Without `--ipvs-graceful-termination` a terminating endpoint drains for as long as its slice lists it, as kube-proxy has it; with
 * it, every destination that is no longer wanted drains until it is idle or its pod's grace period is over.
 */

import { canonicalIp } from "../../kernel/ip.ts";
import type {
  EndpointSlice,
  IpvsDestination,
  IpvsProtocol,
  IpvsService,
  IpvsServiceId,
  Pod,
  Retirement,
  Wish,
} from "../../kernel/plugin.ts";
import { type Endpoint, type EndpointChoice, matchingEndpoints } from "./endpoints.ts";

/** IP_VS_SVC_F_SCHED_SH_FALLBACK. */
const SH_FALLBACK = 0x08;

/**
 * Whether a scheduler passes over destinations of weight 0. `dh`, and `sh` without its fall-back, refuse the clients whose
 * hash meets one, so their destinations go at once.
 */
export function passesOverZero(scheduler: string, flags: number): boolean {
  return scheduler !== "dh" && (scheduler !== "sh" || (flags & SH_FALLBACK) !== 0);
}

/** Whether a protocol has connections that can go on. UDP flows must move to another endpoint at once. */
export function hasConnections(protocol: IpvsProtocol): boolean {
  return protocol !== "udp";
}

/** The terminating endpoints that are still listed, whether they serve or not, without those that are `chosen`. */
export function drainingEndpoints(
  slices: readonly EndpointSlice[],
  choice: EndpointChoice,
  chosen: readonly Endpoint[],
): readonly Endpoint[] {
  const found = matchingEndpoints(
    slices,
    choice,
    ({ conditions }) => conditions.terminating === true ? "draining" : undefined,
  ).draining;
  if (found.length === 0) return found;
  const { scope } = choice;
  const inUse = new Set(chosen.map(endpointText));
  return found.filter((endpoint) =>
    (scope === "cluster" || endpoint.of.nodeName === scope.node) &&
    !inUse.has(endpointText(endpoint))
  );
}

function endpointText({ address, port }: Endpoint): string {
  return `${address} ${port}`;
}

export interface DrainContext {
  /** Pods that have this address. */
  readonly podsAt: (address: string) => readonly Pod[];
  /** Where no pod says its own: ms. */
  readonly gracePeriod: number;
  /** What must stay for the VIP to be served. */
  readonly needs: (destination: IpvsDestination) => readonly Wish[];
  /** The protocol behind a firewall mark; undefined where no Service has the mark any more. */
  readonly behind: (service: IpvsServiceId) => IpvsProtocol | undefined;
}

/** How a destination that is no longer wanted is kept, if it is. `service` is what Linux holds. */
export function retirementOf(
  destination: IpvsDestination,
  service: IpvsService | undefined,
  { podsAt, gracePeriod, needs, behind }: DrainContext,
): Retirement | undefined {
  const { fwmark } = destination.service;
  // A mark without its Service: nothing marks packets any more, and no connection could go on.
  const protocol = fwmark === 0 ? destination.service.protocol : behind(destination.service);
  if (protocol === undefined || !hasConnections(protocol)) return undefined;
  if (service === undefined || !passesOverZero(service.scheduler, service.schedulerFlags)) {
    return undefined;
  }
  const seconds = graceSeconds(podsAt(destination.address));
  return {
    ms: seconds === undefined ? gracePeriod : seconds * 1000,
    needs: needs(destination),
  };
}

/** Of the pod that is terminating, else of any that runs: pods on the host's network share its address. */
function graceSeconds(pods: readonly Pod[]): number | undefined {
  const running = pods.filter(({ status }) =>
    status.phase !== "Succeeded" && status.phase !== "Failed"
  );
  const terminating = running.filter(({ metadata }) => metadata.deletionTimestamp !== undefined);
  const asked = (terminating.length > 0 ? terminating : running)
    .flatMap(({ spec }) => spec.terminationGracePeriodSeconds ?? []);
  return asked.length === 0 ? undefined : Math.max(...asked);
}

/** The addresses of a pod, as the index of pods has them. */
export function podAddresses({ status }: Pod): readonly string[] {
  return status.podIPs.flatMap((ip) => canonicalIp(ip) ?? []);
}
