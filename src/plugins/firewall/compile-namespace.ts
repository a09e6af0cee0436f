/**
 * A namespace as rules: one chain a direction and family that knows, by sets, which of its policies select a pod. So a
 * label that changes changes members of sets and no rule, and a policy that comes or goes changes this chain and its own.
 */

import type { Family } from "../../kernel/ip.ts";
import type { Chain, FilterRule, Match } from "../../kernel/plugin.ts";
import { ISOLATION } from "./isolation.ts";
import { ALLOWED, comment, DEFAULT_CHAIN, namespaceChainName, policyChainName } from "./names.ts";
import { type Direction, DIRECTIONS, type PolicyModel } from "./policy.ts";
import { podSetName, targetSet } from "./sets.ts";

export interface NamespaceModel {
  readonly name: string;
  /** All of the namespace's policies, whatever their directions. */
  readonly policies: readonly PolicyModel[];
  /** Whether the 2017 annotation isolates all its pods for ingress. */
  readonly closed: boolean;
}

/** NFLOG group of kube-router. */
const LOG_GROUP = 100;

export function compileNamespace(
  namespace: NamespaceModel,
  families: readonly Family[],
): readonly Chain[] {
  const policies = namespace.policies.toSorted((a, b) => a.name < b.name ? -1 : 1);
  return DIRECTIONS.flatMap((direction) =>
    families.map((family): Chain => ({
      family,
      table: "filter",
      name: namespaceChainName(namespace.name, direction),
      rules: rulesOf({ ...namespace, policies }, direction, family),
    }))
  );
}

function rulesOf(
  { name, policies, closed }: NamespaceModel,
  direction: Direction,
  family: Family,
): readonly FilterRule[] {
  const covering = policies.filter((policy) => policy[direction] !== undefined);
  const enforced = covering.filter(({ audit }) => !audit);
  const audited = covering.filter(({ audit }) => audit);
  const annotated = closed && direction === "ingress";
  const selects = (policy: PolicyModel): readonly Match[] =>
    policy.target.all ? [] : [{
      kind: "set",
      set: podSetName(targetSet(policy, direction), family),
      directions: [direction === "ingress" ? "dst" : "src"],
    }];
  const everyone = annotated || enforced.some(({ target }) => target.all);
  const byDefault: FilterRule = {
    matches: [],
    target: { kind: "jump", chain: DEFAULT_CHAIN },
    comment: `default ${direction}`,
  };
  return [
    ...covering.map((policy): FilterRule => ({
      matches: selects(policy),
      target: { kind: "jump", chain: policyChainName(policy.key, direction) },
      comment: comment(`${policy.key} policy`),
    })),
    ...(covering.length === 0 && !annotated ? [] : [ALLOWED_RETURNS]),
    ...enforced.map((policy) => logRule(selects(policy), policy.key, `${policy.key} log-drop`)),
    ...(annotated ? [logRule([], `${name} ${ISOLATION}`, `${name} annotation log-drop`)] : []),
    ...(everyone ? [] : [
      ...distinct(enforced).map((policy): FilterRule => ({
        matches: selects(policy),
        target: { kind: "return" },
        comment: comment(`${policy.key} isolates`),
      })),
      // Nothing above isolates the pod: here the audited policies alone would.
      ...audited.flatMap((policy) => auditRules(selects(policy), policy.key)),
      byDefault,
    ]),
  ];
}

const ALLOWED_RETURNS: FilterRule = {
  matches: [{ kind: "mark", mark: ALLOWED, mask: ALLOWED }],
  target: { kind: "return" },
};

/** One policy of each selector. */
function distinct(policies: readonly PolicyModel[]): readonly PolicyModel[] {
  return [...new Map(policies.map((policy) => [policy.target.text, policy])).values()];
}

/** Ten a minute after a burst of ten, as kube-router, but for each policy. The prefix is what listeners of the group see. */
function logRule(matches: readonly Match[], prefix: string, words: string): FilterRule {
  return {
    matches: [...matches, { kind: "limit", perMinute: 10, burst: 10 }],
    target: { kind: "log", group: LOG_GROUP, prefix },
    comment: comment(words),
  };
}

/** The first rule only counts: every packet, where the log is limited. */
function auditRules(matches: readonly Match[], policy: string): readonly FilterRule[] {
  return [
    {
      matches,
      target: { kind: "mark", set: 0, mask: 0 },
      comment: comment(`${policy} audit`),
    },
    logRule(matches, `audit ${policy}`, `${policy} log-audit`),
  ];
}
