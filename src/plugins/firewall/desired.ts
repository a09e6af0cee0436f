/** What each unit wants of Linux. The files beside this one say what the rules are, `mod.ts` says when. */

import type { Family } from "../../kernel/ip.ts";
import type { Chain, IpSet, IpSetMember, Jump } from "../../kernel/plugin.ts";
import { type BaseOptions, compileBase } from "./compile-base.ts";
import { compileNamespace } from "./compile-namespace.ts";
import { compilePod } from "./compile-pod.ts";
import { localPodsSet } from "./names.ts";
import { addressesOf } from "./pods.ts";
import type { PolicyIndex } from "./policy-index.ts";
import { podIpSet } from "./sets.ts";

export interface Items {
  readonly sets: readonly IpSet[];
  readonly members: readonly IpSetMember[];
  readonly chains: readonly Chain[];
  readonly jumps: readonly Jump[];
  readonly problems: readonly string[];
}

/** What the rules of all units depend on, beside the objects. */
export interface Facts extends BaseOptions {
  readonly families: readonly Family[];
}

const NOTHING: Items = { sets: [], members: [], chains: [], jumps: [], problems: [] };

export function baseItems(index: PolicyIndex, facts: Facts): Items {
  return { ...NOTHING, ...compileBase(index.localPods(), facts.families, facts) };
}

export function podItems(index: PolicyIndex, key: string, facts: Facts): Items {
  const pod = index.localPod(key);
  if (pod === undefined) return NOTHING;
  const { defaultDeny, families } = facts;
  return {
    ...NOTHING,
    chains: compilePod(pod, families, facts),
    members: defaultDeny
      ? families.flatMap((family) =>
        addressesOf(pod, family).map((entry) => ({ set: localPodsSet(family), entry }))
      )
      : [],
  };
}

export function namespaceItems(index: PolicyIndex, name: string, facts: Facts): Items {
  const namespace = index.namespace(name);
  if (namespace === undefined) return NOTHING;
  return {
    ...NOTHING,
    chains: compileNamespace(namespace, facts.families),
    problems: namespace.problem === undefined ? [] : [namespace.problem],
  };
}

export function policyItems(index: PolicyIndex, key: string, facts: Facts): Items {
  const policy = index.policy(key);
  if (policy === undefined) return NOTHING;
  const { blockSets, chains, podSets, problems } = policy;
  return {
    ...NOTHING,
    sets: [
      ...podSets.flatMap((set) => facts.families.map((family) => podIpSet(set, family))),
      ...blockSets.map(({ set }) => set),
    ],
    members: blockSets.flatMap(({ members }) => members),
    chains,
    problems,
  };
}
