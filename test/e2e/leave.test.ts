/** What an agent leaves behind: nothing. Scripts in `leave/`; the lab's own kernel alone has both variants of iptables and IPVS. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { kernelBuilt, passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "leave");

describe(kernelBuilt ? "leaving" : "leaving (left out: make lab-kernel)", () => {
  test.skipIf(!kernelBuilt)(
    "snapshot: after everything ran, was killed and cleaned up, Linux is as it was, byte for byte",
    async () => {
      const lab = await passLab({
        topology: join(FOLDER, "topology.yaml"),
        script: join(FOLDER, "snapshot.sh"),
        place: "kernel",
        timeout: 240,
      });
      expect(lab.stdout).toContain("ok   Linux is as it was, byte for byte");
      expect(lab.stdout).not.toContain("FAIL");
    },
    300_000,
  );
});
