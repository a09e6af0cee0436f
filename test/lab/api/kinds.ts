/** The kinds that the lab's API server serves. */

export interface Kind {
  /** "" for core. */
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** Has a `/status` subresource, so that writes to the object itself keep its status. */
  readonly status: boolean;
  /** Field selectors beside metadata.name and metadata.namespace. */
  readonly fields: readonly string[];
}

const POD_FIELDS = [
  "spec.nodeName",
  "spec.restartPolicy",
  "spec.schedulerName",
  "spec.serviceAccountName",
  "spec.hostNetwork",
  "status.phase",
  "status.podIP",
  "status.nominatedNodeName",
];
const EVENT_FIELDS = [
  "involvedObject.kind",
  "involvedObject.namespace",
  "involvedObject.name",
  "involvedObject.uid",
  "reason",
  "type",
];

type Row = readonly [plural: string, kind: string, scope: "n" | "c", fields?: readonly string[]];

const TABLE: Readonly<Record<string, readonly Row[]>> = {
  "v1": [
    ["services", "Service", "n", ["spec.clusterIP", "spec.type"]],
    ["pods", "Pod", "n", POD_FIELDS],
    ["nodes", "Node", "c", ["spec.unschedulable"]],
    ["namespaces", "Namespace", "c", ["status.phase"]],
    ["endpoints", "Endpoints", "n"],
    ["secrets", "Secret", "n", ["type"]],
    ["configmaps", "ConfigMap", "n"],
    ["events", "Event", "n", EVENT_FIELDS],
    ["serviceaccounts", "ServiceAccount", "n"],
  ],
  "discovery.k8s.io/v1": [["endpointslices", "EndpointSlice", "n"]],
  "networking.k8s.io/v1": [
    ["networkpolicies", "NetworkPolicy", "n"],
    ["servicecidrs", "ServiceCIDR", "c"],
    ["ipaddresses", "IPAddress", "c"],
    ["ingresses", "Ingress", "n"],
  ],
  "coordination.k8s.io/v1": [["leases", "Lease", "n"]],
  "events.k8s.io/v1": [["events", "Event", "n"]],
  "apps/v1": [
    ["daemonsets", "DaemonSet", "n"],
    ["deployments", "Deployment", "n"],
    ["statefulsets", "StatefulSet", "n"],
    ["replicasets", "ReplicaSet", "n"],
  ],
  "rbac.authorization.k8s.io/v1": [
    ["clusterroles", "ClusterRole", "c"],
    ["clusterrolebindings", "ClusterRoleBinding", "c"],
    ["roles", "Role", "n"],
    ["rolebindings", "RoleBinding", "n"],
  ],
  "apiextensions.k8s.io/v1": [["customresourcedefinitions", "CustomResourceDefinition", "c"]],
  "policy.networking.k8s.io/v1alpha2": [["clusternetworkpolicies", "ClusterNetworkPolicy", "c"]],
};

const WITH_STATUS = new Set([
  "services",
  "pods",
  "nodes",
  "namespaces",
  "ingresses",
  "servicecidrs",
  "daemonsets",
  "deployments",
  "statefulsets",
  "replicasets",
  "customresourcedefinitions",
  "clusternetworkpolicies",
]);

/** The kinds that are there without a CustomResourceDefinition. */
export const BUILT_IN: readonly Kind[] = Object.entries(TABLE).flatMap(([apiVersion, rows]) =>
  rows.map(([plural, kind, scope, fields]) => ({
    ...splitApiVersion(apiVersion),
    kind,
    plural,
    namespaced: scope === "n",
    status: WITH_STATUS.has(plural),
    fields: fields ?? [],
  }))
);

export function splitApiVersion(apiVersion: string): { group: string; version: string } {
  const slash = apiVersion.indexOf("/");
  return slash < 0
    ? { group: "", version: apiVersion }
    : { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

export function apiVersionOf(kind: Pick<Kind, "group" | "version">): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

interface Definition {
  readonly spec?: {
    readonly group?: string;
    readonly scope?: string;
    readonly names?: { readonly kind?: string; readonly plural?: string };
    readonly versions?: readonly {
      readonly name?: string;
      readonly subresources?: { readonly status?: unknown };
      readonly selectableFields?: readonly { readonly jsonPath?: string }[];
    }[];
  };
}

/** The kinds that a CustomResourceDefinition defines; none where it lacks a name. */
export function kindsOfDefinition(definition: object): readonly Kind[] {
  const { group, names, scope, versions } = (definition as Definition).spec ?? {};
  const { kind, plural } = names ?? {};
  if (group === undefined || kind === undefined || plural === undefined) return [];
  return (versions ?? []).map((version) => ({
    group,
    version: version.name ?? "v1",
    kind,
    plural,
    namespaced: scope !== "Cluster",
    status: version.subresources?.status !== undefined,
    fields: (version.selectableFields ?? []).map(({ jsonPath }) => (jsonPath ?? "").slice(1)),
  }));
}
