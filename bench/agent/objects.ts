/**
 * The objects of the benchmarks: N Services with five endpoints each, if no other number is asked for, as a real API server would send them, with all that the
 * agent has no use for and must trim (managedFields, owner references, target references).
 */

export const ENDPOINTS = 5;
/** Covers all cluster IPs: `--service-cluster-ip-range`. */
export const RANGE = "10.96.0.0/16";

type Fields = Readonly<Record<string, unknown>>;

function dotted(address: number): string {
  return `${address >>> 24}.${address >>> 16 & 255}.${address >>> 8 & 255}.${address & 255}`;
}

function managed(manager: string, fields: Fields): readonly Fields[] {
  return [{
    manager,
    operation: "Update",
    apiVersion: "v1",
    time: "2025-01-01T00:00:00Z",
    fieldsType: "FieldsV1",
    fieldsV1: fields,
  }];
}

/** Twenty namespaces of a large cluster. */
function namespaceOf(index: number): string {
  return `team-${index % 20}`;
}

export function nameOf(index: number): string {
  return `service-${index}`;
}

export function clusterIpOf(index: number): string {
  return dotted(0x0a600100 + index);
}

export function service(index: number): Fields {
  const app = nameOf(index);
  const clusterIP = clusterIpOf(index);
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: app,
      namespace: namespaceOf(index),
      labels: { app, "app.kubernetes.io/managed-by": "Helm" },
      annotations: { "meta.helm.sh/release-name": app },
      managedFields: managed("helm", {
        "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
        "f:spec": { "f:ports": { ".": {}, 'k:{"port":80}': { ".": {}, "f:port": {} } } },
      }),
    },
    spec: {
      type: "ClusterIP",
      clusterIP,
      clusterIPs: [clusterIP],
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      ports: [{ name: "http", protocol: "TCP", port: 80, targetPort: 8080 }],
      sessionAffinity: "None",
      internalTrafficPolicy: "Cluster",
    },
    status: { loadBalancer: {} },
  };
}

/** `generation` varies the last endpoint's address, and nothing else. */
export function slice(index: number, generation = 0, endpoints = ENDPOINTS): Fields {
  const app = nameOf(index);
  const namespace = namespaceOf(index);
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${app}-abcde`,
      generateName: `${app}-`,
      namespace,
      labels: {
        app,
        "app.kubernetes.io/managed-by": "Helm",
        // Not the name of the usual controller, which the lab plays: it would delete slices that it has not made.
        "endpointslice.kubernetes.io/managed-by": "bench.routelet.dev",
        "kubernetes.io/service-name": app,
      },
      annotations: { "endpoints.kubernetes.io/last-change-trigger-time": "2025-01-01T00:00:00Z" },
      ownerReferences: [{
        apiVersion: "v1",
        kind: "Service",
        name: app,
        uid: "5f0e1f3e-9a3c-4c3e-8f3e-000000000000",
        controller: true,
        blockOwnerDeletion: true,
      }],
      managedFields: managed("kube-controller-manager", {
        "f:addressType": {},
        "f:endpoints": {},
        "f:metadata": { "f:labels": { ".": {}, "f:kubernetes.io/service-name": {} } },
        "f:ports": {},
      }),
    },
    addressType: "IPv4",
    endpoints: Array.from(
      { length: endpoints },
      (_, k) => endpoint(index, k, { generation, endpoints }),
    ),
    ports: [{ name: "http", protocol: "TCP", port: 8080 }],
  };
}

function endpoint(
  index: number,
  k: number,
  { generation, endpoints }: { readonly generation: number; readonly endpoints: number },
): Fields {
  const moved = k === endpoints - 1 ? generation : 0;
  // 65,000 pod addresses; those of generations lie beside them.
  const pod = (index * endpoints + k) % 65_000;
  const name = `${nameOf(index)}-${(7919 * pod) % 99_991}-${k}`;
  return {
    addresses: [dotted((moved === 0 ? 0x0a800001 : 0x0aa00001 + moved * 256) + pod)],
    conditions: { ready: true, serving: true, terminating: false },
    nodeName: `worker-${pod % 500}`,
    zone: `zone-${pod % 3}`,
    targetRef: {
      kind: "Pod",
      name,
      namespace: namespaceOf(index),
      uid: `0b7e1f3e-9a3c-4c3e-8f3e-${String(pod).padStart(12, "0")}`,
    },
  };
}

/** All of them as one List, or those from one Service to before another. */
export function cluster(to: number, endpoints = ENDPOINTS, from = 0): Fields {
  return list(to, (index) => [service(index), slice(index, 0, endpoints)], from);
}

/** The slices of the first Services, each with one endpoint moved, as one List. */
export function burst(changes: number, generation: number, endpoints = ENDPOINTS): Fields {
  return list(changes, (index) => [slice(index, generation, endpoints)]);
}

function list(
  to: number,
  itemsOf: (index: number) => readonly Fields[],
  from = 0,
): Fields {
  const indexes = Array.from({ length: to - from }, (_, index) => from + index);
  return { apiVersion: "v1", kind: "List", items: indexes.flatMap(itemsOf) };
}

/** The path of a slice in the API. */
export function slicePath(index: number): string {
  return `/apis/discovery.k8s.io/v1/namespaces/${namespaceOf(index)}/endpointslices/${
    nameOf(index)
  }-abcde`;
}
