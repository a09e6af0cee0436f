/** What Kubernetes demands of a policy engine, N1 to N17: the oracle and the compiled rules, held against expectations. */

import { describe, expect, test } from "bun:test";
import type { NetworkPolicy } from "../../../../src/kernel/plugin.ts";
import type { Packet } from "../../../../src/plugins/firewall/oracle.ts";
import {
  type Judged,
  judged,
  namespace,
  pod,
  policy,
  type PolicyCluster,
} from "../../../support/policy-world.ts";

const NODES: ReadonlyMap<string, readonly string[]> = new Map([
  ["node1", ["192.168.1.11", "fd00:1::11", "10.1.1.1", "fd01:1::1"]],
  ["node2", ["192.168.1.12", "fd00:1::12", "10.1.2.1", "fd01:2::1"]],
]);

/** Pods by a short name: IPv4 and IPv6 addresses. */
const IPS = {
  web: ["10.1.1.2", "fd01:1::2"],
  db: ["10.1.1.3", "fd01:1::3"],
  far: ["10.1.2.2", "fd01:2::2"],
  other: ["10.1.2.3", "fd01:2::3"],
  host: ["192.168.1.12", "fd00:1::12"],
  node1: ["192.168.1.11", "fd00:1::11"],
  node2: ["192.168.1.12", "fd00:1::12"],
  bridge: ["10.1.1.1", "fd01:1::1"],
  world: ["8.8.8.8", "2001:db8::8"],
} as const;
type Place = keyof typeof IPS;

const HTTP = { name: "http", containerPort: 80 };

function cluster(
  policies: readonly NetworkPolicy[],
  changes: Partial<PolicyCluster> = {},
): Judged {
  return judged({
    namespaces: [namespace("a", { env: "prod" }), namespace("b", { env: "test" })],
    pods: [
      pod("a/web", { labels: { app: "web" }, ips: IPS.web, ports: [HTTP] }),
      pod("a/db", {
        labels: { app: "db" },
        ips: IPS.db,
        ports: [{ name: "http", containerPort: 8080 }, { name: "sql", containerPort: 5432 }],
      }),
      pod("a/far", { labels: { app: "web" }, ips: IPS.far, ports: [HTTP], node: "node2" }),
      pod("b/other", { labels: { app: "web" }, ips: IPS.other, node: "node2" }),
      pod("b/host", { labels: { app: "web" }, ips: IPS.host, node: "node2", hostNetwork: true }),
    ],
    policies,
    nodes: NODES,
    ...changes,
  });
}

/** Packets between two places, of both families. */
function packets(
  from: Place,
  to: Place,
  port = 80,
  protocol: Packet["protocol"] = "TCP",
): readonly Packet[] {
  return [0, 1].map((family) => ({
    source: IPS[from][family] ?? "",
    destination: IPS[to][family] ?? "",
    protocol,
    port,
  }));
}

/** Both opinions on both families, which must be one. */
function allowed(world: Judged, ...way: Parameters<typeof packets>): boolean {
  const opinions = packets(...way).flatMap((packet) => [
    world.oracle(packet).allowed,
    world.passes(packet),
  ]);
  expect(new Set(opinions).size).toBe(1);
  return opinions[0] ?? false;
}

/** "web>db:80 yes": who reaches whom. */
function table(world: Judged, lines: readonly string[]): void {
  const found = lines.map((line) => {
    const [, from, to, port, protocol] = /^(\w+)>(\w+)(?::(\d+))?(?:\/(\w+))? /.exec(line) ?? [];
    const answer = allowed(
      world,
      from as Place,
      to as Place,
      Number(port ?? 80),
      (protocol ?? "TCP") as Packet["protocol"],
    );
    return `${line.slice(0, line.indexOf(" "))} ${answer ? "yes" : "no"}`;
  });
  expect(found).toEqual([...lines]);
}

const ALL = { podSelector: {} };
const WEB = { podSelector: { matchLabels: { app: "web" } } };
const DB = { podSelector: { matchLabels: { app: "db" } } };

describe("N1: policies only allow", () => {
  test("a pod that no policy selects is open", () => {
    table(cluster([policy("a/p", { ...DB, ingress: [] })]), ["db>web yes", "world>far yes"]);
  });

  test("a policy isolates the direction that it covers, and no other", () => {
    table(cluster([policy("a/p", { ...DB, policyTypes: ["Ingress"] })]), [
      "web>db no",
      "db>web yes",
    ]);
    table(cluster([policy("a/p", { ...DB, policyTypes: ["Egress"] })]), [
      "web>db yes",
      "db>web no",
    ]);
  });

  test("what any of several policies allows is allowed", () => {
    const world = cluster([
      policy("a/closed", { ...ALL, ingress: [] }),
      policy("a/one", { ...DB, ingress: [{ from: [WEB] }] }),
      policy("a/two", {
        ...DB,
        ingress: [{ from: [{ namespaceSelector: {} }], ports: [{ port: 1 }] }],
      }),
    ]);
    table(world, ["web>db yes", "other>db no", "other>db:1 yes", "db>web no"]);
  });

  test("a policy of another namespace does not count", () => {
    table(cluster([policy("b/p", { ...ALL, ingress: [] })]), ["far>web yes", "web>other no"]);
  });
});

describe("N2: policyTypes left out", () => {
  test("is Ingress", () => {
    table(cluster([policy("a/p", DB)]), ["web>db no", "db>web yes"]);
  });

  test("is Ingress and Egress where there are egress rules", () => {
    table(cluster([policy("a/p", { ...DB, egress: [{ to: [WEB] }] })]), [
      "web>db no",
      "db>web yes",
      "db>other no",
    ]);
  });
});

describe("N3: both ends must allow", () => {
  test("ingress of the one does not pay for egress of the other, in one policy with both", () => {
    // The trap measured with kube-router: one chain for both directions let this pass.
    const both = { ...ALL, policyTypes: ["Ingress", "Egress"] };
    table(cluster([policy("a/p", { ...both, ingress: [{}] })]), ["web>db no", "other>db yes"]);
    table(cluster([policy("a/p", { ...both, egress: [{}] })]), ["web>db no", "web>other yes"]);
    table(cluster([policy("a/p", { ...both, ingress: [{}], egress: [{}] })]), ["web>db yes"]);
  });

  test("answers pass, whatever the policies", () => {
    const world = cluster([policy("a/p", { ...ALL, policyTypes: ["Ingress", "Egress"] })]);
    for (const node of ["node1", "node2"]) {
      expect(world.rulesets.get(node)).toBeDefined();
    }
    expect(world.walk("node1", "FORWARD", packets("web", "db")[0], { state: "established" }))
      .toBe("accept");
    expect(world.walk("node1", "FORWARD", packets("web", "db")[0], { state: "related" }))
      .toBe("accept");
    expect(world.walk("node1", "FORWARD", packets("web", "db")[0], { state: "new" }))
      .toBe("reject");
  });

  test("a pod's egress binds what it sends to its own node", () => {
    table(cluster([policy("a/p", { ...ALL, policyTypes: ["Egress"] })]), ["web>node1 no"]);
  });
});

describe("N4: rules", () => {
  test.each(
    [
      ["an empty rule allows all", [{}], true],
      ["no rule allows nothing", [], false],
      ["no list allows nothing", undefined, false],
      ["empty lists in a rule are everyone and all ports", [{ from: [], ports: [] }], true],
      ["peers and ports must both match", [{ from: [WEB], ports: [{ port: 81 }] }], false],
      ["one of several peers and ports is enough", [
        { from: [DB, WEB], ports: [{ port: 81 }, { port: 80 }] },
      ], true],
      ["one of several rules is enough", [{ from: [DB] }, { from: [WEB] }], true],
      ["a peer that matches no pod is not everyone", [
        { from: [{ podSelector: { matchLabels: { app: "nobody" } } }] },
      ], false],
    ] as const,
  )("%s", (_, ingress, expected) => {
    const world = cluster([policy("a/p", { ...DB, ingress, policyTypes: ["Ingress"] })]);
    expect(allowed(world, "web", "db")).toBe(expected);
  });
});

describe("N5: peers", () => {
  const from = (peers: readonly object[]) =>
    cluster([policy("a/p", { ...DB, ingress: [{ from: peers }] })]);

  test("a pod selector means the policy's own namespace", () => {
    table(from([WEB]), ["web>db yes", "far>db yes", "other>db no"]);
    table(from([ALL]), ["web>db yes", "other>db no", "world>db no"]);
  });

  test("a namespace selector means all pods there", () => {
    table(from([{ namespaceSelector: { matchLabels: { env: "test" } } }]), [
      "other>db yes",
      "web>db no",
    ]);
    table(from([{ namespaceSelector: {} }]), ["other>db yes", "web>db yes", "world>db no"]);
  });

  test("both in one item must both hold", () => {
    const test = { namespaceSelector: { matchLabels: { env: "test" } } };
    table(from([{ ...test, ...DB }]), ["other>db no", "web>db no"]);
    table(from([{ ...test, ...WEB }]), ["other>db yes", "web>db no"]);
  });

  test("two items are either", () => {
    table(from([{ namespaceSelector: { matchLabels: { env: "test" } } }, WEB]), [
      "other>db yes",
      "web>db yes",
    ]);
  });

  test.each(
    [
      [{ key: "app", operator: "In", values: ["web", "x"] }, true],
      [{ key: "app", operator: "NotIn", values: ["web"] }, false],
      [{ key: "tier", operator: "NotIn", values: ["front"] }, true],
      [{ key: "app", operator: "Exists" }, true],
      [{ key: "app", operator: "DoesNotExist" }, false],
      // No label, though every JavaScript object has it.
      [{ key: "toString", operator: "Exists" }, false],
      [{ key: "toString", operator: "DoesNotExist" }, true],
    ] as const,
  )("an expression holds as the API says: %j", (expression, expected) => {
    const world = from([{ podSelector: { matchExpressions: [expression] } }]);
    expect(allowed(world, "web", "db")).toBe(expected);
  });

  test("a namespace without an object matches no selector", () => {
    const world = cluster(
      [policy("a/p", { ...DB, ingress: [{ from: [{ namespaceSelector: {} }] }] })],
      { namespaces: [namespace("a")] },
    );
    table(world, ["web>db yes", "other>db no"]);
  });
});

describe("N6: ipBlock", () => {
  const from = (...blocks: readonly object[]) =>
    cluster([
      policy("a/p", { ...DB, ingress: [{ from: blocks.map((ipBlock) => ({ ipBlock })) }] }),
    ]);
  const v6 = (cidr: string, except: readonly string[] = []) => ({ cidr, except });

  test("matches pods too", () => {
    table(from(v6("10.1.1.0/24"), v6("fd01:1::/64")), ["web>db yes", "far>db no", "world>db no"]);
  });

  test("leaves out what it excepts", () => {
    const world = from(v6("10.1.0.0/16", ["10.1.1.0/24"]), v6("fd01::/16", ["fd01:1::/64"]));
    table(world, ["far>db yes", "web>db no"]);
  });

  test("what one block excepts another may allow, in one rule", () => {
    const world = from(
      v6("10.0.0.0/8", ["10.1.1.0/24"]),
      v6("10.1.1.0/24"),
      v6("fd01::/16", ["fd01:1::/64"]),
      v6("fd01:1::/64"),
    );
    table(world, ["web>db yes", "far>db yes"]);
  });

  test("of everything is everything, link-local and multicast too", () => {
    const world = from(v6("0.0.0.0/0"), v6("::/0"));
    table(world, ["web>db yes", "world>db yes"]);
    for (const source of ["fe80::5", "fc00::1", "4000::1", "ff02::1", "::1:2:3"]) {
      const packet = { source, destination: "fd01:1::3", protocol: "TCP", port: 1 } as const;
      expect(world.oracle(packet).allowed).toBe(true);
      expect(world.passes(packet)).toBe(true);
    }
  });

  test("of everything but something is complete", () => {
    const world = from(v6("0.0.0.0/0", ["10.1.1.2/32"]), v6("::/0", ["fd01:1::2/128"]));
    table(world, ["web>db no", "far>db yes", "world>db yes"]);
  });

  test("that excepts all of itself matches nothing", () => {
    table(from(v6("0.0.0.0/0", ["0.0.0.0/0"]), v6("::/0", ["::/0"])), ["web>db no"]);
    table(from(v6("10.1.0.0/16", ["10.1.0.0/16"])), ["world>db no"]);
  });

  test("that excepts half of everything allows the other half", () => {
    const world = from(v6("0.0.0.0/0", ["0.0.0.0/1"]), v6("::/0", ["8000::/1"]));
    const packet = (source: string, destination: string) =>
      ({ source, destination, protocol: "TCP", port: 1 }) as const;
    for (
      const [source, destination, expected] of [
        ["9.9.9.9", "10.1.1.3", false],
        ["200.0.0.1", "10.1.1.3", true],
        ["2001:db8::1", "fd01:1::3", true],
        ["fd99::1", "fd01:1::3", false],
      ] as const
    ) {
      expect(world.passes(packet(source, destination))).toBe(expected);
      expect(world.oracle(packet(source, destination)).allowed).toBe(expected);
    }
  });

  test("that is no network matches nothing, is reported, and costs only itself", () => {
    const world = from(v6("10.1.0.0/99"), v6("10.1.1.2/32"), v6("fd01:1::2/128"));
    table(world, ["web>db yes", "far>db no"]);
    expect(world.rulesets.get("node1")?.problems).toEqual([
      'ingress[0].from[0].ipBlock.cidr "10.1.0.0/99" is no network, and matches nothing',
    ]);
  });
});

describe("N7: ports", () => {
  const ports = (...list: readonly object[]) =>
    cluster([policy("a/p", { ...DB, ingress: [{ ports: list }] })]);

  test("are TCP where nothing else is said", () => {
    table(ports({ port: 80 }), ["web>db:80 yes", "web>db:80/UDP no", "web>db:81 no"]);
    table(ports({}), ["web>db:1 yes", "web>db:1/UDP no"]);
  });

  test("without a number are all of the protocol", () => {
    table(ports({ protocol: "UDP" }), ["web>db:1/UDP yes", "web>db:65535/UDP yes", "web>db:1 no"]);
  });

  test("reach to endPort, both included", () => {
    table(ports({ port: 80, endPort: 90 }), [
      "web>db:79 no",
      "web>db:80 yes",
      "web>db:90 yes",
      "web>db:91 no",
    ]);
  });

  test("with an endPort below the port allow nothing, and the policy still isolates", () => {
    table(ports({ port: 90, endPort: 80 }), ["web>db:80 no", "web>db:85 no", "web>db:90 no"]);
  });

  test("out of range allow nothing and are reported, and other ports work", () => {
    const world = ports({ port: 70000 }, { port: 80 });
    table(world, ["web>db:80 yes", "web>db:4464 no"]);
    expect(world.rulesets.get("node1")?.problems).toEqual([
      'ingress[0].ports[0] must be ports of 1 to 65535, not "70000-70000", and matches nothing',
    ]);
  });
});

describe("N8: named ports", () => {
  test("are resolved for each destination pod", () => {
    const world = cluster([policy("a/p", { ...ALL, ingress: [{ ports: [{ port: "http" }] }] })]);
    table(world, ["far>web:80 yes", "far>web:8080 no", "far>db:8080 yes", "far>db:80 no"]);
  });

  test("do not mix with the pod's other names", () => {
    // The trap of kube-router: pods that share one name share all.
    const world = cluster([policy("a/p", { ...ALL, ingress: [{ ports: [{ port: "sql" }] }] })]);
    table(world, ["far>db:5432 yes", "far>web:5432 no", "far>web:80 no"]);
  });

  test("that nobody has match nothing, with peers too", () => {
    const rule = { ports: [{ port: "nothing" }] };
    table(cluster([policy("a/p", { ...DB, ingress: [rule] })]), ["web>db no", "web>db:8080 no"]);
    table(cluster([policy("a/p", { ...DB, ingress: [{ ...rule, from: [WEB] }] })]), [
      "web>db no",
      "web>db:8080 no",
    ]);
  });

  test("belong to a protocol", () => {
    const world = cluster([
      policy("a/p", { ...DB, ingress: [{ ports: [{ port: "http", protocol: "UDP" }] }] }),
    ]);
    table(world, ["web>db:8080/UDP no", "web>db:8080 no"]);
  });

  test("work for egress: to pods, to everyone, to a network", () => {
    const egress = (to?: readonly object[]) =>
      cluster([
        policy("a/p", {
          ...WEB,
          policyTypes: ["Egress"],
          egress: [{ ports: [{ port: "http" }], ...(to === undefined ? {} : { to }) }],
        }),
      ]);
    table(egress([DB]), ["web>db:8080 yes", "web>db:80 no", "web>far:80 no"]);
    table(egress(), ["web>db:8080 yes", "web>far:80 yes", "web>far:8080 no", "web>world:80 no"]);
    table(egress(["10.1.2.0/24", "fd01:2::/64"].map((cidr) => ({ ipBlock: { cidr } }))), [
      "web>far:80 yes",
      "web>db:8080 no",
    ]);
  });

  test("are found in a namespace without an object", () => {
    const world = cluster([
      policy("a/p", { ...WEB, policyTypes: ["Egress"], egress: [{ ports: [{ port: "http" }] }] }),
    ], { namespaces: [] });
    table(world, ["web>db:8080 yes"]);
  });

  test("of sidecars count, those of ordinary init containers do not", () => {
    const init = (restartPolicy?: string) =>
      cluster([policy("a/p", { ...DB, ingress: [{ ports: [{ port: "side" }] }] })], {
        pods: [
          pod("a/web", { ips: IPS.web }),
          pod("a/db", {
            labels: { app: "db" },
            ips: IPS.db,
            spec: {
              initContainers: [{
                name: "side",
                ports: [{ name: "side", containerPort: 7 }],
                restartPolicy,
              }],
            },
          }),
        ],
      });
    table(init("Always"), ["web>db:7 yes"]);
    table(init(), ["web>db:7 no"]);
  });
});

describe("N9: SCTP", () => {
  test("is not TCP, and isolates", () => {
    const world = cluster([
      policy("a/p", { ...DB, ingress: [{ ports: [{ protocol: "SCTP", port: 80 }] }] }),
    ]);
    table(world, ["web>db:80/SCTP yes", "web>db:80 no", "web>db:81/SCTP no"]);
  });
});

describe("N10: the node and the pod itself", () => {
  const closed = cluster([policy("a/p", { ...ALL, policyTypes: ["Ingress", "Egress"] })]);

  test("the pod's node always reaches it, by each of its addresses", () => {
    table(closed, ["node1>db yes", "bridge>db yes", "node2>db no", "node2>far yes"]);
  });

  test("a pod always reaches itself", () => {
    table(closed, ["web>web yes", "web>db no"]);
  });
});

describe("N11: pods on the host's network", () => {
  test("are not selected, and no selector means their address", () => {
    const world = cluster([
      policy("b/p", { ...ALL, ingress: [] }),
      policy("a/p", { ...ALL, ingress: [{ from: [{ namespaceSelector: {} }] }] }),
    ]);
    table(world, ["web>host yes", "host>db no", "web>other no"]);
    const members = [...world.rulesets.values()].flatMap(({ members }) => members);
    expect(members.map(({ entry }) => entry)).not.toContain("192.168.1.12");
  });
});

describe("N12: Services", () => {
  test("are judged by the endpoint, after IPVS has chosen it", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ ports: [{ port: 8080 }] }] })]);
    expect(world.walk("node1", "OUTPUT", packets("web", "db", 8080)[0], {
      originalDestination: "10.96.0.10",
    })).toBe("accept");
    expect(world.walk("node1", "OUTPUT", packets("web", "db", 80)[0], {
      originalDestination: "10.96.0.10",
    })).toBe("reject");
  });
});

describe("N14: finished pods", () => {
  test.each(["Succeeded", "Failed", "Completed"])("leave all sets when %s", (phase) => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })], {
      pods: [
        pod("a/db", { labels: { app: "db" }, ips: IPS.db }),
        pod("a/web", { labels: { app: "web" }, ips: IPS.web, phase }),
      ],
    });
    table(world, ["web>db no"]);
  });

  test("leave no right to the pod that gets the address", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })], {
      pods: [
        pod("a/db", { labels: { app: "db" }, ips: IPS.db }),
        pod("a/old", { labels: { app: "web" }, ips: IPS.web, phase: "Succeeded" }),
        pod("b/new", { labels: { app: "web" }, ips: IPS.web }),
      ],
    });
    table(world, ["web>db no"]);
  });

  test("are not those that are only being deleted", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })], {
      pods: [
        pod("a/db", { labels: { app: "db" }, ips: IPS.db, deleted: true }),
        pod("a/web", { labels: { app: "web" }, ips: IPS.web, deleted: true }),
        pod("b/other", { ips: IPS.other, node: "node2" }),
      ],
    });
    table(world, ["web>db yes", "other>db no"]);
  });
});

describe("N16: what a network needs to work", () => {
  const closed = cluster([policy("a/p", { ...ALL, policyTypes: ["Ingress", "Egress"] })]);

  test.each(["echo-request", "destination-unreachable", "time-exceeded"])(
    "ICMP %s passes in both families",
    (icmp) => {
      const [v4, v6] = packets("web", "db");
      expect(closed.walk("node1", "FORWARD", v4, { protocol: "icmp", icmp })).toBe("accept");
      expect(closed.walk("node1", "FORWARD", v6, { protocol: "icmpv6", icmp })).toBe("accept");
    },
  );

  test.each(["neighbor-solicitation", "neighbor-advertisement", "echo-reply", "packet-too-big"])(
    "ICMPv6 %s passes",
    (icmp) => {
      const [, v6] = packets("web", "db");
      expect(closed.walk("node1", "FORWARD", v6, { protocol: "icmpv6", icmp })).toBe("accept");
    },
  );

  test("other protocols are judged like ports: only a rule without ports allows them", () => {
    const [v4] = packets("web", "db");
    const open = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })]);
    const ports = cluster([policy("a/p", { ...DB, ingress: [{ ports: [{}] }] })]);
    expect(open.walk("node1", "FORWARD", v4, { protocol: "gre" })).toBe("accept");
    expect(ports.walk("node1", "FORWARD", v4, { protocol: "gre" })).toBe("reject");
  });
});

describe("N17: dual stack", () => {
  test("a policy with blocks of one family closes the other", () => {
    const world = cluster([
      policy("a/p", { ...DB, ingress: [{ from: [{ ipBlock: { cidr: "0.0.0.0/0" } }] }] }),
    ]);
    const [v4, v6] = packets("web", "db");
    if (v4 === undefined || v6 === undefined) throw new Error("No packets");
    expect([world.passes(v4), world.passes(v6)]).toEqual([true, false]);
    expect([world.oracle(v4).allowed, world.oracle(v6).allowed]).toEqual([true, false]);
  });

  test("both addresses of a pod are in the sets, in whatever order", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })], {
      pods: [
        pod("a/db", { labels: { app: "db" }, ips: [...IPS.db].toReversed() }),
        pod("a/web", { labels: { app: "web" }, ips: [...IPS.web].toReversed() }),
      ],
    });
    table(world, ["web>db yes"]);
  });

  test("a pod of one family has no chain in the other", () => {
    const world = cluster([], { pods: [pod("a/web", { ips: ["10.1.1.2"] })] });
    const chains = world.rulesets.get("node1")?.chains ?? [];
    expect(chains.filter(({ name }) => name.startsWith("KUBE-POD-FW-")).map((c) => c.family))
      .toEqual([4]);
  });

  test("odd spellings of addresses are one address", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })], {
      pods: [
        pod("a/db", { labels: { app: "db" }, ips: ["010.001.001.003", "FD01:1:0::3"] }),
        pod("a/web", { labels: { app: "web" }, ips: ["::ffff:10.1.1.2", "fd01:0001::2"] }),
      ],
    });
    for (const node of world.rulesets.values()) {
      for (const { entry } of node.members) expect(entry).not.toMatch(/ffff|FD|00[0-9]/);
    }
    expect(world.oracle(packets("web", "db")[0] ?? never()).allowed).toBe(true);
  });
});

function never(): never {
  throw new Error("Cannot be");
}

describe("the annotation of 2017", () => {
  const KEY = "net.beta.kubernetes.io/network-policy";
  const annotated = (value: string, policies: readonly NetworkPolicy[] = []) =>
    cluster(policies, { namespaces: [namespace("a", {}, { [KEY]: value }), namespace("b")] });
  const DENY = '{"ingress":{"isolation":"DefaultDeny"}}';

  test("closes the ingress of all pods of its namespace, and of no other", () => {
    table(annotated(DENY), ["other>web no", "web>db no", "web>other yes", "node1>web yes"]);
  });

  test("lets pass what policies allow", () => {
    const world = annotated(DENY, [policy("a/p", { ...DB, ingress: [{ from: [WEB] }] })]);
    table(world, ["web>db yes", "db>web no"]);
  });

  test("does not switch policies of v1 off where it is not", () => {
    const world = annotated('{"ingress":{"isolation":"DefaultAllow"}}', [policy("a/p", DB)]);
    table(world, ["web>db no", "db>web yes"]);
  });

  test("with a peer that matches nobody stays closed", () => {
    const nobody = { podSelector: { matchLabels: { app: "nobody" } } };
    table(annotated(DENY, [policy("a/p", { ...ALL, ingress: [{ from: [nobody] }] })]), [
      "web>db no",
    ]);
  });

  test.each(["{", "", "null", "[]", '"DefaultDeny"', '{"ingress":null}'])(
    "that says something else, %j, closes nothing and costs nobody else anything",
    (value) => {
      const world = annotated(value, [policy("b/p", ALL)]);
      table(world, ["other>web yes", "web>other no"]);
    },
  );

  test("that is no JSON is reported", () => {
    expect(annotated("{").rulesets.get("node1")?.problems.join()).toContain(
      `Annotation "${KEY}" is no JSON, and isolates nothing`,
    );
  });
});

describe("audit", () => {
  const AUDIT = { "routelet.io/audit": "true" };
  const [packet] = packets("web", "db");
  if (packet === undefined) throw new Error("No packet");

  test("of a policy denies nothing, and logs and counts what it would deny", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [] }, AUDIT)]);
    table(world, ["web>db yes"]);
    expect(world.oracle(packet).judgements[1]?.audited).toEqual(["a/p"]);
    const [walk] = world.walks(packet);
    expect(walk?.logged).toEqual(["audit a/p"]);
    expect(walk?.trace).toContain("a/p audit");
  });

  test("does not log what the policy allows", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [WEB] }] }, AUDIT)]);
    expect(world.walks(packet)[0]?.logged).toEqual([]);
  });

  test("keeps what the policy allows allowed, beside one that isolates", () => {
    const world = cluster([
      policy("a/p", { ...DB, ingress: [{ from: [WEB] }] }, AUDIT),
      policy("a/closed", { ...DB, ingress: [] }),
    ]);
    table(world, ["web>db yes", "other>db no"]);
    expect(world.walks(packets("other", "db")[0] ?? never()).flatMap(({ logged }) => logged))
      .toContain("a/closed");
  });

  test("with another value than true or false is reported, and the policy is enforced", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [] }, { "routelet.io/audit": "yes" })]);
    table(world, ["web>db no"]);
    expect(world.rulesets.get("node1")?.problems).toHaveLength(1);
  });
});

describe("a verdict", () => {
  test("names the policy and the rule that allow", () => {
    const world = cluster([policy("a/p", { ...DB, ingress: [{ from: [DB] }, { from: [WEB] }] })]);
    expect(world.oracle(packets("web", "db")[0] ?? never())).toEqual({
      allowed: true,
      judgements: [
        {
          direction: "egress",
          pod: "a/web",
          allowed: true,
          reason: { kind: "not isolated" },
          audited: [],
        },
        {
          direction: "ingress",
          pod: "a/db",
          allowed: true,
          reason: { kind: "rule", policy: "a/p", rule: 1 },
          audited: [],
        },
      ],
    });
  });

  test("names the policies that isolate", () => {
    const world = cluster([policy("a/p", ALL), policy("a/q", DB)]);
    expect(world.oracle(packets("web", "db")[0] ?? never()).judgements[1]?.reason).toEqual({
      kind: "isolated",
      by: ["a/p", "a/q"],
    });
  });

  test("on strangers judges nothing", () => {
    const world = cluster([policy("a/p", ALL)]);
    expect(world.oracle(packets("world", "node1")[0] ?? never())).toEqual({
      allowed: true,
      judgements: [],
    });
  });
});
