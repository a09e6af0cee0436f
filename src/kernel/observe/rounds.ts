/** What engines tell of their rounds, as metrics: ours for every plugin, and for the proxy those that dashboards know. */

import type { Stores } from "../cluster/store.ts";
import type { EngineObserver } from "../runtime/engine.ts";
import type { Metrics } from "./metrics.ts";
import { type ProgrammingLatency, programmingLatency } from "./programming.ts";

/** Tells all of several observers, in order. */
export function combined(observers: readonly Partial<EngineObserver>[]): EngineObserver {
  return {
    begin: () => observers.forEach((one) => one.begin?.()),
    roundStarts: () => observers.forEach((one) => one.roundStarts?.()),
    round: (result) => observers.forEach((one) => one.round?.(result)),
    ops: (kind, verb, ok, count) => observers.forEach((one) => one.ops?.(kind, verb, ok, count)),
  };
}

/** Metrics of every plugin's rounds. */
export function roundMetrics(plugin: string, metrics: Metrics): Partial<EngineObserver> {
  const rounds = metrics.histogram("round_duration_seconds", "Duration of rounds", ["plugin"]);
  const changes = metrics.histogram(
    "change_duration_seconds",
    "Time from the arrival of a change of the cluster to Linux having it",
    ["plugin"],
  );
  const ops = metrics.counter(
    "linux_changes_total",
    "Changes to Linux, by kind of object, what was done and whether it succeeded",
    ["plugin", "kind", "verb", "result"],
  );
  return {
    round({ ms, sinceEvent }) {
      rounds.observe(ms / 1000, { plugin });
      if (sinceEvent !== undefined) changes.observe(sinceEvent / 1000, { plugin });
    },
    ops(kind, verb, ok, count) {
      ops.inc(count, { plugin, kind, verb, result: ok ? "ok" : "failed" });
    },
  };
}

/** kube-router's metrics of a policy sync. */
export function firewallMetrics(metrics: Metrics): Partial<EngineObserver> {
  const sync = metrics.histogram(
    "controller_iptables_sync_time",
    "Time it took for the sync of policies to complete",
  );
  const chains = metrics.histogram(
    "controller_policy_chains_sync_time",
    "Time it took for the sync of policies' chains and sets to complete",
  );
  return {
    round({ ms }) {
      sync.observe(ms / 1000);
      chains.observe(ms / 1000);
    },
  };
}

/**
 * kube-router's metrics of route syncs. There one loop fills the ipsets and another one repeats the routes; here a round does
 * both.
 */
export function routerMetrics(metrics: Metrics): Partial<EngineObserver> {
  const sync = metrics.histogram(
    "controller_routes_sync_time",
    "Time it took for the sync of pod networking and routes to complete",
  );
  const routes = metrics.histogram(
    "host_routes_sync_time",
    "Time it took for the sync of learned routes with Linux to complete",
  );
  const added = metrics.counter("host_routes_added", "Learned routes added to Linux");
  const removed = metrics.counter("host_routes_removed", "Learned routes removed from Linux");
  return {
    round({ ms }) {
      sync.observe(ms / 1000);
      routes.observe(ms / 1000);
    },
    ops(kind, verb, ok, count) {
      if (kind !== "route" || !ok) return;
      if (verb === "create") added.inc(count);
      else if (verb === "delete") removed.inc(count);
    },
  };
}

/** kube-router's metrics of runs of iptables-save and iptables-restore. */
export function iptablesMetrics(
  metrics: Metrics,
): (action: "save" | "restore", family: 4 | 6, ms: number) => void {
  const times = new Map(
    (["save", "restore"] as const).flatMap((action) =>
      ([4, 6] as const).map((family) =>
        [
          `${action} ${family}`,
          metrics.histogram(
            `controller_iptables_v${family}_${action}_time`,
            `Time it took for iptables-${action} of IPv${family} to complete`,
          ),
        ] as const
      )
    ),
  );
  return (action, family, ms) => times.get(`${action} ${family}`)?.observe(ms / 1000);
}

/** kube-router's metrics of runs of `ipset restore`, of what stands in their place: the firewall's writes by netlink. */
export function ipsetMetrics(
  metrics: Metrics,
): (
  write: {
    readonly owner: string;
    readonly ms: number;
    readonly four: boolean;
    readonly six: boolean;
  },
) => void {
  const [v4, v6] = [4, 6].map((family) =>
    metrics.histogram(
      `controller_policy_ipset_v${family}_restore_time`,
      `Time it took to write sets of policies, IPv${family} among them`,
    )
  );
  return ({ owner, ms, four, six }) => {
    if (owner !== "firewall") return;
    if (four) v4?.observe(ms / 1000);
    if (six) v6?.observe(ms / 1000);
  };
}

/** kube-router's and kube-proxy's metrics of a sync. */
export function proxyMetrics(
  stores: Pick<Stores, "endpointslices">,
  metrics: Metrics,
  now: () => number = Date.now,
): Partial<EngineObserver> {
  const syncTime = metrics.histogram(
    "controller_ipvs_services_sync_time",
    "Time it took for the IPVS sync loop to complete",
  );
  const duration = metrics.histogram(
    "kubeproxy_sync_proxy_rules_duration_seconds",
    "SyncProxyRules latency in seconds",
  );
  const lastDone = metrics.gauge(
    "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
    "The last time proxy rules were successfully synced",
  );
  const lastQueued = metrics.gauge(
    "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
    "The last time a sync of proxy rules was queued",
  );
  let latency: ProgrammingLatency | undefined;
  return {
    // The stores are there only from then on.
    begin() {
      latency = programmingLatency(stores.endpointslices, metrics, now);
    },
    roundStarts: () => latency?.roundStarts(),
    round({ ms, sinceEvent, ok }) {
      syncTime.observe(ms / 1000);
      duration.observe(ms / 1000);
      latency?.roundEnds(ok);
      if (ok) lastDone.set(now() / 1000);
      if (sinceEvent !== undefined) lastQueued.set((now() - sinceEvent) / 1000);
    },
  };
}
