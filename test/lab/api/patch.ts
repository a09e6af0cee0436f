/** JSON merge patch (RFC 7386), JSON patch (RFC 6902) and Kubernetes' strategic merge patch. */

import { badRequest, unsupportedMediaType } from "./status.ts";
import { isObject, listOf, type MutableJson } from "./values.ts";

/**
 * The keys by which strategic merge pairs a list's items (`patchMergeKey` in the Go types), by the
 * end of the list's path. A list that is not here is replaced whole.
 */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  "status.conditions": "type",
  "status.addresses": "type",
  "status.podIPs": "ip",
  "status.hostIPs": "ip",
  "spec.ports": "port",
  "spec.taints": "key",
  "spec.volumes": "name",
  "spec.containers": "name",
  "spec.initContainers": "name",
  "containers.ports": "containerPort",
  "initContainers.ports": "containerPort",
  "containers.env": "name",
  "containers.volumeMounts": "mountPath",
  "metadata.ownerReferences": "uid",
};
/** Lists of plain values that strategic merge unites. */
const MERGE_SETS = new Set(["metadata.finalizers", "spec.podCIDRs"]);

/** Applies a patch of that content type; throws a 400 or 415 on one that cannot be applied. */
export function applyPatch(contentType: string, object: unknown, body: unknown): unknown {
  switch (contentType.split(";")[0]?.trim()) {
    case "application/merge-patch+json":
      return mergePatch(object, body);
    case "application/strategic-merge-patch+json":
    // Server-side apply without its ownership: the fields that are given win.
    case "application/apply-patch+yaml":
      return strategicPatch(object, body, "");
    case "application/json-patch+json":
      return jsonPatch(object, body);
    default:
      throw unsupportedMediaType(contentType);
  }
}

export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged: MutableJson = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

/** @param path of the object in the whole, dotted, without list indices */
export function strategicPatch(target: unknown, patch: unknown, path: string): unknown {
  if (!isObject(patch)) return patch;
  if (patch.$patch === "replace") {
    const { $patch: _directive, ...rest } = patch;
    return rest;
  }
  const merged: MutableJson = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    const below = path === "" ? key : `${path}.${key}`;
    if (key.startsWith("$deleteFromPrimitiveList/")) {
      const list = key.slice(key.indexOf("/") + 1);
      const removed = listOf(value);
      merged[list] = listOf(merged[list]).filter((item) => !removed.includes(item));
    } else if (key.startsWith("$")) continue;
    else if (value === null) delete merged[key];
    else if (Array.isArray(value)) merged[key] = strategicList(merged[key], value, below);
    else merged[key] = strategicPatch(merged[key], value, below);
  }
  return merged;
}

function strategicList(target: unknown, patch: readonly unknown[], path: string): unknown {
  const end = path.split(".").slice(-2).join(".");
  if (MERGE_SETS.has(end)) return [...new Set([...listOf(target), ...patch])];
  const key = MERGE_KEYS[end];
  if (key === undefined) return patch;
  if (patch.some((item) => isObject(item) && item.$patch === "replace")) {
    return patch.filter((item) => !(isObject(item) && item.$patch === "replace"));
  }
  const merged = [...listOf(target)];
  for (const item of patch) {
    const index = merged.findIndex((have) =>
      isObject(have) && isObject(item) && have[key] === item[key]
    );
    if (isObject(item) && item.$patch === "delete") {
      if (index >= 0) merged.splice(index, 1);
    } else if (index >= 0) merged[index] = strategicPatch(merged[index], item, path);
    else merged.push(item);
  }
  return merged;
}

export function jsonPatch(target: unknown, operations: unknown): unknown {
  if (!Array.isArray(operations)) throw badRequest("a JSON patch is a list of operations");
  let document: unknown = structuredClone(target);
  for (const operation of operations) {
    if (!isObject(operation)) throw badRequest("an operation of a JSON patch is an object");
    document = patchOnce(document, operation);
  }
  return document;
}

function patchOnce(document: unknown, operation: MutableJson): unknown {
  const path = pointer(operation.path);
  switch (operation.op) {
    case "add":
      return edit(document, path, "add", operation.value);
    case "replace":
      read(document, path);
      return edit(document, path, "replace", operation.value);
    case "remove":
      read(document, path);
      return edit(document, path, "remove", undefined);
    case "copy":
      return edit(document, path, "add", structuredClone(read(document, pointer(operation.from))));
    case "move": {
      const from = pointer(operation.from);
      const value = read(document, from);
      return edit(edit(document, from, "remove", undefined), path, "add", value);
    }
    case "test":
      if (Bun.deepEquals(read(document, path), operation.value)) return document;
      throw badRequest(`testing value ${operation.path} failed`);
    default:
      throw badRequest(`unexpected operation "${operation.op}" of a JSON patch`);
  }
}

/** RFC 6901. */
function pointer(text: unknown): readonly string[] {
  if (text === "") return [];
  if (typeof text !== "string" || !text.startsWith("/")) {
    throw badRequest(`invalid path "${text}" of a JSON patch`);
  }
  return text.slice(1).split("/").map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function read(document: unknown, path: readonly string[]): unknown {
  let found = document;
  for (const step of path) {
    found = Array.isArray(found) ? found[Number(step)] : isObject(found) ? found[step] : undefined;
    if (found === undefined) throw badRequest(`no value at "/${path.join("/")}" for a JSON patch`);
  }
  return found;
}

function edit(
  document: unknown,
  path: readonly string[],
  how: "add" | "replace" | "remove",
  value: unknown,
): unknown {
  const last = path.at(-1);
  if (last === undefined) return value;
  const parent = read(document, path.slice(0, -1));
  if (Array.isArray(parent)) {
    const index = last === "-" ? parent.length : Number(last);
    if (!Number.isInteger(index) || index < 0 || index > parent.length) {
      throw badRequest(`invalid index "${last}" of a JSON patch`);
    }
    if (how === "add") parent.splice(index, 0, value);
    else if (how === "remove") parent.splice(index, 1);
    else parent[index] = value;
  } else if (isObject(parent)) {
    if (how === "remove") delete parent[last];
    else parent[last] = value;
  } else throw badRequest(`no object at "/${path.slice(0, -1).join("/")}" for a JSON patch`);
  return document;
}
