/** The objects of one manifest file, checked and with the API server's defaults. */

import { fieldsOf, has, isRecord, object, type Raw, show, text } from "../fields.ts";
import { keyOf, KIND_NAMES, type KindName, KINDS, type KindTypes } from "../kinds.ts";
import { trim } from "../trim.ts";
import type { YamlDocument } from "../yaml.ts";

export type ManifestObject = {
  readonly [K in KindName]: {
    readonly kind: K;
    readonly key: string;
    readonly object: KindTypes[K];
    /** Line of its document, from 1. */
    readonly line: number;
  };
}[KindName];

/** Something wrong with one object, which costs only that object. */
export interface ManifestProblem {
  readonly line: number;
  /** `Service "default/web"`, or what is known of it. */
  readonly object: string;
  readonly reason: string;
  /** Where the object can be told by it: its kind and key. */
  readonly id?: { readonly kind: KindName; readonly key: string };
}

export interface ManifestObjects {
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly ManifestProblem[];
  /** Kinds that no plugin reads, as `apps/v1 Deployment`. */
  readonly unused: readonly { readonly kind: string; readonly line: number }[];
}

const BY_KIND = new Map(KIND_NAMES.map((name) => [KINDS[name].kind, KINDS[name]]));

export function readObjects(documents: readonly YamlDocument[]): ManifestObjects {
  const objects: ManifestObject[] = [];
  const problems: ManifestProblem[] = [];
  const unused: { kind: string; line: number }[] = [];
  for (const { line, value } of documents.flatMap(items)) {
    const read = readObject(value, line);
    if ("unused" in read) unused.push({ kind: read.unused, line });
    else if ("reason" in read) problems.push(read);
    else objects.push(read);
  }
  return { objects, problems, unused };
}

/** A List is what it holds. */
function items({ line, value }: YamlDocument): readonly YamlDocument[] {
  if (!isRecord(value) || !Array.isArray(value["items"])) return [{ line, value }];
  const { kind, apiVersion } = value;
  if (typeof kind !== "string" || !kind.endsWith("List")) return [{ line, value }];
  const itemKind = kind.slice(0, -"List".length);
  return value["items"].map((item: unknown) => ({
    line,
    // Items of a typed list, such as kubectl's raw output, have no kind of their own.
    value: isRecord(item) && item["kind"] === undefined && itemKind !== ""
      ? { apiVersion, kind: itemKind, ...item }
      : item,
  }));
}

function readObject(
  value: unknown,
  line: number,
): ManifestObject | ManifestProblem | { readonly unused: string } {
  if (!isRecord(value)) {
    return { line, object: "Document", reason: `must be an object, not ${show(value)}` };
  }
  const { kind, apiVersion } = value;
  if (typeof kind !== "string" || typeof apiVersion !== "string") {
    return { line, object: "Document", reason: 'must have texts "apiVersion" and "kind"' };
  }
  const known = BY_KIND.get(kind);
  if (known === undefined) return { unused: `${apiVersion} ${kind}` };
  const versions = [known, ...known.older ?? []].map((each) => each.apiVersion);
  if (!versions.includes(apiVersion)) {
    const group = apiVersion.includes("/") ? apiVersion.split("/")[0] : "";
    // A custom kind may bear the same name: that is another kind, not a mistake.
    if (group !== known.group) return { unused: `${apiVersion} ${kind}` };
    return {
      line,
      object: kind,
      reason: `apiVersion "${apiVersion}" is not read: write "${known.apiVersion}"`,
    };
  }
  return trimObject(known.name, kind, value, line);
}

function trimObject<K extends KindName>(
  name: K,
  kind: string,
  value: Raw,
  line: number,
): ManifestObject | ManifestProblem {
  const wrong: string[] = [];
  const report = (path: string, reason: string) => void wrong.push(`"${path}" ${reason}`);
  const trimmed = trim(name, withDefaults(name, value), report);
  if (trimmed !== undefined && name === "endpointslices") checkSlice(value, report);
  const [reason, ...more] = wrong;
  if (trimmed === undefined || reason !== undefined) {
    const rest = more.length === 0 ? "" : ` (and ${more.length} more)`;
    return {
      line,
      object: trimmed === undefined ? kind : `${kind} "${keyOf(trimmed)}"`,
      reason: `${reason ?? "it has no name"}${rest}`,
      ...(trimmed === undefined ? {} : { id: { kind: name, key: keyOf(trimmed) } }),
    };
  }
  // One kind and its type, which TypeScript cannot follow through an index.
  return { kind: name, key: keyOf(trimmed), object: trimmed, line } as unknown as ManifestObject;
}

function checkSlice(value: Raw, report: (path: string, reason: string) => void): void {
  const slice = fieldsOf(value, report);
  if (!has(slice, "addressType")) report("addressType", "is missing: write IPv4 or IPv6");
}

/** Those that trimming does not make by itself. */
function withDefaults(name: KindName, value: Raw): Raw {
  const quiet = fieldsOf(value, () => {});
  const metadata = object(quiet, "metadata").raw;
  // A folder may hold what kubectl printed: who wrote it and which version it was says nothing here.
  const { resourceVersion: _, ...own } = metadata;
  if (!KINDS[name].namespaced) {
    const { namespace: __, ...cluster } = own;
    return { ...value, metadata: name === "namespaces" ? namespaceLabel(cluster) : cluster };
  }
  const namespace = has(object(quiet, "metadata"), "namespace") ? own["namespace"] : "default";
  const placed = { ...value, metadata: { ...own, namespace } };
  return name === "services" ? withFamilies(placed) : placed;
}

/** Policies select namespaces by this label, which the API server always sets. */
function namespaceLabel(metadata: Raw): Raw {
  const { labels } = metadata;
  if (labels !== undefined && labels !== null && !isRecord(labels)) return metadata;
  return { ...metadata, labels: { ...labels, "kubernetes.io/metadata.name": metadata["name"] } };
}

function withFamilies(service: Raw): Raw {
  const spec = object(fieldsOf(service, () => {}), "spec");
  if (has(spec, "ipFamilies") || !isRecord(service["spec"])) return service;
  const many = spec.raw["clusterIPs"];
  const ips = (Array.isArray(many) && many.length > 0 ? many : [text(spec, "clusterIP")])
    .filter((ip): ip is string => typeof ip === "string" && ip !== "" && ip !== "None");
  const ipFamilies = [...new Set(ips.map((ip) => ip.includes(":") ? "IPv6" : "IPv4"))];
  return ipFamilies.length === 0 ? service : { ...service, spec: { ...spec.raw, ipFamilies } };
}
