/** What Kubernetes demands of a policy engine: N7 to N9, ports. */

import { describe, expect, test } from "bun:test";
import { ALL, cluster, DB, IPS, table, WEB } from "../../../../support/policy-table.ts";
import { pod, policy } from "../../../../support/policy-world.ts";

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
