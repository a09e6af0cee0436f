/** What a Service is called, and the addresses that it names, whether they are served or not. */

import { canonicalIp } from "../../kernel/ip.ts";
import type { Service } from "../../kernel/plugin.ts";

/** "namespace/name": its unit. */
export function serviceKey({ metadata }: Service): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** All of its addresses, canonical, each once: cluster IPs, external IPs, load balancer IPs. */
export function addressesOf(service: Service): readonly string[] {
  return canonical([...service.spec.clusterIPs, ...externalTexts(service)]);
}

/** External and load balancer IPs, canonical, each once. */
export function externalAddresses(service: Service): readonly string[] {
  const texts = externalTexts(service);
  return texts.length === 0 ? texts : canonical(texts);
}

/** Load balancer IPs, canonical, each once. */
export function ingressIps({ status }: Service): readonly string[] {
  return canonical(status.loadBalancer.ingress.map(({ ip }) => ip ?? ""));
}

const NONE: readonly string[] = [];

function externalTexts({ spec, status }: Service): readonly string[] {
  const { ingress } = status.loadBalancer;
  if (spec.externalIPs.length === 0 && ingress.length === 0) return NONE;
  return [...spec.externalIPs, ...ingress.map(({ ip }) => ip ?? "")];
}

function canonical(texts: readonly string[]): readonly string[] {
  return [...new Set(texts.flatMap((text) => canonicalIp(text) ?? []))];
}
