/** From the files of a folder to the objects of each kind. Pure. */

import {
  type EndpointSlice,
  KIND_NAMES,
  type KindName,
  type KindTypes,
  type KubeObject,
  type NodeAddress,
} from "../kinds.ts";
import { derivedNamespaces, derivedNode, derivedSlices } from "./derive.ts";
import type { ManifestFile } from "./files.ts";

export type Objects = { readonly [K in KindName]: readonly KindTypes[K][] };

/** One line for the log and for the status: what is wrong, where, and why. */
export interface Report {
  readonly message: string;
  readonly fields: Readonly<Record<string, string | number>>;
  /** Notices are no faults of the folder. */
  readonly notice: boolean;
}

export interface ManifestState {
  readonly objects: Objects;
  readonly reports: readonly Report[];
}

/**
 * @param files in order of their names: where two hold the same object, the first wins
 * @param version resourceVersion of whatever is new in this state
 */
export function buildState(
  files: readonly ManifestFile[],
  nodeName: string,
  host: readonly NodeAddress[],
  version: string,
): ManifestState {
  const reports: Report[] = files.flatMap(fileReports);
  const found = new Map(KIND_NAMES.map((kind) => [kind, new Map<string, KubeObject>()]));
  const origin = new Map<string, string>();
  for (const { name, objects } of files) {
    for (const { kind, key, object, line } of objects) {
      const id = `${kind} ${key}`;
      const first = origin.get(id);
      if (first !== undefined) {
        reports.push({
          message: "Object is in the manifests twice: the first is taken",
          fields: { file: name, line, object: id, first },
          notice: false,
        });
        continue;
      }
      origin.set(id, `${name}:${line}`);
      found.get(kind)?.set(key, object);
    }
  }
  const given = <K extends KindName>(kind: K) =>
    [...(found.get(kind)?.values() ?? [])] as unknown as readonly KindTypes[K][];
  const nodes = given("nodes");
  const self = nodes.some(({ metadata }) => metadata.name === nodeName)
    ? undefined
    : derivedNode(nodeName, host);
  const all: Objects = {
    services: given("services"),
    pods: given("pods"),
    networkpolicies: given("networkpolicies"),
    servicecidrs: given("servicecidrs"),
    nodes: self === undefined ? nodes : [...nodes, self],
    endpointslices: slices(given("endpointslices"), given("services"), given("pods"), nodes),
    namespaces: [
      ...given("namespaces"),
      ...derivedNamespaces(
        KIND_NAMES.flatMap((kind) => given(kind).map(({ metadata }) => metadata.namespace)),
        new Set(given("namespaces").map(({ metadata }) => metadata.name)),
      ),
    ],
  };
  return { objects: versioned(all, version), reports };
}

function slices(
  given: readonly EndpointSlice[],
  services: readonly KindTypes["services"][],
  pods: readonly KindTypes["pods"][],
  nodes: readonly KindTypes["nodes"][],
): readonly EndpointSlice[] {
  const derived = derivedSlices(services, pods, nodes, given);
  return derived.length === 0 ? given : [...given, ...derived];
}

/** The store keeps the version of what has not changed. */
function versioned(objects: Objects, resourceVersion: string): Objects {
  return Object.fromEntries(
    KIND_NAMES.map((kind) => [
      kind,
      objects[kind].map((object: KubeObject) => ({
        ...object,
        metadata: { ...object.metadata, resourceVersion },
      })),
    ]),
  ) as unknown as Objects;
}

function fileReports(file: ManifestFile): readonly Report[] {
  const { name, broken, problems, unused, unread } = file;
  const reports: Report[] = [];
  const earlier = unread.length > 0 ? "what an earlier run made of it stays in Linux" : undefined;
  if (broken !== undefined) {
    reports.push({
      message: `Manifest cannot be read: ${earlier ?? "the last good state of its objects stays"}`,
      fields: {
        file: name,
        ...(broken.line === undefined ? {} : { line: broken.line }),
        reason: broken.reason,
      },
      notice: false,
    });
  }
  for (const { line, object, reason } of problems) {
    reports.push({
      message: `Object in a manifest is refused: ${earlier ?? "its last good state stays"}`,
      fields: { file: name, line, object, reason },
      notice: false,
    });
  }
  for (const { kind, line } of unused) {
    reports.push({
      message: "Object of a kind that no plugin reads is ignored",
      fields: { file: name, line, kind },
      notice: true,
    });
  }
  return reports;
}
