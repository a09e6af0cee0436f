// Wants a virtual service that another plugin has, and one that it will have later.
import type { Plugin } from "../plugin.d.ts";

const plugin: Plugin = {
  name: "wants-vip",
  api: 1,
  watches: [{ kind: "services" }],
  tables: ["ipvsServices", "ipvsDestinations"],
  setup({ stores, tables, input, reconcile }) {
    const addresses = ["10.96.1.1", "10.96.9.9"];
    reconcile({
      name: "vip",
      inputs: [input(stores.services, () => addresses)],
      units: () => addresses,
      desired(address, desired) {
        desired.want(tables.ipvsServices, {
          id: {
            key: `tcp ${address}:80`,
            family: 4,
            protocol: "tcp",
            address,
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
