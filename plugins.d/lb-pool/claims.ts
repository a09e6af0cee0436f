/** What a Service asks of the pool. Pure. */

import type { LoadBalancerIngress, Service } from "../../src/kernel/third-party.ts";
import { canonical, type Family, parseAddress, type Range, rangeOf } from "./pool.ts";

export interface Claim {
  /** "namespace/name". */
  readonly key: string;
  /** The older of two goes first: creation time and key. */
  readonly age: string;
  /** One address of each, in this order. */
  readonly families: readonly Family[];
  /** Two families or nothing (RequireDualStack). */
  readonly both: boolean;
  /** Name of the pool that it asks for; "": the ranges without a name. */
  readonly pool: string;
  /** Addresses that it asks for. */
  readonly requested: readonly string[];
  /** Services of one text may have one address, each with other ports; undefined: it shares with nobody. */
  readonly sharing: string | undefined;
  /** "TCP/80". */
  readonly ports: readonly string[];
  /** Addresses in its status. */
  readonly have: readonly string[];
  /** It is being deleted: it keeps what it has. */
  readonly leaving: boolean;
  /** What is wrong with the Service itself, so that it gets nothing new. */
  readonly fault?: string;
}

/** Whose Services are ours, by `spec.loadBalancerClass`. */
export interface ClassRule {
  readonly className: string;
  /** Services without a class are ours too. */
  readonly isDefault: boolean;
}

/** The first that a Service has counts; those of MetalLB are understood, so that its users need not edit Services. */
const ANNOTATIONS = {
  addresses: ["routelet.io/loadBalancerIPs", "metallb.io/loadBalancerIPs"],
  sharing: ["routelet.io/allow-shared-ip", "metallb.io/allow-shared-ip"],
  pool: ["routelet.io/address-pool", "metallb.io/address-pool"],
} as const;

export function isOurs({ spec }: Service, { className, isDefault }: ClassRule): boolean {
  if (spec.type !== "LoadBalancer") return false;
  const given = spec.loadBalancerClass ?? "";
  // "default" is kube-router's word for none.
  return given === className || isDefault && (given === "" || given === "default");
}

/** Objects that have not changed are the same objects, so that one change of many Services costs little. */
const claims = new WeakMap<Service, Claim>();

export function claimOf(service: Service): Claim {
  const claim = claims.get(service) ?? newClaim(service);
  claims.set(service, claim);
  return claim;
}

function newClaim(service: Service): Claim {
  const { metadata, spec } = service;
  const families = familiesOf(service);
  const requested = requestsOf(service);
  const key = keyOf(service);
  return {
    key,
    age: `${metadata.creationTimestamp ?? "9"} ${key}`,
    families,
    both: spec.ipFamilyPolicy === "RequireDualStack" && families.length > 1,
    pool: annotation(service, "pool"),
    requested: requested.addresses,
    sharing: sharingOf(service),
    ports: spec.ports.map(({ protocol, port }) => `${protocol}/${port}`),
    have: addressesOf(service),
    leaving: metadata.deletionTimestamp !== undefined,
    ...(requested.fault === undefined ? {} : { fault: requested.fault }),
  };
}

export function keyOf({ metadata: { namespace, name } }: Service): string {
  return `${namespace}/${name}`;
}

/** The addresses in a Service's status, each once. */
export function addressesOf({ status }: Service): readonly string[] {
  const found = status.loadBalancer.ingress.flatMap(({ ip = "" }) => canonical(ip) ?? []);
  return [...new Set(found)];
}

/** A Service's status with these addresses of the pool, and with what in it is not of the pool. */
export function ingressWith(
  { status }: Service,
  ranges: readonly Range[],
  addresses: readonly string[],
): readonly LoadBalancerIngress[] {
  const { ingress } = status.loadBalancer;
  const kept = ingress.filter(({ ip = "" }) =>
    rangeOf(ranges, ip) === undefined || addresses.includes(canonical(ip) ?? "")
  );
  const there = kept.map(({ ip = "" }) => canonical(ip));
  return [...kept, ...addresses.filter((ip) => !there.includes(ip)).map((ip) => ({ ip }))];
}

/** The API server fills `ipFamilies`; where it is empty, the cluster IPs say the same. */
function familiesOf({ spec }: Service): readonly Family[] {
  const named = spec.ipFamilies.map((name): Family => name === "IPv6" ? 6 : 4);
  const found = named.length > 0
    ? named
    : spec.clusterIPs.flatMap((ip) => parseAddress(ip)?.family ?? []);
  return [...new Set(found)];
}

function requestsOf(
  service: Service,
): { readonly addresses: readonly string[]; readonly fault?: string } {
  const field = service.spec.loadBalancerIP ?? "";
  const given = annotation(service, "addresses");
  const texts = (given || field).split(",").map((text) => text.trim()).filter((text) =>
    text !== ""
  );
  const wrong = texts.find((text) => canonical(text) === undefined);
  if (wrong !== undefined) {
    return { addresses: [], fault: `It asks for "${wrong}", which is no address; correct it` };
  }
  const addresses = texts.map((text) => canonical(text) ?? "");
  if (given !== "" && field !== "" && !addresses.includes(canonical(field) ?? field)) {
    return {
      addresses: [],
      fault:
        `It asks for "${field}" in loadBalancerIP and for "${given}" in its annotation; remove one`,
    };
  }
  const families = addresses.map((text) => parseAddress(text)?.family);
  return new Set(families).size < families.length
    ? { addresses: [], fault: `It asks for two addresses of one family ("${given}"); remove one` }
    : { addresses };
}

/**
 * MetalLB's rule: one sharing key, and either the traffic policy Cluster, or the very same pods. With the policy Local a node
 * announces the address where it has pods, so that the pods of another Service would get nothing on it.
 */
function sharingOf(service: Service): string | undefined {
  const { externalTrafficPolicy, selector = {} } = service.spec;
  const key = annotation(service, "sharing");
  if (key === "") return undefined;
  if (externalTrafficPolicy !== "Local") return JSON.stringify([key]);
  const pods = Object.entries(selector).map(([name, value]) => `${name}=${value}`).toSorted();
  return JSON.stringify([key, "Local", pods]);
}

function annotation({ metadata }: Service, what: keyof typeof ANNOTATIONS): string {
  const name = ANNOTATIONS[what].find((each) => metadata.annotations[each] !== undefined);
  return name === undefined ? "" : metadata.annotations[name]?.trim() ?? "";
}
