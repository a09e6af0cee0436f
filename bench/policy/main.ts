/**
 * What one change costs the policy engine at 10,000 pods and 1,000 policies, beside a full recomputation of everything, as
 * agents without an index do at each event. No Linux: the work up to what is wanted of it.
 *
 * `bench/policy/run [PODS] [POLICIES]`
 */

import type { IpSetMember, NetworkPolicy, Pod } from "../../src/kernel/plugin.ts";
import {
  baseItems,
  namespaceItems,
  podItems,
  policyItems,
} from "../../src/plugins/firewall/desired.ts";
import { PolicyIndex, type Woken } from "../../src/plugins/firewall/policy-index.ts";
import { FACTS, itemsOf, namespace, pod, policy } from "../../test/support/policy-world.ts";
import { random } from "../../test/support/random.ts";

const [PODS = 10_000, POLICIES = 1_000] = process.argv.slice(2).map(Number);
const NAMESPACES = 100;
const LOCAL = 110;
const ROUNDS = 2_000;
const dice = random(1);

const namespaces = Array.from(
  { length: NAMESPACES },
  (_, i) => namespace(`ns${i}`, { env: i % 2 === 0 ? "prod" : "test" }),
);
const app = () => `app${dice.below(20)}`;

/** Pod `i`, on this node for the first ones, so that nearly every namespace counts here. */
function podOf(i: number, label: string): Pod {
  return pod(`ns${i % NAMESPACES}/pod${i}`, {
    labels: { app: label, tier: i % 3 === 0 ? "front" : "back" },
    node: i < LOCAL ? "node1" : `node${2 + (i % 90)}`,
    ips: [`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, `fd00::${i.toString(16)}`],
    ports: [{ name: "http", containerPort: 8080 }],
  });
}

function policyOf(i: number, port: number): NetworkPolicy {
  const peer = i % 10 === 0
    ? { namespaceSelector: { matchLabels: { env: "prod" } }, podSelector: labelled(i + 1) }
    : { podSelector: labelled(i + 1) };
  return policy(`ns${i % NAMESPACES}/policy${i}`, {
    podSelector: labelled(i),
    policyTypes: ["Ingress", "Egress"],
    ingress: [{ from: [peer, { ipBlock: { cidr: `10.${i % 200}.0.0/16` } }], ports: [{ port }] }],
    egress: [{ to: [peer], ports: [{ port: "http" }] }],
  });
}

function labelled(i: number): object {
  return { matchLabels: { app: `app${i % 20}` } };
}

const pods = Array.from({ length: PODS }, (_, i) => podOf(i, app()));
const policies = Array.from({ length: POLICIES }, (_, i) => policyOf(i, 80));

function full(): PolicyIndex {
  const index = new PolicyIndex("node1", FACTS.families);
  index.changeNamespaces(namespaces.map((current) => ({ current })));
  index.changePolicies(policies.map((current) => ({ current })));
  index.changePods(pods.map((current) => ({ current })));
  return index;
}

/** Asks the woken units what they want, as the kernel does. */
function evaluate(index: PolicyIndex, woken: Woken): number {
  let items = 0;
  const members: Iterable<string> = woken.members === "all" ? index.podKeys() : woken.members;
  for (const key of members) items += index.members(key).length;
  for (const key of woken.policies) items += policyItems(index, key, FACTS).chains.length;
  for (const name of woken.namespaces) items += namespaceItems(index, name, FACTS).chains.length;
  return items;
}

/** Milliseconds at which so much of the times lie below. */
function quantile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

function time(work: () => void): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

/** All units of a node that starts. */
function everything(): void {
  const made = full();
  for (const { key } of made.localPods()) podItems(made, key, FACTS);
  baseItems(made, FACTS);
  evaluate(made, {
    pods: new Set(),
    members: "all",
    policies: new Set(made.activePolicies()),
    namespaces: new Set(made.activeNamespaces()),
    base: true,
  });
}

everything();
const fulls = Array.from({ length: 5 }, () => time(everything));
const index = full();
const state = itemsOf(index);

const relabel: number[] = [];
const repolicy: number[] = [];
const created: number[] = [];
let members: readonly IpSetMember[] = [];
for (let n = 0; n < ROUNDS; n++) {
  const i = dice.below(PODS);
  const previous = pods[i];
  if (previous === undefined) continue;
  const current = podOf(i, app());
  pods[i] = current;
  relabel.push(time(() => evaluate(index, index.changePods([{ previous, current }]))));
  members = index.members(`${current.metadata.namespace}/${current.metadata.name}`);
}
for (let n = 0; n < ROUNDS; n++) {
  const j = dice.below(POLICIES);
  const old = policies[j];
  if (old === undefined) continue;
  const now = policyOf(j, 1 + dice.below(1000));
  policies[j] = now;
  repolicy.push(
    time(() => evaluate(index, index.changePolicies([{ previous: old, current: now }]))),
  );

  const extra = policyOf(POLICIES + n, 443);
  created.push(time(() => evaluate(index, index.changePolicies([{ current: extra }]))));
  index.changePolicies([{ previous: extra }]);
}

const whole = quantile(fulls, 0.5);
const row = (what: string, times: readonly number[]): void => {
  const [half, high] = [quantile(times, 0.5), quantile(times, 0.99)];
  console.log(
    `${what.padEnd(26)} ${(half * 1000).toFixed(1).padStart(9)} µs ${
      (high * 1000).toFixed(1).padStart(9)
    } µs   1 : ${Math.round(whole / half)}`,
  );
};
console.log(
  `${PODS} pods, ${LOCAL} of them here, ${POLICIES} policies, ${NAMESPACES} namespaces, two families: ` +
    `${state.sets.length} sets, ${state.members.length} members, ${state.chains.length} chains`,
);
console.log(`everything anew            ${(whole * 1000).toFixed(0).padStart(9)} µs (median of 5)`);
console.log(`one change                    median          p99   to everything anew`);
row("a pod's label", relabel);
row("a policy's port", repolicy);
row("a new policy", created);
if (members.length === 0 && state.members.length === 0) process.exitCode = 1;
