/**
 * Gives Services of type LoadBalancer their addresses, from ranges, by one agent of the cluster at a time. The same code is the
 * built-in `--run-loadbalancer`.
 *
 * Read on in `claims.ts` (what a Service asks for), `allocate.ts` (who gets what), `election.ts` (which agent does it),
 * `writer.ts` (how it is written) and `allocator.ts`, which puts them together.
 */

import type { Plugin } from "../../src/kernel/third-party.ts";
import { type Settings, setUpAllocator } from "./allocator.ts";
import { newIdentity, ownNamespace } from "./place.ts";
import { parsePool } from "./pool.ts";

type Options = Pick<Settings, "ranges" | "rule" | "syncMs"> & { readonly namespace: string };

const plugin: Plugin<Options> = {
  name: "lb-pool",
  api: 1,
  summary: "Addresses for Services of type LoadBalancer",
  options: {
    ranges: {
      default: [],
      help:
        "ADDRESS/BITS or FIRST-LAST, of both families; NAME= before it: for those that ask for it",
    },
    class: { default: "lb-pool", help: "The spec.loadBalancerClass that it serves" },
    "default-class": { default: false, help: "Serve Services without a class too" },
    namespace: {
      default: "",
      help: "Where its lease is; empty: this pod's namespace, else kube-system",
    },
    "sync-seconds": { default: 60, help: "Seconds after which all is looked at again" },
  },
  watches: [{ kind: "services" }],
  tables: [],
  writes: ["services/status", "events", "leases"],
  parse(settings) {
    const texts = settings["ranges"] as readonly string[];
    if (texts.length === 0) {
      throw new Error(
        'Option "ranges" is empty; give it ranges such as "10.9.0.0/24,fd00:9::/112"',
      );
    }
    const seconds = Number(settings["sync-seconds"]);
    if (!(seconds >= 1)) {
      throw new Error(`Option "sync-seconds" cannot be "${seconds}": allowed is 1 or more`);
    }
    return {
      ranges: parsePool(texts),
      rule: {
        className: String(settings["class"]),
        isDefault: settings["default-class"] === true,
      },
      namespace: String(settings["namespace"]),
      syncMs: seconds * 1000,
    };
  },
  setup(context) {
    const { namespace, ...options } = context.options;
    setUpAllocator(context, {
      ...options,
      lease: `${namespace || ownNamespace(process.env)}/lb-pool`,
      identity: newIdentity(process.env, context.node),
      prefix: "",
    });
  },
};

export default plugin;
