/** The router in the lab: real agents, real BGP sessions between them, real packets. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "router");

const SCRIPTS: Readonly<Record<string, string>> = {
  "mesh":
    "nodes route each other's pods, within a subnet and between, and keep that over a killed agent",
};

for (const [name, sentence] of Object.entries(SCRIPTS)) {
  test(`${name}: ${sentence}`, async () => {
    const lab = await passLab({
      topology: join(FOLDER, "topology.yaml"),
      script: join(FOLDER, `${name}.sh`),
      timeout: 240,
    });
    expect(lab.stdout).toContain("ok   ");
    expect(lab.stdout).not.toContain("FAIL");
  }, 300_000);
}
