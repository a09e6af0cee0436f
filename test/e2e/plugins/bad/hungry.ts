// Takes memory without end while there is a pod called "feast".
import type { Plugin } from "../plugin.d.ts";

const plugin: Plugin = {
  name: "hungry",
  api: 1,
  watches: [{ kind: "pods" }],
  tables: ["routes"],
  setup({ stores, tables, input, reconcile }) {
    const kept: unknown[] = [];
    const isFeast = (): boolean =>
      [...stores.pods.values()].some(({ metadata }) => metadata.name === "feast");
    const eat = (): void => {
      // The pod may outlive the first process by a moment, and the next one sees it.
      if (!isFeast()) return void kept.splice(0);
      // In bites, so that it answers all the time: it does not hang.
      kept.push(new Uint8Array(16 << 20).fill(1));
      setTimeout(eat, 1);
    };
    reconcile({
      name: "pod",
      inputs: [input(stores.pods, () => ["all"])],
      units: () => ["all"],
      desired(_unit, desired) {
        desired.want(tables.routes, {
          family: 4,
          table: 5555,
          type: "blackhole",
          destination: "10.5.5.5/32",
          metric: 0,
          nextHops: [],
        });
        if (kept.length === 0) eat();
      },
    });
  },
};

export default plugin;
