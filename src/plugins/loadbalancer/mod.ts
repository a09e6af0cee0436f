/**
 * `--run-loadbalancer`: the allocator of `plugins.d/lb-pool`, with kube-router's flags, class and lease. While a cluster moves,
 * kube-router and this agent hold the same lease, so that one of them allocates.
 */

import { setUpAllocator } from "../../../plugins.d/lb-pool/allocator.ts";
import { newIdentity, ownNamespace } from "../../../plugins.d/lb-pool/place.ts";
import { parsePool, type Range } from "../../../plugins.d/lb-pool/pool.ts";
import { contains } from "../../kernel/ip.ts";
import { type Plugin, PLUGIN_API } from "../../kernel/plugin.ts";

/** The flags that it reads. */
export interface LoadBalancerOptions {
  /** CIDRs in canonical form. */
  readonly loadbalancerIpRange: readonly string[];
  readonly loadbalancerDefaultClass: boolean;
  /** Milliseconds. */
  readonly loadbalancerSyncPeriod: number;
}

interface Options {
  readonly ranges: readonly Range[];
  readonly isDefault: boolean;
  readonly syncMs: number;
}

const CLASS = "kube-router";
const LEASE = "kube-router-lballoc";

const loadbalancer: Plugin<Options> = {
  name: "loadbalancer",
  api: PLUGIN_API,
  watches: [{ kind: "services" }],
  tables: [],
  writes: ["services/status", "events", "leases"],
  parse(raw) {
    const flags = raw as LoadBalancerOptions;
    return {
      ranges: parsePool(widest(flags.loadbalancerIpRange)),
      isDefault: flags.loadbalancerDefaultClass,
      syncMs: flags.loadbalancerSyncPeriod,
    };
  },
  setup(context) {
    const { ranges, isDefault, syncMs } = context.options;
    setUpAllocator(context, {
      ranges,
      rule: { className: CLASS, isDefault },
      lease: `${ownNamespace(process.env)}/${LEASE}`,
      identity: newIdentity(process.env, context.node),
      syncMs,
      prefix: "loadbalancer_",
    });
  },
};

/** Two CIDRs that overlap lie one in the other; kube-router takes both, and the wider one says it all. */
function widest(cidrs: readonly string[]): readonly string[] {
  const unique = [...new Set(cidrs)];
  const bits = (cidr: string): number => Number(cidr.split("/")[1]);
  return unique.filter((cidr) =>
    !unique.some((other) => bits(other) < bits(cidr) && contains(other, cidr.split("/")[0] ?? ""))
  );
}

export default loadbalancer;
