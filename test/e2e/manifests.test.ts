/** A cluster in a folder of YAML, with the compiled executable and no API server. The script is in `input/`. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "input");

test("manifests: the agent serves a folder of YAML, follows its changes, and keeps what was good of what is broken", async () => {
  const lab = await passLab({
    topology: join(FOLDER, "topology.yaml"),
    script: join(FOLDER, "manifests.sh"),
  });
  expect(lab.stdout).toContain("ok   ");
  expect(lab.stdout).not.toContain("FAIL");
});
