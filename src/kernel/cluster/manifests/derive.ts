/** What controllers and kubelet would make from the objects of a folder: slices, namespaces, the node. */

import { deriveEndpointSlices, type SlicePod } from "../derive-slices.ts";
import type { EndpointSlice, Namespace, Node, NodeAddress, Pod, Service } from "../kinds.ts";
import { trim } from "../trim.ts";

/** Slices of the Services that have a selector and no slice of their own. */
export function derivedSlices(
  services: Iterable<Service>,
  pods: Iterable<Pod>,
  nodes: Iterable<Node>,
  given: Iterable<EndpointSlice>,
): readonly EndpointSlice[] {
  const served = new Set<string>();
  for (const slice of given) {
    if (slice.service !== undefined) served.add(`${slice.metadata.namespace}/${slice.service}`);
  }
  const byLabel = podsByLabel(pods);
  const zones = [...nodes];
  const slices: EndpointSlice[] = [];
  for (const service of services) {
    const { namespace, name } = service.metadata;
    const { selector } = service.spec;
    if (selector === undefined || served.has(`${namespace}/${name}`)) continue;
    const candidates = fewest(byLabel, namespace, selector);
    for (const derived of deriveEndpointSlices(service, candidates, zones)) {
      const slice = trim("endpointslices", derived);
      if (slice !== undefined) slices.push(slice);
    }
  }
  return slices;
}

/** By `namespace/label=value`, so that a Service is not compared with every pod of the cluster. */
function podsByLabel(pods: Iterable<Pod>): ReadonlyMap<string, readonly SlicePod[]> {
  const found = new Map<string, SlicePod[]>();
  for (const pod of pods) {
    const one = slicePod(pod);
    for (const [label, value] of Object.entries(pod.metadata.labels)) {
      const key = `${pod.metadata.namespace}/${label}=${value}`;
      const list = found.get(key);
      if (list === undefined) found.set(key, [one]);
      else list.push(one);
    }
  }
  return found;
}

function fewest(
  byLabel: ReadonlyMap<string, readonly SlicePod[]>,
  namespace: string,
  selector: Readonly<Record<string, string>>,
): readonly SlicePod[] {
  const lists = Object.entries(selector).map(([label, value]) =>
    byLabel.get(`${namespace}/${label}=${value}`) ?? []
  );
  return lists.reduce((least, list) => list.length < least.length ? list : least);
}

function slicePod({ metadata, spec, status }: Pod): SlicePod {
  return {
    metadata,
    spec: {
      nodeName: spec.nodeName,
      hostname: spec.hostname,
      subdomain: spec.subdomain,
      containers: [{ ports: spec.ports }],
    },
    status: {
      phase: status.phase ?? (status.podIPs.length > 0 ? "Running" : undefined),
      podIP: status.podIPs[0],
      podIPs: status.podIPs.map((ip) => ({ ip })),
      conditions: status.ready === undefined
        ? []
        : [{ type: "Ready", status: status.ready ? "True" : "False" }],
    },
  };
}

/** Namespaces that objects are in and that the folder does not hold; `default` always. */
export function derivedNamespaces(
  used: Iterable<string>,
  given: ReadonlySet<string>,
): readonly Namespace[] {
  return [...new Set(["default", ...used])]
    .filter((name) => name !== "" && !given.has(name))
    .flatMap((name) =>
      trim("namespaces", {
        metadata: { name, labels: { "kubernetes.io/metadata.name": name } },
        status: { phase: "Active" },
      }) ?? []
    );
}

/** The Node of this host, where the folder has none. */
export function derivedNode(name: string, addresses: readonly NodeAddress[]): Node | undefined {
  return trim("nodes", {
    metadata: { name, labels: { "kubernetes.io/hostname": name } },
    status: {
      addresses: [...addresses, { type: "Hostname", address: name }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  });
}
