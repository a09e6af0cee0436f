/** S7, S8, S15, S27: what the service firewall's sets say of a Service. */

import { expect } from "bun:test";
import { type Cidr, parseCidr } from "../../../../../src/kernel/ip.ts";
import { firewallMembers } from "../../../../../src/plugins/proxy/service-firewall.ts";
import { planService } from "../../../../../src/plugins/proxy/service-plan.ts";
import type { ServiceChanges } from "../../../../support/objects.ts";
import { at, eachStack, type Family, type Pod, type Stack } from "./stacks.ts";

const here: Pod = { n: 1, nodeName: "one" };
const there: Pod = { n: 2, nodeName: "two" };

/** The entries of one set of a family. */
function entries(
  s: Stack,
  set: string,
  family: Family,
  service: ServiceChanges,
  pods: readonly Pod[],
) {
  const problems: string[] = [];
  const plan = planService(s.service(service), s.slices(pods), s.context());
  const name = `${family === 6 ? "inet6:" : ""}kube-router-${set}`;
  const members = firewallMembers(plan, problems).filter((member) => member.set === name);
  return { entries: [...new Set(members.map(({ entry }) => entry))].toSorted(), problems };
}

const vips = (family: Family) =>
  (["clusterIP", "externalIP", "loadBalancer"] as const).map((kind) =>
    `${at(family, kind)},tcp:80`
  );
const nodePort = (family: Family) => `${at(family, "nodePort")},tcp:30080`;

eachStack("addresses of a range that is bound as one route are no members, its ports are", (s) => {
  for (const family of s.families) {
    const range = parseCidr(`${at(family, "clusterIP")}/${family === 4 ? 24 : 112}`);
    const plan = planService(s.service({}), s.slices([here]), s.context());
    const of = (set: string, routed: readonly Cidr[]) =>
      firewallMembers(plan, [], routed).filter((member) =>
        member.set === `${family === 6 ? "inet6:" : ""}kube-router-${set}`
      ).map(({ entry }) => entry);
    const routed = range === undefined ? [] : [range];
    expect(of("svip", [])).toContain(at(family, "clusterIP"));
    expect(of("svip", routed)).not.toContain(at(family, "clusterIP"));
    expect(of("svip", routed)).toContain(at(family, "nodePort"));
    expect(of("svip-prt", routed)).toEqual(of("svip-prt", []));
  }
});

eachStack("the sets hold each address and port of a Service once", (s) => {
  for (const family of s.families) {
    const of = (set: string) => entries(s, set, family, {}, [here]).entries;
    expect(of("svip-prt")).toEqual([...vips(family), nodePort(family)].toSorted());
    expect(of("svip")).toEqual(
      of("svip-prt").map((entry) => entry.slice(0, entry.indexOf(","))).toSorted(),
    );
    for (const set of ["svip-drop", "svip-reject", "svip-limited", "svip-src"]) {
      expect(of(set)).toEqual([]);
    }
  }
});

eachStack("S27: no endpoints are refused, on every address", (s) => {
  for (const family of s.families) {
    const both = { internalTrafficPolicy: "Local", externalTrafficPolicy: "Local" } as const;
    for (const policies of [{}, both]) {
      const { entries: got } = entries(s, "svip-reject", family, policies, []);
      expect(got).toEqual([...vips(family), nodePort(family)].toSorted());
    }
  }
});

eachStack("S7, S8: none here under a Local policy are dropped, where that policy counts", (s) => {
  for (const family of s.families) {
    const of = (service: ServiceChanges) =>
      entries(s, "svip-drop", family, service, [there]).entries;
    const [cluster = "", ...external] = vips(family);
    expect(of({ internalTrafficPolicy: "Local" })).toEqual([cluster]);
    expect(of({ externalTrafficPolicy: "Local" })).toEqual(
      [...external, nodePort(family)].toSorted(),
    );
    expect(of({})).toEqual([]);
  }
});

eachStack("S15: source ranges limit load balancer IPs alone, each family by its own", (s) => {
  const ranges = ["192.0.2.7/32", "192.0.2.128/25", "2001:db8::/32", "2001:db8:1::7/128"];
  for (const family of s.families) {
    const of = (set: string, loadBalancerSourceRanges: readonly string[]) =>
      entries(s, set, family, { loadBalancerSourceRanges }, [here]).entries;
    const balanced = `${at(family, "loadBalancer")},tcp:80`;
    expect(of("svip-limited", ranges)).toEqual([balanced]);
    expect(of("svip-src", ranges)).toEqual(
      (family === 4 ? ["192.0.2.128/25", "192.0.2.7"] : ["2001:db8:1::7", "2001:db8::/32"])
        .map((range) => `${balanced},${range}`),
    );
    // Ranges of the other family alone admit nobody of this one.
    const other = family === 4 ? "2001:db8::/32" : "192.0.2.0/24";
    expect(of("svip-limited", [other])).toEqual([balanced]);
    expect(of("svip-src", [other])).toEqual([]);
    // The whole world is everyone, and ipset has no entry for it.
    expect(of("svip-limited", ["0.0.0.0/0", "::/0"])).toEqual([]);
  }
});

eachStack(
  "S15, S33: odd source ranges are read as they are meant, or admit nobody and are named",
  (s) => {
    for (const family of s.families) {
      const of = (loadBalancerSourceRanges: readonly string[]) =>
        entries(s, "svip-src", family, { loadBalancerSourceRanges }, [here]);
      const balanced = `${at(family, "loadBalancer")},tcp:80`;
      const [odd, plain] = family === 4
        ? [" 192.0.2.9/24 ", "192.0.2.0/24"]
        : ["2001:DB8:0::9/32", "2001:db8::/32"];
      expect(of([odd, odd])).toEqual({ entries: [`${balanced},${plain}`], problems: [] });
      expect(of(["anything"])).toEqual({
        entries: [],
        problems: [
          'Source range "anything" is not a CIDR; it admits no client, correct spec.loadBalancerSourceRanges',
        ],
      });
    }
  },
);

eachStack("an external IP that is the balancer's too is limited as well", (s) => {
  for (const family of s.families) {
    const service = s.service({ loadBalancerSourceRanges: ["192.0.2.0/24"] });
    const shared = {
      ...service,
      status: { loadBalancer: { ingress: [{ ip: at(family, "externalIP") }] } },
    };
    const limited = firewallMembers(planService(shared, s.slices([here]), s.context()), [])
      .filter(({ set }) => set.endsWith("svip-limited"));
    expect(limited.map(({ entry }) => entry)).toEqual([`${at(family, "externalIP")},tcp:80`]);
  }
});
