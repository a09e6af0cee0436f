/** S5, S9, S10, S21, S25, S26, S28, S29 and S34: what becomes of traffic besides the choice of an endpoint. */

import { expect } from "bun:test";
import { parseCidr } from "../../../../../src/kernel/ip.ts";
import type { FilterRule } from "../../../../../src/kernel/plugin.ts";
import { masquerade, sysctls } from "../../../../../src/plugins/proxy/foundation.ts";
import { hairpinItems, hairpinPart } from "../../../../../src/plugins/proxy/hairpin.ts";
import { healthCheckOf } from "../../../../../src/plugins/proxy/health-check.ts";
import { planService } from "../../../../../src/plugins/proxy/service-plan.ts";
import { serviceItems } from "../../../../../src/plugins/proxy/services.ts";
import { testCluster } from "../../../../support/cluster.ts";
import { node } from "../../../../support/objects.ts";
import { running } from "../../../../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../../../../support/service-world.ts";
import { at, eachStack, type Family, type Pod, type Stack } from "./stacks.ts";

const ENDING = { ready: false, serving: true, terminating: true };
const ENDED = { ready: false, serving: false, terminating: true };
const FAILING = { ready: false, serving: false, terminating: false };
const here = (n: number, conditions: Pod["conditions"] = {}): Pod => ({
  n,
  nodeName: "one",
  conditions,
});
const there = (n: number): Pod => ({ n, nodeName: "two" });

eachStack("S5, S9: a health check counts this node's ready endpoints, a pod once", (s) => {
  const count = (...pods: readonly Pod[]) =>
    healthCheckOf(
      s.service({ externalTrafficPolicy: "Local", healthCheckNodePort: 32000 }),
      s.slices(pods),
      "one",
    )?.localEndpoints;
  expect(count(here(1), here(2), there(3))).toBe(2);
  expect(count(here(1), here(2, ENDING), here(3, FAILING))).toBe(1);
  expect(count(here(1, ENDING))).toBe(0);
  expect(count()).toBe(0);
  for (const changes of [{ healthCheckNodePort: 32000 }, { externalTrafficPolicy: "Local" }]) {
    expect(healthCheckOf(s.service(changes), s.slices([here(1)]), "one")).toBeUndefined();
  }
});

eachStack("S21: cluster IPs of ranges that were added later are served like the others", (s) => {
  const clusterIPs = s.families.map((f) => f === 4 ? "10.200.0.1" : "fd00:200::1");
  const routedRanges = ["10.96.0.0/16", "fd00:96::/112"].flatMap((text) => parseCidr(text) ?? []);
  const service = s.service({ clusterIPs, externalIPs: [] });
  const { addresses, services, problems } = serviceItems(
    service,
    [],
    s.context({ routedRanges }),
  );
  for (const address of clusterIPs) {
    // Outside of the range that is one route, so an address of its own.
    expect(addresses.map((each) => each.address)).toContain(address);
    expect(services.map(({ id }) => id.address)).toContain(address);
  }
  expect(problems).toEqual([]);
});

eachStack(
  "S21: ranges come and go with ServiceCIDR objects: routes, what is refused, what external IPs may be",
  async (s) => {
    const cluster = testCluster();
    const cidrs = s.families.map((f) => f === 4 ? "10.200.0.0/24" : "fd00:200::/112");
    const clusterIPs = s.families.map((f) => f === 4 ? "10.200.0.1" : "fd00:200::1");
    const externalIPs = s.families.map((f) => f === 4 ? "10.200.0.9" : "fd00:200::9");
    const addresses = s.families.map((f) => ({
      type: "InternalIP",
      address: at(f, "nodePort"),
    }));
    const range = (changes: object = {}) => ({
      metadata: { ...node("more").metadata, namespace: "", ...changes },
      spec: { cidrs },
    });
    cluster.put("nodes", node("node1", { addresses }));
    cluster.put("services", s.service({ clusterIPs, externalIPs }));
    cluster.sync();
    const options = proxyOptions({
      vipBinding: "route",
      serviceClusterIpRange: ["10.96.0.0/16", "fd00:96::/112"],
      serviceExternalIpRange: ["10.200.0.0/16", "fd00:200::/96"],
    });
    const { linux, settle, status } = await running([proxyPlugin], { cluster, options });
    const has = (pattern: RegExp) => linux.dump().split("\n").filter((l) => pattern.test(l)).length;
    const inLinux = () => ({
      routes: has(/^route local (10\.200\.0\.0\/24|fd00:200::\/112) dev lo/),
      refused: has(/^ipset .*svip-range member (10\.200\.0\.0\/24|fd00:200::\/112)$/),
      external: has(/^ipvs service tcp \[?(10\.200\.0\.9|fd00:200::9)/),
      served: has(/^ipvs service tcp \[?(10\.200\.0\.1|fd00:200::1)\]?:/),
    });
    const n = s.families.length;
    const without = { routes: 0, refused: 0, external: n, served: n };
    const withRange = { routes: n, refused: n, external: 0, served: n };
    expect(inLinux()).toEqual(without);
    cluster.put("servicecidrs", range());
    await settle();
    expect(inLinux()).toEqual(withRange);
    expect(status().problems.map(({ reason }) => reason).join()).toContain("or a ServiceCIDR");
    // Deleted, and held by its finalizer while addresses of it are in use.
    cluster.put("servicecidrs", range({ deletionTimestamp: "2030-01-01T00:00:00Z" }));
    await settle();
    expect(inLinux()).toEqual(withRange);
    cluster.remove("servicecidrs", "more");
    await settle();
    expect(inLinux()).toEqual(without);
  },
);

/** Weights of the cluster IP's destinations, by number of the pod. */
function weights(s: Stack, family: Family, protocol: string, pods: readonly Pod[]) {
  const ports = [{ protocol, port: 80 }];
  const { destinations } = serviceItems(
    s.service({ ports }),
    s.slices(pods, { ports: [{ protocol, port: 80 }] }),
    s.context(),
  );
  return Object.fromEntries(
    destinations.filter(({ service }) => service.address === at(family, "clusterIP"))
      .map(({ address, weight }) => [address.slice(address.search(/\d+$/)), weight]),
  );
}

eachStack(
  "S26: connections of an endpoint that ends go on while it is listed, without new ones",
  (s) => {
    for (const family of s.families) {
      for (const protocol of ["TCP", "SCTP"]) {
        const of = (...pods: readonly Pod[]) => weights(s, family, protocol, pods);
        expect(of(here(1), here(2, ENDING), here(3, ENDED))).toEqual({ 1: 1, 2: 0, 3: 0 });
        expect(of(here(1, ENDING), here(2, ENDED))).toEqual({ 1: 1, 2: 0 });
        expect(of(here(1), here(2, FAILING))).toEqual({ 1: 1 });
      }
    }
  },
);

eachStack("S25: an endpoint that ends has no UDP flow any more", (s) => {
  for (const family of s.families) {
    expect(weights(s, family, "UDP", [here(1), here(2, ENDING), here(3, ENDED)])).toEqual({ 1: 1 });
    expect(weights(s, family, "UDP", [here(1, ENDING)])).toEqual({ 1: 1 });
  }
});

eachStack(
  "S28: a pod that reaches itself is seen as the VIP, on every address that is asked",
  (s) => {
    const plan = planService(s.service(), s.slices([here(1), there(2)]), s.context());
    const { families } = s.context();
    const items = hairpinItems([hairpinPart(plan, "one", true)], "one", families);
    const self = (family: Family) => `${at(family, "pod")},tcp:8080,${at(family, "pod")}`;
    expect(items.members.map(({ entry }) => entry)).toEqual(s.families.map(self));
    for (const family of s.families) {
      const chain = items.chains.find((each) => each.family === family);
      expect(chain?.rules.map(({ target }) => target)).toEqual(
        [at(family, "clusterIP"), at(family, "nodePort")].toSorted()
          .map((to) => ({ kind: "snat", to })),
      );
    }
    const none = hairpinItems([hairpinPart(plan, "one", false)], "one", families);
    expect(none.chains).toEqual([]);
  },
);

/** Whether a packet keeps its source, by the rules of the masquerading chain. */
function keeps(rules: readonly FilterRule[], from: string, to: string): boolean {
  const within = (prefix: string, address: string) =>
    address.startsWith(prefix.replace(/(0\/24|:\/64)$/, ""));
  const first = rules.find(({ matches }) =>
    matches.every((match) =>
      match.kind === "source"
        ? within(match.prefix, from)
        : match.kind === "destination" && within(match.prefix, to)
    )
  );
  return first?.target.kind !== "snat";
}

eachStack(
  "S29: pods keep their address; only the way from elsewhere to elsewhere is hidden",
  (s) => {
    for (const family of s.families) {
      const address = at(family, "nodePort");
      const podCIDRs = [family === 4 ? "10.244.1.0/24" : "fd00:244:1::/64"];
      const own = family === 4 ? "10.244.1.7" : "fd00:244:1::7";
      const other = family === 4 ? "10.244.2.7" : "fd00:244:2::7";
      const outside = family === 4 ? "192.0.2.9" : "2001:db8::9";
      const { rules } = masquerade({ family, address, podCIDRs }, false).chain;
      const table: readonly (readonly [string, string, boolean])[] = [
        [own, own, true],
        [own, other, true],
        [outside, own, true],
        [outside, other, false],
        [address, own, true],
        [address, other, false],
      ];
      expect(table.map(([from, to]) => keeps(rules, from, to))).toEqual(
        table.map(([, , kept]) => kept),
      );
      const all = masquerade({ family, address, podCIDRs }, true).chain.rules;
      expect(table.map(([from, to]) => keeps(all, from, to))).toEqual(table.map(() => false));
    }
  },
);

eachStack(
  "S10: a node that the autoscaler removes is unhealthy, and goes on serving",
  async (s) => {
    const cluster = testCluster();
    const leaving = (taints: readonly string[]) => {
      const plain = node("node1", {
        addresses: s.families.map((f) => ({ type: "InternalIP", address: at(f, "nodePort") })),
      });
      const spec = { ...plain.spec, taints: taints.map((key) => ({ key, effect: "NoSchedule" })) };
      return { ...plain, spec };
    };
    cluster.put("nodes", leaving([]));
    cluster.put("services", s.service());
    cluster.sync();
    const { runtime, linux, settle } = await running([proxyPlugin], {
      cluster,
      options: proxyOptions(),
    });
    const before = linux.dump();
    expect(runtime.unhealthy()).toEqual([]);
    cluster.put("nodes", leaving(["ToBeDeletedByClusterAutoscaler"]));
    await settle();
    expect(runtime.unhealthy().join()).toContain("ToBeDeletedByClusterAutoscaler");
    expect([runtime.ready, linux.dump()]).toEqual([true, before]);
  },
);

eachStack("S34: conntrack translates what is out of its window, in every family", (s) => {
  expect(sysctls(s.context().families, "6.1.0"))
    .toContainEqual({ path: "net/netfilter/nf_conntrack_tcp_be_liberal", value: "1" });
});
