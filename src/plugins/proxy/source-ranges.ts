/** loadBalancerSourceRanges: which clients may use a Service's load balancer IPs. */

import { canonicalCidr, type Family, parseCidr } from "../../kernel/ip.ts";
import type { Service } from "../../kernel/plugin.ts";
import { ingressIps } from "./service-names.ts";
import type { Frontend, ServicePlan } from "./service-plan.ts";

/** The ranges of one Service. */
export interface SourceRanges {
  /**
   * Canonical ranges of the frontend's clients; undefined where all may come. Empty: none may, as where the Service has
   * ranges of the other family alone, or none that can be read.
   */
  of(front: Frontend): readonly string[] | undefined;
}

/**
 * The source ranges of a Service, undefined where it has none. A range that cannot be read is reported and admits
 * nobody. Only load balancer IPs are filtered, as by kube-proxy; not NodePorts and cluster IPs.
 */
export function rangesOf(
  { service }: Pick<ServicePlan, "service">,
  problems: string[],
): SourceRanges | undefined {
  return service.spec.loadBalancerSourceRanges.length === 0
    ? undefined
    : readRanges(service, problems);
}

function readRanges(service: Service, problems: string[]): SourceRanges {
  const texts = service.spec.loadBalancerSourceRanges;
  const ranges = texts.flatMap((text) => {
    const range = canonicalCidr(text.trim());
    if (range !== undefined) return [range];
    problems.push(
      `Source range "${text}" is not a CIDR; it admits no client, correct spec.loadBalancerSourceRanges`,
    );
    return [];
  });
  const all: Record<Family, readonly string[]> = { 4: inFamily(ranges, 4), 6: inFamily(ranges, 6) };
  // An external IP may be the balancer's too: the stricter rule holds.
  const balancers = ingressIps(service);
  return {
    of({ kind, family, address }) {
      if (kind === "nodePort" || kind === "clusterIP" || !balancers.includes(address)) {
        return undefined;
      }
      return all[family].some((range) => range.endsWith("/0")) ? undefined : all[family];
    },
  };
}

/** As ipset prints nets: a single address without its length. */
function inFamily(ranges: readonly string[], family: Family): readonly string[] {
  return [...new Set(ranges)].flatMap((text) => {
    const range = parseCidr(text);
    if (range?.family !== family) return [];
    const whole = range.prefix === (family === 4 ? 32 : 128);
    return [whole ? text.slice(0, text.indexOf("/")) : text];
  });
}
