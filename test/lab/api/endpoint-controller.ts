/** The lab's EndpointSlice controller: slices of Services with a selector, from Pods and Nodes. */

import {
  deriveEndpointSlices,
  MANAGED_BY,
  MANAGED_BY_LABEL,
  SERVICE_NAME_LABEL,
  type SliceNode,
  type SlicePod,
  type SliceService,
} from "../../../src/kernel/cluster/derive-slices.ts";
import type { Change, KubeObject, LabApi } from "./types.ts";
import { isObject, objectOf } from "./values.ts";

interface Selecting {
  readonly service: SliceService;
  readonly selector: readonly (readonly [string, unknown])[];
}

/**
 * Keeps the slices right from now on, within each write, before it returns. Only slices that carry
 * the controller's managed-by label are written or deleted. Returns the function that ends it.
 */
export function startEndpointController(api: LabApi): () => void {
  /** Services with a selector, by namespace and name: a changed pod asks for those of one namespace. */
  const services = new Map<string, Map<string, Selecting>>();
  const pods = new Map<string, Map<string, SlicePod>>();
  const nodes = new Map<string, SliceNode>();
  /** Names of the slices that are ours, by `namespace/service`. */
  const owned = new Map<string, Set<string>>();
  const dirty = new Set<string>();

  function seen({ type, kind, object, old }: Change): void {
    const { name = "", namespace = "" } = object.metadata ?? {};
    if (kind.group === "discovery.k8s.io") sliceSeen(type === "DELETED", object);
    else if (kind.group !== "") return;
    else if (kind.kind === "Service") serviceSeen(type === "DELETED", namespace, name, object);
    else if (kind.kind === "Pod") podSeen(type === "DELETED", namespace, name, object, old);
    else if (kind.kind === "Node") nodeSeen(type === "DELETED", name, object, old);
  }

  function serviceSeen(deleted: boolean, namespace: string, name: string, object: KubeObject) {
    const selector = objectOf(objectOf(object.spec).selector);
    const within = groupOf(services, namespace);
    if (deleted || Object.keys(selector).length === 0) within.delete(name);
    else {
      const service = object as unknown as SliceService;
      within.set(name, { service, selector: Object.entries(selector) });
    }
    dirty.add(`${namespace}/${name}`);
  }

  function podSeen(
    deleted: boolean,
    namespace: string,
    name: string,
    object: KubeObject,
    old: KubeObject | undefined,
  ): void {
    const within = groupOf(pods, namespace);
    if (deleted) within.delete(name);
    else within.set(name, object as unknown as SlicePod);
    for (const [service, { selector }] of services.get(namespace) ?? []) {
      const selected = (pod: KubeObject | undefined) =>
        pod !== undefined &&
        selector.every(([key, value]) => pod.metadata?.labels?.[key] === value);
      if (selected(object) || selected(old)) dirty.add(`${namespace}/${service}`);
    }
  }

  function nodeSeen(
    deleted: boolean,
    name: string,
    object: KubeObject,
    old: KubeObject | undefined,
  ): void {
    if (deleted) nodes.delete(name);
    else nodes.set(name, object as unknown as SliceNode);
    const zone = (node: KubeObject | undefined) =>
      node?.metadata?.labels?.["topology.kubernetes.io/zone"];
    if (!deleted && zone(object) === zone(old)) return;
    for (const [namespace, within] of services) {
      for (const service of within.keys()) dirty.add(`${namespace}/${service}`);
    }
  }

  /** A slice of ours that another changed or deleted is put right again. */
  function sliceSeen(deleted: boolean, object: KubeObject): void {
    const { name = "", namespace = "", labels = {} } = object.metadata ?? {};
    const service = labels[SERVICE_NAME_LABEL];
    if (service === undefined || labels[MANAGED_BY_LABEL] !== MANAGED_BY) return;
    const key = `${namespace}/${service}`;
    const names = owned.get(key) ?? new Set();
    owned.set(key, names);
    if (deleted) names.delete(name);
    else names.add(name);
    dirty.add(key);
  }

  function settle(): void {
    while (dirty.size > 0) {
      const keys = [...dirty];
      dirty.clear();
      for (const key of keys) reconcile(key);
    }
  }

  function reconcile(key: string): void {
    const slash = key.indexOf("/");
    const namespace = key.slice(0, slash);
    const selecting = services.get(namespace)?.get(key.slice(slash + 1));
    const desired = selecting === undefined ? [] : deriveEndpointSlices(
      selecting.service,
      pods.get(namespace)?.values() ?? [],
      nodes.values(),
    );
    const names = new Set(desired.map(({ metadata }) => metadata.name));
    for (const slice of desired) {
      const identity = {
        apiVersion: slice.apiVersion,
        kind: slice.kind,
        namespace,
        name: slice.metadata.name,
      };
      if (!covers(api.get(identity), slice)) api.apply(slice);
    }
    for (const name of owned.get(key) ?? []) {
      if (names.has(name)) continue;
      api.delete({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", namespace, name });
    }
  }

  const change = (type: Change["type"], object: KubeObject, kind: Change["kind"]) =>
    seen({ type, object, kind });
  for (const name of ["Node", "Pod", "Service", "EndpointSlice"]) {
    const group = name === "EndpointSlice" ? "discovery.k8s.io" : "";
    const kind = {
      group,
      version: "v1",
      kind: name,
      plural: "",
      namespaced: true,
      status: false,
      fields: [],
    };
    for (const object of api.list(name)) change("ADDED", object, kind);
  }
  settle();
  const stops = [api.on(seen), api.onSettled(settle)];
  return () => stops.forEach((stop) => stop());
}

function groupOf<T>(groups: Map<string, Map<string, T>>, namespace: string): Map<string, T> {
  const group = groups.get(namespace) ?? new Map<string, T>();
  groups.set(namespace, group);
  return group;
}

/** The stored slice says all that is desired; what the server added to it does not count. */
function covers(stored: unknown, desired: unknown): boolean {
  if (Array.isArray(desired)) {
    return Array.isArray(stored) && stored.length === desired.length &&
      desired.every((item, index) => covers(stored[index], item));
  }
  if (!isObject(desired)) return stored === desired;
  return isObject(stored) &&
    Object.entries(desired).every(([key, value]) => covers(stored[key], value));
}
