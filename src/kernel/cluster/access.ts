/** What the agent asks of the API server: the cluster role in `deploy/` says the same, which a test holds. */

import type { ApiWrite } from "./cluster-api.ts";
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

/** What a plugin's field `writes` needs besides (`api-writer.ts`): the reads that a write takes are in it. */
export const WRITE_RULES: Readonly<Record<ApiWrite, readonly AccessRule[]>> = {
  "services/status": [
    { group: "", resources: ["services"], verbs: ["get"] },
    { group: "", resources: ["services/status"], verbs: ["patch"] },
  ],
  events: [{ group: "", resources: ["events"], verbs: ["create"] }],
  leases: [
    { group: "coordination.k8s.io", resources: ["leases"], verbs: ["get", "create", "update"] },
  ],
};

/** What the allocator of LoadBalancer addresses writes in all namespaces. */
export const ALLOCATOR_RULES: readonly AccessRule[] = [
  ...WRITE_RULES["services/status"],
  ...WRITE_RULES.events,
];

/** And in the namespace of its Lease. */
export const LEASE_RULES: readonly AccessRule[] = WRITE_RULES.leases;
