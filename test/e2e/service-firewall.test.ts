/** The service firewall and what else says no to a client, by packets. Scripts in `service-firewall/`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passLab, withFlag } from "./lab.ts";

const FOLDER = join(import.meta.dir, "service-firewall");
const TOPOLOGY = join(import.meta.dir, "agent/topology.yaml");

const SCENARIOS = {
  reach:
    "keeps programs of the host out of reach by VIPs, and lets pings and the node's addresses be",
  verdicts:
    "refuses at once what has no endpoints, and drops what has none here under a Local policy",
  "source-ranges": "lets only clients of loadBalancerSourceRanges use a load balancer IP",
  drift:
    "comes back within a second when others flush, delete or change it, and leaves others' alone",
  adopt: "takes over what kube-router left, and kube-router takes it back",
};

describe("service firewall", () => {
  for (const [name, sentence] of Object.entries(SCENARIOS)) {
    test(`${name}: it ${sentence}`, async () => {
      const lab = await passLab({
        topology: TOPOLOGY,
        script: join(FOLDER, `${name}.sh`),
        timeout: 240,
      });
      expect(lab.stdout).toContain("ok   ");
      expect(lab.stdout).not.toContain("FAIL");
    });
  }

  for (const name of ["verdicts", "source-ranges"] as const) {
    test(`${name} on nftables: it ${SCENARIOS[name]}`, async () => {
      const lab = await passLab({
        topology: withFlag(TOPOLOGY, "--netfilter=nftables"),
        script: join(FOLDER, `${name}.sh`),
        timeout: 240,
        env: { NETFILTER: "nftables" },
      });
      expect(lab.stdout).toContain("ok   ");
      expect(lab.stdout).not.toContain("FAIL");
    });
  }

  test("families: nothing of a family is made where it is switched off", async () => {
    const lab = await passLab({
      topology: join(FOLDER, "families.yaml"),
      script: join(FOLDER, "families.sh"),
    });
    expect(lab.stdout).toContain("ok   ");
  });
});
