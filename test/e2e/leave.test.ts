/** What an agent leaves behind: nothing. Scripts in `leave/`; the lab's own kernel alone has both variants of iptables and IPVS. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { kernelBuilt, passLab, soak } from "./lab.ts";
import { buildCommit, executableFolder, hasCommit } from "./other-version.ts";

const FOLDER = join(import.meta.dir, "leave");

/** Earlier releases: of 15:07 on the day of the first one, and of 13:22, which did not note yet what a CNI configuration and some sysctls were. */
const EARLIER = { commit: "8945914", forgetful: "1300a5a" } as const;

describe(kernelBuilt ? "leaving" : "leaving (left out: make lab-kernel)", () => {
  const history = hasCommit(EARLIER.commit) ? "" : " (without an earlier release: no history here)";
  test.skipIf(!kernelBuilt)(
    `snapshot: after everything ran, was killed and cleaned up, Linux is as it was, byte for byte, an earlier release's too${history}`,
    () => leaves(history === "" ? { OLDER: build(EARLIER.commit) } : {}),
    300_000,
  );

  const left = !soak ? " (left out: by make soak)" : "";
  test.skipIf(!kernelBuilt || left !== "" || history !== "")(
    `snapshot: nothing of a release is left that forgot what was before it${left}`,
    () => leaves({ OLDER: build(EARLIER.forgetful), FORGETFUL: "1" }),
    300_000,
  );
});

function build(commit: string): string {
  const file = join(executableFolder(), "routelet");
  buildCommit(commit, file);
  return file;
}

async function leaves(env: Readonly<Record<string, string>>): Promise<void> {
  const lab = await passLab({
    topology: join(FOLDER, "topology.yaml"),
    script: join(FOLDER, "snapshot.sh"),
    env,
    place: "kernel",
    timeout: 240,
  });
  expect(lab.stdout).toContain("ok   Linux is as it was, byte for byte");
  if (env["OLDER"] !== undefined) expect(lab.stdout).toContain("ok   cleanup after an earlier");
  expect(lab.stdout).not.toContain("FAIL");
}
