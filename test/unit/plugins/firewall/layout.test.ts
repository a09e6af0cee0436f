/** The layout of chains and sets: what is kube-router's, and which of its traps are closed. */

import { describe, expect, test } from "bun:test";
import { compileBase } from "../../../../src/plugins/firewall/compile-base.ts";
import { factsOf } from "../../../../src/plugins/firewall/facts.ts";
import {
  comment,
  hash16,
  namespaceChainName,
  PASSED,
  PASSED_DESTINATION,
  PASSED_SOURCE,
  podChainName,
  policyChainName,
  setName,
} from "../../../../src/plugins/firewall/names.ts";
import { machine, type Ruleset, type WalkedPacket } from "../../../support/packet-walk.ts";
import { FACTS, judged, namespace, pod, policy } from "../../../support/policy-world.ts";
import { node } from "../../../support/objects.ts";

const OWN = ["192.168.1.11", "10.1.1.1", "fd00:1::11", "fd01:1::1"];
const NODES: ReadonlyMap<string, readonly string[]> = new Map([["node1", OWN]]);
const WEB = pod("a/web", { ips: ["10.1.1.2", "fd01:1::2"], labels: { app: "web" } });
const DB = pod("a/db", { ips: ["10.1.1.3", "fd01:1::3"] });
const DENY = {
  ...FACTS,
  defaultDeny: true,
  keepEstablished: false,
  podCIDRs: ["10.1.1.0/24", "fd01:1::/64"],
};

describe("names", () => {
  test("are hashed as kube-router's are", () => {
    // Golden vectors of kube-router: namespace, policy, version, family.
    expect(hash16("nsAsimple-egress1IPv4")).toBe("C23KD7UE4TAT3Y5M");
    expect(hash16("defaultweb-01")).toBe("NNVPOOBNORJ6FTUI");
    expect(hash16("defaultwhoamiIPv4")).toBe("IZ5JGF4W6BKI7CEV");
  });

  test("fit into Linux: 28 characters for a chain, 31 for a set", () => {
    const long = `${"n".repeat(63)}/${"p".repeat(253)}`;
    for (const name of [podChainName(long), policyChainName(long, "egress")]) {
      expect(name).toHaveLength(28);
    }
    expect(setName("SRC", 6, long)).toHaveLength(31);
    expect(setName("SRC", 6, long)).toStartWith("inet6:KUBE-SRC-");
  });

  test("differ where namespace and name could be cut in two places", () => {
    expect(policyChainName("a/bc", "ingress")).not.toBe(policyChainName("ab/c", "ingress"));
    expect(podChainName("a/bc")).not.toBe(podChainName("ab/c"));
  });

  test("differ by direction, and by what they stand for", () => {
    const names = [
      policyChainName("a", "ingress"),
      policyChainName("a", "egress"),
      namespaceChainName("a", "ingress"),
      namespaceChainName("a", "egress"),
      podChainName("a").replace("POD-FW", "NWPLCY"),
    ];
    expect(new Set(names).size).toBe(names.length);
  });

  test("stay the same when everything is compiled again", () => {
    const make = () =>
      judged({ namespaces: [], pods: [WEB], policies: [policy("a/p", {})], nodes: NODES })
        .rulesets.get("node1");
    expect(make()).toEqual(make());
  });
});

describe("comments", () => {
  test("keep the identity, and at most 120 bytes", () => {
    const long = `${"n".repeat(63)}/${"ü".repeat(200)} ingress pods`;
    const text = comment(long);
    expect(new TextEncoder().encode(text).length).toBeLessThanOrEqual(120);
    expect(text).toStartWith(`${"n".repeat(63)}/ü`);
  });

  test("have no control characters, which would end a line of iptables-restore", () => {
    expect(comment("a\n-A INPUT -j ACCEPT\u0000\u007f")).toBe("a-A INPUT -j ACCEPT");
  });
});

describe("the rules of a node", () => {
  const world = judged({
    namespaces: [namespace("a")],
    pods: [WEB, DB],
    policies: [policy("a/p", { podSelector: { matchLabels: { app: "web" } } })],
    nodes: NODES,
  });
  const ruleset = world.rulesets.get("node1");
  const rules = (name: string, family = 4) =>
    ruleset?.chains.find((chain) => chain.name === name && chain.family === family)?.rules ?? [];
  const words = (name: string, family = 4) => rules(name, family).map((rule) => rule.comment);

  test("are reached from INPUT, FORWARD and OUTPUT before all others", () => {
    expect(ruleset?.jumps.map(({ family, from, to, first }) => [family, from, to, first])).toEqual(
      ([4, 6] as const).flatMap((family) =>
        (["INPUT", "FORWARD", "OUTPUT"] as const).map((
          from,
        ) => [family, from, `KUBE-ROUTER-${from}`, true])
      ),
    );
  });

  test("judge in a pod's chain in kube-router's order", () => {
    expect(words(podChainName("a/web"))).toEqual([
      "marks of others permit nothing",
      "common netpol rules",
      "from local node",
      "pod to itself",
      "a egress policies",
      "a ingress policies",
      "a/web reject",
      "a/web reject",
      "a/web reject",
      undefined,
      "set netpol-ok mark",
    ]);
  });

  test("accept at the end alone, so that the chain of the other pod is asked too", () => {
    const accepting = ruleset?.chains.filter(({ family, rules }) =>
      family === 4 && rules.some(({ target }) => target.kind === "accept")
    ).map(({ name }) => name);
    expect(accepting?.toSorted()).toEqual([
      "KUBE-NWPLCY-COMMON",
      "KUBE-NWPLCY-TAIL",
      podChainName("a/web"),
      podChainName("a/db"),
      "KUBE-ROUTER-FORWARD",
      "KUBE-ROUTER-INPUT",
      "KUBE-ROUTER-OUTPUT",
    ].toSorted());
    // In a pod's chain, only what the node itself sends.
    const own = rules(podChainName("a/web")).filter(({ target }) => target.kind === "accept");
    expect(own.map(({ comment }) => comment)).toEqual(["from local node"]);
  });

  test("drop packets that conntrack does not know or no policy can, and nothing else", () => {
    const dropping = ruleset?.chains.flatMap(({ rules }) =>
      rules.filter(({ target }) => target.kind === "drop")
    );
    expect([...new Set(dropping?.map(({ comment }) => comment))]).toEqual([
      "rule to drop invalid state for pod",
      "no policy knows link-local addresses",
    ]);
    expect(world.walk("node1", "FORWARD", {
      source: "10.1.1.2",
      destination: "8.8.8.8",
      protocol: "TCP",
      port: 1,
    }, { state: "invalid" })).toBe("drop");
  });

  test.each(["INPUT", "FORWARD"] as const)(
    "let no pod of the bridge go around policies by link-local addresses, in %s",
    (hook) => {
      const end = (source: string, destination: string, input = "kube-bridge") =>
        (["TCP", "UDP", "SCTP"] as const).map((protocol) =>
          world.walk("node1", hook, { source, destination, protocol, port: 5353 }, { input })
        );
      const every = (verdict: "drop" | "continue") => [verdict, verdict, verdict];
      expect(end("fe80::1", "fe80::2")).toEqual(every("drop"));
      expect(end("fd99::1", "fe80::2")).toEqual(every("drop"));
      expect(end("fe80::1", "fd99::1")).toEqual(every("drop"));
      expect(end("fe80::1", "ff02::fb")).toEqual(every("continue"));
      // Bridges of others are theirs.
      expect(end("fe80::1", "fe80::2", "virbr0")).toEqual(every("continue"));
      const found = world.rulesets.get("node1")?.chains.flatMap(({ rules }) => rules) ?? [];
      const aside = found.filter(({ comment }) => comment?.includes("link-local"));
      expect(
        aside.some(({ matches }) =>
          matches.some((match) => match.kind === "protocol" && match.protocol === "icmpv6")
        ),
      ).toBe(false);
    },
  );

  test("log to group 100 with the policy's name, ten a minute", () => {
    const walk = world.walks({
      source: "10.1.1.3",
      destination: "10.1.1.2",
      protocol: "TCP",
      port: 1,
    })[0];
    expect(walk?.logged).toEqual(["a/p"]);
    const [log] = rules(namespaceChainName("a", "ingress")).filter(({ target }) =>
      target.kind === "log"
    );
    expect(log?.target).toEqual({ kind: "log", group: 100, prefix: "a/p" });
    expect(log?.matches.at(-1)).toEqual({ kind: "limit", perMinute: 10, burst: 10 });
    expect(log?.comment).toBe("a/p log-drop");
  });

  test("never name a port without its protocol, which iptables-restore would refuse", () => {
    for (const chain of ruleset?.chains ?? []) {
      for (const { matches } of chain.rules) {
        const ports = matches.findIndex(({ kind }) => kind === "ports");
        if (ports < 0) continue;
        expect(matches.findIndex(({ kind }) => kind === "protocol")).toBeGreaterThanOrEqual(0);
      }
    }
    expect(ruleset?.chains.length).toBeGreaterThan(0);
  });

  test("let marks of others permit nothing", () => {
    const denied = {
      source: "10.1.1.3",
      destination: "10.1.1.2",
      protocol: "TCP",
      port: 1,
    } as const;
    for (const mark of [0x10000, 0x20000, 0x30000, 0xffffffff]) {
      expect(world.walk("node1", "FORWARD", denied, { mark })).toBe("reject");
    }
  });

  test("change no mark of a packet that no pod of this node sends or gets", () => {
    const made = machine(ruleset ?? { sets: [], members: [], chains: [], jumps: [] }, OWN);
    for (const hook of ["INPUT", "FORWARD", "OUTPUT"] as const) {
      const walk = made.walk(hook, {
        source: "192.168.1.99",
        destination: "192.168.1.11",
        protocol: "tcp",
        port: 22,
        mark: 0x1c4321,
      });
      expect(walk).toEqual({
        verdict: "continue",
        mark: 0x1c4321,
        logged: [],
        trace: expect.any(Array),
      });
    }
  });
});

describe("traffic to Services", () => {
  const facts = factsOf(node("node1"), {
    enableIpv4: true,
    enableIpv6: true,
    netpolDefaultDeny: false,
    netpolKeepEstablished: false,
    serviceClusterIpRange: ["10.96.0.0/12", "fd00:96::/112"],
    serviceExternalIpRange: ["203.0.113.0/24"],
    loadbalancerIpRange: ["198.51.100.0/24"],
    serviceNodePortRange: { from: 30000, to: 32767 },
  });
  const world = judged({
    namespaces: [namespace("a")],
    pods: [WEB],
    policies: [policy("a/p", { podSelector: {}, policyTypes: ["Egress"] })],
    nodes: NODES,
  }, facts);
  const end = (destination: string, port: number, protocol: "TCP" | "UDP" | "SCTP" = "TCP") =>
    world.walk("node1", "INPUT", {
      source: destination.includes(":") ? "fd01:1::2" : "10.1.1.2",
      destination,
      protocol,
      port,
    }, {});

  test.each(["10.96.0.10", "fd00:96::10", "203.0.113.5", "198.51.100.7"])(
    "to %s is not judged in INPUT, where nobody knows the endpoint",
    (address) => expect(end(address, 80)).toBe("continue"),
  );

  test.each(["TCP", "UDP", "SCTP"] as const)("to a NodePort over %s neither", (protocol) => {
    expect(end("192.168.1.11", 30000, protocol)).toBe("continue");
    expect(end("192.168.1.11", 32767, protocol)).toBe("continue");
    expect(end("192.168.1.11", 32768, protocol)).toBe("reject");
  });

  test("is refused with what IPVS translates back", () => {
    const rules =
      world.rulesets.get("node1")?.chains.find(({ name, family }) =>
        name === podChainName("a/web") && family === 4
      )?.rules ?? [];
    const refusing = rules.filter(({ target }) => target.kind === "reject");
    expect(refusing.map(({ matches, target }) => [
      matches.find(({ kind }) => kind === "originalDestination"),
      target,
    ])).toEqual([
      [
        { kind: "originalDestination", prefix: "10.1.1.2/32" },
        { kind: "reject", with: "tcp-reset" },
      ],
      [{ kind: "originalDestination", prefix: "10.96.0.0/12" }, { kind: "reject" }],
      [{ kind: "originalDestination", prefix: "203.0.113.0/24" }, { kind: "reject" }],
      [{ kind: "originalDestination", prefix: "198.51.100.0/24" }, { kind: "reject" }],
      [undefined, { kind: "reject", with: "tcp-reset" }],
      [undefined, { kind: "reject" }],
    ]);
  });
});

describe("a connection that is marked as denied by now", () => {
  const end = (changes: Partial<WalkedPacket>, facts = FACTS) => {
    const { rulesets } = judged({
      namespaces: [namespace("a")],
      pods: [WEB, DB],
      policies: [],
      nodes: NODES,
    }, facts);
    const rules = rulesets.get("node1");
    if (rules === undefined) throw new Error("No node1");
    const packet = { source: "10.1.1.2", destination: "10.1.1.3", port: 80 } as const;
    return machine(rules, OWN).walk("FORWARD", {
      ...packet,
      protocol: "tcp",
      state: "established",
      connectionMark: 0x100007,
      ...changes,
    }).verdict;
  };

  test("is refused in both directions, whatever its protocol", () => {
    expect(end({})).toBe("reject");
    expect(end({ source: "10.1.1.3", destination: "10.1.1.2" })).toBe("reject");
    expect([end({ protocol: "udp" }), end({ protocol: "sctp" })]).toEqual(["reject", "reject"]);
    expect(end({ source: "fd01:1::2", destination: "fd01:1::3" })).toBe("reject");
  });

  test("lets errors about it pass, and others' marks be", () => {
    expect(end({ protocol: "icmp", state: "related" })).toBe("accept");
    expect(end({ connectionMark: 0x7 })).toBe("accept");
  });

  test("goes on with --netpol-keep-established", () => {
    expect(end({}, { ...FACTS, keepEstablished: true })).toBe("accept");
  });
});

describe("--netpol-default-deny", () => {
  const world = judged({
    namespaces: [namespace("a")],
    pods: [WEB, DB],
    policies: [],
    nodes: NODES,
  }, DENY);
  const ruleset: Ruleset = world.rulesets.get("node1") ??
    { sets: [], members: [], chains: [], jumps: [] };
  const end = (
    hook: "INPUT" | "FORWARD" | "OUTPUT",
    source: string,
    destination: string,
    changes: Partial<WalkedPacket> = {},
    rules = ruleset,
  ) =>
    machine(rules, OWN).walk(hook, { source, destination, protocol: "tcp", port: 80, ...changes })
      .verdict;

  test("holds programmed pods in kube-router's set", () => {
    expect(ruleset.sets.map(({ name, type, timeout }) => [name, type, timeout])).toEqual([
      ["inet6:kube-router-local-pods", "hash:ip", 0],
      ["kube-router-local-pods", "hash:ip", 0],
    ]);
    expect(ruleset.members.map(({ set, entry }) => `${set} ${entry}`)).toEqual([
      "inet6:kube-router-local-pods fd01:1::2",
      "inet6:kube-router-local-pods fd01:1::3",
      "kube-router-local-pods 10.1.1.2",
      "kube-router-local-pods 10.1.1.3",
    ]);
  });

  test("refuses what a pod without rules sends and gets, from a programmed pod too", () => {
    for (
      const [source, destination] of [
        ["10.1.1.9", "8.8.8.8"],
        ["8.8.8.8", "10.1.1.9"],
        ["10.1.1.2", "10.1.1.9"],
        ["10.1.1.9", "10.1.1.2"],
        ["fd01:1::9", "fd01:1::2"],
        ["fd01:1::2", "fd01:1::9"],
      ] as const
    ) {
      expect([source, destination, end("FORWARD", source, destination)]).toEqual([
        source,
        destination,
        "reject",
      ]);
    }
  });

  test("refuses it even where the set has the pod already and its chain is still missing", () => {
    const early = {
      ...ruleset,
      members: [...ruleset.members, { set: "kube-router-local-pods", entry: "10.1.1.9" }],
    };
    expect(end("FORWARD", "10.1.1.2", "10.1.1.9", {}, early)).toBe("reject");
    expect(end("FORWARD", "10.1.1.9", "10.1.1.2", {}, early)).toBe("reject");
    const mark = PASSED | PASSED_SOURCE | PASSED_DESTINATION;
    expect(end("FORWARD", "8.8.8.8", "10.1.1.9", { mark }, early)).toBe("reject");
  });

  test("lets programmed pods talk", () => {
    expect(end("FORWARD", "10.1.1.2", "10.1.1.3")).toBe("accept");
    expect(end("FORWARD", "10.1.1.2", "8.8.8.8")).toBe("accept");
    expect(end("FORWARD", "8.8.8.8", "10.1.1.3")).toBe("accept");
    expect(end("FORWARD", "fd01:1::2", "fd01:1::3")).toBe("accept");
  });

  test("lets the node reach its pods always, and take their answers", () => {
    expect(end("OUTPUT", "10.1.1.1", "10.1.1.9")).toBe("continue");
    expect(end("OUTPUT", "192.168.1.11", "10.1.1.2")).toBe("accept");
    expect(end("INPUT", "10.1.1.9", "10.1.1.1", { state: "established" })).toBe("continue");
    expect(end("INPUT", "10.1.1.9", "10.1.1.1", { state: "new" })).toBe("reject");
  });

  test("lets the node and a pod without rules find each other's link address", () => {
    const found = (type: string) => ({ protocol: "icmpv6" as const, icmp: type as never });
    for (const type of ["neighbor-solicitation", "neighbor-advertisement"]) {
      expect(end("INPUT", "fd01:1::9", "fd01:1::1", found(type))).toBe("continue");
      expect(end("FORWARD", "fd01:1::9", "fd01:1::2", found(type))).not.toBe("reject");
    }
    expect(end("INPUT", "fd01:1::9", "fd01:1::1", found("echo-request"))).toBe("reject");
  });

  test("leaves the bridge's own address alone, which lies in the pods' range", () => {
    expect(end("OUTPUT", "10.1.1.1", "8.8.8.8")).toBe("continue");
    expect(end("INPUT", "192.168.1.99", "10.1.1.1")).toBe("continue");
    expect(end("INPUT", "10.1.1.2", "10.1.1.1")).toBe("accept");
  });

  test("does not touch what has nothing to do with this node's pods", () => {
    for (const hook of ["INPUT", "FORWARD", "OUTPUT"] as const) {
      expect(end(hook, "10.1.2.2", "8.8.8.8")).toBe("continue");
      expect(end(hook, "192.168.1.99", "192.168.1.11")).toBe("continue");
    }
  });

  test("takes the ranges from the Node's annotation, then from its spec", () => {
    const options = {
      enableIpv4: true,
      enableIpv6: true,
      netpolDefaultDeny: true,
      netpolKeepEstablished: false,
      serviceClusterIpRange: [],
      serviceExternalIpRange: [],
      loadbalancerIpRange: [],
      serviceNodePortRange: { from: 1, to: 2 },
    };
    const podCIDRs = ["10.244.1.0/24"];
    expect(factsOf(node("node1", { podCIDRs }), options).podCIDRs).toEqual(podCIDRs);
    const annotations = { "kube-router.io/pod-cidrs": "10.9.0.0/24, fd09::/64" };
    expect(factsOf(node("node1", { podCIDRs, metadata: { annotations } }), options).podCIDRs)
      .toEqual(["10.9.0.0/24", "fd09::/64"]);
    expect(factsOf(undefined, options).podCIDRs).toEqual([]);
  });

  test("has one accepting rule between two blocks of refusals, and none without the flag", () => {
    const tail = (facts: typeof FACTS) =>
      compileBase([], [4], facts).chains.find(({ name }) => name === "KUBE-NWPLCY-TAIL")?.rules
        .map(({ comment }) => comment);
    expect(tail(FACTS)).toEqual(["accept netpol-ok"]);
    expect(tail(DENY)).toEqual([
      "from local node",
      "answers to local node",
      ...Array(4).fill("reject unprogrammed local pod (default-deny)"),
      "accept netpol-ok",
      ...Array(2).fill("reject pre-netpol (default-deny)"),
    ]);
  });
});
