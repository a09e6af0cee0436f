/** What the agent asks of the API server: the cluster role in `deploy/` says the same, which a test holds. */

import { KINDS } from "./kinds.ts";

/** A rule of a ClusterRole (rbac.authorization.k8s.io/v1). */
export interface AccessRule {
  /** "" is core. */
  readonly group: string;
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** What every agent needs: the kinds that it watches, by API group. */
export function accessRules(): readonly AccessRule[] {
  const groups = Map.groupBy(Object.values(KINDS), ({ group }) => group);
  const watched = [...groups].map(([group, kinds]): AccessRule => ({
    group,
    resources: kinds.map(({ name }) => name).toSorted(),
    verbs: ["list", "watch"],
  }));
  return watched.toSorted((a, b) => a.group < b.group ? -1 : 1);
}

/** What the allocator of LoadBalancer addresses writes besides, in all namespaces (`api-writer.ts`). */
export const ALLOCATOR_RULES: readonly AccessRule[] = [
  { group: "", resources: ["services"], verbs: ["get"] },
  { group: "", resources: ["services/status"], verbs: ["patch"] },
  { group: "", resources: ["events"], verbs: ["create"] },
];

/** And in the namespace of its Lease. */
export const LEASE_RULES: readonly AccessRule[] = [
  { group: "coordination.k8s.io", resources: ["leases"], verbs: ["get", "create", "update"] },
];
