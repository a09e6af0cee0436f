/** `--advertise-service-ranges`, with BIRD and FRR as the routers outside. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

test("ranges: one route stands for a service range, with exceptions", async () => {
  const lab = await passLab({
    topology: join(import.meta.dir, "seeds/bgp/topology.yaml"),
    script: join(import.meta.dir, "router/ranges.sh"),
    timeout: 240,
  });
  expect(lab.stdout).toContain("ok   why names the range");
  expect(lab.stdout).toContain("ok   which the node with its pod announces");
  expect(lab.stdout).not.toContain("FAIL");
}, 300_000);
