/**
 * Which external and load balancer IPs Services may take. Whoever may write a Service could otherwise take over any
 * address that the node's pods talk to (CVE-2020-8554), so nothing is allowed unless a flag says so.
 */

import { type Cidr, contains, parseCidr } from "../../kernel/ip.ts";

export interface ExternalRanges {
  /** `--strict-external-ip-validation`; false: everything is allowed. */
  readonly strict: boolean;
  /** `--service-cluster-ip-range`, and the ranges of ServiceCIDR objects. */
  readonly cluster: readonly Cidr[];
  /** `--service-external-ip-range`. */
  readonly external: readonly Cidr[];
  /** `--loadbalancer-ip-range`. */
  readonly loadBalancer: readonly Cidr[];
}

export interface RangeFlags {
  readonly strictExternalIpValidation: boolean;
  readonly serviceClusterIpRange: readonly string[];
  readonly serviceExternalIpRange: readonly string[];
  readonly loadbalancerIpRange: readonly string[];
}

const CLUSTER = "--service-cluster-ip-range or a ServiceCIDR";
const FLAGS = {
  externalIP: "--service-external-ip-range",
  loadBalancer: "--loadbalancer-ip-range",
} as const;
const STRICT_FLAG = "--strict-external-ip-validation";

/**
 * The ranges of flags that were checked, alone and against each other, when they were read.
 *
 * @param cluster all ranges of cluster IPs that are known now, the flag's among them
 */
export function externalRanges(
  flags: RangeFlags,
  cluster: readonly string[] = flags.serviceClusterIpRange,
): ExternalRanges {
  return {
    strict: flags.strictExternalIpValidation,
    cluster: parsed(cluster),
    external: parsed(flags.serviceExternalIpRange),
    loadBalancer: parsed(flags.loadbalancerIpRange),
  };
}

function parsed(texts: readonly string[]): readonly Cidr[] {
  return texts.flatMap((text) => parseCidr(text) ?? []);
}

/** Those of the canonical `addresses` that are allowed, in their order; of the others one report each kind. */
export function filterAddresses(
  kind: keyof typeof FLAGS,
  addresses: readonly string[],
  ranges: ExternalRanges,
  problems: string[],
): readonly string[] {
  if (!ranges.strict || addresses.length === 0) return addresses;
  const allowed = kind === "externalIP" ? ranges.external : ranges.loadBalancer;
  const kept: string[] = [];
  const inCluster: string[] = [];
  const outside: string[] = [];
  for (const address of addresses) {
    if (ranges.cluster.some((range) => contains(range, address))) inCluster.push(address);
    else if (allowed.some((range) => contains(range, address))) kept.push(address);
    else outside.push(address);
  }
  const what = kind === "externalIP" ? "External IP" : "Load balancer IP";
  if (inCluster.length > 0) {
    problems.push(
      `${what} ${quoted(inCluster)} is inside ${CLUSTER} (${texts(ranges.cluster)}) and is not ` +
        `served; choose another, since only ${STRICT_FLAG}=false would allow it`,
    );
  }
  if (outside.length > 0) {
    problems.push(
      `${what} ${quoted(outside)} is not served, since ${
        allowed.length === 0
          ? `${FLAGS[kind]} names no range`
          : `it is outside of ${FLAGS[kind]} (${texts(allowed)})`
      }; add its range to that flag`,
    );
  }
  return kept;
}

function quoted(addresses: readonly string[]): string {
  return addresses.map((address) => `"${address}"`).join(", ");
}

function texts(ranges: readonly Cidr[]): string {
  return ranges.map((range) => range.text).join(", ");
}
