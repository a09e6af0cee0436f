/** Paths of the REST API: what a request is about, and its verb in RBAC's terms. */

import { methodNotAllowed, unknownPath } from "./status.ts";
import type { Shelf, Store } from "./store.ts";

export interface Target {
  readonly shelf: Shelf;
  /** Undefined: all namespaces, or a kind that has none. */
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  readonly subresource: "" | "status";
}

export interface Route {
  readonly verb: string;
  readonly path: string;
  readonly group: string;
  readonly version: string;
  readonly segments: readonly string[];
}

/** The verb is known without the kind, so that statistics and failures come before it. */
export function routeOf(method: string, url: URL): Route {
  const segments = url.pathname.split("/").filter((part) => part !== "").map(decodeURIComponent);
  const [root, first = "", second = ""] = segments;
  const core = root === "api";
  const rest = core ? segments.slice(2) : root === "apis" ? segments.slice(3) : [];
  return {
    verb: verbOf(method, url, rest),
    path: url.pathname,
    group: core ? "" : first,
    version: core ? first : second,
    segments: rest,
  };
}

function verbOf(method: string, url: URL, segments: readonly string[]): string {
  const scoped = segments[0] === "namespaces" && segments.length > 2 && !isOwn(segments[2]);
  const named = (scoped ? segments.length - 2 : segments.length) > 1;
  switch (method) {
    case "GET": {
      if (segments.length === 0) return "get";
      const watch = url.searchParams.get("watch");
      if (watch === "true" || watch === "1") return "watch";
      return named ? "get" : "list";
    }
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return named ? "delete" : "deletecollection";
    default:
      return method.toLowerCase();
  }
}

/** `/namespaces/x/status` is about the Namespace, `/namespaces/x/pods` about what is in it. */
function isOwn(segment: string | undefined): boolean {
  return segment === "status" || segment === "finalize";
}

/** Throws a 404 on an unknown kind or path. */
export function targetOf(store: Store, route: Route): Target {
  const { segments } = route;
  const apiVersion = route.group === "" ? route.version : `${route.group}/${route.version}`;
  const scoped = segments[0] === "namespaces" && segments.length > 2 && !isOwn(segments[2]);
  const [plural = "", name, subresource = "", ...more] = scoped ? segments.slice(2) : segments;
  const shelf = store.byPlural(apiVersion, plural);
  const known = subresource === "" || (subresource === "status" && shelf?.kind.status === true);
  if (shelf === undefined || !known || more.length > 0) throw unknownPath();
  const misplaced = shelf.kind.namespaced ? !scoped && name !== undefined : scoped;
  if (misplaced) throw unknownPath();
  if (subresource === "status" && route.verb === "delete") throw methodNotAllowed();
  return {
    shelf,
    namespace: scoped ? segments[1] : undefined,
    name,
    subresource: subresource === "status" ? "status" : "",
  };
}
