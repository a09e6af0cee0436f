/**
 * From the API's JSON to the objects of kinds.ts. Never throws: a field of the wrong type is reported
 * and absent.
 */

import { MANAGED_BY_LABEL, SERVICE_NAME_LABEL } from "./derive-slices.ts";
import {
  type Fields,
  fieldsOf,
  flag,
  has,
  integer,
  integerOrText,
  labels,
  object,
  pathOf,
  type Problem,
  records,
  text,
  texts,
} from "./fields.ts";
import {
  ANNOTATION_PREFIXES,
  type ContainerPort,
  type Endpoint,
  type EndpointConditions,
  type EndpointPort,
  type EndpointSlice,
  type KindName,
  type KindTypes,
  type LoadBalancerIngress,
  type Metadata,
  type Namespace,
  type Node,
  type Pod,
  type Service,
  type ServicePort,
} from "./kinds.ts";
import { NO_LABELS, NO_LIST, shareList, shareText, shareValue } from "./share.ts";
import { trimNetworkPolicy } from "./trim-policy.ts";

const ignore: Problem = () => {};

/**
 * The trimmed object, or undefined where it has no name.
 *
 * @param problem told of every field that has the wrong type
 */
export function trim<K extends KindName>(
  kind: K,
  raw: unknown,
  problem: Problem = ignore,
): KindTypes[K] | undefined {
  const fields = fieldsOf(raw, problem);
  const metadata = trimMetadata(fields, kind);
  if (metadata === undefined) return undefined;
  // The table's types say the same as this cast, which TypeScript cannot follow through an index.
  return (TRIMMERS[kind] as (fields: Fields, metadata: Metadata) => KindTypes[K])(fields, metadata);
}

const TRIMMERS: {
  readonly [K in KindName]: (fields: Fields, metadata: Metadata) => KindTypes[K];
} = {
  services: trimService,
  endpointslices: trimSlice,
  nodes: trimNode,
  pods: trimPod,
  namespaces: trimNamespace,
  networkpolicies: trimNetworkPolicy,
  servicecidrs: (fields, metadata) => ({
    metadata,
    spec: { cidrs: texts(object(fields, "spec"), "cidrs") },
  }),
};

function trimMetadata(fields: Fields, kind: KindName): Metadata | undefined {
  const raw = object(fields, "metadata");
  const name = text(raw, "name");
  if (name === undefined || name === "") {
    if (name === "" || !has(raw, "name")) raw.problem("metadata.name", "is missing");
    return undefined;
  }
  const found = kind === "endpointslices"
    ? labels(raw, "labels", isSliceLabel)
    : labels(raw, "labels");
  const creation = shared(text(raw, "creationTimestamp"));
  const deletion = text(raw, "deletionTimestamp");
  // A literal with all that most objects have: one that grows is twice as large.
  const most = {
    name,
    namespace: shareText(text(raw, "namespace") ?? ""),
    uid: text(raw, "uid") ?? "",
    resourceVersion: text(raw, "resourceVersion") ?? "",
    labels: found === NO_LABELS ? NO_LABELS : shareValue(found),
    annotations: labels(raw, "annotations", isKeptAnnotation),
    creationTimestamp: creation,
  };
  return creation === undefined || deletion !== undefined
    ? withTimes(most, creation, deletion)
    // Not undefined here, which TypeScript does not follow into the literal.
    : most as Metadata;
}

/** Metadata of the few objects that lack a time of creation or have one of deletion. */
function withTimes(
  fields: Omit<Metadata, "creationTimestamp">,
  creation: string | undefined,
  deletion: string | undefined,
): Metadata {
  const { name, namespace, uid, resourceVersion, labels, annotations } = fields;
  const metadata = { name, namespace, uid, resourceVersion, labels, annotations };
  return creation === undefined && deletion === undefined ? metadata : {
    ...metadata,
    ...optional("creationTimestamp", creation),
    ...optional("deletionTimestamp", deletion),
  };
}

function isKeptAnnotation(name: string): boolean {
  return ANNOTATION_PREFIXES.some((prefix) => name.startsWith(prefix));
}

/** Controllers copy all labels of the Service to its slices, where nobody reads them. */
function isSliceLabel(name: string): boolean {
  return name === SERVICE_NAME_LABEL || name === MANAGED_BY_LABEL ||
    name.startsWith("service.kubernetes.io/");
}

function trimService(fields: Fields, metadata: Metadata): Service {
  const spec = object(fields, "spec");
  const clusterIP = text(spec, "clusterIP");
  const affinity = object(object(spec, "sessionAffinityConfig"), "clientIP");
  return {
    metadata,
    spec: {
      type: shareText(text(spec, "type") || "ClusterIP"),
      ...optional("clusterIP", clusterIP),
      clusterIPs: union(texts(spec, "clusterIPs"), clusterIP),
      externalIPs: texts(spec, "externalIPs"),
      ports: sharePorts(records(spec, "ports", trimServicePort)),
      ...(has(spec, "selector") ? selectorOf(spec) : {}),
      ipFamilies: shareSmall(texts(spec, "ipFamilies")),
      ...optional("ipFamilyPolicy", shared(text(spec, "ipFamilyPolicy"))),
      internalTrafficPolicy: shareText(text(spec, "internalTrafficPolicy") || "Cluster"),
      externalTrafficPolicy: shareText(text(spec, "externalTrafficPolicy") || "Cluster"),
      ...optional("trafficDistribution", shared(text(spec, "trafficDistribution"))),
      sessionAffinity: shareText(text(spec, "sessionAffinity") || "None"),
      sessionAffinityTimeout: integer(affinity, "timeoutSeconds") ?? 10_800,
      healthCheckNodePort: integer(spec, "healthCheckNodePort") ?? 0,
      ...optional("loadBalancerClass", shared(text(spec, "loadBalancerClass"))),
      ...optional("loadBalancerIP", text(spec, "loadBalancerIP")),
      loadBalancerSourceRanges: texts(spec, "loadBalancerSourceRanges"),
      allocateLoadBalancerNodePorts: flag(spec, "allocateLoadBalancerNodePorts") ?? true,
      publishNotReadyAddresses: flag(spec, "publishNotReadyAddresses") ?? false,
    },
    status: trimServiceStatus(fields),
  };
}

const NO_INGRESS: Service["status"] = Object.freeze({
  loadBalancer: Object.freeze({ ingress: NO_LIST }),
});

function trimServiceStatus(fields: Fields): Service["status"] {
  const balancer = object(object(fields, "status"), "loadBalancer");
  const ingress = records(balancer, "ingress", (item): LoadBalancerIngress => ({
    ...optional("ip", text(item, "ip")),
    ...optional("hostname", text(item, "hostname")),
    ...optional("ipMode", shared(text(item, "ipMode"))),
    ...optional("ports", portStatuses(item)),
  }));
  return ingress.length === 0 ? NO_INGRESS : { loadBalancer: { ingress } };
}

/** Nobody here reads them, but whoever writes an item of the list writes all of it. */
function portStatuses(item: Fields): LoadBalancerIngress["ports"] {
  const ports = records(item, "ports", (status) => {
    const port = integer(status, "port");
    return port === undefined ? undefined : {
      port,
      protocol: shareText(text(status, "protocol") || "TCP"),
      ...optional("error", text(status, "error")),
    };
  });
  return ports.length === 0 ? undefined : ports;
}

function trimServicePort(fields: Fields): ServicePort | undefined {
  const port = integer(fields, "port");
  if (port === undefined) {
    if (!has(fields, "port")) fields.problem(pathOf(fields, "port"), "is missing");
    return undefined;
  }
  return {
    name: shareText(text(fields, "name") ?? ""),
    protocol: shareText(text(fields, "protocol") || "TCP"),
    port,
    nodePort: integer(fields, "nodePort") ?? 0,
    ...optional("targetPort", integerOrText(fields, "targetPort")),
    ...optional("appProtocol", shared(text(fields, "appProtocol"))),
  };
}

/** An empty selector selects nothing in a Service: as none. A broken one likewise. */
function selectorOf(spec: Fields): { readonly selector?: Readonly<Record<string, string>> } {
  const selector = labels(spec, "selector");
  return selector === NO_LABELS ? {} : { selector: shareValue(selector) };
}

function trimSlice(fields: Fields, metadata: Metadata): EndpointSlice {
  return {
    metadata,
    addressType: shareText(text(fields, "addressType") ?? ""),
    ...optional("service", serviceOf(fields, metadata)),
    endpoints: records(fields, "endpoints", trimEndpoint),
    ports: sharePorts(records(fields, "ports", (port): EndpointPort => ({
      name: shareText(text(port, "name") ?? ""),
      protocol: shareText(text(port, "protocol") || "TCP"),
      ...optional("port", integer(port, "port")),
      ...optional("appProtocol", shared(text(port, "appProtocol"))),
    }))),
  };
}

/** Slices of custom controllers may lack the label: kube-router's rule (its issue 1957). */
function serviceOf(fields: Fields, metadata: Metadata): string | undefined {
  const label = metadata.labels[SERVICE_NAME_LABEL];
  if (label !== undefined && label !== "") return label;
  const raw = object(fields, "metadata");
  const owners = records(raw, "ownerReferences", (owner) => owner);
  const [owner] = owners;
  if (owners.length === 1 && owner !== undefined) {
    const kind = text(owner, "kind") ?? "Service";
    const name = text(owner, "name");
    if (kind === "Service" && name !== undefined && name !== "") return shareText(name);
  }
  const generated = text(raw, "generateName")?.replace(/-$/, "");
  return generated === undefined || generated === "" ? undefined : shareText(generated);
}

function trimEndpoint(fields: Fields): Endpoint {
  const nodeName = shared(text(fields, "nodeName"));
  const zone = shared(text(fields, "zone"));
  const addresses = texts(fields, "addresses");
  const conditions = trimConditions(object(fields, "conditions"));
  // The largest number of objects by far. A literal with all that most of them have is half as large as one that grows.
  const endpoint: { -readonly [K in keyof Endpoint]: Endpoint[K] } =
    nodeName !== undefined && zone !== undefined
      ? { addresses, conditions, nodeName, zone }
      : { addresses, conditions, ...optional("nodeName", nodeName), ...optional("zone", zone) };
  if (has(fields, "hints")) endpoint.hints = trimHints(object(fields, "hints"));
  return endpoint;
}

function trimHints(hints: Fields): NonNullable<Endpoint["hints"]> {
  const names = (key: string) => records(hints, key, (item) => shared(text(item, "name")));
  return shareValue({ forZones: names("forZones"), forNodes: names("forNodes") });
}

/** One object for each of the 27 values that conditions can have. */
const CONDITIONS: (EndpointConditions | undefined)[] = [];

function trimConditions(fields: Fields): EndpointConditions {
  const ready = flag(fields, "ready");
  const serving = flag(fields, "serving");
  const terminating = flag(fields, "terminating");
  const code = digit(ready) * 9 + digit(serving) * 3 + digit(terminating);
  return CONDITIONS[code] ??= Object.freeze({
    ...optional("ready", ready),
    ...optional("serving", serving),
    ...optional("terminating", terminating),
  });
}

function digit(value: boolean | undefined): number {
  return value === undefined ? 0 : value ? 1 : 2;
}

function trimNode(fields: Fields, metadata: Metadata): Node {
  const spec = object(fields, "spec");
  const status = object(fields, "status");
  const podCIDR = text(spec, "podCIDR");
  return {
    metadata,
    spec: {
      ...optional("podCIDR", podCIDR),
      podCIDRs: union(texts(spec, "podCIDRs"), podCIDR),
      ...optional("providerID", text(spec, "providerID")),
      taints: records(spec, "taints", (taint) =>
        shareValue({
          key: text(taint, "key") ?? "",
          ...optional("value", text(taint, "value")),
          effect: text(taint, "effect") ?? "",
        })),
      unschedulable: flag(spec, "unschedulable") ?? false,
    },
    status: {
      addresses: records(status, "addresses", (address) => ({
        type: shareText(text(address, "type") ?? ""),
        address: text(address, "address") ?? "",
      })),
      ...optional("ready", readyOf(status)),
    },
  };
}

function readyOf(status: Fields): boolean | undefined {
  const [ready] = records(
    status,
    "conditions",
    (condition) => condition.raw["type"] === "Ready" ? text(condition, "status") : undefined,
  );
  return ready === undefined ? undefined : ready === "True";
}

function trimPod(fields: Fields, metadata: Metadata): Pod {
  return { metadata, spec: trimPodSpec(object(fields, "spec")), status: trimPodStatus(fields) };
}

/** Pods of one workload on one node have equal ones. */
function trimPodSpec(spec: Fields): Pod["spec"] {
  return shareValue({
    ...optional("nodeName", shared(text(spec, "nodeName"))),
    hostNetwork: flag(spec, "hostNetwork") ?? false,
    ...optional("hostname", text(spec, "hostname")),
    ...optional("subdomain", shared(text(spec, "subdomain"))),
    ...optional("terminationGracePeriodSeconds", integer(spec, "terminationGracePeriodSeconds")),
    ports: sharePorts([
      ...records(spec, "containers", containerPorts).flat(),
      ...records(
        spec,
        "initContainers",
        (container) =>
          text(container, "restartPolicy") === "Always" ? containerPorts(container) : undefined,
      )
        .flat(),
    ]),
  });
}

function trimPodStatus(fields: Fields): Pod["status"] {
  const status = object(fields, "status");
  const phase = shared(text(status, "phase"));
  const podIP = text(status, "podIP");
  const podIPs = union(records(status, "podIPs", (item) => text(item, "ip")), podIP, true);
  const hostIP = shared(text(status, "hostIP"));
  const ready = readyOf(status);
  const containerIDs = records(
    status,
    "containerStatuses",
    (container) => text(container, "containerID") || undefined,
  );
  // As in trimEndpoint.
  return phase !== undefined && hostIP !== undefined && ready !== undefined
    ? { phase, podIPs, hostIP, ready, containerIDs }
    : {
      ...optional("phase", phase),
      podIPs,
      ...optional("hostIP", hostIP),
      ...optional("ready", ready),
      containerIDs,
    };
}

function containerPorts(container: Fields): readonly ContainerPort[] {
  return records(container, "ports", (port) => {
    const containerPort = integer(port, "containerPort");
    if (containerPort === undefined) return undefined;
    return {
      name: shareText(text(port, "name") ?? ""),
      protocol: shareText(text(port, "protocol") || "TCP"),
      containerPort,
      // The API has 0 for none as well.
      ...optional("hostPort", integer(port, "hostPort") || undefined),
      ...optional("hostIP", text(port, "hostIP") || undefined),
    };
  });
}

const NO_PHASE: Namespace["status"] = Object.freeze({});

function trimNamespace(fields: Fields, metadata: Metadata): Namespace {
  const phase = text(object(fields, "status"), "phase");
  return { metadata, status: phase === undefined ? NO_PHASE : shareValue({ phase }) };
}

/** The list and, where it lacks it, the one: the API's old single field beside its plural. */
function union(
  many: readonly string[],
  one: string | undefined,
  first = false,
): readonly string[] {
  if (one === undefined || one === "" || many.includes(one)) return shareList(many);
  return first ? [one, ...many] : [...many, one];
}

function shared(value: string | undefined): string | undefined {
  return value === undefined ? undefined : shareText(value);
}

function shareSmall(list: readonly string[]): readonly string[] {
  return list.length === 0 ? NO_LIST : shareValue(list);
}

function sharePorts<T>(ports: readonly T[]): readonly T[] {
  return ports.length === 0 ? NO_LIST : shareValue(ports);
}

/** `{ key: value }`, or nothing where the value is absent: exact optional properties. */
function optional<K extends string, V>(
  key: K,
  value: V | undefined,
): { readonly [P in K]?: V } {
  return value === undefined ? {} as { readonly [P in K]?: V } : { [key]: value } as {
    readonly [P in K]?: V;
  };
}
