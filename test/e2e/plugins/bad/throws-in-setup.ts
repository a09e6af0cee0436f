// Throws in setup.
import type { Plugin } from "../plugin.d.ts";

const plugin: Plugin = {
  name: "throws-in-setup",
  api: 1,
  watches: [],
  tables: [],
  setup() {
    throw new Error("No device mux0 here");
  },
};

export default plugin;
