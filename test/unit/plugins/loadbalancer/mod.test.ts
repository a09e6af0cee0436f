import { describe, expect, test } from "bun:test";
import { addressText } from "../../../../plugins.d/lb-pool/pool.ts";
import loadbalancer from "../../../../src/plugins/loadbalancer/mod.ts";
import { testCluster } from "../../../support/cluster.ts";
import { running } from "../../../support/runtime.ts";

const FLAGS = {
  loadbalancerIpRange: ["10.9.0.0/24"],
  loadbalancerDefaultClass: true,
  loadbalancerSyncPeriod: 60_000,
};

function spans(...loadbalancerIpRange: readonly string[]): readonly string[] {
  const { ranges } = loadbalancer.parse({ ...FLAGS, loadbalancerIpRange });
  return ranges.map(({ family, first, last }) =>
    [first, last].map((value) => addressText({ family, value })).join(" to ")
  );
}

describe("the built-in allocator", () => {
  test("takes CIDRs of both families, and of two that overlap the wider one", () => {
    expect(spans("10.9.0.0/24", "fd00::/126", "10.9.0.64/26", "10.9.0.0/24")).toEqual([
      "10.9.0.0 to 10.9.0.255",
      "fd00:: to fd00::3",
    ]);
    expect(spans("10.9.0.64/26", "10.9.0.0/16")).toEqual(["10.9.0.0 to 10.9.255.255"]);
    expect(spans()).toEqual([]);
  });

  test("is ready with no API server to write to, and says so", async () => {
    const cluster = testCluster();
    cluster.sync();
    const bench = await running([loadbalancer as never], { options: FLAGS, cluster });
    const { settle, status, log, runtime } = bench;
    await settle();
    expect(status("loadbalancer").phase).toBe("ready");
    await runtime.stop();
    const lines = log.lines.filter(({ message }) => message === "Cannot reach the lease");
    expect(JSON.stringify(lines)).toContain("folder of manifests");
  });
});
