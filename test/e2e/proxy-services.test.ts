/** Addresses and endpoint choice of Services, by packets. Scripts in `proxy/services-*.sh`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "proxy");

const SCENARIOS = {
  "services-addresses": "every kind of address is served, and only what the ranges allow",
  "services-routes": "one route for a range serves as addresses do, and time-outs come and go",
  "services-node": "health checks, node ports and cluster IPs follow the node and the cluster",
  "services-endpoints": "endpoints are chosen by conditions, policies, hints and affinity",
};

describe("Services", () => {
  for (const [name, sentence] of Object.entries(SCENARIOS)) {
    test(`${name}: ${sentence}`, async () => {
      const lab = await passLab({
        topology: join(FOLDER, "services-topology.yaml"),
        script: join(FOLDER, `${name}.sh`),
        timeout: 280,
      });
      expect(lab.stdout).toContain("ok   ");
      expect(lab.stdout).not.toContain("FAIL");
    });
  }

  // The lab's own kernel has every scheduler built in; in Debian's they are modules.
  test("services-no-scheduler: rr serves where Linux lacks the scheduler", async () => {
    const lab = await passLab({
      topology: join(FOLDER, "services-topology.yaml"),
      script: join(FOLDER, "services-no-scheduler.sh"),
      place: "uml",
      timeout: 280,
    });
    expect(lab.stdout).toContain("ok   ");
  });
});
