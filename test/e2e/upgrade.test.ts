/** Restart and upgrade under live flows. Script in `upgrade/`. */

import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { kernelBuilt, passLab } from "./lab.ts";
import { buildAs, executableFolder } from "./other-version.ts";

const FOLDER = join(import.meta.dir, "upgrade");

describe(kernelBuilt ? "upgrade" : "upgrade (left out: make lab-kernel)", () => {
  const next = join(executableFolder(), "routelet-next");
  beforeAll(() => buildAs("0.9.9", next));

  test.skipIf(!kernelBuilt)(
    "stop, kill -9, restart and another executable under TCP, UDP, ICMP and new connections: nothing is lost",
    async () => {
      const lab = await passLab({
        topology: join(FOLDER, "topology.yaml"),
        script: join(FOLDER, "upgrade.sh"),
        env: { NEXT: next },
        place: "kernel",
        timeout: 240,
      });
      expect(lab.stdout).toContain("ok   both run the other version: 0.9.9");
      expect(lab.stdout).toContain("ok   nothing is lost");
      expect(lab.stdout).not.toContain("FAIL");
    },
    300_000,
  );
});
