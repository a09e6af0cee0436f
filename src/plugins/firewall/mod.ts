/** The firewall: NetworkPolicy in packet rules. Pure functions beside this file say what; this file says when. */

import type { Desired, Plugin, PluginContext, Tables } from "../../kernel/plugin.ts";
import { listAnswer, whyAnswer } from "./answers.ts";
import { baseItems, type Items, namespaceItems, podItems, policyItems } from "./desired.ts";
import { factsInput, familiesOf } from "./facts.ts";
import { flowRule } from "./flows.ts";
import { indexInputs } from "./index-inputs.ts";
import { matrixAnswer } from "./matrix.ts";
import { measure } from "./metrics.ts";
import { type FirewallOptions, parseOptions } from "./options.ts";
import { PolicyIndex } from "./policy-index.ts";
import { sysctls } from "./sysctls.ts";

const firewall: Plugin<FirewallOptions> = {
  name: "firewall",
  api: 1,
  watches: [
    { kind: "pods" },
    { kind: "namespaces" },
    { kind: "networkpolicies" },
    { kind: "nodes", only: "self" },
    { kind: "servicecidrs" },
  ],
  tables: ["sysctls", "ipsets", "ipsetMembers", "chains", "jumps"],
  parse: parseOptions,
  setup,
};
export default firewall;

function setup(context: PluginContext<FirewallOptions>): void {
  const {
    answer,
    background,
    host,
    judgeFlows,
    metrics,
    node,
    options,
    reconcile,
    stores,
    tables,
  } = context;
  const index = new PolicyIndex(node, familiesOf(options));
  const inputs = indexInputs(index, stores);
  const facts = factsInput(stores.nodes, stores.servicecidrs, node, options);

  const families = familiesOf(options);
  // They are looked at only while somebody listens, and a node gets more: the address of the pods' bridge, from which the kubelet
  // probes, comes with its first pod.
  background(() => host.subscribe(() => {}));
  const isNode = (address: string) => host.values().some((each) => each.address === address);
  answer("list", () => listAnswer(index, node));
  answer("why", (query) => whyAnswer(index, node, families, query, isNode));
  answer(
    "matrix",
    (query) => matrixAnswer(index, families, Number(query.get("offset") ?? 0) || 0, isNode),
  );
  measure(index, families, metrics);

  if (!options.netpolKeepEstablished) {
    judgeFlows(flowRule(index, host, () => facts.value));
  }

  reconcile({
    name: "firewall",
    inputs: [inputs.base, facts],
    units: () => [""],
    desired(_unit, desired) {
      const { defaultDeny, families, podCIDRs } = facts.value;
      if (defaultDeny && podCIDRs.length === 0) {
        desired.report(
          `--netpol-default-deny needs the pod CIDRs of Node "${node}", which has none: its pods are open until ` +
            "their rules are in Linux; give the Node spec.podCIDRs or the annotation kube-router.io/pod-cidrs",
        );
      }
      for (const sysctl of sysctls(families)) desired.want(tables.sysctls, sysctl);
      wantAll(baseItems(index, facts.value), desired, tables);
    },
  });
  reconcile({
    name: "pod",
    inputs: [inputs.pods, facts],
    *units() {
      for (const { key } of index.localPods()) yield key;
    },
    desired: (unit, desired) => wantAll(podItems(index, unit, facts.value), desired, tables),
  });
  reconcile({
    name: "namespace",
    inputs: [inputs.namespaces, facts],
    units: () => index.activeNamespaces(),
    desired: (unit, desired) => wantAll(namespaceItems(index, unit, facts.value), desired, tables),
  });
  reconcile({
    name: "policy",
    inputs: [inputs.policies, facts],
    units: () => index.activePolicies(),
    desired: (unit, desired) => wantAll(policyItems(index, unit, facts.value), desired, tables),
  });
  reconcile({
    name: "members",
    inputs: [inputs.members],
    units: () => index.podKeys(),
    desired(unit, { want }) {
      for (const member of index.members(unit)) want(tables.ipsetMembers, member);
    },
  });
}

function wantAll(items: Items, { want, report }: Desired, tables: Tables): void {
  for (const problem of items.problems) report(problem);
  for (const set of items.sets) want(tables.ipsets, set);
  for (const member of items.members) want(tables.ipsetMembers, member);
  for (const chain of items.chains) want(tables.chains, chain);
  for (const jump of items.jumps) want(tables.jumps, jump);
}
