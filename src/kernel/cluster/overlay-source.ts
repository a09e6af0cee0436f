/** A source's objects with some manifests on top, as if these were applied: for plans. What the API server would give is kept. */

import { equal } from "./equal.ts";
import { createStores } from "./gate.ts";
import {
  type EndpointSlice,
  keyOf,
  type KindName,
  type KubeObject,
  type Pod,
  type Service,
} from "./kinds.ts";
import { derivedSlices } from "./manifests/derive.ts";
import type { ManifestObject } from "./manifests/objects.ts";
import type { ClusterSource, KindState, Watch } from "./source.ts";
import type { Store, WritableStore } from "./store.ts";

export interface OverlaySource extends ClusterSource {
  /** What of the manifests is not known before they are applied, a text each. */
  notes(): readonly string[];
}

/** @param objects the manifests' objects; the last of a key counts */
export function overlaySource(
  base: ClusterSource,
  objects: readonly ManifestObject[],
): OverlaySource {
  const { stores, writable, open } = createStores();
  const watched = new Set<KindName>();
  const ends: (() => void)[] = [];
  const over = <T extends KubeObject>(kind: KindName): ReadonlyMap<string, T> =>
    new Map(
      objects.flatMap((one) => one.kind === kind ? [[one.key, one.object as unknown as T]] : []),
    );
  const services = over<Service>("services");
  // Endpoints of a new Service, or of one with another selector, are made by a controller out of pods.
  const derives = [...services.values()].some(({ spec }) => spec.selector !== undefined);

  function fill(kind: KindName): void {
    const below = base.stores[kind] as unknown as Store<KubeObject>;
    if (!below.synced) return;
    const merged = new Map([...below.values()].map((object) => [keyOf(object), object]));
    for (const [key, object] of over<KubeObject>(kind)) {
      merged.set(key, together(kind, object, merged.get(key)));
    }
    if (kind === "endpointslices" && derives) {
      const made = controllersSlices();
      if (made === undefined) return;
      for (const [key, object] of merged) {
        const service = "service" in object ? `${object.metadata.namespace}/${object.service}` : "";
        if (made.of.has(service) && !over("endpointslices").has(key)) merged.delete(key);
      }
      for (const slice of made.slices) merged.set(keyOf(slice), slice);
    }
    const store = writable[kind] as unknown as WritableStore<KubeObject>;
    store.replace(merged.values(), below.resourceVersion);
  }

  /** The slices of Services whose endpoints the manifests change; undefined while the pods are not known. */
  function controllersSlices() {
    const { nodes, pods, services: before, endpointslices } = base.stores;
    if (!before.synced || !pods.synced || !nodes.synced || !endpointslices.synced) return undefined;
    const changed = [...services].filter(([key, { spec }]) => {
      const old = before.get(key);
      return spec.selector !== undefined &&
        (old === undefined || !equal(old.spec.selector, spec.selector) ||
          !equal(old.spec.ports.map(target), spec.ports.map(target)));
    });
    const allPods = new Map([...pods.values()].map((pod) => [keyOf(pod), pod]));
    for (const [key, pod] of over<Pod>("pods")) {
      allPods.set(key, pod);
    }
    const given = over<EndpointSlice>("endpointslices").values();
    const slices = derivedSlices(
      changed.map(([, service]) => service),
      allPods.values(),
      nodes.values(),
      given,
    );
    return { of: new Set(changed.map(([key]) => key)), slices };
  }

  function target({ name, protocol, targetPort }: Service["spec"]["ports"][number]): unknown {
    return { name, protocol, targetPort };
  }

  return {
    stores,
    get state() {
      const kinds = base.state.kinds.map((state): KindState =>
        watched.has(state.kind)
          ? { ...state, synced: state.synced && writable[state.kind].synced }
          : state
      );
      return { ...base.state, kinds };
    },
    get unread() {
      return base.unread ?? [];
    },
    start(watches) {
      const more: readonly Watch[] = derives ? [{ kind: "pods" }, { kind: "nodes" }] : [];
      base.start([...watches, ...more]);
      for (const { kind } of [...watches, ...more]) {
        if (watched.has(kind)) continue;
        watched.add(kind);
        open(kind);
        const refill = (): void => {
          for (const each of watched) fill(each);
        };
        ends.push(base.stores[kind].subscribe(refill as never));
        refill();
      }
    },
    async stop() {
      for (const end of ends) end();
      await base.stop();
    },
    notes: () =>
      [...services].flatMap(([key, { spec }]) => {
        const old = watched.has("services") ? base.stores.services.get(key) : undefined;
        const isNew = spec.clusterIPs.length === 0 && spec.type !== "ExternalName" &&
          (old === undefined || old.spec.clusterIPs.length === 0);
        return isNew
          ? [
            `Service "${key}" gets its cluster IP when it is applied: what it will be is not in this plan`,
          ]
          : [];
      }),
  };
}

/** An object as the API server would have it after an update: what it has given before stays. */
function together(kind: KindName, object: KubeObject, before: KubeObject | undefined): KubeObject {
  if (before === undefined) return object;
  const { uid, resourceVersion, creationTimestamp } = before.metadata;
  const known = {
    uid,
    resourceVersion,
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
  };
  const metadata = { ...object.metadata, ...known };
  if (kind !== "services") return { ...object, metadata };
  const [next, old] = [object as Service, before as Service];
  const keepsPorts = next.spec.type === "NodePort" || next.spec.type === "LoadBalancer";
  const merged: Service = {
    ...next,
    metadata,
    spec: {
      ...next.spec,
      clusterIPs: next.spec.clusterIPs.length > 0 ? next.spec.clusterIPs : old.spec.clusterIPs,
      ports: next.spec.ports.map((port) => {
        const was = old.spec.ports.find(({ name, protocol }) =>
          name === port.name && protocol === port.protocol
        );
        return keepsPorts && port.nodePort === 0 && was !== undefined
          ? { ...port, nodePort: was.nodePort }
          : port;
      }),
    },
    status: next.status.loadBalancer.ingress.length > 0 ? next.status : old.status,
  };
  return merged;
}
