/** Third parties' plugins in the folder of a running agent. Scripts in `plugins/`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "plugins");

const SCENARIOS = {
  life: "works, is changed, fails, is mended, and leaves nothing behind",
  faults: "costs only itself when it is bad, each with one clear message",
};

describe("a third party's plugin", () => {
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

test("seed-hostport: a pod's hostPort reaches it in both families, and goes with the pod", async () => {
  const lab = await passLab({
    topology: join(import.meta.dir, "agent/topology.yaml"),
    script: join(import.meta.dir, "seeds/seed-hostport.sh"),
    timeout: 240,
  });
  expect(lab.stdout).toContain("ok   it goes with the pod");
  expect(lab.stdout).not.toContain("FAIL");
});
