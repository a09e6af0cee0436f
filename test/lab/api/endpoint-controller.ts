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
import { BUILT_IN, type Kind } from "./kinds.ts";
import { createLabelIndex } from "./label-index.ts";
import type { Change, KubeObject, LabApi } from "./types.ts";
import { isObject } from "./values.ts";

/**
 * Keeps the slices right from now on, within each write, before it returns. Only slices that carry
 * the controller's managed-by label are written or deleted. Returns the function that ends it.
 */
export function startEndpointController(api: LabApi): () => void {
  const selecting = new Map<string, SliceService>();
  /** Services by the first pair of their selector: a changed pod asks those whose pair it has. */
  const services = createLabelIndex<SliceService>();
  const pods = createLabelIndex<SlicePod>();
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
    const service = object as unknown as SliceService;
    const [first] = Object.entries(service.spec?.selector ?? {});
    const gone = deleted || first === undefined;
    services.set(namespace, name, gone ? undefined : Object.fromEntries([first]), service);
    if (gone) selecting.delete(`${namespace}/${name}`);
    else selecting.set(`${namespace}/${name}`, service);
    dirty.add(`${namespace}/${name}`);
  }

  function podSeen(
    deleted: boolean,
    namespace: string,
    name: string,
    object: KubeObject,
    old: KubeObject | undefined,
  ): void {
    const labels = object.metadata?.labels ?? {};
    pods.set(namespace, name, deleted ? undefined : labels, object as unknown as SlicePod);
    for (const either of [labels, old?.metadata?.labels ?? {}]) {
      for (const [service, { spec }] of services.withAny(namespace, either)) {
        const selected = Object.entries(spec?.selector ?? {}).every(([key, value]) =>
          either[key] === value
        );
        if (selected) dirty.add(`${namespace}/${service}`);
      }
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
    for (const key of selecting.keys()) dirty.add(key);
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
    const namespace = key.slice(0, key.indexOf("/"));
    const service = selecting.get(key);
    const candidates = pods.candidates(namespace, service?.spec?.selector ?? {});
    const desired = service === undefined
      ? []
      : deriveEndpointSlices(service, candidates.values(), nodes.values());
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

  for (const name of ["Node", "Pod", "Service", "EndpointSlice"]) {
    for (const object of api.list(name)) seen({ type: "ADDED", kind: kindOf(name), object });
  }
  settle();
  const stops = [api.on(seen), api.onSettled(settle)];
  return () => stops.forEach((stop) => stop());
}

function kindOf(name: string): Kind {
  const found = BUILT_IN.find(({ kind }) => kind === name);
  if (found === undefined) throw new Error(`No kind "${name}" is built in`);
  return found;
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
