/**
 * Which ranges cluster IPs are given from: the flag's, and those of ServiceCIDR objects, which come and go at run time
 * (KEP-1880). One answer for all plugins.
 *
 * An object counts for as long as it exists: while it is being deleted its finalizer keeps it until the last address in it is
 * given back, and those addresses are served until then. That it is not ready bears on allocation alone.
 */

import type { ServiceCIDR } from "./cluster/kinds.ts";
import { canonicalCidr } from "./ip.ts";

/** Canonical ranges, each once, the flag's first. */
export function serviceRanges(
  flag: readonly string[],
  objects: Iterable<ServiceCIDR>,
): readonly string[] {
  const named = [...objects].toSorted((a, b) => a.metadata.name < b.metadata.name ? -1 : 1)
    .flatMap(({ spec }) => spec.cidrs.flatMap((text) => canonicalCidr(text) ?? []));
  return [...new Set([...flag, ...named])];
}

/** What is wrong with the objects; each text costs itself. */
export function serviceRangeProblems(objects: Iterable<ServiceCIDR>): readonly string[] {
  return [...objects].flatMap(({ metadata, spec }) =>
    spec.cidrs.filter((text) => canonicalCidr(text) === undefined).map((text) =>
      `ServiceCIDR "${metadata.name}" has "${text}", which is no CIDR; it is passed over, correct spec.cidrs`
    )
  );
}
