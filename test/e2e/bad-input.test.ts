/** Bad input on a real Linux, with the compiled executable: a clear message, and nothing else harmed. Scripts in `input/`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { type LabPlace, passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "input");

interface Scenario {
  readonly sentence: string;
  readonly topology?: string;
  readonly place?: LabPlace;
}

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "command-line": { sentence: "names the flag or file, what was given and what is allowed" },
  credentials: {
    sentence: "says once which credential fails and why, waits, and recovers when it is mended",
    topology: "credentials.yaml",
  },
  life: { sentence: "ends at every signal, suffers no second one, and tells no secret" },
  ledger: {
    sentence: "flushes nothing and touches nothing foreign, whatever became of its ledger",
  },
};

describe("bad input", () => {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    test(`${name}: the agent ${scenario.sentence}`, () => pass(name, scenario));
  }

  const needs = isRoot() && !hasIpvs()
    ? ""
    : " (left out: this machine's Linux has ip_vs, or this is not root)";
  test.skipIf(needs !== "")(
    `no-ipvs: on a kernel without ip_vs the agent names it with the remedy, and waits${needs}`,
    () => pass("no-ipvs", { sentence: "", topology: "no-ipvs.yaml", place: "host" }),
  );
});

async function pass(name: string, { topology = "topology.yaml", place }: Scenario): Promise<void> {
  const lab = await passLab({
    topology: join(FOLDER, topology),
    script: join(FOLDER, `${name}.sh`),
    env: { BUN: process.execPath },
    ...(place === undefined ? {} : { place }),
  });
  expect(lab.stdout).toContain("ok   ");
  expect(lab.stdout).not.toContain("FAIL");
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

/** Whether Linux has IPVS, or would load it when asked. */
function hasIpvs(): boolean {
  return Bun.spawnSync(["sh", "-c", "[ -e /proc/net/ip_vs ] || modprobe -qn ip_vs"]).success;
}
