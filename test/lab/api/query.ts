/** What list and watch share: selectors and resourceVersions of a request. */

import type { Target } from "./route.ts";
import { both, fieldSelector, labelSelector, type Predicate } from "./selectors.ts";
import { badRequest } from "./status.ts";

/** Namespace and selectors as one predicate; undefined where all objects match. */
export function selectionOf(target: Target, params: URLSearchParams): Predicate | undefined {
  const { namespace, name, shelf } = target;
  const scope = namespace === undefined
    ? undefined
    : (object: Parameters<Predicate>[0]) => object.metadata?.namespace === namespace;
  const single = name === undefined
    ? undefined
    : (object: Parameters<Predicate>[0]) => object.metadata?.name === name;
  const labels = labelSelector(params.get("labelSelector") ?? "");
  const fields = fieldSelector(shelf.kind, params.get("fieldSelector") ?? "");
  return both(both(scope, single), both(labels, fields));
}

/** Undefined where none is given. Throws a 400 on one that is no number. */
export function resourceVersionOf(params: URLSearchParams): number | undefined {
  const text = params.get("resourceVersion") ?? "";
  if (text === "") return undefined;
  const revision = Number(text);
  if (!Number.isSafeInteger(revision) || revision < 0) {
    throw badRequest(`Invalid value: "${text}": resourceVersion must be a number`);
  }
  return revision;
}

export function countOf(params: URLSearchParams, name: string): number {
  const text = params.get(name) ?? "";
  const count = Number(text);
  if (text !== "" && !Number.isSafeInteger(count)) {
    throw badRequest(`Invalid value: "${text}": ${name} must be a number`);
  }
  return Math.max(0, count);
}

export function isSet(params: URLSearchParams, name: string): boolean {
  const value = params.get(name);
  return value === "true" || value === "1";
}
