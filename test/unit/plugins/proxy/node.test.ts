import { describe, expect, test } from "bun:test";
import { externalRanges } from "../../../../src/plugins/proxy/external-ranges.ts";
import { nodeFacts, nodeFamilies, ownNode } from "../../../../src/plugins/proxy/node.ts";
import { node, type NodeChanges } from "../../../support/objects.ts";
import { proxyOptions } from "../../../support/service-world.ts";

const internal = (address: string) => ({ type: "InternalIP", address });
const external = (address: string) => ({ type: "ExternalIP", address });

function families(changes: NodeChanges, options = proxyOptions()) {
  return nodeFamilies(node("node1", changes), options);
}

const addresses = (changes: NodeChanges, options = proxyOptions()) =>
  families(changes, options).map(({ address }) => address);

describe("addresses", () => {
  test("are the first internal one of each family, else an external one", () => {
    expect(addresses({ addresses: [internal("10.0.0.1"), internal("10.0.0.2")] }))
      .toEqual(["10.0.0.1"]);
    expect(addresses({ addresses: [external("5.5.5.5"), internal("10.0.0.1")] }))
      .toEqual(["10.0.0.1"]);
    expect(addresses({ addresses: [external("5.5.5.5"), internal("fd00::1")] }))
      .toEqual(["5.5.5.5", "fd00::1"]);
  });

  test("are canonical, and names are none", () => {
    const given = [
      { type: "Hostname", address: "10.9.9.9" },
      { type: "InternalDNS", address: "10.9.9.8" },
      internal("node1.example"),
      internal("010.0.0.1"),
      internal("FD00::0:1"),
    ];
    expect(addresses({ addresses: given })).toEqual(["10.0.0.1", "fd00::1"]);
  });

  test("of a family that is switched off are not there (T4)", () => {
    const both = { addresses: [internal("10.0.0.1"), internal("fd00::1")] };
    expect(addresses(both, proxyOptions({ enableIpv6: false }))).toEqual(["10.0.0.1"]);
    expect(addresses(both, proxyOptions({ enableIpv4: false }))).toEqual(["fd00::1"]);
  });

  test("may all be missing, and so may the node", () => {
    expect(addresses({ addresses: [] })).toEqual([]);
    expect(nodeFamilies(undefined, proxyOptions())).toEqual([]);
  });
});

describe("pod CIDRs", () => {
  const both = [internal("10.0.0.1"), internal("fd00::1")];
  const cidrs = (
    annotations: Record<string, string>,
    podCIDRs = ["10.244.1.0/24", "fd00:1::/64"],
  ) =>
    families({ addresses: both, podCIDRs, metadata: { annotations } })
      .map((family) => family.podCIDRs);

  test("come from the spec, by family", () => {
    expect(cidrs({})).toEqual([["10.244.1.0/24"], ["fd00:1::/64"]]);
  });

  test("come from either annotation before that, spaces and host bits forgiven (T33)", () => {
    expect(cidrs({ "kube-router.io/pod-cidr": "10.1.0.5/24" })).toEqual([["10.1.0.0/24"], []]);
    expect(cidrs({ "kube-router.io/pod-cidrs": " 10.1.0.0/24 , FD00:2::/64," }))
      .toEqual([["10.1.0.0/24"], ["fd00:2::/64"]]);
    expect(cidrs({
      "kube-router.io/pod-cidrs": "10.1.0.0/24,10.2.0.0/24",
      "kube-router.io/pod-cidr": "10.1.0.0/24",
    })).toEqual([["10.1.0.0/24", "10.2.0.0/24"], []]);
  });

  test("that are none are passed over, and an empty annotation is none", () => {
    expect(cidrs({ "kube-router.io/pod-cidrs": "" })).toEqual([["10.244.1.0/24"], ["fd00:1::/64"]]);
    expect(cidrs({}, ["10.244.1.0", "10.244.2.0/24"])).toEqual([["10.244.2.0/24"], []]);
  });
});

describe("a pod CIDR that is none", () => {
  const problems = (annotations: Record<string, string>, podCIDRs = ["10.244.1.0/24"]) => {
    const addresses = [internal("10.0.0.1")];
    const one = node("node1", { addresses, podCIDRs, metadata: { annotations } });
    return ownNode("node1", proxyOptions())([one]).problems;
  };
  const ANNOTATION = "kube-router.io/pod-cidr";

  test("is reported on the Node, and the spec's is taken in place of an annotation without any", () => {
    expect(problems({ [ANNOTATION]: "10.1.0.0" })).toEqual([
      `Node "node1": annotation ${ANNOTATION} holds "10.1.0.0", which is no CIDR; 10.244.1.0/24 is taken; ` +
      'correct it to CIDRs such as "10.244.1.0/24"',
    ]);
    const annotations = { [ANNOTATION]: "10.1.0.0" };
    expect(families({ podCIDRs: ["10.244.1.0/24"], metadata: { annotations } })[0]?.podCIDRs)
      .toEqual(["10.244.1.0/24"]);
  });

  test("is passed over beside others", () => {
    expect(problems({ [`${ANNOTATION}s`]: "10.1.0.0/24,10.2.0.0/33, x" })).toEqual([
      expect.stringMatching(/holds "10\.2\.0\.0\/33", "x", .* 10\.1\.0\.0\/24 is taken; /),
    ]);
  });

  test("and no other: then all is masqueraded, which is said", () => {
    expect(problems({ [ANNOTATION]: "10.1.0.0" }, [])).toEqual([
      expect.stringContaining("none is known, and all traffic to Services gets the node's address"),
    ]);
    expect(problems({}, ["10.244.1.0"])).toEqual([expect.stringContaining("spec.podCIDRs holds")]);
  });

  test("is none where nothing is given", () => {
    expect(problems({}, [])).toEqual([]);
    expect(problems({ [ANNOTATION]: "" })).toEqual([]);
  });
});

describe("the Node of this host", () => {
  const good = node("node1", { addresses: [internal("10.0.0.1")] });
  const other = node("node2", { addresses: [internal("10.0.0.2")] });
  const own = () => ownNode("node1", proxyOptions({ enableIpv6: false }));

  test("is named while it has never been seen, with the flag that corrects its name", () => {
    expect(own()([other])).toEqual({
      node: undefined,
      problems: [
        "Node \"node1\" not found; if that is not this node's name, correct --hostname-override, or NODE_NAME, or the host's name",
      ],
    });
  });

  test("is of no use without an address of an enabled family", () => {
    const look = own();
    for (const addresses of [[], [internal("fd00::1")], [{ type: "Hostname", address: "x" }]]) {
      expect(look([node("node1", { addresses })])).toEqual({
        node: undefined,
        problems: [
          'Node "node1" has no IPv4 address in status.addresses; its kubelet or cloud controller has to set one',
        ],
      });
    }
  });

  test("is remembered when it goes or loses its addresses, which is said, and followed when it is back", () => {
    const look = own();
    expect(look([other, good])).toEqual({ node: good, problems: [] });
    expect(look([other]).node).toBe(good);
    expect(look([other]).problems).toEqual([
      expect.stringMatching(/^Node "node1" not found; .* address 10\.0\.0\.1, stays in use; /),
    ]);
    const empty = look([node("node1", { addresses: [] })]);
    expect(empty.node).toBe(good);
    expect(empty.problems).toHaveLength(1);
    const moved = node("node1", { addresses: [internal("10.0.0.9")] });
    expect(look([moved])).toEqual({ node: moved, problems: [] });
  });
});

describe("facts", () => {
  const strict = proxyOptions({
    serviceExternalIpRange: ["203.0.113.0/24", "192.168.1.0/24"],
    excludedCidrs: ["203.0.113.240/28"],
  });
  const nodes = [
    node("node1", {
      metadata: { labels: { "topology.kubernetes.io/zone": "a" } },
      addresses: [internal("192.168.1.10")],
    }),
    node("node2", { addresses: [internal("192.168.1.11")], podCIDRs: ["10.96.4.0/24"] }),
  ];
  const host = [
    { link: "eth0", family: 4, address: "192.168.1.10" },
    { link: "lo", family: 4, address: "203.0.113.7" },
    { link: "eth1", family: 4, address: "10.9.9.9" },
    { link: "kube-dummy-if", family: 4, address: "203.0.113.8" },
  ] as const;
  const facts = (options = strict, all = nodes) =>
    nodeFacts(all[0], all, host, options, externalRanges(options));

  test("name the zone, and the addresses that an external IP may meet: not VIPs on our own link", () => {
    expect(facts()).toMatchObject({
      zone: "a",
      ownAddresses: ["192.168.1.10", "203.0.113.7"],
      otherNodes: ["192.168.1.11"],
    });
    expect(nodeFacts(undefined, [], host, strict, externalRanges(strict)))
      .toMatchObject({ families: [], otherNodes: [] });
    const loose = { ...strict, strictExternalIpValidation: false };
    expect(facts(loose).ownAddresses).toContain("10.9.9.9");
  });

  test("say what forbids a route for a whole range", () => {
    expect(facts().obstacles).toEqual({
      "10.96.0.0/12": "10.96.4.0/24, which is not for VIPs",
      "203.0.113.0/24": "203.0.113.7, an address of a node",
      "192.168.1.0/24": "192.168.1.10, an address of a node",
    });
  });
});
