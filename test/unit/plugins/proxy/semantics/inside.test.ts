/** S8: clients inside the cluster get all endpoints where a Local policy keeps those outside to this node's. */

import { expect } from "bun:test";
import type { IpvsService } from "../../../../../src/kernel/plugin.ts";
import {
  INSIDE_BIT,
  insideItems,
  type InsideMarks,
  insideMarks,
  lackOfMarks,
  splitFrontends,
} from "../../../../../src/plugins/proxy/inside.ts";
import { markKey, Marks } from "../../../../../src/plugins/proxy/marks.ts";
import {
  firewallMembers,
  firewallRules,
  firewallSets,
} from "../../../../../src/plugins/proxy/service-firewall.ts";
import { type Frontend, planService } from "../../../../../src/plugins/proxy/service-plan.ts";
import { testCluster } from "../../../../support/cluster.ts";
import { node, type ServiceChanges, slice } from "../../../../support/objects.ts";
import { machine } from "../../../../support/packet-walk.ts";
import { running } from "../../../../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../../../../support/service-world.ts";
import { at, eachStack, type Family, type Pod, type Stack } from "./stacks.ts";

const LOCAL = { externalTrafficPolicy: "Local" } as const;
const EXTERNAL = ["externalIP", "loadBalancer", "nodePort"] as const;
const here = (n: number): Pod => ({ n, nodeName: "one" });
const there = (n: number): Pod => ({ n, nodeName: "two" });
const POD_CIDRS = { 4: "10.1.0.0/24", 6: "fd00:1::/64" } as const;

/** The marks of frontends, which take them. */
function marksOf(frontends: readonly Frontend[], marks: Marks): InsideMarks {
  for (const front of frontends) marks.take(markKey(front));
  return insideMarks(frontends, marks);
}

/** A Service on this node: its plan, marks, and what they want of IPVS. */
function planned(s: Stack, service: ServiceChanges, pods: readonly Pod[], graceful = true) {
  const slices = s.slices(pods);
  const plan = planService(s.service(service), slices, s.context());
  const marks = marksOf(splitFrontends(plan), new Marks());
  return { plan, marks, items: insideItems(plan, slices, marks, graceful) };
}

/** By kind of address: the endpoints of clients inside, by number. */
function endpoints(s: Stack, family: Family, service: ServiceChanges, pods: readonly Pod[]) {
  const { plan, marks, items } = planned(s, service, pods);
  return Object.fromEntries(
    plan.frontends.filter((front) => front.family === family).flatMap(({ id, kind }) => {
      const mark = marks.get(id.key)?.mark;
      const its = items.destinations.filter(({ service }) =>
        service.fwmark === mark && service.family === family
      );
      return its.length === 0
        ? []
        : [[kind, its.map(({ address }) => Number(address.slice(address.search(/\d+$/))))]];
    }),
  );
}

eachStack("S8: all endpoints for clients inside, at every address from outside", (s) => {
  for (const family of s.families) {
    const all = (...n: number[]): Record<string, number[]> =>
      Object.fromEntries(EXTERNAL.map((kind) => [kind, n]));
    const of = (service: ServiceChanges, ...pods: readonly Pod[]) =>
      endpoints(s, family, service, pods);
    expect(of(LOCAL, here(1), there(2))).toEqual(all(1, 2));
    expect(of(LOCAL, there(2))).toEqual(all(2));
    // Subject to neither policy.
    expect(of({ ...LOCAL, internalTrafficPolicy: "Local" }, there(2))).toEqual(all(2));
    const annotations = { "kube-router.io/service.local": "true" };
    expect(of({ metadata: { annotations } }, there(2))).toEqual(all(2));
    expect(of(LOCAL)).toEqual({});
    expect(of({}, here(1), there(2))).toEqual({});
    expect(of({ internalTrafficPolicy: "Local" }, here(1), there(2))).toEqual({});
  }
});

eachStack("S8: an endpoint that ends is inside's as it is of a cluster IP", (s) => {
  const conditions = { ready: false, serving: true, terminating: true };
  for (const family of s.families) {
    const weights = (...pods: readonly Pod[]) =>
      planned(s, LOCAL, pods, false).items.destinations
        .filter(({ service }) => service.family === family).map(({ weight }) => weight);
    // Three addresses each.
    expect(weights(here(1), { ...there(2), conditions })).toEqual([1, 0, 1, 0, 1, 0]);
    expect(weights({ ...there(2), conditions })).toEqual([1, 1, 1]);
  }
});

eachStack(
  "S8, S14: affinity of clients inside, by time or, where the port changes, by hash",
  (s) => {
    const affine = { ...LOCAL, sessionAffinity: "ClientIP" };
    const how = (changes: ServiceChanges) => {
      const words = ({ scheduler, persistence }: IpvsService) => `${scheduler} ${persistence}`;
      return [...new Set(planned(s, changes, [here(1), there(2)]).items.services.map(words))];
    };
    expect(how(LOCAL)).toEqual(["rr 0"]);
    expect(how(affine)).toEqual(["mh 0"]);
    // The node port is another.
    expect(how({ ...affine, ports: [{ port: 8080 }] })).toEqual(["rr 10800"]);
  },
);

eachStack(
  "S8: marks tell addresses apart, and two Services that want one address have one mark",
  (s) => {
    const fronts = splitFrontends(planned(s, LOCAL, [here(1)]).plan);
    const marks = new Marks();
    const [first, second] = [marksOf(fronts, marks), marksOf(fronts, marks)];
    const numbers = [...first.values()].map(({ mark }) => mark);
    expect(numbers).toHaveLength(3 * s.families.length);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.every((mark) => (mark & INSIDE_BIT) !== 0 && (mark & 0x3fff) !== 0)).toBe(true);
    expect([...second]).toEqual([...first]);
  },
);

eachStack("S8: a Service for which no mark is left is told of it", (s) => {
  const { plan, marks } = planned(s, LOCAL, [here(1)]);
  expect(lackOfMarks(plan, marks)).toBeUndefined();
  expect(lackOfMarks(planned(s, {}, [here(1)]).plan, new Map())).toBeUndefined();
  const [first, ...others] = marks;
  for (const family of s.families) {
    expect(lackOfMarks(plan, new Map())).toContain(`tcp ${at(family, "nodePort")} 30080`);
  }
  expect(lackOfMarks(plan, new Map(others))).toContain(
    `at "tcp ${first?.[1].address} ${first?.[1].port}", since all firewall marks are in use`,
  );
});

eachStack("S8, S15, S27: who is inside passes to its mark, who is outside is dropped", (s) => {
  for (const family of s.families) {
    for (const permitAll of [true, false]) {
      const service = { ...LOCAL, loadBalancerSourceRanges: ["192.0.2.0/24", "2001:db8::/32"] };
      const { plan, marks } = planned(s, service, [there(2)]);
      const facts = {
        family,
        address: at(family, "nodePort"),
        podCIDRs: [POD_CIDRS[family]],
      };
      const members = firewallMembers(plan, [], [], undefined, marks)
        .filter(({ set }) => set.startsWith("inet6:") === (family === 6));
      const linux = machine({
        sets: firewallSets([facts], false),
        // The walk knows no sets of three parts: nobody is in the source ranges.
        members: members.filter(({ set }) => !set.endsWith("-src")),
        ...firewallRules(facts, permitAll, false, [...marks.values()]),
      }, [facts.address]);
      const walk = (hook: "INPUT" | "OUTPUT", source: string, kind: typeof EXTERNAL[number]) => {
        const destination = at(family, kind);
        const port = kind === "nodePort" ? 30080 : 80;
        const { verdict, mark } = linux.walk(hook, { source, destination, protocol: "tcp", port });
        const { id } = plan.frontends.find((f) => f.address === destination && f.port === port) ??
          { id: { key: "" } };
        return `${verdict}${mark === 0 ? "" : mark === marks.get(id.key)?.mark ? " marked" : " ?"}`;
      };
      const passes = permitAll ? "accept marked" : "continue marked";
      const outside = family === 4 ? "192.168.1.99" : "fd00:50::99";
      for (const kind of ["externalIP", "nodePort"] as const) {
        expect(walk("INPUT", at(family, "pod", 9), kind)).toBe(passes);
        expect(walk("INPUT", outside, kind)).toBe("drop");
        expect(walk("OUTPUT", facts.address, kind)).toBe("continue marked");
      }
    }
  }
});

eachStack(
  "S8: the short cut comes and goes with the policy, and with who has the address",
  async (s) => {
    const cluster = testCluster();
    const addresses = s.families.map((f) => ({ type: "InternalIP", address: at(f, "nodePort") }));
    const podCIDRs = s.families.map((f) => POD_CIDRS[f]);
    cluster.put("nodes", node("node1", { addresses, podCIDRs }));
    const web = (changes: ServiceChanges, created = "2026-01-01T00:00:00Z") => {
      const made = s.service(changes);
      return { ...made, metadata: { ...made.metadata, creationTimestamp: created } };
    };
    cluster.put("services", web(LOCAL));
    cluster.put("endpointslices", ...s.slices([there(2)]));
    cluster.sync();
    const options = proxyOptions({
      serviceExternalIpRange: ["203.0.113.0/24", "fd00:203::/112"],
      loadbalancerIpRange: ["198.51.100.0/24", "fd00:198::/112"],
    });
    const { linux, settle } = await running([proxyPlugin], { cluster, options });
    const count = (pattern: RegExp) =>
      linux.dump().split("\n").filter((line) => pattern.test(line)).length;
    const found = () => ({
      services: count(/^ipvs service fwmark/),
      destinations: count(/^ipvs destination fwmark.* masq weight 1/),
      members: count(/svip-inside member/),
      chains: count(/^chain .*SVC-INSIDE/),
    });
    const n = s.families.length;
    const all = { services: 3 * n, destinations: 3 * n, members: 3 * n, chains: 2 * n };
    const none = { services: 0, destinations: 0, members: 0, chains: 0 };
    expect(found()).toEqual(all);
    // Marks are made of the Service alone: endpoints come and go without a new rule.
    cluster.put("endpointslices", ...s.slices([here(1), there(2)]));
    await settle();
    expect(found()).toEqual({ ...all, destinations: 6 * n });
    cluster.put("endpointslices", ...s.slices([]));
    await settle();
    expect(found()).toEqual({ ...none, chains: 2 * n });
    cluster.put("endpointslices", ...s.slices([there(2)]));
    cluster.put("services", web({}));
    await settle();
    expect(found()).toEqual(none);
    // A younger Service under such a policy at an older one's addresses must not take its clients inside.
    const younger = web(LOCAL, "2026-02-02T00:00:00Z");
    cluster.put("services", { ...younger, metadata: { ...younger.metadata, name: "young" } });
    cluster.put("endpointslices", slice("default/young-1", [{ addresses: ["10.1.0.7"] }]));
    await settle();
    expect(found().members).toBe(0);
  },
);
