/**
 * The objects that plugins read, trimmed to the fields they read. Written by hand: seven kinds need no
 * generator, and what is not here costs no memory.
 *
 * Lists are always there, and empty where the API has none; all else is absent where the API has no
 * value or one of another type. Objects are deeply immutable and shared: many pods hold the very same
 * `labels`. An object keeps its identity for as long as nothing in it changes, so that results may be
 * memoised in a `WeakMap`.
 */

export type KindName =
  | "services"
  | "endpointslices"
  | "nodes"
  | "pods"
  | "namespaces"
  | "networkpolicies"
  | "servicecidrs";

export type Labels = Readonly<Record<string, string>>;

export interface Metadata {
  readonly name: string;
  /** "" for kinds without a namespace. */
  readonly namespace: string;
  readonly uid: string;
  /**
   * Of the last change to a field that is kept here. A later change elsewhere in the object (a node's
   * heartbeat) does not replace the object, so whoever writes must read it afresh.
   */
  readonly resourceVersion: string;
  readonly labels: Labels;
  /** Only those that some plugin may read: see `ANNOTATION_PREFIXES`. */
  readonly annotations: Labels;
  /** RFC 3339. */
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
}

export interface KubeObject {
  readonly metadata: Metadata;
}

export interface ServicePort {
  /** "" where the API has none, which is legal for a single port. */
  readonly name: string;
  /** TCP, UDP or SCTP; TCP where the API has none. */
  readonly protocol: string;
  /** 0 to 65535 as the API has it, not validated beyond being an integer. */
  readonly port: number;
  /** 0 where the port has none. */
  readonly nodePort: number;
  readonly targetPort?: number | string;
  readonly appProtocol?: string;
}

export interface LoadBalancerIngress {
  readonly ip?: string;
  readonly hostname?: string;
  /** VIP or Proxy (KEP-1860); absent means VIP. */
  readonly ipMode?: string;
  /** What a load balancer says of single ports; absent where it says nothing. */
  readonly ports?: readonly {
    readonly port: number;
    readonly protocol: string;
    readonly error?: string;
  }[];
}

export interface ServiceSpec {
  /** ClusterIP where the API has none. */
  readonly type: string;
  readonly clusterIP?: string;
  /** `clusterIPs` and, where they lack it, `clusterIP`. A headless Service has `["None"]`. */
  readonly clusterIPs: readonly string[];
  readonly externalIPs: readonly string[];
  readonly ports: readonly ServicePort[];
  /** Absent: the endpoints are somebody else's. */
  readonly selector?: Labels;
  readonly ipFamilies: readonly string[];
  readonly ipFamilyPolicy?: string;
  /** Cluster where the API has none. */
  readonly internalTrafficPolicy: string;
  /** Cluster where the API has none. */
  readonly externalTrafficPolicy: string;
  readonly trafficDistribution?: string;
  /** None where the API has none. */
  readonly sessionAffinity: string;
  /** Seconds of `sessionAffinityConfig.clientIP`; 10800 where the API has none. */
  readonly sessionAffinityTimeout: number;
  /** 0: no health check. */
  readonly healthCheckNodePort: number;
  readonly loadBalancerClass?: string;
  readonly loadBalancerIP?: string;
  readonly loadBalancerSourceRanges: readonly string[];
  readonly allocateLoadBalancerNodePorts: boolean;
  readonly publishNotReadyAddresses: boolean;
}

export interface Service extends KubeObject {
  readonly spec: ServiceSpec;
  readonly status: { readonly loadBalancer: { readonly ingress: readonly LoadBalancerIngress[] } };
}

/** Verbatim: absent `ready` and `serving` mean true, absent `terminating` means false. */
export interface EndpointConditions {
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

export interface Endpoint {
  readonly addresses: readonly string[];
  readonly conditions: EndpointConditions;
  readonly nodeName?: string;
  readonly zone?: string;
  readonly hints?: {
    readonly forZones: readonly string[];
    readonly forNodes: readonly string[];
  };
}

export interface EndpointPort {
  /** "" where the API has none. Matches the name of the Service's port. */
  readonly name: string;
  readonly protocol: string;
  /** Absent: the port is to be ignored. */
  readonly port?: number;
  readonly appProtocol?: string;
}

export interface EndpointSlice extends KubeObject {
  /** IPv4, IPv6, or what is to be ignored (FQDN). */
  readonly addressType: string;
  /**
   * Name of the Service, in the same namespace: the label `kubernetes.io/service-name`, else the only
   * owner of kind Service or of none, else `generateName` without its dash. Absent: nobody's slice.
   */
  readonly service?: string;
  readonly endpoints: readonly Endpoint[];
  readonly ports: readonly EndpointPort[];
}

export interface NodeAddress {
  /** InternalIP, ExternalIP, Hostname, InternalDNS, ExternalDNS. */
  readonly type: string;
  readonly address: string;
}

export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}

export interface Node extends KubeObject {
  readonly spec: {
    readonly podCIDR?: string;
    /** `podCIDRs` and, where they lack it, `podCIDR`. */
    readonly podCIDRs: readonly string[];
    /** What the cloud calls this machine: "aws:///eu-west-1a/i-0123". */
    readonly providerID?: string;
    readonly taints: readonly Taint[];
    readonly unschedulable: boolean;
  };
  readonly status: {
    /** In the order of the API: the first InternalIP is the primary address. */
    readonly addresses: readonly NodeAddress[];
    /** The condition Ready; absent where the node has none. */
    readonly ready?: boolean;
  };
}

export interface ContainerPort {
  /** "" where the API has none. */
  readonly name: string;
  readonly protocol: string;
  readonly containerPort: number;
  /** Port of the host that leads to this one; absent: none. */
  readonly hostPort?: number;
  /** The address of the host that has it; absent: all. */
  readonly hostIP?: string;
}

export interface Pod extends KubeObject {
  readonly spec: {
    readonly nodeName?: string;
    readonly hostNetwork: boolean;
    readonly hostname?: string;
    readonly subdomain?: string;
    /** Seconds; absent where the API has none (30). */
    readonly terminationGracePeriodSeconds?: number;
    /** Ports of all containers and of sidecars (init containers that restart always), in order. */
    readonly ports: readonly ContainerPort[];
  };
  readonly status: {
    readonly phase?: string;
    /** `podIPs` and, where they lack it, `podIP` first. */
    readonly podIPs: readonly string[];
    readonly hostIP?: string;
    /** The condition Ready; absent where the pod has none. */
    readonly ready?: boolean;
    /** As the runtime names them (`containerd://…`), containers only, in the order of the API. */
    readonly containerIDs: readonly string[];
  };
}

export interface Namespace extends KubeObject {
  readonly status: { readonly phase?: string };
}

export interface LabelSelectorRequirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

/** Both empty: selects all. */
export interface LabelSelector {
  readonly matchLabels: Labels;
  readonly matchExpressions: readonly LabelSelectorRequirement[];
}

export interface IPBlock {
  readonly cidr: string;
  readonly except: readonly string[];
}

export interface NetworkPolicyPeer {
  readonly podSelector?: LabelSelector;
  readonly namespaceSelector?: LabelSelector;
  readonly ipBlock?: IPBlock;
}

export interface NetworkPolicyPort {
  /** TCP where the API has none. */
  readonly protocol: string;
  /** A number, a name, or absent: all ports of the protocol. */
  readonly port?: number | string;
  readonly endPort?: number;
}

/** Empty `peers`: everyone. Empty `ports`: all. */
export interface NetworkPolicyRule {
  /** `from` of an ingress rule, `to` of an egress rule. */
  readonly peers: readonly NetworkPolicyPeer[];
  readonly ports: readonly NetworkPolicyPort[];
}

/**
 * A part that cannot be understood never opens anything: a rule with such a part is left out, a policy
 * with such a selector selects every pod of its namespace and has no rules.
 */
export interface NetworkPolicy extends KubeObject {
  readonly spec: {
    readonly podSelector: LabelSelector;
    /** Never empty; where the API has none: Ingress, and Egress if there are egress rules. */
    readonly policyTypes: readonly ("Ingress" | "Egress")[];
    readonly ingress: readonly NetworkPolicyRule[];
    readonly egress: readonly NetworkPolicyRule[];
  };
}

/** Ranges of which cluster IPs are given, beside those that the API server was started with (KEP-1880). */
export interface ServiceCIDR extends KubeObject {
  /** One a family, as the API has them. */
  readonly spec: { readonly cidrs: readonly string[] };
}

export interface KindTypes {
  readonly services: Service;
  readonly endpointslices: EndpointSlice;
  readonly nodes: Node;
  readonly pods: Pod;
  readonly namespaces: Namespace;
  readonly networkpolicies: NetworkPolicy;
  readonly servicecidrs: ServiceCIDR;
}

export interface Kind {
  readonly name: KindName;
  readonly kind: string;
  readonly apiVersion: string;
  readonly namespaced: boolean;
  /** Path of the collection over all namespaces. */
  readonly path: string;
  /** API group for RBAC's messages; "" is core. */
  readonly group: string;
  /**
   * Set where the agent works without the kind: a server that does not serve it, or does not let us read it, counts as one
   * that holds none.
   */
  readonly optional?: true;
  /** API versions with the same fields, the newest first, for servers that do not serve `apiVersion`. */
  readonly older?: readonly { readonly apiVersion: string; readonly path: string }[];
}

function kind(name: KindName, kind: string, apiVersion: string, namespaced = true): Kind {
  const [group = ""] = apiVersion.includes("/") ? apiVersion.split("/") : [];
  return { name, kind, apiVersion, namespaced, path: pathOf(name, apiVersion), group };
}

function pathOf(name: KindName, apiVersion: string): string {
  return `${apiVersion.includes("/") ? "/apis" : "/api"}/${apiVersion}/${name}`;
}

export const KINDS: Readonly<Record<KindName, Kind>> = {
  services: kind("services", "Service", "v1"),
  endpointslices: kind("endpointslices", "EndpointSlice", "discovery.k8s.io/v1"),
  nodes: kind("nodes", "Node", "v1", false),
  pods: kind("pods", "Pod", "v1"),
  namespaces: kind("namespaces", "Namespace", "v1", false),
  networkpolicies: kind("networkpolicies", "NetworkPolicy", "networking.k8s.io/v1"),
  servicecidrs: {
    ...kind("servicecidrs", "ServiceCIDR", "networking.k8s.io/v1", false),
    optional: true,
    older: ["networking.k8s.io/v1beta1"].map((apiVersion) => ({
      apiVersion,
      path: pathOf("servicecidrs", apiVersion),
    })),
  },
};

export const KIND_NAMES = Object.keys(KINDS) as readonly KindName[];

/** Annotations with other prefixes are dropped: they are most of many objects' size. */
export const ANNOTATION_PREFIXES: readonly string[] = [
  "kube-router.io/",
  "routelet.io/",
  "net.beta.kubernetes.io/",
  "service.kubernetes.io/",
  "endpoints.kubernetes.io/",
  "metallb.io/",
];

/** Key of an object in its store: "namespace/name", or "name" for kinds without a namespace. */
export function keyOf({ metadata }: KubeObject): string {
  return metadata.namespace === "" ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}
