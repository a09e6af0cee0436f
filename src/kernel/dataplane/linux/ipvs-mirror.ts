/**
 * What this process last made of its IPVS services: the drift check compares Linux with it. Only the number of
 * destinations is kept for each service; the destinations themselves are in the runtime's view.
 */

import type { IpvsService } from "../resources/ipvs.ts";

export interface MirrorEntry {
  item: IpvsService;
  /** Destinations that Linux should hold; -1: not known, they have to be read. */
  count: number;
}

export class IpvsMirror {
  readonly entries: Map<string, MirrorEntry> = new Map();
  /** Services changed since the last check of the drift, which leaves them alone once. */
  readonly touched: Set<string> = new Set();
  #listed = false;
  #stale = false;

  /** After a list: only these are ours and there. Counts of services that stay are kept. */
  replaceServices(items: readonly IpvsService[]): void {
    this.#listed = true;
    this.#stale = true;
    const counts = new Map([...this.entries].map(([key, entry]) => [key, entry.count]));
    this.entries.clear();
    for (const item of items) {
      this.entries.set(item.id.key, { item, count: counts.get(item.id.key) ?? -1 });
    }
  }

  /** Whether the last list did not show this service: a mark for it is left over from a change that never came. */
  absent(key: string): boolean {
    return this.#listed && !this.entries.has(key);
  }

  /** Whether the services have been listed at all. */
  get listed(): boolean {
    return this.#listed;
  }

  /** Once after each list: those of `marks` whose services are not there and are not in `wanted` either. */
  takeStale(marks: Iterable<string>, wanted: ReadonlySet<string>): readonly string[] {
    if (!this.#stale) return [];
    this.#stale = false;
    return [...marks].filter((key) => !this.entries.has(key) && !wanted.has(key));
  }

  /** How many destinations to make room for. */
  expected(key: string): number {
    const count = this.entries.get(key)?.count ?? -1;
    return count < 0 ? 8 : count;
  }

  putService(item: IpvsService): void {
    const entry = this.entries.get(item.id.key);
    if (entry === undefined) this.entries.set(item.id.key, { item, count: 0 });
    else entry.item = item;
    this.touch(item.id.key);
  }

  deleteService(key: string): void {
    this.entries.delete(key);
    this.touch(key);
  }

  setCount(key: string, count: number): void {
    const entry = this.entries.get(key);
    if (entry !== undefined) entry.count = count;
  }

  addCount(key: string, change: number): void {
    const entry = this.entries.get(key);
    if (entry !== undefined && entry.count >= 0) entry.count += change;
    this.touch(key);
  }

  /** Nobody knows what Linux holds of this service. */
  doubt(key: string): void {
    this.setCount(key, -1);
    this.touch(key);
  }

  touch(key: string): void {
    this.touched.add(key);
  }
}
