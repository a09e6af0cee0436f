/** From kube-router to routelet on a node: what it left in Linux is taken over while it works. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "router");

test("adopt: routes and tunnels of kube-router become ours without a gap", async () => {
  const lab = await passLab({
    topology: join(FOLDER, "topology.yaml"),
    script: join(FOLDER, "adopt.sh"),
    timeout: 240,
  });
  expect(lab.stdout).toContain("ok   and was never gone");
  expect(lab.stdout).not.toContain("FAIL");
}, 300_000);
