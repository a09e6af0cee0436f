// Wants the virtual service of another plugin.
import type { Plugin } from "../plugin.d.ts";

const plugin: Plugin = {
  name: "wants-vip",
  api: 1,
  watches: [{ kind: "services" }],
  tables: ["ipvsServices", "ipvsDestinations"],
  setup({ stores, tables, input, reconcile }) {
    reconcile({
      name: "vip",
      inputs: [input(stores.services, () => ["web"])],
      units: () => ["web"],
      desired(_unit, desired) {
        desired.want(tables.ipvsServices, {
          id: {
            key: "tcp 10.96.1.1:80",
            family: 4,
            protocol: "tcp",
            address: "10.96.1.1",
            port: 80,
            fwmark: 0,
          },
          scheduler: "rr",
          schedulerFlags: 0,
          persistence: 0,
        });
      },
    });
  },
};

export default plugin;
