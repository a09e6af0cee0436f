/** Attribute sets, one for each distinct block of bytes, counted by the paths that hold them. */

import { type Attributes, countPath, firstAs } from "../wire/attributes.ts";
import type { AttributeCache } from "../wire/update.ts";

export interface AttributeSet extends Attributes {
  /** Dense, from 1; used again when the set is gone. */
  readonly id: number;
  readonly key: string;
  /** RFC 4271 section 9.1.2.2 a. */
  readonly pathLength: number;
  readonly neighborAs: number;
  /** Paths and best paths that hold it. */
  refs: number;
}

export class AttributeTable implements AttributeCache<AttributeSet> {
  readonly #byKey = new Map<string, AttributeSet>();
  readonly #byId: (AttributeSet | undefined)[] = [undefined];
  readonly #free: number[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  get(key: string): AttributeSet | undefined {
    return this.#byKey.get(key);
  }

  /** A set that nobody holds yet: `drop` it if it stays so. */
  add(key: string, attributes: Attributes): AttributeSet {
    const id = this.#free.pop() ?? this.#byId.length;
    // Spelled out: sets of one shape are what keeps reading them fast.
    const set: AttributeSet = {
      origin: attributes.origin,
      asPath: attributes.asPath,
      nextHop: attributes.nextHop,
      med: attributes.med,
      localPref: attributes.localPref,
      atomicAggregate: attributes.atomicAggregate,
      aggregator: attributes.aggregator,
      communities: attributes.communities,
      largeCommunities: attributes.largeCommunities,
      originatorId: attributes.originatorId,
      clusterList: attributes.clusterList,
      extendedCommunities: attributes.extendedCommunities,
      unknown: attributes.unknown,
      id,
      key,
      pathLength: countPath(attributes.asPath),
      neighborAs: firstAs(attributes.asPath),
      refs: 0,
    };
    this.#byId[id] = set;
    this.#byKey.set(key, set);
    return set;
  }

  /** The set of a number; nothing for 0. */
  at(id: number): AttributeSet | undefined {
    return this.#byId[id];
  }

  hold(id: number): void {
    const set = this.#byId[id];
    if (set !== undefined) set.refs++;
  }

  release(id: number): void {
    const set = this.#byId[id];
    if (set !== undefined && --set.refs <= 0) this.drop(set);
  }

  /** Forgets a set that nobody holds. */
  drop(set: AttributeSet): void {
    if (set.refs > 0 || this.#byId[set.id] !== set) return;
    this.#byId[set.id] = undefined;
    this.#byKey.delete(set.key);
    this.#free.push(set.id);
  }
}
