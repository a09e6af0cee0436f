/** The router among routers: BIRD and FRR as peers, real packets through them, changes while all runs. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "router/peers");

const SCRIPTS = {
  "live": "peers, passwords, attributes and nodes change; each change is one session's",
  "roles": "flags, a file of passwords, metrics, reflection and AS numbers of nodes",
};

for (const [name, sentence] of Object.entries(SCRIPTS)) {
  test(`${name}: ${sentence}`, async () => {
    const lab = await passLab({
      topology: join(FOLDER, "topology.yaml"),
      script: join(FOLDER, `${name}.sh`),
      timeout: 280,
    });
    expect(lab.stdout).toContain("ok   ");
    expect(lab.stdout).not.toContain("FAIL");
  }, 300_000);
}
