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
  /** Canonical, IPv4 before IPv6; the object's own list where that is one: there may be 100,000 pods. */
  readonly addresses: readonly string[];
  readonly ports: Pod["spec"]["ports"];
}

/** Phases whose addresses may belong to another pod already. "Completed" is not the API's, kube-router knows it. */
const FINISHED: ReadonlySet<string> = new Set(["Succeeded", "Failed", "Completed"]);

/**
 * A pod as policies see it, or undefined where they do not: without an address, finished, or on the host's network,
 * where its traffic is the node's. Made anew for each call.
 *
 * @param key its key, where somebody has that text already
 */
export function podFacts(pod: Pod, key?: string): PodFacts | undefined {
  const { metadata, spec, status } = pod;
  if (spec.hostNetwork || FINISHED.has(status.phase ?? "")) return undefined;
  const addresses = canonicalAddresses(status.podIPs);
  if (addresses.length === 0) return undefined;
  return new PodView(pod, key ?? podKey(metadata), addresses);
}

/** What it says it reads from the object, which the store keeps anyway. */
class PodView implements PodFacts {
  readonly #pod: Pod;
  readonly key: string;
  readonly addresses: readonly string[];

  constructor(pod: Pod, key: string, addresses: readonly string[]) {
    this.#pod = pod;
    this.key = key;
    this.addresses = addresses;
  }

  get namespace(): string {
    return this.#pod.metadata.namespace;
  }

  get name(): string {
    return this.#pod.metadata.name;
  }

  get node(): string | undefined {
    return this.#pod.spec.nodeName;
  }

  get labels(): Labels {
    return this.#pod.metadata.labels;
  }

  get ports(): Pod["spec"]["ports"] {
    return this.#pod.spec.ports;
  }
}

export function podKey({ namespace, name }: Pod["metadata"]): string {
  return `${namespace}/${name}`;
}

function canonicalAddresses(given: readonly string[]): readonly string[] {
  const [one = "", other = ""] = given;
  const isPlain = given.length === 1 || (given.length === 2 && isIpv4(one) && !isIpv4(other));
  if (isPlain && given.every((ip) => canonicalIp(ip) === ip)) return given;
  const found = [...new Set(given.flatMap((ip) => canonicalIp(ip) ?? []))];
  return [...found.filter(isIpv4), ...found.filter((ip) => !isIpv4(ip))];
}

function isIpv4(address: string): boolean {
  return !address.includes(":");
}

export function familyOf(address: string): Family {
  return isIpv4(address) ? 4 : 6;
}

export function addressesOf(pod: PodFacts, family: Family): readonly string[] {
  return pod.addresses.filter((address) => familyOf(address) === family);
}
