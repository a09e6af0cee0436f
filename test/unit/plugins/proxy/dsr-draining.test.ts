/** Direct server return: what becomes of connections whose endpoint, or whose Service, goes. */

import { describe, expect, test } from "bun:test";
import { tables } from "../../../../src/kernel/dataplane/resources/mod.ts";
import type { Pod } from "../../../../src/kernel/plugin.ts";
import { testCluster } from "../../../support/cluster.ts";
import {
  type EndpointLike,
  metadata,
  node,
  service,
  type ServiceChanges,
  slice,
} from "../../../support/objects.ts";
import { running } from "../../../support/runtime.ts";
import { proxyOptions, proxyPlugin } from "../../../support/service-world.ts";

const A = { addresses: ["10.244.1.5"], nodeName: "node1" };
const B = { addresses: ["10.244.1.6"], nodeName: "node1" };
const ENDING = { conditions: { ready: false, serving: true, terminating: true } };

function direct(changes: ServiceChanges = {}) {
  return service("default/web", {
    clusterIPs: ["10.96.10.20"],
    externalIPs: ["203.0.113.10"],
    ports: [{ port: 80 }],
    ...changes,
    metadata: { annotations: { "kube-router.io/service.dsr": "tunnel" }, ...changes.metadata },
  });
}

function pod(name: string, ip: string): Pod {
  return {
    metadata: metadata(`default/${name}`),
    spec: { hostNetwork: false, ports: [], terminationGracePeriodSeconds: 30 },
    status: { podIPs: [ip], containerIDs: [], phase: "Running" },
  };
}

async function world(graceful: boolean, changes: ServiceChanges = {}) {
  const cluster = testCluster();
  const protocol = changes.ports?.[0]?.protocol ?? "TCP";
  const endpoints = (...given: readonly EndpointLike[]) =>
    slice("default/web-1", given, { ports: [{ port: 80, protocol }] });
  cluster.put("nodes", node("node1", { podCIDRs: ["10.244.1.0/24"] }));
  cluster.put("pods", pod("a", "10.244.1.5"), pod("b", "10.244.1.6"));
  cluster.put("services", direct(changes));
  cluster.put("endpointslices", endpoints(A, B));
  cluster.sync();
  const options = proxyOptions({
    serviceExternalIpRange: ["203.0.113.0/24"],
    ipvsGracefulTermination: graceful,
  });
  const made = await running([proxyPlugin], { cluster, options });
  const lines = (pattern: RegExp) =>
    made.linux.dump().split("\n").filter((line) => pattern.test(line));
  const [first = ""] = lines(/^ipvs destination fwmark .*10\.244\.1\.5/);
  made.linux.use(
    "ipvs.destination",
    first.replace("ipvs destination ", "").replace(/ (tunnel|masq).*/, ""),
    true,
  );
  return {
    ...made,
    cluster,
    put: async (...given: readonly EndpointLike[]) => {
      cluster.put("endpointslices", endpoints(...given));
      await made.settle();
    },
    weights: () =>
      lines(/^ipvs destination fwmark/).map((line) =>
        line.replace(/.*-> /, "").replace(" tunnel weight", "").replace(" (draining)", "")
      ),
    inPods: () => lines(/ in pod 10\.244\.1\.5$/),
    marks: () => lines(/DSR|fwmark/),
    /** Of the mangle chain, those for requests: which state they ask for, and what they do. */
    rules: async () => {
      const chains = await made.linux.open(tables.chains, { name: "proxy", protocol: 201 }).list();
      return chains.filter(({ item }) => item.name.includes("DSR")).flatMap(({ item }) =>
        item.rules
      )
        .filter(({ matches }) => matches.some((m) => m.kind === "destination"))
        .map(({ matches, target }) => [
          matches.find((m) => m.kind === "state")?.states.join(),
          target.kind,
        ]);
    },
  };
}

describe("an endpoint of direct server return that goes", () => {
  test("has weight 0 while its slice lists it as ending", async () => {
    const { put, weights, inPods } = await world(false);
    await put({ ...A, ...ENDING }, B);
    expect(weights()).toEqual(["10.244.1.5:80 0", "10.244.1.6:80 1"]);
    expect(inPods()).toHaveLength(2);
    await put(B);
    expect([weights(), inPods()]).toEqual([["10.244.1.6:80 1"], []]);
  });

  test("keeps its connections where a Local policy lets no new ones in", async () => {
    const { put, rules } = await world(false, { externalTrafficPolicy: "Local" });
    const far = { addresses: ["10.244.2.7"], nodeName: "node2" };
    const ended = { conditions: { ready: false, serving: false, terminating: true } };
    await put({ ...A, ...ended }, far);
    expect(await rules()).toEqual([["new", "drop"], [undefined, "mark"]]);
    await put(far);
    expect(await rules()).toEqual([[undefined, "drop"]]);
  });

  test("ends at once where it is UDP", async () => {
    for (const graceful of [false, true]) {
      const { put, weights } = await world(graceful, { ports: [{ protocol: "UDP", port: 80 }] });
      await put({ ...A, ...ENDING }, B);
      expect(weights()).toEqual(["10.244.1.6:80 1"]);
    }
  });

  test("drains for its grace period, and its pod keeps tunnel and VIP meanwhile", async () => {
    const { put, weights, inPods, clock } = await world(true);
    await put(B);
    expect(weights()).toEqual(["10.244.1.5:80 0", "10.244.1.6:80 1"]);
    expect(inPods()).toHaveLength(2);
    await clock.advance(31_000);
    expect([weights(), inPods()]).toEqual([["10.244.1.6:80 1"], []]);
  });

  test("does not drain when its Service goes: nothing would mark its packets any more", async () => {
    const { cluster, settle, marks, inPods } = await world(true);
    cluster.remove("services", "default/web");
    await settle();
    expect([marks(), inPods()]).toEqual([[], []]);
  });

  test("stops draining when its Service goes", async () => {
    const { cluster, put, settle, weights, marks, inPods } = await world(true);
    await put(B);
    expect(weights()).toContain("10.244.1.5:80 0");
    cluster.remove("services", "default/web");
    await settle();
    expect([marks(), inPods()]).toEqual([[], []]);
  });

  test("nor when its Service is no longer for direct server return", async () => {
    const { cluster, settle, marks, inPods, linux } = await world(true);
    cluster.put("services", direct({ metadata: { annotations: {} } }));
    await settle();
    expect([marks(), inPods()]).toEqual([[], []]);
    expect(linux.dump()).toContain("tcp 203.0.113.10:80 -> 10.244.1.5:80 masq weight 1");
  });
});
