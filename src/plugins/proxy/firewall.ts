/** When the service firewall and the hairpin rules are judged again. Pure functions beside this file say what they are. */

import { derive, type Input, type PluginContext, type TableRef } from "../../kernel/plugin.ts";
import { hairpinItems, hairpinPart, mayHairpin, podBridges } from "./hairpin.ts";
import { collect } from "./inputs.ts";
import type { InsideInput } from "./inside-input.ts";
import type { ProxyOptions } from "./options.ts";
import {
  firewallRules,
  firewallSets,
  isLarge,
  localIps,
  rangeMembers,
} from "./service-firewall.ts";
import type { ServiceContext, ServicePlan } from "./service-plan.ts";

/** What the firewall shares with the rest of the proxy. */
export interface Shared {
  readonly facts: Input & { readonly value: { readonly context: ServiceContext } };
  readonly services: Input;
  readonly slices: Input;
  readonly inside: InsideInput;
  /** The plan of a Service, undefined where it is gone. */
  plan(unit: string): ServicePlan | undefined;
}

export function reconcileFirewall(
  { host, options, reconcile, stores, tables }: PluginContext<ProxyOptions>,
  shared: Shared,
): void {
  // Apart, so that a Service more or less does not have the host's addresses looked through again.
  const large = derive("size", [shared.services], () => isLarge(stores.services.size));
  const facts = derive("service firewall", [shared.facts, large, host, shared.inside], () => {
    const { families, routedRanges } = shared.facts.value.context;
    return {
      families,
      routedRanges,
      large: large.value,
      marks: shared.inside.values(),
      local: localIps(host.values(), families),
    };
  });
  reconcile({
    name: "service firewall",
    inputs: [facts],
    units: () => [""],
    desired(_unit, { want }) {
      const { families, routedRanges, large, marks, local } = facts.value;
      for (const set of firewallSets(families, large)) want(tables.ipsets, set);
      for (const member of [...local, ...rangeMembers(routedRanges, families)]) {
        want(tables.ipsetMembers, member);
      }
      for (const family of families) {
        const { chains, jumps } = firewallRules(
          family,
          options.ipvsPermitAll,
          routedRanges.some((range) => range.family === family.family),
          marks,
        );
        for (const chain of chains) want(tables.chains, chain);
        for (const jump of jumps) want(tables.jumps, jump);
      }
    },
  });
}

export function reconcileHairpin(
  { host, node, options, reconcile, stores, tables }: PluginContext<ProxyOptions>,
  { facts, services, slices, plan }: Shared,
): void {
  const always = options.hairpinMode;
  const parts = collect(
    "hairpin",
    [services, slices, facts],
    () => stores.services.keys(),
    (unit) => {
      const service = stores.services.get(unit);
      return service !== undefined && (always || mayHairpin(service));
    },
    (unit) => {
      const found = plan(unit);
      return found === undefined ? undefined : hairpinPart(found, node, always);
    },
  );
  // VIPs come and go on the host all the time; only links that pods hang on matter.
  const links = derive("pod links", [facts, host], () => {
    const { families } = facts.value.context;
    return { families, bridges: podBridges(families, host.values()) };
  });
  reconcile({
    name: "hairpin",
    inputs: [parts, links],
    units: () => [""],
    desired(_unit, { want, report }) {
      const wantAll = <T>(table: TableRef<T>, items: readonly T[]): void => {
        for (const item of items) want(table, item);
      };
      const found = parts.values();
      for (const [unit, part] of found) {
        for (const problem of part?.problems ?? []) report(`Service "${unit}": ${problem}`);
      }
      const list = found.flatMap(([, part]) => part ?? []);
      const items = hairpinItems(list, node, links.value.families);
      wantAll(tables.ipsets, items.sets);
      wantAll(tables.ipsetMembers, items.members);
      wantAll(tables.chains, items.chains);
      wantAll(tables.jumps, items.jumps);
      if (items.chains.length > 0) wantAll(tables.bridgeHairpins, links.value.bridges);
    },
  });
}
