/** What others see of the proxy: health checks, metrics, health. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

test("proxy: health check node ports, metrics and health say how the node is", async () => {
  const lab = await passLab({
    topology: join(import.meta.dir, "agent/metrics-topology.yaml"),
    script: join(import.meta.dir, "proxy/observe.sh"),
  });
  expect(lab.stdout).toContain("ok   and ready");
});
