/** Lists, whole or in pages; the pages of one list show one state. */

import { apiVersionOf } from "./kinds.ts";
import { countOf, resourceVersionOf, selectionOf } from "./query.ts";
import type { Target } from "./route.ts";
import type { Predicate } from "./selectors.ts";
import { badRequest, tooLarge } from "./status.ts";
import type { Entry, Store } from "./store.ts";

interface Page {
  readonly entries: readonly Entry[];
  readonly revision: number;
  readonly continueToken: string;
  /** Undefined where selectors make it unknown, as in a real server. */
  readonly remaining: number | undefined;
}

/** The JSON of a list, of at most `pageSize` objects where that is not 0. */
export function list(
  store: Store,
  target: Target,
  params: URLSearchParams,
  pageSize: number,
): string {
  const page = pageOf(store, target, params, pageSize);
  const { kind } = target.shelf;
  const metadata = JSON.stringify({
    resourceVersion: String(page.revision),
    ...(page.continueToken === "" ? {} : { continue: page.continueToken }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  });
  const items = page.entries.map((entry) => entry.json).join(",");
  return `{"kind":"${kind.kind}List","apiVersion":"${
    apiVersionOf(kind)
  }","metadata":${metadata},"items":[${items}]}`;
}

function pageOf(store: Store, target: Target, params: URLSearchParams, pageSize: number): Page {
  const token = params.get("continue") ?? "";
  const start = token === "" ? undefined : decode(token);
  if (start !== undefined && params.get("resourceVersion")) {
    throw badRequest("specifying resource version is not allowed when using continue");
  }
  const revision = start?.revision ?? listRevision(store, params);
  const { shelf } = target;
  const all = shelf.snapshotAt(revision);
  const selected = selectionOf(target, params);
  const wanted = countOf(params, "limit");
  const limit = Math.min(wanted || Infinity, pageSize || Infinity);
  const from = start === undefined ? 0 : firstAfter(all, start.after);
  const { entries, next } = take(all, from, selected, limit);
  const last = entries.at(-1);
  const more = next < all.length && last !== undefined;
  return {
    entries,
    revision,
    continueToken: more ? encode({ revision, after: last.key }) : "",
    remaining: more && selected === undefined ? all.length - next : undefined,
  };
}

/** The state that a first page shows (Kubernetes API concepts, "Semantics for get and list"). */
function listRevision(store: Store, params: URLSearchParams): number {
  const asked = resourceVersionOf(params);
  const match = params.get("resourceVersionMatch") ?? "";
  if (match !== "" && asked === undefined) {
    throw badRequest("resourceVersionMatch is forbidden unless resourceVersion is provided");
  }
  if (match !== "" && match !== "Exact" && match !== "NotOlderThan") {
    throw badRequest(`resourceVersionMatch: unsupported value "${match}"`);
  }
  if (asked === undefined) return store.revision;
  if (asked === 0) {
    if (match === "Exact") {
      throw badRequest('resourceVersionMatch "Exact" is forbidden for resourceVersion "0"');
    }
    return store.revision;
  }
  if (asked > store.revision) throw tooLarge(asked, store.revision);
  const exact = match === "Exact" || (match === "" && countOf(params, "limit") > 0);
  return exact ? asked : store.revision;
}

function take(
  all: readonly Entry[],
  from: number,
  selected: Predicate | undefined,
  limit: number,
): { readonly entries: readonly Entry[]; readonly next: number } {
  if (selected === undefined) {
    const next = Math.min(all.length, from + limit);
    return { entries: all.slice(from, next), next };
  }
  const entries: Entry[] = [];
  let next = from;
  for (; next < all.length && entries.length < limit; next++) {
    const entry = all[next];
    if (entry !== undefined && selected(entry.object)) entries.push(entry);
  }
  // What is left may hold no match: then this page is the last.
  while (next < all.length && !selected((all[next] as Entry).object)) next++;
  return { entries, next };
}

function firstAfter(all: readonly Entry[], key: string): number {
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((all[middle] as Entry).key <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface Continue {
  readonly revision: number;
  readonly after: string;
}

function encode({ revision, after }: Continue): string {
  const token = { v: "meta.k8s.io/v1", rv: revision, start: after };
  return Buffer.from(JSON.stringify(token)).toString("base64url");
}

function decode(token: string): Continue {
  try {
    const { rv, start } = JSON.parse(Buffer.from(token, "base64url").toString()) as {
      rv?: unknown;
      start?: unknown;
    };
    if (typeof rv === "number" && typeof start === "string") return { revision: rv, after: start };
  } catch {
    // Answered below, like any other token that is not ours.
  }
  throw badRequest("continue key is not valid");
}
