/** ClusterIPs and node ports for Services that name none, in ascending order. */

import type { KubeObject } from "./types.ts";
import { isObject, listOf, type MutableJson, objectOf } from "./values.ts";

const FIRST_NODE_PORT = 30_000;
const LAST_NODE_PORT = 32_767;
/** The first addresses of the range stay free for those that manifests choose. */
const FIRST_OFFSET = 256n;

type Family = "IPv4" | "IPv6";

interface Range {
  readonly family: Family;
  readonly first: bigint;
}

export interface Allocator {
  /** Completes a Service in place, with what the one that it replaces has, then with what is free. */
  readonly complete: (service: KubeObject, old: KubeObject | undefined) => void;
  /** Told of every Service that is stored or deleted. */
  readonly seen: (service: KubeObject | undefined, old: KubeObject | undefined) => void;
}

/**
 * Headless Services and type ExternalName are left alone.
 *
 * @param cidrs the service CIDRs, one a family, the primary first; with none nothing is allocated
 */
export function createAllocator(cidrs: readonly string[]): Allocator {
  const ranges = cidrs.map(parse);
  const used = new Map<string, number>();
  // Where the next search starts, so that filling a range takes linear time.
  const next = new Map(ranges.map(({ family, first }) => [family, first]));

  function* addresses(family: Family): Generator<string> {
    for (let value = next.get(family) ?? 0n;; value++) {
      next.set(family, value);
      yield family === "IPv4" ? formatIPv4(value) : formatIPv6(value);
    }
  }

  function free(candidates: Iterable<string>): string {
    for (const candidate of candidates) {
      if ((used.get(candidate) ?? 0) === 0) return candidate;
    }
    throw new Error("Cannot allocate for a Service: the range is used up; delete Services");
  }

  function complete(service: KubeObject, old: KubeObject | undefined): void {
    const spec = objectOf(service.spec) as MutableJson;
    if (ranges.length === 0 || spec.type === "ExternalName") return;
    const before = objectOf(old?.spec);
    if (spec.clusterIP === undefined || spec.clusterIP === "") {
      if (listOf(before.clusterIPs).length > 0 && before.clusterIP !== "None") {
        for (const name of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) {
          spec[name] = before[name];
        }
      } else {
        const families = wanted(spec, ranges);
        spec.clusterIPs = families.map((range) => free(addresses(range.family)));
        spec.clusterIP = listOf(spec.clusterIPs)[0];
        spec.ipFamilies = families.map(({ family }) => family);
        spec.ipFamilyPolicy ??= "SingleStack";
      }
    }
    const external = spec.type === "NodePort" || spec.type === "LoadBalancer";
    if (!external || spec.allocateLoadBalancerNodePorts === false) return;
    const here = new Set<unknown>();
    for (const port of listOf(spec.ports).filter(isObject)) {
      port.nodePort ??= listOf(before.ports).map(objectOf)
        .find((had) => had.port === port.port && had.protocol === port.protocol)?.nodePort ??
        Number(free(nodePorts().filter((candidate) => !here.has(Number(candidate)))));
      here.add(port.nodePort);
    }
  }

  return {
    complete,
    seen: (service, old) => {
      for (const key of usedBy(old)) used.set(key, (used.get(key) ?? 1) - 1);
      for (const key of usedBy(service)) used.set(key, (used.get(key) ?? 0) + 1);
    },
  };
}

function usedBy(service: KubeObject | undefined): readonly string[] {
  const { clusterIPs, ports } = objectOf(service?.spec);
  const numbers = listOf(ports).map((port) => objectOf(port).nodePort);
  return [...listOf(clusterIPs), ...numbers.filter((port) => port !== undefined)].map(String);
}

function* nodePorts(): Generator<string> {
  for (let port = FIRST_NODE_PORT; port <= LAST_NODE_PORT; port++) yield String(port);
}

function wanted(spec: MutableJson, ranges: readonly Range[]): readonly Range[] {
  const families = listOf(spec.ipFamilies);
  if (families.length > 0) return ranges.filter(({ family }) => families.includes(family));
  const dual = spec.ipFamilyPolicy === "PreferDualStack" ||
    spec.ipFamilyPolicy === "RequireDualStack";
  return dual ? ranges : ranges.slice(0, 1);
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
