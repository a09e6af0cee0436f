/** The agent on one dual-stack node, through what a node's life brings. Scripts in `agent/`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "agent");

const SCENARIOS = {
  traffic: "serves both families over TCP and UDP, for pods, the node and clients outside",
  repair: "repairs within a second what is deleted by hand, and plans nothing after a sync",
  foreign: "never touches what others own, not even in cleanup",
  crash: "ends in the same state after kill -9 at any point, without losing a request",
  "api-lost": "goes on without its API server, however it is lost, and catches up",
  "odd-objects": "names each bad object once and serves all others",
};

describe("agent", () => {
  for (const [name, sentence] of Object.entries(SCENARIOS)) {
    test(`${name}: it ${sentence}`, async () => {
      const lab = await passLab({
        topology: join(FOLDER, "topology.yaml"),
        script: join(FOLDER, `${name}.sh`),
        timeout: 240,
      });
      expect(lab.stdout).toContain("ok   ");
      expect(lab.stdout).not.toContain("FAIL");
    });
  }
});
