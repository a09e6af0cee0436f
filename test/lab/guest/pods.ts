/** What a Pod object means to the lab: where it runs and what it serves. */

import { isAddress } from "../topology/cidr.ts";
import type { KubeObject } from "../api/types.ts";
import type { ServedPort } from "./hands.ts";

export interface PodPlan {
  /** `namespace/name`. */
  readonly key: string;
  /** Network namespace of the pod; of its node where it has none of its own. */
  readonly namespace: string;
  readonly node: string;
  readonly hostNetwork: boolean;
  readonly addresses: readonly string[];
  readonly ports: readonly ServedPort[];
}

type Fields = Readonly<Record<string, unknown>>;

/** `default` and `web` → `pod-default-web`. */
export function podNamespace(key: string): string {
  return `pod-${key.replace("/", "-")}`;
}

export function podKey(object: KubeObject): string {
  return `${object.metadata?.namespace ?? "default"}/${object.metadata?.name ?? ""}`;
}

/** Undefined: the pod does not run (yet, or any more), or not on a node of the lab. */
export function planPod(
  object: KubeObject,
  isNode: (name: string) => boolean,
): PodPlan | undefined {
  const spec = fields(object.spec);
  const status = fields(object.status);
  const node = spec.nodeName;
  if (typeof node !== "string" || !isNode(node)) return undefined;
  if (status.phase === "Succeeded" || status.phase === "Failed") return undefined;
  const key = podKey(object);
  const ports = items(spec.containers).flatMap((container) => items(container.ports)).flatMap(
    (port): readonly ServedPort[] =>
      typeof port.containerPort === "number"
        ? [{ port: port.containerPort, protocol: String(port.protocol ?? "TCP").toUpperCase() }]
        : [],
  );
  const distinct = [
    ...new Map(ports.map((port) => [`${port.protocol}${port.port}`, port])).values(),
  ];
  if (spec.hostNetwork === true) {
    const namespace = `node-${node}`;
    return { key, namespace, node, hostNetwork: true, addresses: [], ports: distinct };
  }
  const addresses = [
    ...new Set([status.podIP, ...items(status.podIPs).map(({ ip }) => ip)]),
  ].filter((address): address is string => typeof address === "string" && isAddress(address));
  if (addresses.length === 0) return undefined;
  const namespace = podNamespace(key);
  return { key, namespace, node, hostNetwork: false, addresses, ports: distinct };
}

/** Equal texts: nothing to do. */
export function signature(plan: PodPlan): string {
  return JSON.stringify([plan.node, plan.hostNetwork, plan.addresses, plan.ports]);
}

function fields(value: unknown): Fields {
  return typeof value === "object" && value !== null ? value as Fields : {};
}

function items(value: unknown): readonly Fields[] {
  return Array.isArray(value) ? value.map(fields) : [];
}
