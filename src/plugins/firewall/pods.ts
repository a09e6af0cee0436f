/** What policies see of a pod. */

import { canonicalIp, type Family } from "../../kernel/ip.ts";
import type { Labels, Pod } from "../../kernel/plugin.ts";

export interface PodFacts {
  /** "namespace/name". */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly node: string | undefined;
  readonly labels: Labels;
  /** Canonical, IPv4 before IPv6. */
  readonly addresses: readonly PodAddress[];
  readonly ports: Pod["spec"]["ports"];
}

export interface PodAddress {
  readonly family: Family;
  readonly address: string;
}

/** Phases whose addresses may belong to another pod already. "Completed" is not the API's, kube-router knows it. */
const FINISHED: ReadonlySet<string> = new Set(["Succeeded", "Failed", "Completed"]);

const known = new WeakMap<Pod, PodFacts | null>();

/**
 * A pod as policies see it, or undefined where they do not: without an address, finished, or on the host's network,
 * where its traffic is the node's.
 */
export function podFacts(pod: Pod): PodFacts | undefined {
  const old = known.get(pod);
  if (old !== undefined) return old ?? undefined;
  const made = read(pod);
  known.set(pod, made ?? null);
  return made;
}

function read({ metadata, spec, status }: Pod): PodFacts | undefined {
  if (spec.hostNetwork || FINISHED.has(status.phase ?? "")) return undefined;
  const addresses = [...new Set(status.podIPs.flatMap((ip) => canonicalIp(ip) ?? []))]
    .map((address): PodAddress => ({ family: address.includes(":") ? 6 : 4, address }))
    .toSorted((a, b) => a.family - b.family);
  if (addresses.length === 0) return undefined;
  return {
    key: `${metadata.namespace}/${metadata.name}`,
    namespace: metadata.namespace,
    name: metadata.name,
    node: spec.nodeName,
    labels: metadata.labels,
    addresses,
    ports: spec.ports,
  };
}

export function addressesOf(pod: PodFacts, family: Family): readonly string[] {
  return pod.addresses.flatMap((one) => one.family === family ? [one.address] : []);
}
