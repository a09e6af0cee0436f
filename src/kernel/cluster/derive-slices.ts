/**
 * EndpointSlices derived from a Service's selector, as kube-controller-manager's EndpointSlice
 * controller does it. Pure: used by `--manifests DIR`, where no controller runs, and by the lab.
 */

export interface SliceMetadata {
  readonly name: string;
  readonly namespace?: string | undefined;
  readonly uid?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly deletionTimestamp?: string | undefined;
}

export interface SliceService {
  readonly metadata: SliceMetadata;
  readonly spec?: {
    readonly type?: string | undefined;
    readonly selector?: Readonly<Record<string, string>> | undefined;
    readonly clusterIP?: string | undefined;
    readonly clusterIPs?: readonly string[] | undefined;
    readonly ipFamilies?: readonly string[] | undefined;
    readonly publishNotReadyAddresses?: boolean | undefined;
    readonly trafficDistribution?: string | undefined;
    readonly ports?:
      | readonly {
        readonly name?: string | undefined;
        readonly protocol?: string | undefined;
        readonly port: number;
        readonly targetPort?: number | string | undefined;
        readonly appProtocol?: string | undefined;
      }[]
      | undefined;
  } | undefined;
}

interface SliceContainer {
  readonly restartPolicy?: string | undefined;
  readonly ports?:
    | readonly {
      readonly name?: string | undefined;
      readonly containerPort: number;
      readonly protocol?: string | undefined;
    }[]
    | undefined;
}

export interface SlicePod {
  readonly metadata: SliceMetadata;
  readonly spec?: {
    readonly nodeName?: string | undefined;
    readonly hostname?: string | undefined;
    readonly subdomain?: string | undefined;
    readonly containers?: readonly SliceContainer[] | undefined;
    readonly initContainers?: readonly SliceContainer[] | undefined;
  } | undefined;
  readonly status?: {
    readonly phase?: string | undefined;
    readonly podIP?: string | undefined;
    readonly podIPs?: readonly { readonly ip: string }[] | undefined;
    readonly conditions?:
      | readonly { readonly type: string; readonly status: string }[]
      | undefined;
  } | undefined;
}

export interface SliceNode {
  readonly metadata: SliceMetadata;
}

export interface EndpointPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly appProtocol?: string;
}

export interface SliceEndpoint {
  readonly addresses: readonly string[];
  readonly conditions: {
    readonly ready: boolean;
    readonly serving: boolean;
    readonly terminating: boolean;
  };
  readonly hostname?: string;
  readonly nodeName?: string;
  readonly zone?: string;
  readonly targetRef: {
    readonly kind: "Pod";
    readonly namespace: string;
    readonly name: string;
    readonly uid?: string;
  };
  readonly hints?: {
    readonly forZones?: readonly { readonly name: string }[];
    readonly forNodes?: readonly { readonly name: string }[];
  };
}

export interface EndpointSlice {
  readonly apiVersion: "discovery.k8s.io/v1";
  readonly kind: "EndpointSlice";
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly ownerReferences: readonly {
      readonly apiVersion: "v1";
      readonly kind: "Service";
      readonly name: string;
      readonly uid?: string;
      readonly controller: true;
      readonly blockOwnerDeletion: true;
    }[];
  };
  readonly addressType: "IPv4" | "IPv6";
  readonly endpoints: readonly SliceEndpoint[];
  readonly ports: readonly EndpointPort[];
}

/** What the EndpointSlice controller writes in the label of this name, and so do we. */
export const MANAGED_BY_LABEL = "endpointslice.kubernetes.io/managed-by";
export const MANAGED_BY = "endpointslice-controller.k8s.io";
export const SERVICE_NAME_LABEL = "kubernetes.io/service-name";
const HEADLESS_LABEL = "service.kubernetes.io/headless";
const ZONE_LABEL = "topology.kubernetes.io/zone";

/** The EndpointSlice controller's `--max-endpoints-per-slice`. */
export const MAX_ENDPOINTS_PER_SLICE = 100;

type Family = "IPv4" | "IPv6";

/**
 * The EndpointSlices of one Service, in the order of their names' ordinals. Empty for a Service
 * without a selector and for type ExternalName, whose slices others write. A Service that selects no
 * pod has one slice without endpoints for each family, as in a real cluster. Names depend on the
 * Service, the family and, where a named target port resolves differently, on the port numbers, so
 * the same input gives the same slices, and a changed pod changes as few as possible.
 *
 * @param pods pods of any namespace; those that the Service does not select are passed over
 * @param nodes nodes by which endpoints get their zone
 */
export function deriveEndpointSlices(
  service: SliceService,
  pods: Iterable<SlicePod>,
  nodes: Iterable<SliceNode> = [],
): readonly EndpointSlice[] {
  const selector = Object.entries(service.spec?.selector ?? {});
  if (selector.length === 0 || service.spec?.type === "ExternalName") return [];
  const namespace = service.metadata.namespace ?? "default";
  const zones = zonesOf(nodes);
  const selected = [...pods]
    .filter((pod) =>
      (pod.metadata.namespace ?? "default") === namespace && isLive(pod) &&
      selector.every(([key, value]) => pod.metadata.labels?.[key] === value)
    )
    .sort((a, b) => a.metadata.name < b.metadata.name ? -1 : 1);
  return familiesOf(service).flatMap((family) => slicesOf(service, family, selected, zones));
}

function slicesOf(
  service: SliceService,
  family: Family,
  pods: readonly SlicePod[],
  zones: ReadonlyMap<string, string>,
): EndpointSlice[] {
  const named = service.spec?.ports?.some((port) => typeof port.targetPort === "string") ?? false;
  const groups = new Map<string, { ports: readonly EndpointPort[]; endpoints: SliceEndpoint[] }>();
  for (const pod of pods) {
    const addresses = addressesOf(pod, family);
    if (addresses.length === 0) continue;
    const ports = portsOf(service, pod);
    // Without named target ports every pod resolves alike; one constant key then keeps the slice's
    // name through changes of the Service's ports.
    const key = named
      ? ports.map((port) => `${port.name}=${port.port}/${port.protocol}`).join()
      : "";
    const group = groups.get(key) ?? { ports, endpoints: [] };
    groups.set(key, group);
    group.endpoints.push(endpointOf(service, pod, addresses, zones));
  }
  if (groups.size === 0) groups.set("", { ports: [], endpoints: [] });
  return [...groups].flatMap(([key, { ports, endpoints }]) =>
    chunks(endpoints, MAX_ENDPOINTS_PER_SLICE).map((part, index) =>
      sliceOf(service, family, `${family}/${key}/${index}`, part, ports)
    )
  );
}

function sliceOf(
  service: SliceService,
  family: Family,
  identity: string,
  endpoints: readonly SliceEndpoint[],
  ports: readonly EndpointPort[],
): EndpointSlice {
  const { name, namespace = "default", uid, labels } = service.metadata;
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-${hash(identity)}`,
      namespace,
      labels: {
        ...labels,
        [SERVICE_NAME_LABEL]: name,
        [MANAGED_BY_LABEL]: MANAGED_BY,
        ...(isHeadless(service) ? { [HEADLESS_LABEL]: "" } : {}),
      },
      ownerReferences: [{
        apiVersion: "v1",
        kind: "Service",
        name,
        ...(uid === undefined ? {} : { uid }),
        controller: true,
        blockOwnerDeletion: true,
      }],
    },
    addressType: family,
    endpoints,
    ports,
  };
}

function endpointOf(
  service: SliceService,
  pod: SlicePod,
  addresses: readonly string[],
  zones: ReadonlyMap<string, string>,
): SliceEndpoint {
  const { name, namespace = "default", uid, deletionTimestamp } = pod.metadata;
  const { nodeName, hostname, subdomain } = pod.spec ?? {};
  const serving = isReady(pod);
  const terminating = deletionTimestamp !== undefined && deletionTimestamp !== null;
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  const zone = nodeName === undefined ? undefined : zones.get(nodeName);
  const hints = hintsOf(service, ready, zone, nodeName);
  return {
    addresses,
    conditions: { ready, serving, terminating },
    ...(hostname && subdomain === service.metadata.name ? { hostname } : {}),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    targetRef: { kind: "Pod", namespace, name, ...(uid === undefined ? {} : { uid }) },
    ...(hints === undefined ? {} : { hints }),
  };
}

/** Hints for `spec.trafficDistribution` (KEP-2433, KEP-4444, KEP-3015). */
function hintsOf(
  service: SliceService,
  ready: boolean,
  zone: string | undefined,
  nodeName: string | undefined,
): SliceEndpoint["hints"] {
  const wanted = service.spec?.trafficDistribution;
  const zonal = wanted === "PreferClose" || wanted === "PreferSameZone";
  const local = wanted === "PreferSameNode";
  if (!ready || !(zonal || local)) return undefined;
  const forZones = zone === undefined ? {} : { forZones: [{ name: zone }] };
  const forNodes = local && nodeName !== undefined ? { forNodes: [{ name: nodeName }] } : {};
  const hints = { ...forZones, ...forNodes };
  return Object.keys(hints).length === 0 ? undefined : hints;
}

function portsOf(service: SliceService, pod: SlicePod): readonly EndpointPort[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const protocol = port.protocol ?? "TCP";
    const number = typeof port.targetPort === "string"
      ? containerPort(pod, port.targetPort, protocol)
      : port.targetPort || port.port;
    // A pod without that named port still is an endpoint, only not for this port.
    if (number === undefined) return [];
    const { appProtocol } = port;
    return [{
      name: port.name ?? "",
      port: number,
      protocol,
      ...(appProtocol === undefined ? {} : { appProtocol }),
    }];
  });
}

function containerPort(pod: SlicePod, name: string, protocol: string): number | undefined {
  const sidecars = (pod.spec?.initContainers ?? []).filter((c) => c.restartPolicy === "Always");
  for (const container of [...(pod.spec?.containers ?? []), ...sidecars]) {
    for (const port of container.ports ?? []) {
      if (port.name === name && (port.protocol ?? "TCP") === protocol) return port.containerPort;
    }
  }
  return undefined;
}

/** A pod that has ended holds no address: kubelet may have given it to another pod already. */
function isLive(pod: SlicePod): boolean {
  return pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed";
}

/** A running pod that says nothing of readiness counts as ready: manifests written by hand. */
function isReady(pod: SlicePod): boolean {
  const condition = pod.status?.conditions?.find(({ type }) => type === "Ready");
  return condition === undefined ? pod.status?.phase !== "Pending" : condition.status === "True";
}

function addressesOf(pod: SlicePod, family: Family): readonly string[] {
  const listed = pod.status?.podIPs?.map(({ ip }) => ip) ?? [];
  const all = listed.length > 0 ? listed : [pod.status?.podIP ?? ""];
  return all.filter((ip) => ip !== "" && familyOf(ip) === family);
}

/** A headless Service that names no family gets both, as from the EndpointSlice controller. */
function familiesOf(service: SliceService): readonly Family[] {
  const given = (service.spec?.ipFamilies ?? []).filter(isFamily);
  if (given.length > 0) return given;
  const listed = service.spec?.clusterIPs ?? [];
  const ips = (listed.length > 0 ? listed : [service.spec?.clusterIP ?? ""])
    .filter((ip) => ip !== "" && ip !== "None");
  return ips.length > 0 ? [...new Set(ips.map(familyOf))] : ["IPv4", "IPv6"];
}

function isFamily(text: string): text is Family {
  return text === "IPv4" || text === "IPv6";
}

function familyOf(ip: string): Family {
  return ip.includes(":") ? "IPv6" : "IPv4";
}

function isHeadless(service: SliceService): boolean {
  return service.spec?.clusterIP === "None" || service.spec?.clusterIPs?.[0] === "None";
}

function zonesOf(nodes: Iterable<SliceNode>): ReadonlyMap<string, string> {
  const zones = new Map<string, string>();
  for (const { metadata } of nodes) {
    const zone = metadata.labels?.[ZONE_LABEL];
    if (zone !== undefined) zones.set(metadata.name, zone);
  }
  return zones;
}

function chunks<T>(items: readonly T[], size: number): readonly (readonly T[])[] {
  if (items.length <= size) return [items];
  return Array.from(
    { length: Math.ceil(items.length / size) },
    (_, index) => items.slice(index * size, (index + 1) * size),
  );
}

/** FNV-1a, 32 bits, in base 36: short, stable, and safe in an object's name. */
function hash(text: string): string {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  return (value >>> 0).toString(36).padStart(7, "0");
}
