/** All metrics of the agent, as they would be registered with every plugin on: for the reference page and for dashboards. */

import { hostedPlugins } from "../../src/cli/agent.ts";
import { defaultFlags } from "../../src/cli/flags.ts";
import type { KnownMetric } from "../../src/cli/metrics-page.ts";
import type { Dataplane } from "../../src/kernel/dataplane/dataplane.ts";
import { fakeDataplane } from "../../src/kernel/dataplane/fake.ts";
import { silentLogger } from "../../src/kernel/observe/log.ts";
import { buildInfo, fullName, type Metrics, noMetrics } from "../../src/kernel/observe/metrics.ts";
import {
  firewallMetrics,
  ipsetMetrics,
  iptablesMetrics,
  proxyMetrics,
  roundMetrics,
  routerMetrics,
} from "../../src/kernel/observe/rounds.ts";
import { programmingLatency } from "../../src/kernel/observe/programming.ts";
import { pluginReady } from "../../src/kernel/observe/plugin-ready.ts";
import { Runtime } from "../../src/kernel/runtime/runtime.ts";
import { testCluster } from "./cluster.ts";

/** By name. */
export async function allMetrics(): Promise<readonly KnownMetric[]> {
  const known = new Map<string, KnownMetric>();
  const note = (type: KnownMetric["type"], name: string, help: string, labels: readonly string[]) =>
    void known.set(name, { name: fullName(name), type, help, labels });
  const recorder: Metrics = {
    counter: (
      name,
      help,
      labels = [],
    ) => (note("counter", name, help, labels), noMetrics.counter(name, help)),
    gauge: (
      name,
      help,
      labels = [],
    ) => (note("gauge", name, help, labels), noMetrics.gauge(name, help)),
    histogram: (name, help, labels = []) => (
      note("histogram", name, help, labels), noMetrics.histogram(name, help)
    ),
    sampled: (type, name, help, labels) => note(type, name, help, labels),
  };
  const fake = fakeDataplane();
  const dataplane: Dataplane = {
    open: (ref, owner) => fake.open(ref, owner),
    close: () => fake.close(),
    statistics: {
      ipvsServices: () => Promise.resolve([]),
      ipvsTable: () => Promise.resolve({ text: "", left: 0 }),
      ipvsEntries: () => Promise.resolve({ entries: [], left: 0 }),
    },
  };
  const given = ["run-router", "run-firewall"] as const;
  const source = testCluster();
  const runtime = new Runtime({
    plugins: hostedPlugins({ ...defaultFlags(), given }),
    source,
    dataplane,
    host: { name: "host", synced: true, values: () => [], subscribe: () => () => {} },
    node: "node1",
    log: silentLogger,
    fullInterval: 1000,
    metrics: recorder,
  });
  buildInfo(recorder, "");
  pluginReady(recorder, () => []);
  for (const register of [firewallMetrics, routerMetrics]) register(recorder);
  iptablesMetrics(recorder);
  ipsetMetrics(recorder);
  roundMetrics("", recorder);
  proxyMetrics(source.stores, recorder);
  programmingLatency(source.stores.endpointslices, recorder);
  await runtime.setup();
  await runtime.stop();
  return [...known.values()].toSorted((a, b) => a.name < b.name ? -1 : 1);
}
