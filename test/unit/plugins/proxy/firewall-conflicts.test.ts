/** The service firewall, where two Services, or a Service and somebody else, want one address and port. */

import { describe, expect, test } from "bun:test";
import { ipvsServiceId, type Service } from "../../../../src/kernel/plugin.ts";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import { testCluster } from "../../../support/cluster.ts";
import { node, service, type ServiceChanges, slice } from "../../../support/objects.ts";
import { running } from "../../../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../../../support/service-world.ts";

const OLD = "2020-01-01T00:00:00Z";
const options = proxyOptions({
  serviceExternalIpRange: ["203.0.113.0/24"],
  loadbalancerIpRange: ["203.0.113.0/24"],
});

/** Somebody else's virtual service. */
const THEIRS = {
  id: ipvsServiceId(4, "tcp", "203.0.113.7", 80),
  scheduler: "rr",
  schedulerFlags: 0,
  persistence: 0,
};

const at = (key: string, clusterIP: string, changes: ServiceChanges = {}) =>
  service(key, {
    clusterIPs: [clusterIP],
    externalIPs: ["203.0.113.1"],
    ports: [{ port: 80 }],
    ...changes,
  });
const older = at("team-a/web", "10.96.0.1", { metadata: { creationTimestamp: OLD } });
const younger = at("team-b/web", "10.96.0.2");

async function world(...services: readonly Service[]) {
  const cluster = testCluster();
  const linux = fakeDataplane();
  linux.seed("ipvs.service", THEIRS);
  cluster.put("nodes", node("node1"));
  cluster.put("services", ...services);
  cluster.put("endpointslices", slice("team-a/web-1", ["10.1.0.1"]));
  cluster.sync();
  const made = await running([proxyPlugin], { cluster, options, linux });
  return {
    ...made,
    cluster,
    /** Members of a set that speak of the shared address. */
    set: (name: string) =>
      linux.dump().split("\n").filter((line) => line.startsWith(`ipset kube-router-${name} member`))
        .map((line) => line.replace(/.* member /, "")).filter((entry) =>
          entry.startsWith("203.0.113.")
        ),
  };
}

describe("a Service that does not have its address and port", () => {
  test("does not refuse the clients of the one that has it", async () => {
    const { set, cluster, settle } = await world(older, younger);
    expect(set("svip-reject")).toEqual([]);
    expect(set("svip-prt")).toEqual(["203.0.113.1,tcp:80"]);
    cluster.remove("services", "team-a/web");
    await settle();
    expect(set("svip-reject")).toEqual(["203.0.113.1,tcp:80"]);
    cluster.put("services", older);
    await settle();
    expect(set("svip-reject")).toEqual([]);
  });

  test("does not drop them by its Local policy", async () => {
    const local = at("team-b/web", "10.96.0.2", { externalTrafficPolicy: "Local" });
    const { set, cluster, settle } = await world(older, local);
    cluster.put(
      "endpointslices",
      slice("team-b/web-1", [{ addresses: ["10.1.0.2"], nodeName: "node2" }]),
    );
    await settle();
    expect(set("svip-drop")).toEqual([]);
    cluster.remove("services", "team-a/web");
    await settle();
    expect(set("svip-drop")).toEqual(["203.0.113.1,tcp:80"]);
  });

  test("does not limit them to its source ranges", async () => {
    const balanced = {
      ...at("team-b/web", "10.96.0.2", {
        type: "LoadBalancer",
        externalIPs: [],
        loadBalancerSourceRanges: ["192.0.2.0/24"],
      }),
      status: { loadBalancer: { ingress: [{ ip: "203.0.113.1" }] } },
    };
    const { set, cluster, settle } = await world(older, balanced);
    expect([set("svip-limited"), set("svip-src")]).toEqual([[], []]);
    cluster.remove("services", "team-a/web");
    await settle();
    expect([set("svip-limited"), set("svip-src")])
      .toEqual([["203.0.113.1,tcp:80"], ["203.0.113.1,tcp:80,192.0.2.0/24"]]);
  });

  test("nor with direct server return", async () => {
    const metadata = { annotations: { "kube-router.io/service.dsr": "tunnel" } };
    const { set, cluster, settle } = await world(
      at("team-a/web", "10.96.0.1", { metadata: { ...metadata, creationTimestamp: OLD } }),
      at("team-b/web", "10.96.0.2", { metadata }),
    );
    expect(set("svip-reject")).toEqual([]);
    cluster.remove("services", "team-a/web");
    await settle();
    expect(set("svip-reject")).toEqual(["203.0.113.1,tcp:80"]);
    cluster.put("services", younger);
    await settle();
    expect(set("svip-reject")).toEqual(["203.0.113.1,tcp:80"]);
  });

  test("does not refuse the clients of another's IPVS service, until that one goes", async () => {
    const wants = at("team-b/web", "10.96.0.2", { externalIPs: [THEIRS.id.address] });
    const { set, linux, settle } = await world(wants);
    expect(set("svip-reject")).toEqual([]);
    linux.drift("ipvs.service", THEIRS.id.key, undefined);
    await settle();
    expect(set("svip-reject")).toEqual(["203.0.113.7,tcp:80"]);
  });
});
