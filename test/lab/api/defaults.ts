/** Defaults that a real API server fills in (k8s.io/kubernetes pkg/apis, defaults.go of each group). */

import type { Kind } from "./kinds.ts";
import type { KubeObject } from "./types.ts";
import { isObject, type Json, listOf, type MutableJson, objectOf } from "./values.ts";

/** core/v1 DefaultClientIPServiceAffinitySeconds: three hours. */
const AFFINITY_SECONDS = 10_800;

const DEFAULTS: Readonly<Record<string, (object: MutableJson) => void>> = {
  "Service.": serviceDefaults,
  "Pod.": podDefaults,
  "Node.": nodeDefaults,
  "Namespace.": namespaceDefaults,
  "Secret.": secretDefaults,
  "Endpoints.": endpointsDefaults,
  "EndpointSlice.discovery.k8s.io": (object) => protocols(object.ports),
  "NetworkPolicy.networking.k8s.io": networkPolicyDefaults,
};

/** Fills the defaults in place: the object must be the caller's own copy. */
export function fillDefaults(kind: Kind, object: KubeObject): void {
  DEFAULTS[`${kind.kind}.${kind.group}`]?.(object as MutableJson);
}

function section(object: MutableJson, name: string): MutableJson {
  const found = object[name];
  if (isObject(found)) return found;
  const made: MutableJson = {};
  object[name] = made;
  return made;
}

function protocols(ports: unknown): void {
  for (const port of listOf(ports)) {
    if (isObject(port)) port.protocol ??= "TCP";
  }
}

function serviceDefaults(object: MutableJson): void {
  const spec = section(object, "spec");
  spec.type ??= "ClusterIP";
  spec.sessionAffinity ??= "None";
  if (spec.sessionAffinity === "ClientIP") {
    section(section(spec, "sessionAffinityConfig"), "clientIP").timeoutSeconds ??= AFFINITY_SECONDS;
  } else if (spec.sessionAffinity === "None") {
    delete spec.sessionAffinityConfig;
  }
  protocols(spec.ports);
  for (const port of listOf(spec.ports)) {
    if (isObject(port) && (port.targetPort ?? 0) === 0) port.targetPort = port.port;
  }
  const external = spec.type === "NodePort" || spec.type === "LoadBalancer";
  if (external || (spec.type === "ClusterIP" && listOf(spec.externalIPs).length > 0)) {
    spec.externalTrafficPolicy ??= "Cluster";
  }
  if (external || spec.type === "ClusterIP") spec.internalTrafficPolicy ??= "Cluster";
  if (spec.type === "LoadBalancer") spec.allocateLoadBalancerNodePorts ??= true;
  clusterIpDefaults(spec);
  const loadBalancer = section(section(object, "status"), "loadBalancer");
  for (const ingress of listOf(loadBalancer.ingress)) {
    if (isObject(ingress) && ingress.ip !== undefined) ingress.ipMode ??= "VIP";
  }
}

function clusterIpDefaults(spec: MutableJson): void {
  if (spec.type === "ExternalName") return;
  const listed = listOf(spec.clusterIPs);
  if (listed.length === 0 && typeof spec.clusterIP === "string" && spec.clusterIP !== "") {
    spec.clusterIPs = [spec.clusterIP];
  } else if (listed.length > 0) {
    spec.clusterIP ??= listed[0];
  }
  const ips = listOf(spec.clusterIPs).filter((ip) => typeof ip === "string" && ip !== "None");
  if (ips.length === 0) return;
  spec.ipFamilies ??= ips.map((ip) => String(ip).includes(":") ? "IPv6" : "IPv4");
  spec.ipFamilyPolicy ??= ips.length > 1 ? "RequireDualStack" : "SingleStack";
}

function podDefaults(object: MutableJson): void {
  const spec = section(object, "spec");
  for (const container of [...listOf(spec.containers), ...listOf(spec.initContainers)]) {
    const ports = objectOf(container).ports;
    protocols(ports);
    if (spec.hostNetwork !== true) continue;
    for (const port of listOf(ports)) {
      if (isObject(port)) port.hostPort ??= port.containerPort;
    }
  }
  const status = object.status;
  if (!isObject(status)) return;
  const first = objectOf(listOf(status.podIPs)[0]).ip;
  if (status.podIP === undefined && first !== undefined) status.podIP = first;
  if (status.podIPs === undefined && typeof status.podIP === "string" && status.podIP !== "") {
    status.podIPs = [{ ip: status.podIP }];
  }
}

function nodeDefaults(object: MutableJson): void {
  const spec = section(object, "spec");
  const listed = listOf(spec.podCIDRs);
  if (listed.length > 0) spec.podCIDR ??= listed[0];
  else if (typeof spec.podCIDR === "string") spec.podCIDRs = [spec.podCIDR];
}

function namespaceDefaults(object: MutableJson): void {
  const metadata = section(object, "metadata");
  section(metadata, "labels")["kubernetes.io/metadata.name"] = metadata.name;
  section(object, "status").phase ??= "Active";
}

function secretDefaults(object: MutableJson): void {
  object.type ??= "Opaque";
  if (!isObject(object.stringData)) return;
  const data = section(object, "data");
  for (const [key, value] of Object.entries(object.stringData)) {
    data[key] = Buffer.from(String(value)).toString("base64");
  }
  delete object.stringData;
}

function endpointsDefaults(object: MutableJson): void {
  for (const subset of listOf(object.subsets)) protocols(objectOf(subset).ports);
}

function networkPolicyDefaults(object: MutableJson): void {
  const spec = section(object, "spec");
  const egress = listOf(spec.egress);
  spec.policyTypes ??= egress.length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
  const rules: readonly Json[] = [...listOf(spec.ingress), ...egress].map(objectOf);
  for (const rule of rules) protocols(rule.ports);
}
