// Throws in desired.
import type { Plugin } from "../plugin.d.ts";

const plugin: Plugin = {
  name: "throws-in-desired",
  api: 1,
  watches: [{ kind: "pods" }],
  tables: [],
  setup({ stores, input, reconcile }) {
    reconcile({
      name: "pod",
      inputs: [input(stores.pods, () => ["web-1"])],
      units: () => ["web-1"],
      desired(name) {
        throw new Error(`Cannot make anything of pod ${name}`);
      },
    });
  },
};

export default plugin;
