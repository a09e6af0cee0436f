/** The cluster of the firewall's benchmark, with what a real API server sends and the agent must throw away. */

type Fields = Readonly<Record<string, unknown>>;

export const NAMESPACES = 100;
/** Pods on the node that is measured: as many as kubelet allows. */
export const LOCAL = 110;
export const NODE = "node1";
const APPS = 20;

export function namespaceObject(i: number): Fields {
  return {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: `ns${i}`, labels: { env: i % 2 === 0 ? "prod" : "test" } },
  };
}

export function nodeObject(): Fields {
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: NODE },
    spec: { podCIDRs: ["10.244.0.0/24", "fd00:244::/64"] },
    status: { addresses: [{ type: "InternalIP", address: "192.168.50.11" }] },
  };
}

/** Name of pod `i` in its namespace. */
export function podName(i: number): string {
  return `app-7d4b9c6f5d-${i}`;
}

export function podNamespace(i: number): string {
  return `ns${i % NAMESPACES}`;
}

export function podAddresses(i: number): readonly [string, string] {
  const high = i >> 16;
  const low = (i & 0xffff).toString(16);
  return [
    `10.${high}.${i >> 8 & 255}.${i & 255}`,
    high === 0 ? `fd00::${low}` : `fd00::${high.toString(16)}:${low}`,
  ];
}

/**
 * Pod `i` with the label `app` that `generation` gives it.
 *
 * @param here whether it is on this node: the first ones are, so that each namespace counts here
 */
export function podObject(i: number, generation = 0, here = i < LOCAL): Fields {
  const [v4, v6] = podAddresses(i);
  const app = `app${(i * 7919 + generation) % APPS}`;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(i),
      namespace: podNamespace(i),
      labels: {
        app,
        tier: i % 3 === 0 ? "front" : "back",
        "pod-template-hash": "7d4b9c6f5d",
        "app.kubernetes.io/managed-by": "Helm",
      },
      annotations: { "kubernetes.io/config.source": "api" },
      ownerReferences: [{
        apiVersion: "apps/v1",
        kind: "ReplicaSet",
        name: "app-7d4b9c6f5d",
        uid: "5f0e1f3e-9a3c-4c3e-8f3e-000000000000",
        controller: true,
        blockOwnerDeletion: true,
      }],
      managedFields: ["kube-controller-manager", "kubelet"].map((manager) => ({
        manager,
        operation: "Update",
        apiVersion: "v1",
        time: "2025-01-01T00:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: {
          "f:metadata": { "f:labels": { ".": {}, "f:app": {}, "f:tier": {} } },
          "f:spec": { "f:containers": { 'k:{"name":"main"}': { ".": {}, "f:image": {} } } },
        },
      })),
    },
    spec: {
      nodeName: here ? NODE : `worker-${i % 500}`,
      serviceAccountName: "default",
      restartPolicy: "Always",
      containers: [{
        name: "main",
        image: "registry.example.org/team/app:1.2.3",
        ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }],
        resources: { requests: { cpu: "100m", memory: "128Mi" } },
        volumeMounts: [{ name: "token", mountPath: "/var/run/secrets", readOnly: true }],
      }],
    },
    status: {
      phase: "Running",
      hostIP: "192.168.50.11",
      podIP: v4,
      podIPs: [{ ip: v4 }, { ip: v6 }],
      conditions: ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map((type) => ({
        type,
        status: "True",
        lastTransitionTime: "2025-01-01T00:00:00Z",
      })),
      containerStatuses: [{ name: "main", ready: true, restartCount: 0, started: true }],
    },
  };
}

/** Policy `i`: both directions, peers of its own namespace or of labelled ones, a block, a numbered and a named port. */
export function policyObject(i: number, port = 80): Fields {
  const labelled = (app: number) => ({ matchLabels: { app: `app${app % APPS}` } });
  const peer = i % 10 === 0
    ? { namespaceSelector: { matchLabels: { env: "prod" } }, podSelector: labelled(i + 1) }
    : { podSelector: labelled(i + 1) };
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: policyName(i), namespace: podNamespace(i) },
    spec: {
      podSelector: labelled(i),
      policyTypes: ["Ingress", "Egress"],
      ingress: [{
        from: [peer, { ipBlock: { cidr: `172.${16 + i % 16}.0.0/16` } }],
        ports: [{ protocol: "TCP", port }],
      }],
      egress: [{ to: [peer], ports: [{ protocol: "TCP", port: "http" }] }],
    },
  };
}

export function policyName(i: number): string {
  return `policy${i}`;
}
