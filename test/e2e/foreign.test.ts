/** What others own, through everything that the agent does; and Linux as a function of the cluster alone. Script in `foreign/`. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

test("foreign state stands through 1,000 random changes, a kill and cleanup, and history leaves no trace", async () => {
  const lab = await passLab({
    topology: join(import.meta.dir, "foreign/topology.yaml"),
    script: join(import.meta.dir, "foreign/changes.sh"),
    timeout: 240,
  });
  expect(lab.stdout).toContain("ok   in pods too");
  expect(lab.stdout).not.toContain("FAIL");
});
