import { describe, expect, test } from "bun:test";
import { ownsSet } from "../../../../../src/kernel/dataplane/linux/ipset-names.ts";
import { ownsChain } from "../../../../../src/kernel/dataplane/linux/iptables-names.ts";
import { compared } from "../../../../../src/kernel/dataplane/linux/compared.ts";
import { type Chain, chain } from "../../../../../src/kernel/dataplane/resources/filter.ts";

const owners = ["proxy", "router", "firewall", "my-plugin"].map((name, i) => ({
  name,
  protocol: 201 + i,
}));

/** Who owns a name: at most one of all owners, or clean-up of one would take another's. */
function owner(owns: (of: (typeof owners)[number], name: string) => boolean, name: string) {
  return owners.filter((each) => owns(each, name)).map((each) => each.name);
}

describe("a name has one owner at most", () => {
  const chains: readonly (readonly [string, readonly string[]])[] = [
    ["KUBE-ROUTER-SERVICES", ["proxy"]],
    ["KUBE-ROUTER-HAIRPIN", ["proxy"]],
    ["KUBE-ROUTER-MASQUERADE", ["proxy"]],
    ["KUBE-ROUTER-RT-EGRESS", ["router"]],
    ["KUBE-ROUTER-INPUT", ["firewall"]],
    ["KUBE-ROUTER-FORWARD", ["firewall"]],
    ["KUBE-NWPLCY-ABCDEFGHIJKLMNOP", ["firewall"]],
    ["KUBE-POD-FW-ABCDEFGHIJKLMNOP", ["firewall"]],
    ["RL-MY_PLUGIN-X", ["my-plugin"]],
    ["RL-MY-PLUGIN-X", []],
    ["KUBE-SERVICES", []],
    ["KUBE-FIREWALL", []],
    ["RL-OTHER-X", []],
    ["DOCKER", []],
  ];
  for (const [name, expected] of chains) {
    test(`chain ${name}`, () => expect(owner(ownsChain, name)).toEqual([...expected]));
  }
  const sets: readonly (readonly [string, readonly string[]])[] = [
    ["kube-router-svip", ["proxy"]],
    ["inet6:kube-router-svip-prt", ["proxy"]],
    ["kube-router-pod-subnets", ["router"]],
    ["inet6:kube-router-node-ips", ["router"]],
    ["inet6:kube-router-local-pods", ["firewall"]],
    ["KUBE-SRC-ABCDEFGHIJKLMNOP", ["firewall"]],
    ["inet6:KUBE-DST-ABCDEFGHIJKLMNOP", ["firewall"]],
    ["rl-my_plugin-x", ["my-plugin"]],
    // It could be that of a plugin "my".
    ["rl-my-plugin-x", []],
    // kube-proxy's.
    ["KUBE-CLUSTER-IP", []],
    ["KUBE-6-LOOP-BACK", []],
  ];
  for (const [name, expected] of sets) {
    test(`set ${name}`, () => expect(owner(ownsSet, name)).toEqual([...expected]));
  }
});

test("drift is what Linux holds and the runtime does not believe, and the reverse", () => {
  const of = (name: string, hash = "a"): Chain => ({
    family: 4,
    table: "nat",
    name,
    rules: [{ matches: [], target: { kind: "return" }, hash }],
  });
  const owned = (item: Chain) => ({ item, owned: true });
  const believed = new Map([of("same"), of("changed"), of("gone")].map((item) => [
    chain.key(item),
    owned(item),
  ]));
  const listed = [of("same"), of("changed", "b"), of("new")].map(owned);
  expect(compared(chain, believed, listed)).toEqual([
    { key: "ipv4 nat changed", actual: owned(of("changed", "b")) },
    { key: "ipv4 nat new", actual: owned(of("new")) },
    { key: "ipv4 nat gone" },
  ]);
  expect(compared(chain, believed, [], ({ item }) => item.name === "same")).toEqual([
    { key: "ipv4 nat same" },
  ]);
});
