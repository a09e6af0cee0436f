/** What Kubernetes demands of a policy engine: N10 to N17, whose traffic is judged. */

import { describe, expect, test } from "bun:test";
import {
  ALL,
  cluster,
  DB,
  IPS,
  packet,
  packets,
  table,
  WEB,
} from "../../../../support/policy-table.ts";
import { pod, policy } from "../../../../support/policy-world.ts";

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
    expect(world.walk("node1", "OUTPUT", packet("web", "db", 8080), {
      originalDestination: "10.96.0.10",
    })).toBe("accept");
    expect(world.walk("node1", "OUTPUT", packet("web", "db", 80), {
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
    expect(world.oracle(packet("web", "db")).allowed).toBe(true);
  });
});
