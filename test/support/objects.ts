/** Kubernetes objects as the stores hold them, with the API server's defaults. */

import type {
  Endpoint,
  EndpointPort,
  Metadata,
  ServicePort,
  ServiceSpec,
} from "../../src/kernel/cluster/kinds.ts";
import type { EndpointSlice, Node, Service } from "../../src/kernel/plugin.ts";

let uids = 0;

/** Metadata of "namespace/name", or of "name" for kinds without a namespace. */
export function metadata(key: string, changes: Partial<Metadata> = {}): Metadata {
  const [name = "", namespace = ""] = key.split("/").toReversed();
  uids++;
  return {
    name,
    namespace,
    uid: `uid-${uids}`,
    resourceVersion: String(uids),
    labels: {},
    annotations: {},
    creationTimestamp: "2026-01-01T00:00:00Z",
    ...changes,
  };
}

export type ServiceChanges = Partial<Omit<ServiceSpec, "ports">> & {
  readonly metadata?: Partial<Metadata>;
  readonly ports?: readonly Partial<ServicePort>[];
};

/** A Service on 10.96.0.1, TCP port 80 named "http", unless `changes` say otherwise. */
export function service(
  key: string,
  { metadata: meta = {}, ports = [{}], ...spec }: ServiceChanges = {},
): Service {
  return {
    metadata: metadata(key, meta),
    spec: {
      type: "ClusterIP",
      clusterIPs: ["10.96.0.1"],
      externalIPs: [],
      ports: ports.map((port) => ({
        name: "http",
        protocol: "TCP",
        port: 80,
        nodePort: 0,
        ...port,
      })),
      ipFamilies: [],
      internalTrafficPolicy: "Cluster",
      externalTrafficPolicy: "Cluster",
      sessionAffinity: "None",
      sessionAffinityTimeout: 10800,
      healthCheckNodePort: 0,
      loadBalancerSourceRanges: [],
      allocateLoadBalancerNodePorts: true,
      publishNotReadyAddresses: false,
      ...spec,
    },
    status: { loadBalancer: { ingress: [] } },
  };
}

/** An endpoint: an address, which is ready, or all of its fields. */
export type EndpointLike = string | (Partial<Endpoint> & { readonly addresses: readonly string[] });

export interface SliceChanges {
  readonly metadata?: Partial<Metadata>;
  readonly addressType?: string;
  readonly ports?: readonly Partial<EndpointPort>[];
  /** Name of the Service; the first part of the slice's name before the first dash if absent. */
  readonly service?: string;
}

/** A slice of IPv4 endpoints on port 8080 named "http", unless `changes` say otherwise. */
export function slice(
  key: string,
  endpoints: readonly EndpointLike[],
  changes: SliceChanges = {},
): EndpointSlice {
  const meta = metadata(key, changes.metadata);
  return {
    metadata: meta,
    addressType: changes.addressType ?? "IPv4",
    service: changes.service ?? meta.name.split("-")[0] ?? "",
    endpoints: endpoints.map((endpoint) =>
      typeof endpoint === "string"
        ? { addresses: [endpoint], conditions: { ready: true } }
        : { conditions: {}, ...endpoint }
    ),
    ports: (changes.ports ?? [{}]).map((port) => ({
      name: "http",
      protocol: "TCP",
      port: 8080,
      ...port,
    })),
  };
}

export interface NodeChanges {
  readonly metadata?: Partial<Metadata>;
  readonly addresses?: Node["status"]["addresses"];
  readonly podCIDRs?: readonly string[];
}

/** A node with one IPv4 address and one pod CIDR, unless `changes` say otherwise. */
export function node(name: string, changes: NodeChanges = {}): Node {
  return {
    metadata: metadata(name, changes.metadata),
    spec: { podCIDRs: changes.podCIDRs ?? ["10.244.1.0/24"], taints: [], unschedulable: false },
    status: {
      addresses: changes.addresses ?? [{ type: "InternalIP", address: "192.168.1.10" }],
      ready: true,
    },
  };
}
