/**
 * What this process last made of its IPVS services: the drift check compares Linux with it. Only the number of
 * destinations is kept for each service; the destinations themselves are in the runtime's view.
 */

import type { IpvsService } from "../resources/ipvs.ts";
import { serviceNumber } from "./ipvs-sockopt.ts";

export interface MirrorEntry {
  /** Identity as a number, see `serviceNumber`. */
  readonly number: number;
  item: IpvsService;
  /** Destinations that Linux should hold; -1: not known, they have to be read. */
  count: number;
  /** The drift check that leaves it alone once: the runtime may not have taken note of a change yet. */
  round: number;
  /** The last drift check that saw it in Linux. */
  seen: number;
}

export class IpvsMirror {
  readonly entries: Map<string, MirrorEntry> = new Map();
  /** IPv4 services by number. */
  readonly numbers: Map<number, MirrorEntry> = new Map();
  /** Number of the next drift check: entries changed since the last one carry it. */
  round = 1;
  #listed = false;
  #stale = false;

  /** After a list: only these are ours and there. Counts of services that stay are kept. */
  replaceServices(items: readonly IpvsService[]): void {
    this.#listed = true;
    this.#stale = true;
    const counts = new Map([...this.entries].map(([key, entry]) => [key, entry.count]));
    this.entries.clear();
    this.numbers.clear();
    for (const item of items) this.#add(item, counts.get(item.id.key) ?? -1, 0);
  }

  /** Whether the last list did not show this service: a mark for it is left over from a change that never came. */
  absent(key: string): boolean {
    return this.#listed && !this.entries.has(key);
  }

  /** Whether the services have been listed at all. */
  get listed(): boolean {
    return this.#listed;
  }

  /** Whether {@linkcode takeStale} has something to look for. */
  get hasStale(): boolean {
    return this.#stale;
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
    // Before the first list nothing is compared.
    if (!this.#listed) return;
    const entry = this.entries.get(item.id.key);
    if (entry === undefined) {
      this.#add(item, 0, this.round);
    } else {
      entry.item = item;
      entry.round = this.round;
    }
  }

  deleteService(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    this.entries.delete(key);
    this.numbers.delete(entry.number);
  }

  #add(item: IpvsService, count: number, round: number): void {
    const entry = { number: serviceNumber(item.id), item, count, round, seen: 0 };
    this.entries.set(item.id.key, entry);
    if (entry.number >= 0) this.numbers.set(entry.number, entry);
  }

  setCount(key: string, count: number): void {
    const entry = this.entries.get(key);
    if (entry !== undefined) entry.count = count;
  }

  /** Destinations were made, changed (0) or removed. */
  addCount(entry: MirrorEntry | undefined, change: number): void {
    if (entry === undefined) return;
    if (entry.count >= 0) entry.count += change;
    entry.round = this.round;
  }

  /** Nobody knows what Linux holds of this service. */
  doubt(key: string): void {
    const entry = this.entries.get(key);
    if (entry === undefined) return;
    entry.count = -1;
    entry.round = this.round;
  }
}
