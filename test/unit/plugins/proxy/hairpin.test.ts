import { describe, expect, test } from "bun:test";
import { hairpinItems, hairpinPart, podBridges } from "../../../../src/plugins/proxy/hairpin.ts";
import { planService } from "../../../../src/plugins/proxy/service-plan.ts";
import { eachStack, type Pod, type Stack } from "./semantics/stacks.ts";

const here: Pod = { n: 1, nodeName: "one" };
const there: Pod = { n: 2, nodeName: "two" };
const ON = { "kube-router.io/service.hairpin": "" };
const EXTERNAL = { "kube-router.io/service.hairpin.externalips": "" };

function partOf(
  s: Stack,
  annotations: Record<string, string>,
  pods: readonly Pod[],
  always = false,
) {
  const plan = planService(s.service({ metadata: { annotations } }), s.slices(pods), s.context());
  return hairpinPart(plan, "one", always);
}
const kinds = (...given: Parameters<typeof partOf>) => [
  ...new Set(partOf(...given).frontends.map(({ kind }) => kind)),
];

eachStack("hairpin is for whom it is asked, and never for load balancer IPs", (s) => {
  const pods = [here, there];
  expect(kinds(s, {}, pods)).toEqual([]);
  expect(kinds(s, ON, pods)).toEqual(["clusterIP", "nodePort"]);
  expect(kinds(s, {}, pods, true)).toEqual(["clusterIP", "nodePort"]);
  expect(kinds(s, { ...ON, ...EXTERNAL }, pods)).toEqual(["clusterIP", "externalIP", "nodePort"]);
  expect(kinds(s, EXTERNAL, pods)).toEqual([]);
  expect(kinds(s, EXTERNAL, pods, true)).toContain("externalIP");
});

eachStack("hairpin needs an endpoint on this node", (s) => {
  expect(kinds(s, ON, [there])).toEqual([]);
  expect(kinds(s, ON, [{ n: 3 }])).toEqual([]);
});

eachStack("hairpin rules take the VIP as source, for the node's pods alone", (s) => {
  const { families } = s.context();
  const items = hairpinItems([partOf(s, ON, [here, there])], "one", families);
  const part = (family: 4 | 6) => family === 4 ? "10.1.0.1" : "fd00:1::1";
  expect(items.members.map(({ entry }) => entry)).toEqual(
    s.families.map((family) => `${part(family)},tcp:8080,${part(family)}`),
  );
  expect(items.chains.map(({ family }) => family)).toEqual([...s.families]);
  for (const { rules } of items.chains) {
    expect(rules.length).toBe(2);
    for (const { matches, target } of rules) {
      expect(matches).toMatchObject([{
        kind: "ipvs",
        vaddr: target.kind === "snat" ? target.to : "",
      }]);
    }
  }
  expect(hairpinItems([partOf(s, {}, [here])], "one", families)).toEqual({
    sets: [],
    members: [],
    chains: [],
    jumps: [],
  });
});

eachStack("S33: a switch that says false is off and told of, unlike in kube-router", (s) => {
  const off = partOf(s, { "kube-router.io/service.hairpin": " False " }, [here]);
  expect(off.frontends).toEqual([]);
  expect(off.problems).toEqual([
    'Annotation kube-router.io/service.hairpin is "false", which kube-router takes for on; here it is off, remove it',
  ]);
});

describe("bridges that pods hang on", () => {
  const host = [
    { link: "eth0", family: 4, address: "192.168.1.10" },
    { link: "cni0", family: 4, address: "10.244.1.1" },
    { link: "cni0", family: 6, address: "fd00:1::1" },
    { link: "kube-bridge", family: 4, address: "10.9.9.1" },
  ] as const;
  const family = (podCIDRs: readonly string[]) => ({
    family: 4 as const,
    address: "192.168.1.10",
    podCIDRs,
  });

  test("are links with an address of the node's pod CIDRs", () => {
    expect(podBridges([family(["10.244.1.0/24", "fd00:1::/64"])], host)).toEqual([{
      bridge: "cni0",
    }]);
    expect(podBridges([family(["10.99.0.0/16"])], host)).toEqual([]);
  });

  test("are kube-router's bridge where no pod CIDR is known", () => {
    expect(podBridges([family([])], host)).toEqual([{ bridge: "kube-bridge" }]);
  });
});
