/** S7, S8, S11 to S14 and S27: whose endpoints a Service takes on this node. */

import { expect } from "bun:test";
import { planService } from "../../../../../src/plugins/proxy/service-plan.ts";
import { eachStack, type Pod } from "./stacks.ts";

const here = (n: number): Pod => ({ n, nodeName: "one" });
const there = (n: number): Pod => ({ n, nodeName: "two" });
const ENDING = { ready: false, serving: true, terminating: true };
const LOCAL = { internalTrafficPolicy: "Local" } as const;
const OUTSIDE = { externalTrafficPolicy: "Local" } as const;

eachStack("S7: internal Local takes this node's endpoints, for the cluster IP alone", (s) => {
  const pods = [here(1), there(2), { n: 3 }];
  const all = [1, 2, 3];
  s.expectEndpoints({ service: LOCAL, pods }, {
    clusterIP: [1],
    nodePort: all,
    externalIP: all,
    loadBalancer: all,
  });
});

eachStack("S7: internal Local without any here drops, and falls back on nobody", (s) => {
  s.expectEndpoints({ service: LOCAL, pods: [there(2)] }, { clusterIP: "drop", nodePort: [2] });
  const ending = { ...there(2), conditions: ENDING };
  s.expectEndpoints({ service: LOCAL, pods: [ending] }, { clusterIP: "drop" });
});

eachStack("S8: external Local takes this node's endpoints, for all but the cluster IP", (s) => {
  s.expectEndpoints({ service: OUTSIDE, pods: [here(1), there(2)] }, {
    clusterIP: [1, 2],
    nodePort: [1],
    externalIP: [1],
    loadBalancer: [1],
  });
  s.expectEndpoints({ service: OUTSIDE, pods: [there(2)] }, {
    clusterIP: [2],
    nodePort: "drop",
    externalIP: "drop",
    loadBalancer: "drop",
  });
});

eachStack("S8: both Local, and the annotation that makes external traffic local alone", (s) => {
  const pods = [here(1), there(2)];
  s.expectEndpoints({ service: { ...LOCAL, ...OUTSIDE }, pods }, { clusterIP: [1], nodePort: [1] });
  for (const value of ["true", "", "True", " true "]) {
    const metadata = { annotations: { "kube-router.io/service.local": value } };
    s.expectEndpoints({ service: { ...LOCAL, metadata }, pods }, {
      clusterIP: [1, 2],
      nodePort: [1],
      loadBalancer: [1],
    });
  }
  for (const value of ["false", "maybe"]) {
    const metadata = { annotations: { "kube-router.io/service.local": value } };
    const plan = planService(s.service({ metadata }), s.slices(pods), s.context());
    expect(plan.problems).toEqual(
      value === "false" ? [] : [
        'Annotation kube-router.io/service.local is "maybe"; allowed are "true" and "false"; it is ignored',
      ],
    );
    s.expectEndpoints({ service: { metadata }, pods }, { clusterIP: [1, 2], nodePort: [1, 2] });
  }
});

eachStack("S11: hints count when every endpoint has them and one is for here", (s) => {
  const zone = (n: number, ...forZones: string[]): Pod => ({
    n,
    hints: { forZones, forNodes: [] },
  });
  const both = (n: number, forZone: string, forNode: string): Pod => ({
    n,
    hints: { forZones: [forZone], forNodes: [forNode] },
  });
  const table: readonly (readonly [string, readonly Pod[], readonly number[]])[] = [
    ["each zone its own", [zone(1, "a"), zone(2, "b")], [1]],
    ["one for several zones", [zone(1, "b", "a"), zone(2, "a"), zone(3, "c")], [1, 2]],
    ["one without", [zone(1, "a"), { n: 2 }], [1, 2]],
    ["the first without", [{ n: 1 }, zone(2, "b")], [1, 2]],
    ["one with an empty one", [zone(1, "a"), zone(2)], [1, 2]],
    ["none for this zone", [zone(1, "b"), zone(2, "c")], [1, 2]],
    ["this node before this zone", [both(1, "a", "one"), both(2, "a", "two")], [1]],
    ["this zone where no node is this", [both(1, "a", "two"), both(2, "b", "three")], [1]],
    ["neither", [both(1, "b", "two"), both(2, "c", "three")], [1, 2]],
    ["node hints of some", [both(1, "a", "one"), zone(2, "b"), zone(3, "a")], [1, 3]],
  ];
  for (const [name, pods, wanted] of table) {
    expect(() => s.expectEndpoints({ pods }, { clusterIP: wanted, nodePort: wanted }), name)
      .not.toThrow();
  }
});

eachStack("S11: hints of endpoints that end do not count, nor do any without a zone", (s) => {
  const hints = (zone: string) => ({ forZones: [zone], forNodes: [] });
  const pods: readonly Pod[] = [
    { n: 1, hints: hints("a") },
    { n: 2, hints: hints("b") },
    { n: 3, conditions: ENDING },
  ];
  s.expectEndpoints({ pods }, { clusterIP: [1] });
  const { zone: _zone, ...placeless } = s.context();
  const plan = planService(s.service(), s.slices(pods), placeless);
  expect(plan.frontends[0]?.endpoints).toHaveLength(2);
});

eachStack("S11: Local policies go before hints", (s) => {
  const hints = { forZones: ["b"], forNodes: ["two"] };
  s.expectEndpoints({ service: LOCAL, pods: [{ ...here(1), hints }, { ...there(2), hints }] }, {
    clusterIP: [1],
    nodePort: [1, 2],
  });
});

eachStack("S12: trafficDistribution itself is not looked at, whatever it says", (s) => {
  for (const trafficDistribution of ["PreferSameZone", "PreferSameNode", "PreferClose", "Other"]) {
    s.expectEndpoints({ service: { trafficDistribution }, pods: [here(1), there(2)] }, {
      clusterIP: [1, 2],
    });
  }
});

eachStack("S13: affinity is a time, on every address", (s) => {
  const persistence = (changes: Parameters<typeof s.service>[0]) =>
    planService(s.service(changes), [], s.context()).persistence;
  expect(persistence({ sessionAffinity: "ClientIP" })).toBe(10_800);
  for (const seconds of [1, 600, 86_400]) {
    const given = { sessionAffinity: "ClientIP", sessionAffinityTimeout: seconds };
    expect(persistence(given)).toBe(seconds);
  }
  expect(persistence({ sessionAffinity: "None", sessionAffinityTimeout: 600 })).toBe(0);
});

eachStack("S14: affinity and a Local policy go together", (s) => {
  const changes = { ...OUTSIDE, sessionAffinity: "ClientIP" };
  s.expectEndpoints({ service: changes, pods: [here(1), here(2), there(3)] }, {
    clusterIP: [1, 2, 3],
    loadBalancer: [1, 2],
  });
  expect(planService(s.service(changes), [], s.context()).persistence).toBe(10_800);
});

eachStack("S27: no endpoints anywhere reject, endpoints on other nodes alone drop", (s) => {
  const local = { ...LOCAL, ...OUTSIDE };
  const all = (verdict: "reject" | "drop") => ({
    clusterIP: verdict,
    nodePort: verdict,
    externalIP: verdict,
    loadBalancer: verdict,
  });
  s.expectEndpoints({ pods: [] }, all("reject"));
  s.expectEndpoints({ service: local, pods: [] }, all("reject"));
  s.expectEndpoints({ service: local, pods: [there(1)] }, all("drop"));
  const dead = { ...there(1), conditions: { ready: false } };
  s.expectEndpoints({ service: local, pods: [dead] }, all("reject"));
});
