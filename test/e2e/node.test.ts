/** What the proxy stands on: its Node object, and a link that is its own. Scripts in `input/`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "input");

const SCENARIOS = {
  "foreign-link": "puts nothing onto a link of kube-router, says so, and heals when that is gone",
  "node-gone":
    "waits for a Node that it has never seen, and goes on by what it knows of one that is gone",
};

describe("node", () => {
  for (const [name, sentence] of Object.entries(SCENARIOS)) {
    test(`${name}: the agent ${sentence}`, async () => {
      const lab = await passLab({
        topology: join(FOLDER, "topology.yaml"),
        script: join(FOLDER, `${name}.sh`),
      });
      expect(lab.stdout).toContain("ok   ");
      expect(lab.stdout).not.toContain("FAIL");
    });
  }
});
