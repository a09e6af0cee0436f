/** kube-router's gauges of policies, by its names. */

import type { Family } from "../../kernel/ip.ts";
import type { Metrics } from "../../kernel/plugin.ts";
import { podSetName } from "./sets.ts";
import type { PolicyIndex } from "./policy-index.ts";

export function measure(index: PolicyIndex, families: readonly Family[], metrics: Metrics): void {
  const compiled = () => [...index.activePolicies()].flatMap((key) => index.policy(key) ?? []);
  metrics.sampled(
    "gauge",
    "controller_policy_chains",
    "Number of chains of policies, over all families",
    [],
    () => [{ value: compiled().reduce((sum, { chains }) => sum + chains.length, 0) }],
  );
  metrics.sampled(
    "gauge",
    "controller_policy_ipsets",
    "Number of ipsets of policies, over all families",
    [],
    () => {
      const names = new Set(
        compiled().flatMap(({ blockSets, podSets }) => [
          ...blockSets.map(({ set }) => set.name),
          ...podSets.flatMap((set) => families.map((family) => podSetName(set, family))),
        ]),
      );
      return [{ value: names.size }];
    },
  );
}
