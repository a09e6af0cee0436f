import { describe, expect, test } from "bun:test";
import type { Plugin } from "../../../../src/kernel/plugin.ts";
import { cleanup } from "../../../../src/kernel/runtime/cleanup.ts";
import firewall from "../../../../src/plugins/firewall/mod.ts";
import type { FirewallOptions } from "../../../../src/plugins/firewall/options.ts";
import { type TestCluster, testCluster } from "../../../support/cluster.ts";
import { node } from "../../../support/objects.ts";
import { namespace, pod, policy } from "../../../support/policy-world.ts";
import { type Bench, running } from "../../../support/runtime.ts";

const plugin = firewall as unknown as Plugin<never>;

function options(changes: Partial<FirewallOptions> = {}): FirewallOptions {
  return {
    enableIpv4: true,
    enableIpv6: true,
    netpolDefaultDeny: false,
    netpolKeepEstablished: false,
    serviceClusterIpRange: ["10.96.0.0/12"],
    serviceExternalIpRange: [],
    loadbalancerIpRange: [],
    serviceNodePortRange: { from: 30000, to: 32767 },
    ...changes,
  };
}

const WEB = { labels: { app: "web" }, ips: ["10.1.1.2", "fd01:1::2"] };
const FAR = { labels: { app: "web" }, ips: ["10.1.2.2", "fd01:2::2"], node: "node2" };

/** Its lists are in before anybody asks, as where another plugin has asked already. */
function smallCluster(): TestCluster {
  const cluster = testCluster();
  fill(cluster);
  cluster.sync();
  return cluster;
}

function fill(cluster: TestCluster): void {
  cluster.put("nodes", node("node1", { podCIDRs: ["10.1.1.0/24", "fd01:1::/64"] }));
  cluster.put("namespaces", namespace("a"), namespace("b"));
  cluster.put(
    "pods",
    pod("a/web", WEB),
    pod("a/db", { labels: { app: "db" }, ips: ["10.1.1.3", "fd01:1::3"] }),
    pod("a/far", FAR),
  );
  cluster.put("networkpolicies", DB);
}

const DB = policy("a/db", {
  podSelector: { matchLabels: { app: "db" } },
  ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }, block("10.9.0.0/16")] }],
});

function block(cidr: string): object {
  return { ipBlock: { cidr, except: ["10.9.1.0/24"] } };
}

async function start(changes: Partial<FirewallOptions> = {}): Promise<Bench> {
  return await running([plugin], { cluster: smallCluster(), options: options(changes) });
}

describe("its own Node", () => {
  test("that is gone leaves all in Linux, default-deny too, and comes back without a change", async () => {
    const { cluster, linux, runtime, settle, status } = await start({ netpolDefaultDeny: true });
    const before = linux.dump();
    const own = cluster.stores.nodes.get("node1");
    linux.resetCounts();
    cluster.remove("nodes", "node1");
    await settle();
    expect(linux.dump()).toBe(before);
    if (own !== undefined) cluster.put("nodes", own);
    await settle();
    expect(linux.count()).toBe(0);
    expect(runtime.ready).toBe(true);
    expect(status().problems).toEqual([]);
  });

  test("that was never seen makes it wait, with the reason, and rules of an earlier life stay", async () => {
    const first = await start();
    const before = first.linux.dump();
    await first.runtime.stop();
    const cluster = testCluster();
    fill(cluster);
    cluster.remove("nodes", "node1");
    cluster.sync();
    const again = await running([plugin], { cluster, linux: first.linux, options: options() });
    expect(again.linux.dump()).toBe(before);
    expect(again.runtime.ready).toBe(false);
    expect(again.runtime.waitingFor().join()).toContain('Node "node1" not found; if that is not');
    cluster.put("nodes", node("node1"));
    await again.settle();
    expect(again.linux.dump()).toBe(before);
    expect(again.runtime.ready).toBe(true);
  });
});

/** Lines of Linux that differ after `change`. */
async function difference(made: Bench, change: () => void): Promise<readonly string[]> {
  const lines = () => new Set(made.linux.dump().trim().split("\n"));
  const before = lines();
  change();
  await made.settle();
  const after = lines();
  return [
    ...[...before].filter((line) => !after.has(line)).map((line) => `- ${line}`),
    ...[...after].filter((line) => !before.has(line)).map((line) => `+ ${line}`),
  ];
}

describe("the firewall", () => {
  test("brings its rules into Linux and then rests", async () => {
    const made = await start();
    expect(made.status()).toMatchObject({ phase: "ready", pending: 0, problems: [] });
    expect(made.status().owned).toMatchObject({ jump: 6, sysctl: 2 });
    const before = made.linux.dump();
    const [preview] = await made.runtime.preview();
    const counts = preview?.tables.map(({ upserts, deletes, conflicts }) =>
      upserts.length + deletes.length + conflicts.length
    );
    expect(counts?.every((count) => count === 0)).toBe(true);
    expect(made.linux.dump()).toBe(before);
  });

  test("changes members alone when a label changes, here and elsewhere", async () => {
    const made = await start();
    const far = await difference(
      made,
      () => made.cluster.put("pods", pod("a/far", { ...FAR, labels: { app: "other" } })),
    );
    expect(far).toHaveLength(2);
    const here = await difference(
      made,
      () => made.cluster.put("pods", pod("a/web", { ...WEB, labels: { app: "db" } })),
    );
    // Out of the peers, into the targets, in both families.
    expect(here).toHaveLength(4);
    for (const line of [...far, ...here]) {
      expect(line).toMatch(/^[-+] .*KUBE-(SRC|DST)-.*10\.1|fd01/);
    }
  });

  test("ends at the same where the lists come after it", async () => {
    const cluster = testCluster();
    const made = await running([plugin], { cluster, options: options() });
    expect(made.status().phase).toBe("waiting");
    fill(cluster);
    cluster.sync();
    await made.settle();
    expect(made.linux.dump()).toBe((await start()).linux.dump());
  });

  test("gives a new pod of this node its chain, and its places in the sets", async () => {
    const made = await start();
    const changed = await difference(
      made,
      () => made.cluster.put("pods", pod("a/new", { labels: { app: "db" }, ips: ["10.1.1.4"] })),
    );
    expect(changed.filter((line) => line.startsWith("+")).map((line) => line.split(" ")[1]))
      .toEqual(["ipset", "chain", "chain", "chain", "chain"]);
    expect(changed.join("\n")).toContain("member 10.1.1.4");
  });

  test("leaves nothing of a namespace whose last pod has gone", async () => {
    const made = await start();
    made.cluster.remove("pods", "a/web", "a/db");
    await made.settle();
    expect(made.status().owned).toEqual({
      "ipset": 0,
      "ipset.member": 0,
      "chain": 12,
      "jump": 6,
      "sysctl": 2,
    });
  });

  test("reports a policy that is wrong, and enforces the rest of it and all others", async () => {
    const made = await start();
    made.cluster.put(
      "networkpolicies",
      policy("a/bad", {
        podSelector: {},
        ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/40" } }] }],
      }),
    );
    await made.settle();
    expect(made.status().problems).toEqual([{
      type: "problem",
      subject: "policy a/bad",
      reason: 'ingress[0].from[0].ipBlock.cidr "10.0.0.0/40" is no network, and matches nothing',
    }]);
    expect(made.status()).toMatchObject({ phase: "ready", pending: 0 });
  });

  test("says so where --netpol-default-deny knows no range of pods", async () => {
    const cluster = smallCluster();
    cluster.put("nodes", node("node1", { podCIDRs: [] }));
    const made = await running([plugin], {
      cluster,
      options: options({ netpolDefaultDeny: true }),
    });
    expect(made.status().problems.map(({ reason }) => reason).join()).toContain(
      '--netpol-default-deny needs the pod CIDRs of Node "node1"',
    );
    cluster.put("nodes", node("node1", { podCIDRs: ["10.1.1.0/24"] }));
    await made.settle();
    expect(made.status().problems).toEqual([]);
    expect(made.linux.dump()).toContain("kube-router-local-pods");
  });

  test("makes nothing of a family that is switched off", async () => {
    const made = await start({ enableIpv6: false });
    expect(made.linux.dump()).not.toMatch(/ipv6|inet6|fd01/);
  });

  test("is cleaned up without a trace", async () => {
    const made = await start({ netpolDefaultDeny: true });
    await made.runtime.stop();
    const owner = { name: "firewall", protocol: 201 };
    const { failed } = await cleanup(made.linux, [owner]);
    expect(failed).toEqual([]);
    expect(made.linux.dump().trim()).toBe("");
  });
});
