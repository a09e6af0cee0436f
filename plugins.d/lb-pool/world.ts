/** The Services of the cluster as the allocator sees them: whose they are, and what they have of the pool. Pure. */

import type { Service } from "../../src/kernel/third-party.ts";
import type { World } from "./allocate.ts";
import { addressesOf, claimOf, type ClassRule, isOurs, keyOf } from "./claims.ts";
import { canonical, type Family, type Range, rangeOf } from "./pool.ts";

export interface Sorted extends Pick<World, "claims" | "others"> {
  /** Services of which the type is another by now and whose status has addresses of the pool still. */
  readonly strays: readonly Service[];
}

export function sorted(
  services: Iterable<Service>,
  ranges: readonly Range[],
  rule: ClassRule,
): Sorted {
  const ours: Service[] = [];
  const strays: Service[] = [];
  const others = new Map<string, string>();
  const inPool = (text: string): boolean => rangeOf(ranges, text) !== undefined;
  for (const service of services) {
    const key = keyOf(service);
    for (const text of service.spec.externalIPs) {
      const address = canonical(text) ?? "";
      if (inPool(address)) others.set(address, `Service "${key}" as an external IP`);
    }
    if (isOurs(service, rule)) {
      ours.push(service);
      continue;
    }
    const used = addressesOf(service).filter(inPool);
    for (const address of used) others.set(address, `Service "${key}"`);
    // With a type that has no load balancer it has no class either: nobody else's rule is broken.
    if (used.length > 0 && service.spec.type !== "LoadBalancer") strays.push(service);
  }
  return { claims: ours.map(claimOf), others, strays };
}

/** Whether a Service has any part in what is decided. */
export function matters(service: Service, ranges: readonly Range[], rule: ClassRule): boolean {
  return isOurs(service, rule) ||
    [...addressesOf(service), ...service.spec.externalIPs].some((text) =>
      rangeOf(ranges, text) !== undefined
    );
}

/** How much of a part of the pool there is, and is in use. */
export interface Usage {
  readonly pool: string;
  readonly family: Family;
  readonly size: number;
  readonly used: number;
}

export function usageOf(
  ranges: readonly Range[],
  { claims, others }: Pick<World, "claims" | "others">,
): readonly Usage[] {
  const parts = new Map<string, { pool: string; family: Family; size: number; used: number }>();
  for (const { pool, family, first, last } of ranges) {
    const id = `${family} ${pool}`;
    const part = parts.get(id) ?? { pool, family, size: 0, used: 0 };
    parts.set(id, { ...part, size: part.size + Number(last - first + 1n) });
  }
  for (const address of new Set([...claims.flatMap(({ have }) => have), ...others.keys()])) {
    const range = rangeOf(ranges, address);
    const part = range && parts.get(`${range.family} ${range.pool}`);
    if (part !== undefined) part.used++;
  }
  return [...parts.values()];
}
