/** The VIPs that this node announces, Service by Service: one that two Services share stays until both let it go. */

import type { Input } from "../../kernel/plugin.ts";
import type { ServiceAdvertisement } from "./advertising.ts";

/**
 * Who announces an address: every node (a Service without the policy Local has it), this one beside those that have an endpoint
 * too, or nobody, as a Service asks for.
 */
export type VipState = "everywhere" | "here" | "nowhere";

export interface VipSet {
  /** Those that this node announces: canonical, sorted as text, each once. The same list while nothing changes. */
  addresses(): readonly string[];
  /** What is known of all addresses. */
  states(): Iterable<readonly [address: string, state: VipState]>;
  state(address: string): VipState | undefined;
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
 * @param changed called once for all that came together, with the addresses whose state is another since the last call
 * @param keepsRefused whether it is of interest that nobody may announce an address
 */
export function vipSet(
  inputs: readonly Input[],
  units: () => Iterable<string>,
  compute: (unit: string) => ServiceAdvertisement | undefined,
  changed: (addresses: readonly string[]) => void,
  keepsRefused: (address: string) => boolean = () => false,
): VipSet {
  const services = new Map<string, ServiceAdvertisement>();
  /** Who announces an address, and whether only nodes with an endpoint do. */
  const holders = new Map<string, Map<string, boolean>>();
  /** Who wants it announced by nobody. */
  const refusers = new Map<string, Set<string>>();
  const stale = new Set<string>();
  const untold = new Set<string>();
  let all = true;
  let list: readonly string[] | undefined;
  let scheduled = false;
  const counts = { advertised: 0, withdrawn: 0 };

  const drop = (unit: string): void => {
    const { advertise = [], withheld = [] } = services.get(unit) ?? {};
    for (const { address } of [...advertise, ...withheld]) {
      for (const all of [holders, refusers]) {
        const units = all.get(address);
        units?.delete(unit);
        if (units?.size === 0) all.delete(address);
      }
    }
    services.delete(unit);
  };
  const add = (unit: string, found: ServiceAdvertisement): void => {
    services.set(unit, found);
    for (const { address, local } of found.advertise) {
      holders.set(address, (holders.get(address) ?? new Map<string, boolean>()).set(unit, local));
    }
    for (const { address, refused } of found.withheld) {
      if (refused !== true || !keepsRefused(address)) continue;
      refusers.set(address, (refusers.get(address) ?? new Set()).add(unit));
    }
  };
  const stateOf = (address: string): VipState | undefined => {
    const units = holders.get(address);
    if (units === undefined) return refusers.has(address) ? "nowhere" : undefined;
    for (const local of units.values()) if (!local) return "everywhere";
    return "here";
  };
  /** Computes what is in doubt. */
  const update = (): void => {
    if (!all && stale.size === 0) return;
    const doubted = all ? new Set([...services.keys(), ...units()]) : new Set(stale);
    all = false;
    stale.clear();
    const found = [...doubted].map((unit) => [unit, compute(unit)] as const);
    const concerned = new Map<string, VipState | undefined>();
    for (const [unit, next] of found) {
      for (const each of [services.get(unit), next]) {
        for (const { address } of [...each?.advertise ?? [], ...each?.withheld ?? []]) {
          concerned.set(address, stateOf(address));
        }
      }
    }
    for (const [unit, next] of found) {
      drop(unit);
      if (next !== undefined) add(unit, next);
    }
    for (const [address, before] of concerned) {
      const now = stateOf(address);
      if (now === before) continue;
      untold.add(address);
      const [had, has] = [isAnnounced(before), isAnnounced(now)];
      if (had === has) continue;
      list = undefined;
      if (has) counts.advertised++;
      else counts.withdrawn++;
    }
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
    *states() {
      update();
      for (const address of new Set([...holders.keys(), ...refusers.keys()])) {
        const state = stateOf(address);
        if (state !== undefined) yield [address, state];
      }
    },
    state: stateOf,
    holders: (address) => [...holders.get(address)?.keys() ?? []],
    of: (unit) => services.get(unit),
    counts,
  };
}

function isAnnounced(state: VipState | undefined): boolean {
  return state === "everywhere" || state === "here";
}
