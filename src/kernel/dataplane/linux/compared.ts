/** How a look at Linux becomes drift, for the kinds whose changes Linux does not tell one by one. */

import type { Actual, Drift, Resource } from "../resource.ts";

/** What differs between Linux and the runtime's belief, of what `concerns` says was listed. */
export function compared<T>(
  resource: Resource<T>,
  believed: ReadonlyMap<string, Actual<T>>,
  listed: readonly Actual<T>[],
  concerns: (believed: Actual<T>) => boolean = () => true,
): readonly Drift<T>[] {
  const changes: Drift<T>[] = [];
  const seen = new Set<string>();
  for (const actual of listed) {
    const key = resource.key(actual.item);
    seen.add(key);
    const known = believed.get(key);
    const same = known !== undefined && known.owned === actual.owned &&
      resource.equal(known.item, actual.item);
    if (!same) changes.push({ key, actual });
  }
  for (const [key, actual] of believed) {
    if (!seen.has(key) && concerns(actual)) changes.push({ key });
  }
  return changes;
}
