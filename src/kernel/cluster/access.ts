/** What the agent asks of the API server: the cluster role in `deploy/` says the same, which a test holds. */

import { KINDS } from "./kinds.ts";

/** A rule of a ClusterRole (rbac.authorization.k8s.io/v1). */
export interface AccessRule {
  /** "" is core. */
  readonly group: string;
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** What is written, or read one by one. Whoever adds a request to the code adds it here. */
const OTHERS: readonly AccessRule[] = [];

/** All rules, those of what is watched first, by API group. */
export function accessRules(): readonly AccessRule[] {
  const groups = Map.groupBy(Object.values(KINDS), ({ group }) => group);
  const watched = [...groups].map(([group, kinds]): AccessRule => ({
    group,
    resources: kinds.map(({ name }) => name).toSorted(),
    verbs: ["list", "watch"],
  }));
  return [...watched.toSorted((a, b) => a.group < b.group ? -1 : 1), ...OTHERS];
}
