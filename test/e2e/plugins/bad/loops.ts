// Loops forever as soon as there is a pod called "loop".
import type { Plugin } from "../plugin.d.ts";

const plugin: Plugin = {
  name: "loops",
  api: 1,
  watches: [{ kind: "pods" }],
  tables: ["routes"],
  setup({ stores, tables, input, reconcile }) {
    reconcile({
      name: "pod",
      inputs: [input(stores.pods, () => ["all"])],
      units: () => ["all"],
      desired(_unit, desired) {
        const names = [...stores.pods.values()].map(({ metadata }) => metadata.name);
        for (let turn = 0; names.includes("loop"); turn++) Math.sqrt(turn);
        desired.want(tables.routes, {
          family: 4,
          table: 6666,
          type: "blackhole",
          destination: "10.6.6.6/32",
          metric: 0,
          nextHops: [],
        });
      },
    });
  },
};

export default plugin;
