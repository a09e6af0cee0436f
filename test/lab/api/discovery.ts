/** The paths beside the resources: health, version, discovery. */

import { apiVersionOf } from "./kinds.ts";
import type { Store } from "./store.ts";

const VERBS = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "update",
  "watch",
];
/** Open to all, as with a real server's default roles. */
const PUBLIC = new Set(["/healthz", "/livez", "/readyz", "/version"]);

export function isPublic(path: string): boolean {
  return PUBLIC.has(path);
}

/** JSON value or plain text; undefined where the path is none of these. */
export function discover(store: Store, path: string): object | string | undefined {
  if (path === "/version") return version();
  if (PUBLIC.has(path)) return "ok";
  const kinds = [...store.shelves.values()].map(({ kind }) => kind);
  if (path === "/api") {
    return { kind: "APIVersions", versions: ["v1"], serverAddressByClientCIDRs: [] };
  }
  if (path === "/apis") {
    const groups = new Map<string, Set<string>>();
    for (const { group, version } of kinds) {
      if (group !== "") groups.set(group, (groups.get(group) ?? new Set()).add(version));
    }
    return {
      kind: "APIGroupList",
      apiVersion: "v1",
      groups: [...groups].map(([name, versions]) => {
        const listed = [...versions].map((version) => ({
          groupVersion: `${name}/${version}`,
          version,
        }));
        return { name, versions: listed, preferredVersion: listed[0] };
      }),
    };
  }
  const groupVersion = /^\/(?:api\/(v1)|apis\/([^/]+\/[^/]+))$/.exec(path);
  const wanted = groupVersion?.[1] ?? groupVersion?.[2];
  const served = kinds.filter((kind) => apiVersionOf(kind) === wanted);
  if (wanted === undefined || served.length === 0) return undefined;
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: wanted,
    resources: served.flatMap(({ plural, kind, namespaced, status }) => {
      const common = { singularName: kind.toLowerCase(), namespaced, kind };
      return [
        { name: plural, ...common, verbs: VERBS },
        ...(status
          ? [{ name: `${plural}/status`, ...common, verbs: ["get", "patch", "update"] }]
          : []),
      ];
    }),
  };
}

function version(): object {
  return {
    major: "1",
    minor: "36",
    gitVersion: "v1.36.0-lab",
    gitCommit: "lab",
    gitTreeState: "clean",
    buildDate: "2026-01-01T00:00:00Z",
    goVersion: "none",
    compiler: "bun",
    platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}`,
  };
}
