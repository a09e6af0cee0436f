import { expect, test } from "bun:test";
import { createMetrics } from "../../../../src/kernel/observe/metrics.ts";
import {
  firewallMetrics,
  ipsetMetrics,
  iptablesMetrics,
} from "../../../../src/kernel/observe/rounds.ts";
import { measure } from "../../../../src/plugins/firewall/metrics.ts";
import { PolicyIndex } from "../../../../src/plugins/firewall/policy-index.ts";

/** Name and type of each metric that kube-router 2.11 registers when its firewall runs. */
const KUBE_ROUTERS = `
controller_iptables_sync_time histogram
controller_iptables_v4_restore_time histogram
controller_iptables_v4_save_time histogram
controller_iptables_v6_restore_time histogram
controller_iptables_v6_save_time histogram
controller_policy_chains gauge
controller_policy_chains_sync_time histogram
controller_policy_ipset_v4_restore_time histogram
controller_policy_ipset_v6_restore_time histogram
controller_policy_ipsets gauge
`.trim().split("\n").map((line) => `kube_router_${line}`);

test("the firewall's metrics are kube-router's, each by name and type, and no others", async () => {
  const metrics = await createMetrics();
  firewallMetrics(metrics);
  iptablesMetrics(metrics);
  ipsetMetrics(metrics);
  measure(new PolicyIndex("node1", [4, 6]), [4, 6], metrics);
  const types = [...(await metrics.text()).matchAll(/^# TYPE (.*)$/gm)].map(([, type]) =>
    type ?? ""
  );
  expect(types.toSorted()).toEqual(KUBE_ROUTERS);
});

test("the time of writing sets counts for the families of the firewall's sets alone", async () => {
  const metrics = await createMetrics();
  const tell = ipsetMetrics(metrics);
  tell({ owner: "firewall", ms: 4, four: true, six: false });
  tell({ owner: "firewall", ms: 6, four: true, six: true });
  tell({ owner: "proxy", ms: 9, four: true, six: true });
  const text = await metrics.text();
  expect(text).toContain("controller_policy_ipset_v4_restore_time_sum 0.01\n");
  expect(text).toContain("controller_policy_ipset_v4_restore_time_count 2\n");
  expect(text).toContain("controller_policy_ipset_v6_restore_time_count 1\n");
});
