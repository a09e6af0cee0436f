/** What the router announces, with BIRD and FRR as peers and real packets through them. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "router/peers");

const SCRIPTS: Readonly<Record<string, readonly [topology: string, sentence: string]>> = {
  "vips": ["topology", "VIPs follow policies and endpoints, and no request is lost over kill -9"],
  "static": ["topology", "prefixes of a plugin are announced while its health check holds"],
  "six": ["six", "proxy, router and firewall together where there is IPv6 alone"],
};

for (const [name, [topology, sentence]] of Object.entries(SCRIPTS)) {
  test(`${name}: ${sentence}`, async () => {
    const lab = await passLab({
      topology: join(FOLDER, `${topology}.yaml`),
      script: join(FOLDER, `${name}.sh`),
      timeout: 280,
    });
    expect(lab.stdout).toContain("ok   ");
    expect(lab.stdout).not.toContain("FAIL");
  }, 300_000);
}
