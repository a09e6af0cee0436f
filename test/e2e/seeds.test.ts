/** The scenarios of the first guide, by name: scripts in `seeds/`, on the cluster of `examples/first-guide`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const TOPOLOGY = join(import.meta.dir, "../../examples/first-guide/topology.yaml");

const SEEDS = {
  "seed-clusterip": "every node serves ClusterIPs in IPVS and all pods answer in turn",
  "seed-affinity": "a client stays with its pod for the time that the Service says",
  "seed-nodeport": "a client outside reaches all pods through any node's port",
  "seed-scheduler": "the annotation changes the scheduler in place and connections go on",
  "seed-source-route": "a node calls a VIP with its own address as source",
  "seed-apiserver-vip": "the API server answers on its ClusterIP",
  "seed-hairpin": "a pod reaches itself through its Service where it is asked for",
  "seed-masquerade-all":
    "pods see the node's address with --masquerade-all, and the client's without",
  "seed-cleanup": "cleanup leaves Linux as it was, others' things included",
  "seed-only-proxy": "the proxy alone touches only its part of Linux",
  "seed-replace-kube-proxy": "it serves where kube-proxy was, and goes without a trace",
};

describe("first guide", () => {
  for (const [name, sentence] of Object.entries(SEEDS)) {
    test(`${name}: ${sentence}`, async () => {
      const lab = await passLab({
        topology: TOPOLOGY,
        script: join(import.meta.dir, "seeds", `${name}.sh`),
      });
      expect(lab.stdout).toContain("ok   ");
      expect(lab.stdout).not.toContain("FAIL");
    });
  }
});

test("seed-dsr: external IPs reach pods by tunnels, and pods answer clients themselves", async () => {
  const lab = await passLab({
    topology: join(import.meta.dir, "seeds/dsr/topology.yaml"),
    script: join(import.meta.dir, "seeds/seed-dsr.sh"),
    timeout: 280,
  });
  expect(lab.stdout).toContain("ok   each node cleaned its own pods");
  expect(lab.stdout).not.toContain("FAIL");
});

test(
  "seed-agent, seed-daemonset: by hand, or as a pod of the image with a service account, the agent syncs",
  async () => {
    const architecture = process.arch === "x64" ? "amd64" : "arm64";
    const built = Bun.spawnSync(
      [process.execPath, "scripts/image/main.ts", "rootfs", architecture],
      { cwd: join(import.meta.dir, "../.."), stderr: "pipe" },
    );
    expect(built.stderr.toString()).toBe("");
    const lab = await passLab({
      topology: TOPOLOGY,
      script: join(import.meta.dir, "seeds/seed-daemonset.sh"),
      env: { ROOTFS: built.stdout.toString().trim() },
    });
    expect(lab.stdout).toContain("ok   the CNI configuration too");
    expect(lab.stdout).not.toContain("FAIL");
  },
  300_000,
);
