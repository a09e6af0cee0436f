/** The router in the lab: real agents, real BGP sessions between them, real packets. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { kernelBuilt, passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "router");

const SCRIPTS: Readonly<Record<string, string>> = {
  "mesh":
    "nodes route each other's pods, within a subnet and between, and keep that over a killed agent",
  "overlay": "tunnels are in IPIP or UDP, between subnets, everywhere or nowhere",
  "egress": "pods leave the cluster with the node's address, and cleanup leaves nothing of ours",
};

for (const [name, sentence] of Object.entries(SCRIPTS)) {
  const out = name === "overlay" && !kernelBuilt;
  test.skipIf(out)(`${name}: ${sentence}${out ? " (left out: no lab kernel)" : ""}`, async () => {
    const lab = await passLab({
      topology: join(FOLDER, "topology.yaml"),
      script: join(FOLDER, `${name}.sh`),
      timeout: 240,
      // Debian's user-mode Linux is built without tunnels in UDP.
      ...(name === "overlay" && kernelBuilt ? { place: "kernel" as const } : {}),
    });
    expect(lab.stdout).toContain("ok   ");
    expect(lab.stdout).not.toContain("FAIL");
  }, 300_000);
}

const SEEDS: Readonly<Record<string, string>> = {
  "seed-bgp-routers": "routers outside learn VIPs from all nodes and pod CIDRs from theirs",
  "seed-bgp-failover": "clients go on by the second router while the first is away",
  "seed-banner": "a node shows its BGP, and why a route is announced or not",
};

for (const [name, sentence] of Object.entries(SEEDS)) {
  test(`${name}: ${sentence}`, async () => {
    const lab = await passLab({
      topology: join(import.meta.dir, "seeds/bgp/topology.yaml"),
      script: join(import.meta.dir, "seeds", `${name}.sh`),
      timeout: 240,
    });
    expect(lab.stdout).not.toContain("FAIL");
  }, 300_000);
}
