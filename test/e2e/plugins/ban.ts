// Written from docs/plugins.md and the types alone: pods with the label ban=true get a blackhole route of their own.
import type { Plugin } from "./plugin.d.ts";

const plugin: Plugin<{ readonly table: number }> = {
  name: "ban",
  api: 1,
  summary: "Blackholes for pods that are banned",
  options: { table: { default: 100, help: "Number of the route table" } },
  watches: [{ kind: "pods" }],
  tables: ["routes"],
  parse(settings) {
    const table = Number(settings["table"]);
    if (!Number.isInteger(table) || table < 1) {
      throw new Error(`Option "table" cannot be "${table}": allowed is a whole number above 0`);
    }
    return { table };
  },
  setup({ stores, tables, options, metrics, input, reconcile }) {
    const { pods } = stores;
    const banned = metrics.counter("evaluations", "Evaluations of pods");
    reconcile({
      name: "pod",
      inputs: [input(pods, ({ metadata }) => [`${metadata.namespace}/${metadata.name}`])],
      units: () => pods.keys(),
      desired(name, desired) {
        const pod = pods.get(name);
        if (pod === undefined) return;
        banned.inc();
        if (pod.metadata.labels["ban"] !== "true") return;
        if (pod.status.podIPs.length === 0) desired.report(`Pod ${name} has no address yet`);
        for (const address of pod.status.podIPs.filter((ip) => !ip.includes(":"))) {
          desired.want(tables.routes, {
            family: 4,
            table: options.table,
            type: "blackhole",
            destination: `${address}/32`,
            metric: 0,
            nextHops: [],
          });
        }
      },
    });
  },
};

export default plugin;
