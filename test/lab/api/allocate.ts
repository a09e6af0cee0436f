/** ClusterIPs and node ports for Services that name none, in ascending order. */

import type { KubeObject } from "./types.ts";
import { isObject, listOf, type MutableJson, objectOf } from "./values.ts";

const FIRST_NODE_PORT = 30_000;
/** The first addresses of the range stay free for those that manifests choose. */
const FIRST_OFFSET = 256n;

interface Range {
  readonly family: "IPv4" | "IPv6";
  readonly first: bigint;
}

/**
 * Returns a function that completes a Service in place, given the Services that exist. Headless
 * Services and type ExternalName are left alone.
 *
 * @param cidrs the service CIDRs, one a family, the primary first
 */
export function serviceAllocator(
  cidrs: readonly string[],
): (service: KubeObject, others: () => Iterable<KubeObject>) => void {
  const ranges = cidrs.map(parse);
  return (service, others) => {
    if (ranges.length === 0) return;
    const spec = objectOf(service.spec) as MutableJson;
    if (spec.type === "ExternalName") return;
    const needsIp = spec.clusterIP === undefined || spec.clusterIP === "";
    const ports = listOf(spec.ports).filter(isObject);
    const needsPort = (spec.type === "NodePort" || spec.type === "LoadBalancer") &&
      spec.allocateLoadBalancerNodePorts !== false &&
      ports.some((port) => port.nodePort === undefined);
    if (!needsIp && !needsPort) return;
    const used = usedBy(others());
    if (needsIp) {
      const families = wanted(spec, ranges);
      spec.clusterIPs = families.map((range) => free(range, used));
      spec.clusterIP = listOf(spec.clusterIPs)[0];
      spec.ipFamilies = families.map(({ family }) => family);
      spec.ipFamilyPolicy ??= "SingleStack";
    }
    if (!needsPort) return;
    for (const port of ports) {
      if (port.nodePort !== undefined) continue;
      let candidate = FIRST_NODE_PORT;
      while (used.has(String(candidate))) candidate++;
      used.add(String(candidate));
      port.nodePort = candidate;
    }
  };
}

function wanted(spec: MutableJson, ranges: readonly Range[]): readonly Range[] {
  const families = listOf(spec.ipFamilies);
  if (families.length > 0) return ranges.filter(({ family }) => families.includes(family));
  const dual = spec.ipFamilyPolicy === "PreferDualStack" ||
    spec.ipFamilyPolicy === "RequireDualStack";
  return dual ? ranges : ranges.slice(0, 1);
}

function usedBy(services: Iterable<KubeObject>): Set<string> {
  const used = new Set<string>();
  for (const { spec } of services) {
    const { clusterIPs, ports } = objectOf(spec);
    for (const ip of listOf(clusterIPs)) used.add(String(ip));
    for (const port of listOf(ports)) used.add(String(objectOf(port).nodePort));
  }
  return used;
}

function free({ family, first }: Range, used: Set<string>): string {
  for (let value = first;; value++) {
    const address = family === "IPv4" ? formatIPv4(value) : formatIPv6(value);
    if (used.has(address)) continue;
    used.add(address);
    return address;
  }
}

function parse(cidr: string): Range {
  const [address = ""] = cidr.split("/");
  return address.includes(":")
    ? { family: "IPv6", first: parseIPv6(address) + FIRST_OFFSET }
    : { family: "IPv4", first: parseIPv4(address) + FIRST_OFFSET };
}

function parseIPv4(address: string): bigint {
  return address.split(".").reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

function formatIPv4(value: bigint): string {
  return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join(".");
}

function parseIPv6(address: string): bigint {
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = [...left, ...Array(8 - left.length - right.length).fill("0"), ...right];
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

/** By URL's parser, which shortens as RFC 5952 says. */
function formatIPv6(value: bigint): string {
  const groups = value.toString(16).padStart(32, "0").match(/.{4}/g) ?? [];
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
