import { describe, expect, test } from "bun:test";
import {
  baseItems,
  type Items,
  namespaceItems,
  podItems,
  policyItems,
} from "../../../../src/plugins/firewall/desired.ts";
import { PolicyIndex, type Woken } from "../../../../src/plugins/firewall/policy-index.ts";
import { randomCluster } from "../../../support/policy-random.ts";
import {
  FACTS,
  indexOf,
  itemsOf,
  namespace,
  pod,
  policy,
  type PolicyCluster,
} from "../../../support/policy-world.ts";
import { random, seeds } from "../../../support/random.ts";

/** One event: an object before and after. */
type Event = {
  readonly [K in "namespaces" | "pods" | "policies"]: {
    readonly kind: K;
    readonly previous?: PolicyCluster[K][number];
    readonly current?: PolicyCluster[K][number];
  };
}["namespaces" | "pods" | "policies"];

function send(index: PolicyIndex, event: Event): Woken {
  switch (event.kind) {
    case "namespaces":
      return index.changeNamespaces([event]);
    case "pods":
      return index.changePods([event]);
    case "policies":
      return index.changePolicies([event]);
  }
}

/** Every unit that exists, and what it wants. */
function units(index: PolicyIndex): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const enter = (unit: string, items: Items | ReturnType<PolicyIndex["members"]>) =>
    found.set(unit, JSON.stringify(items));
  enter("base", baseItems(index, FACTS));
  for (const { key } of index.localPods()) enter(`pod ${key}`, podItems(index, key, FACTS));
  for (const name of index.activeNamespaces()) {
    enter(`namespace ${name}`, namespaceItems(index, name, FACTS));
  }
  for (const key of index.activePolicies()) enter(`policy ${key}`, policyItems(index, key, FACTS));
  for (const key of index.podKeys()) {
    const members = index.members(key);
    if (members.length > 0) enter(`members ${key}`, members.toSorted(byText));
  }
  return found;
}

function byText(a: unknown, b: unknown): number {
  return JSON.stringify(a) < JSON.stringify(b) ? -1 : 1;
}

function isWoken(unit: string, woken: Woken): boolean {
  const [kind = "", key = ""] = unit.split(" ");
  if (kind === "base") return woken.base;
  if (kind === "members") return woken.members === "all" || woken.members.has(key);
  const sets = { pod: woken.pods, namespace: woken.namespaces, policy: woken.policies };
  return sets[kind as keyof typeof sets].has(key);
}

/** Events that lead from nothing, through states that are neither, to a cluster. */
function wayTo(cluster: PolicyCluster, dice: ReturnType<typeof random>): readonly Event[] {
  const other = randomCluster(dice);
  const events: Event[] = [];
  const kinds = ["namespaces", "pods", "policies"] as const;
  const now = new Map<string, { kind: Event["kind"]; object: { metadata: object } }>();
  const step = (kind: Event["kind"], key: string, object: { metadata: object } | undefined) => {
    const previous = now.get(`${kind} ${key}`)?.object;
    if (previous === object) return;
    if (object === undefined) now.delete(`${kind} ${key}`);
    else now.set(`${kind} ${key}`, { kind, object });
    events.push(
      {
        kind,
        ...(previous === undefined ? {} : { previous }),
        ...(object === undefined ? {} : { current: object }),
      } as Event,
    );
  };
  const all = (from: PolicyCluster) =>
    kinds.flatMap((kind) =>
      from[kind].map((object) => ({
        kind,
        key: `${object.metadata.namespace}/${object.metadata.name}`,
        object,
      }))
    );
  for (const { kind, key, object } of dice.shuffle(all(other))) step(kind, key, object);
  const wanted = all(cluster);
  const gone = all(other).filter(({ kind, key }) =>
    !wanted.some((each) => each.kind === kind && each.key === key)
  ).map(({ kind, key }) => ({ kind, key, object: undefined }));
  for (const { kind, key, object } of dice.shuffle([...wanted, ...gone])) step(kind, key, object);
  return events;
}

describe("the index", () => {
  test.each(seeds(150))("ends at the same, whatever led there, seed %d", (seed) => {
    const dice = random(seed);
    const cluster = randomCluster(dice);
    const index = new PolicyIndex("node1", FACTS.families);
    for (const event of wayTo(cluster, dice)) send(index, event);
    const sorted = ({ chains, ...rest }: Items) => ({
      ...rest,
      chains: chains.toSorted(byText),
      problems: rest.problems.toSorted(),
    });
    expect(sorted(itemsOf(index))).toEqual(sorted(itemsOf(indexOf(cluster, "node1"))));
  });

  test.each(seeds(100))("wakes every unit that wants something else, seed %d", (seed) => {
    const dice = random(seed + 10_000);
    const index = new PolicyIndex("node1", FACTS.families);
    let before = units(index);
    for (const event of wayTo(randomCluster(dice), dice)) {
      const woken = send(index, event);
      const after = units(index);
      for (const unit of new Set([...before.keys(), ...after.keys()])) {
        if (before.get(unit) === after.get(unit)) continue;
        if (!isWoken(unit, woken)) {
          throw new Error(`${unit} slept through ${JSON.stringify(event)}`);
        }
      }
      before = after;
    }
    expect(before.size).toBeGreaterThan(0);
  });
});

describe("one change", () => {
  const web = { labels: { app: "web" }, ips: ["10.1.1.2"] };
  const cluster: PolicyCluster = {
    namespaces: [namespace("a", { env: "prod" }), namespace("b")],
    pods: [
      pod("a/web", web),
      pod("a/db", { labels: { app: "db" }, ips: ["10.1.1.3"] }),
      pod("a/far", { labels: { app: "web" }, ips: ["10.1.2.2"], node: "node2" }),
      pod("b/far", { ips: ["10.1.2.3"], node: "node2" }),
    ],
    policies: [
      policy("a/db", {
        podSelector: { matchLabels: { app: "db" } },
        ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }] }],
      }),
      policy("a/web", { podSelector: { matchLabels: { app: "web" } }, ingress: [] }),
      policy("b/away", { podSelector: {} }),
    ],
    nodes: new Map(),
  };
  const before = cluster.pods[0];
  if (before === undefined) throw new Error("No pod");

  test("of a pod's label touches members alone, also on the pod's own node", () => {
    const index = indexOf(cluster, "node1");
    const old = itemsOf(index);
    const woken = index.changePods([
      { previous: before, current: pod("a/web", { ...web, labels: { app: "db" } }) },
    ]);
    expect(woken).toEqual({
      pods: new Set(),
      members: new Set(["a/web"]),
      policies: new Set(),
      namespaces: new Set(),
      base: false,
    });
    const now = itemsOf(index);
    expect(now.chains).toEqual(old.chains);
    expect(now.sets).toEqual(old.sets);
    expect(now.members).not.toEqual(old.members);
  });

  test("of a pod that no set can hold wakes nobody", () => {
    const index = indexOf(cluster, "node1");
    const woken = index.changePods([{
      previous: pod("b/far", { ips: ["10.1.2.3"], node: "node2" }),
      current: pod("b/far", { ips: ["10.1.2.9"], node: "node2", labels: { app: "web" } }),
    }]);
    expect([...woken.pods, ...woken.members, ...woken.policies, ...woken.namespaces]).toEqual([]);
    expect(woken.base).toBe(false);
  });

  test("of a policy's rules touches its own chain alone", () => {
    const index = indexOf(cluster, "node1");
    const old = itemsOf(index);
    const [previous] = cluster.policies;
    const woken = index.changePolicies([{
      ...(previous === undefined ? {} : { previous }),
      current: policy("a/db", {
        podSelector: { matchLabels: { app: "db" } },
        ingress: [{
          from: [{ podSelector: { matchLabels: { app: "web" } } }],
          ports: [{ port: 5432 }],
        }],
      }),
    }]);
    expect(woken.policies).toEqual(new Set(["a/db"]));
    expect(woken.namespaces).toEqual(new Set());
    const changed = itemsOf(index).chains.filter((chain) =>
      !old.chains.some((each) => Bun.deepEquals(each, chain))
    );
    expect(changed.map(({ family, rules }) => [family, rules.length])).toEqual([[4, 1], [6, 1]]);
  });

  test("of a policy in a namespace without a pod here wakes nobody", () => {
    const index = indexOf(cluster, "node1");
    const woken = index.changePolicies([{ current: policy("b/new", { podSelector: {} }) }]);
    expect([...woken.policies, ...woken.namespaces, ...woken.members]).toEqual([]);
    expect([...index.activePolicies()]).toEqual(["a/db", "a/web"]);
  });

  test("of a namespace's label moves its pods in and out of sets, and no rule", () => {
    const selecting = policy("a/db", {
      podSelector: {},
      ingress: [{ from: [{ namespaceSelector: { matchLabels: { env: "test" } } }] }],
    });
    const index = indexOf({ ...cluster, policies: [selecting] }, "node1");
    const old = itemsOf(index);
    const woken = index.changeNamespaces([
      { previous: namespace("b"), current: namespace("b", { env: "test" }) },
    ]);
    expect(woken.members).toEqual(new Set(["b/far"]));
    expect(woken.policies.size + woken.namespaces.size).toBe(0);
    const now = itemsOf(index);
    expect(now.chains).toEqual(old.chains);
    expect(now.members.map(({ entry }) => entry)).toEqual(["10.1.2.3"]);
  });

  test("of the last pod of a namespace on this node takes its policies away", () => {
    const index = indexOf(cluster, "node1");
    index.changePods(
      cluster.pods.filter(({ spec }) => spec.nodeName === "node1").map((previous) => ({
        previous,
      })),
    );
    expect(itemsOf(index).sets).toEqual([]);
    expect(itemsOf(index).members).toEqual([]);
    expect([...index.activeNamespaces(), ...index.activePolicies()]).toEqual([]);
  });

  test("brings policies of equal selectors to one set", () => {
    const from = (selector: object) => ({
      podSelector: {},
      ingress: [{ from: [{ podSelector: selector }] }],
    });
    const index = indexOf({
      ...cluster,
      policies: [
        policy("a/one", from({ matchLabels: { app: "web" } })),
        policy(
          "a/two",
          from({ matchExpressions: [{ key: "app", operator: "In", values: ["web", "web"] }] }),
        ),
      ],
    }, "node1");
    expect(itemsOf(index).sets.map(({ family, type }) => [family, type])).toEqual([
      [4, "hash:ip"],
      [6, "hash:ip"],
    ]);
  });
});
