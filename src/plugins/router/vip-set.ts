/** The VIPs that this node announces, Service by Service: one that two Services share stays until both let it go. */

import type { Input } from "../../kernel/plugin.ts";
import type { ServiceAdvertisement } from "./advertising.ts";

export interface VipSet {
  /** Canonical, sorted as text, each once. The same list while nothing changes. */
  addresses(): readonly string[];
  has(address: string): boolean;
  /** The Services that announce an address. */
  holders(address: string): readonly string[];
  /** What became of one Service; undefined: there is none of that name. */
  of(unit: string): ServiceAdvertisement | undefined;
  /** Counts addresses that came and that went, for metrics. */
  readonly counts: { readonly advertised: number; readonly withdrawn: number };
}

/**
 * Keeps the set. A change of one Service costs that Service.
 *
 * @param inputs wake with the Services that may have changed
 * @param units all Services that exist
 * @param compute what one of them announces; undefined where it is gone
 * @param changed called once for all that came together, with the addresses that came or went since the last call
 */
export function vipSet(
  inputs: readonly Input[],
  units: () => Iterable<string>,
  compute: (unit: string) => ServiceAdvertisement | undefined,
  changed: (addresses: readonly string[]) => void,
): VipSet {
  const services = new Map<string, ServiceAdvertisement>();
  const holders = new Map<string, Set<string>>();
  const stale = new Set<string>();
  const untold = new Set<string>();
  let all = true;
  let list: readonly string[] | undefined;
  let scheduled = false;
  const counts = { advertised: 0, withdrawn: 0 };

  const drop = (unit: string): void => {
    for (const { address } of services.get(unit)?.advertise ?? []) {
      const set = holders.get(address);
      set?.delete(unit);
      if (set?.size !== 0) continue;
      holders.delete(address);
    }
    services.delete(unit);
  };
  const add = (unit: string, found: ServiceAdvertisement): void => {
    services.set(unit, found);
    for (const { address } of found.advertise) {
      const set = holders.get(address) ?? new Set();
      holders.set(address, set.add(unit));
    }
  };
  /** Computes what is in doubt. */
  const update = (): void => {
    if (!all && stale.size === 0) return;
    const doubted = all ? new Set([...services.keys(), ...units()]) : new Set(stale);
    all = false;
    stale.clear();
    const found = [...doubted].map((unit) => [unit, compute(unit)] as const);
    const concerned = new Map<string, boolean>();
    for (const [unit, next] of found) {
      for (const each of [services.get(unit), next]) {
        for (const { address } of each?.advertise ?? []) {
          concerned.set(address, holders.has(address));
        }
      }
    }
    for (const [unit, next] of found) {
      drop(unit);
      if (next !== undefined) add(unit, next);
    }
    const moved = [...concerned].filter(([address, before]) => holders.has(address) !== before);
    const gone = moved.filter(([, before]) => before).length;
    counts.withdrawn += gone;
    counts.advertised += moved.length - gone;
    if (moved.length > 0) list = undefined;
    for (const [address] of moved) untold.add(address);
  };
  const wake = (woken: Iterable<string> | "all"): void => {
    if (woken === "all") all = true;
    else for (const unit of woken) stale.add(unit);
    if (scheduled || (!all && stale.size === 0)) return;
    scheduled = true;
    // Slices of one Service come one after the other.
    setTimeout(() => {
      scheduled = false;
      if (!inputs.every(({ synced }) => synced)) return;
      update();
      if (untold.size === 0) return;
      const told = [...untold];
      untold.clear();
      changed(told);
    }, 0);
  };
  for (const input of inputs) input.subscribe(wake);
  return {
    addresses() {
      update();
      return list ??= [...holders.keys()].toSorted();
    },
    has: (address) => holders.has(address),
    holders: (address) => [...holders.get(address) ?? []],
    of: (unit) => services.get(unit),
    counts,
  };
}
