/** Objects as the lab applies them: read from YAML or JSON, Nodes merged into the lab's own. */

import { addressOf, subnetOf } from "../topology/cidr.ts";
import type { NodeSpec } from "../topology/topology.ts";

type Fields = Record<string, unknown>;

/** All objects of a file in order: several documents, `List`s taken apart, empty documents left out. */
export function readObjects(text: string, name: string): readonly object[] {
  const parsed = parse(text, name);
  return (Array.isArray(parsed) ? parsed : [parsed]).flatMap((item) => flatten(item, name));
}

function parse(text: string, name: string): unknown {
  try {
    return /^\s*[[{]/.test(text) ? parseJson(text) : Bun.YAML.parse(text);
  } catch (error) {
    throw new Error(`${name}: ${(error as Error).message}`);
  }
}

/** JSON is YAML, but its own parser is ten times faster; several JSON documents need the other. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return Bun.YAML.parse(text);
  }
}

function flatten(item: unknown, name: string): readonly object[] {
  if (item === null || item === undefined) return [];
  if (typeof item !== "object" || Array.isArray(item)) {
    throw new Error(`${name}: a document is not an object`);
  }
  const { kind, items } = item as { kind?: unknown; items?: unknown };
  if (typeof kind === "string" && kind.endsWith("List") && Array.isArray(items)) {
    return items.flatMap((inner) => flatten(inner, name));
  }
  return [item];
}

/** The Node object of a node of the topology. */
export function nodeObject(node: NodeSpec): object {
  const podCIDRs = node.podCIDRs.map(subnetOf);
  const addresses = node.addresses.map((cidr) => ({
    type: "InternalIP",
    address: addressOf(cidr),
  }));
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: node.name,
      labels: {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": process.arch === "arm64" ? "arm64" : "amd64",
        ...node.labels,
      },
      annotations: { ...node.annotations },
    },
    spec: podCIDRs.length === 0 ? {} : { podCIDR: podCIDRs[0], podCIDRs },
    status: {
      addresses: [...addresses, { type: "Hostname", address: node.name }],
      conditions: [{ type: "Ready", status: "True", reason: "KubeletReady" }],
    },
  };
}

/** Objects by field, everything else (lists too) as the later one says; nulls are dropped. */
export function merge(base: unknown, over: unknown): unknown {
  if (!isFields(base) || !isFields(over)) return over;
  const merged: Fields = { ...base };
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete merged[key];
    else merged[key] = merge(merged[key], value);
  }
  return merged;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
