import { describe, expect, test } from "bun:test";
import {
  clusterSets,
  networkingFacts,
  networkingItems,
  nodeMembers,
} from "../../../../src/plugins/router/networking.ts";
import { podCidrs } from "../../../../src/plugins/router/node.ts";
import type { RouterOptions } from "../../../../src/plugins/router/options.ts";
import { onLink, routerNode, routerOptions } from "../../../support/router-world.ts";

const DUAL = routerNode("n1", ["10.0.0.1", "fd00::1"], {}, ["fd01::/64", "10.244.1.0/24"]);
const HOST = [
  onLink("lo", "127.0.0.1/8", 65536),
  onLink("eth0", "10.0.0.1/24", 1480),
  onLink("eth0", "fd00::1/64", 1480),
];

function items(changes: Partial<RouterOptions> = {}, node = DUAL) {
  const options = routerOptions({ enableIpv6: true, ...changes });
  const facts = networkingFacts({ own: node }, "n1", HOST, options);
  return { facts, ...networkingItems(facts, options, "/etc/cni/net.d/10-kuberouter.conf") };
}

describe("pod CIDRs", () => {
  const of = (annotations: Readonly<Record<string, string>>) =>
    podCidrs(routerNode("n1", ["10.0.0.1"], annotations, ["10.244.1.0/24"]));

  test("are the spec's without annotations", () => {
    expect(of({})).toEqual({ cidrs: ["10.244.1.0/24"], problems: [] });
  });

  test("are the annotations' otherwise, either of the two", () => {
    expect(of({ "kube-router.io/pod-cidrs": "172.20.1.7/24, fd01::/64" }).cidrs)
      .toEqual(["172.20.1.0/24", "fd01::/64"]);
    expect(of({ "kube-router.io/pod-cidr": "172.20.1.0/24" }).cidrs).toEqual(["172.20.1.0/24"]);
  });

  test("that are none are reported one by one", () => {
    const { cidrs, problems } = of({ "kube-router.io/pod-cidrs": "172.20.1.0,172.20.2.0/24" });
    expect(cidrs).toEqual(["172.20.2.0/24"]);
    expect(problems.join()).toContain('"172.20.1.0"');
  });
});

describe("facts", () => {
  test("name the source and destination check of AWS, where it drops what pods send", () => {
    const { spec } = DUAL;
    const onCloud = { ...DUAL, spec: { ...spec, providerID: "aws:///eu-west-1a/i-0123" } };
    const problems = (changes: Partial<RouterOptions>, node: typeof DUAL = onCloud) =>
      items(changes, node).facts.problems;
    expect(problems({})).toHaveLength(1);
    expect(problems({})[0]).toContain("--no-source-dest-check");
    expect(problems({ disableSourceDestCheck: false })).toEqual([]);
    expect(problems({ overlayType: "full" })).toEqual([]);
    expect(problems({ overlayType: "full", enableOverlay: false })).toHaveLength(1);
    expect(problems({}, DUAL)).toEqual([]);
  });

  test("are the link of the primary address with its MTU, and the families that are on", () => {
    expect(items().facts).toEqual({
      families: [4, 6],
      podCidrs: ["fd01::/64", "10.244.1.0/24"],
      link: "eth0",
      mtu: 1480,
      problems: [],
    });
    expect(items({ enableIpv6: false, autoMtu: false }).facts).toEqual({
      families: [4],
      podCidrs: ["10.244.1.0/24"],
      link: "eth0",
      problems: [],
    });
  });

  test("that are missing are reported, and the rest goes on", () => {
    const lost = items({}, routerNode("n1", ["10.0.0.9"], {}, ["10.244.1.0/24"]));
    expect(lost.facts.problems.map((text) => text.split(" ").slice(0, 3).join(" "))).toEqual([
      "No link of",
    ]);
    expect(lost.bridges).toEqual([{ name: "kube-bridge" }]);
    expect(lost.chains.find(({ name }) => name === "KUBE-ROUTER-RT-FORWARD")?.rules).toHaveLength(
      2,
    );
  });

  test("without a pod CIDR of a family that is on are one problem, and there is no pod network", () => {
    for (const cidrs of [[], ["fd01::/64"]]) {
      const none = items({ enableIpv6: false }, routerNode("n1", ["10.0.0.1"], {}, cidrs));
      expect(none.facts.problems).toHaveLength(1);
      expect(none.facts.problems[0]).toContain('Node "n1" has no pod CIDR');
      expect(none.facts.problems[0]).toContain("--run-router=false");
      const { facts: _, ...wanted } = none;
      expect(Object.values(wanted).flat()).toEqual([]);
    }
  });

  test("without a pod CIDR leave the reject of announced ranges, and accept nothing", () => {
    const bare = routerNode("n1", ["10.0.0.1"], {}, []);
    const options = routerOptions();
    const facts = networkingFacts({ own: bare }, "n1", HOST, options);
    const { chains, jumps } = networkingItems(facts, options, "", ["10.96.0.0/12"]);
    expect(chains.flatMap(({ rules }) => rules.map(({ target }) => target))).toEqual([
      { kind: "reject" },
    ]);
    expect(jumps.map(({ to }) => to)).toEqual(["KUBE-ROUTER-RT-FORWARD"]);
  });
});

describe("items", () => {
  test("bridge and CNI configuration have the MTU and the pod CIDRs, IPv4 first", () => {
    const { bridges, cniConfs } = items();
    expect(bridges).toEqual([{ name: "kube-bridge", mtu: 1480 }]);
    expect(cniConfs).toEqual([{
      path: "/etc/cni/net.d/10-kuberouter.conf",
      podCidrs: ["10.244.1.0/24", "fd01::/64"],
      mtu: 1480,
    }]);
    expect(items({ enableCni: false }).cniConfs).toEqual([]);
    expect(items({ autoMtu: false }).bridges).toEqual([{ name: "kube-bridge" }]);
  });

  test("sysctls are those of the families", () => {
    const paths = (changes: Partial<RouterOptions>) =>
      items(changes).sysctls.map(({ path, value }) => `${path}=${value}`);
    expect(paths({})).toEqual([
      "net/ipv6/conf/all/disable_ipv6=0",
      "net/ipv4/ip_forward=1",
      "net/bridge/bridge-nf-call-iptables=1",
      "net/ipv6/conf/all/forwarding=1",
      "net/bridge/bridge-nf-call-ip6tables=1",
    ]);
    expect(paths({ enableIpv6: false })).toEqual([
      "net/ipv4/ip_forward=1",
      "net/bridge/bridge-nf-call-iptables=1",
    ]);
  });

  test("an address of an announced range that no service has is not forwarded", () => {
    const options = routerOptions({ enableIpv6: true });
    const facts = networkingFacts({ own: DUAL }, "n1", HOST, options);
    const { chains } = networkingItems(facts, options, "", ["10.96.0.0/12", "fd96::/108"]);
    expect(chains.filter(({ table }) => table === "filter").map(({ rules }) => rules[0])).toEqual([
      ["10.96.0.0/12"],
      ["fd96::/108"],
    ].map(([prefix = ""]) => ({
      matches: [{ kind: "destination", prefix }],
      target: { kind: "reject" },
      comment: "announced range: no service has this address",
    })));
  });

  test("rules to table 77 and FOU ports are there for the overlay alone", () => {
    expect(items().rules).toEqual([
      { family: 6, priority: 32765, from: "fd01::/64", table: 77 },
      { family: 4, priority: 32765, from: "10.244.1.0/24", table: 77 },
    ]);
    expect(items().fouPorts).toEqual([]);
    expect(items({ overlayEncap: "fou" }).fouPorts)
      .toEqual([{ family: 4, port: 5555 }, { family: 6, port: 5555 }]);
    const off = items({ enableOverlay: false, overlayEncap: "fou" });
    expect([off.rules, off.fouPorts]).toEqual([[], []]);
  });

  test("FORWARD accepts what pods send and get, and what leaves by the node's link", () => {
    const { chains, jumps } = items({ enableIpv6: false });
    expect(chains[0]?.rules.map(({ matches, target, comment }) => ({ matches, target, comment })))
      .toEqual([
        {
          matches: [{ kind: "input", link: "kube-bridge" }],
          target: { kind: "accept" },
          comment: "allow outbound traffic from pods",
        },
        {
          matches: [{ kind: "output", link: "kube-bridge" }],
          target: { kind: "accept" },
          comment: "allow inbound traffic to pods",
        },
        {
          matches: [{ kind: "output", link: "eth0" }],
          target: { kind: "accept" },
          comment:
            "allow outbound node port traffic on node interface with which node ip is associated",
        },
      ]);
    expect(jumps[0]).toMatchObject({ from: "FORWARD", to: "KUBE-ROUTER-RT-FORWARD", first: true });
  });

  test("egress is masqueraded between the sets, and only where it is on", () => {
    const egress = (family: 4 | 6, changes: Partial<RouterOptions> = {}) =>
      items(changes).chains.find((c) => c.family === family && c.name === "KUBE-ROUTER-RT-EGRESS");
    expect(egress(4)?.rules[0]).toMatchObject({
      matches: [
        { kind: "set", set: "kube-router-pod-subnets", directions: ["src"] },
        { kind: "set", set: "kube-router-pod-subnets", directions: ["dst"], negate: true },
        { kind: "set", set: "kube-router-node-ips", directions: ["dst"], negate: true },
      ],
      target: { kind: "masquerade", fullyRandom: true },
    });
    expect(egress(6)?.rules[0]?.matches[0]).toMatchObject({ set: "inet6:kube-router-pod-subnets" });
    expect(egress(4, { enablePodEgress: false })).toBeUndefined();
  });

  test("every jump has its chain, and every chain is the router's by its name", () => {
    const { chains, jumps } = items();
    const names = chains.map(({ family, table, name }) => `${family} ${table} ${name}`);
    expect(jumps.map(({ family, table, to }) => `${family} ${table} ${to}`).toSorted())
      .toEqual(names.toSorted());
    expect(chains.every(({ name }) => name.startsWith("KUBE-ROUTER-RT-"))).toBe(true);
  });
});

describe("sets", () => {
  test("are kube-router's, one of each kind a family", () => {
    expect(clusterSets([4, 6])).toEqual([
      { name: "kube-router-pod-subnets", type: "hash:net", family: 4, timeout: 0 },
      { name: "kube-router-node-ips", type: "hash:ip", family: 4, timeout: 0 },
      { name: "inet6:kube-router-pod-subnets", type: "hash:net", family: 6, timeout: 0 },
      { name: "inet6:kube-router-node-ips", type: "hash:ip", family: 6, timeout: 0 },
    ]);
  });

  test("hold the pod CIDRs and addresses of each node", () => {
    const members = nodeMembers(DUAL, [4, 6]).map(({ set, entry }) => `${set} ${entry}`);
    expect(members).toEqual([
      "kube-router-pod-subnets 10.244.1.0/24",
      "kube-router-node-ips 10.0.0.1",
      "inet6:kube-router-pod-subnets fd01::/64",
      "inet6:kube-router-node-ips fd00::1",
    ]);
    expect(nodeMembers(DUAL, [4]).map(({ entry }) => entry)).toEqual(["10.244.1.0/24", "10.0.0.1"]);
  });

  test("hold nothing of a node without pod CIDRs, and a network of one address as that address", () => {
    expect(nodeMembers(routerNode("n2", ["10.0.0.2"]), [4])).toEqual([]);
    const one = routerNode("n2", ["10.0.0.2"], {}, ["10.244.1.7/32"]);
    expect(nodeMembers(one, [4])[0]?.entry).toBe("10.244.1.7");
  });
});
