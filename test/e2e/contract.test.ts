/** The dataplane's contract inside the lab, where Linux has every kind: IPVS, dummy links, ipset, iptables. */

import { expect, test } from "bun:test";
import { resolve } from "node:path";
import { kernelBuilt, type LabPlace, runLab, soak } from "./lab.ts";

const REPOSITORY = resolve(import.meta.dir, "../..");

const TOPOLOGY = {
  nodes: [{
    name: "n1",
    addresses: ["192.168.60.11/24"],
    podCIDRs: ["10.244.1.0/24"],
    agent: false,
  }],
};

/** What few machines have in their own Linux, where `make test` asks for all the rest; by `make soak` everything. */
const RARE = "Linux keeps the contract .*(IPVS|FOU|tunnel|in a pod|link|local route)|IPVS in Linux";

const SCRIPT = `
cd "$REPOSITORY"
"$BUN" test --timeout 60000 ${
  soak ? "" : `-t '${RARE}'`
} test/contract 2>"$LAB_OUT/tests.log" || { cat "$LAB_OUT/tests.log"; exit 1; }
`;

/** Where, and what is missing for it. Debian's is asked where there is no other, and by `make soak`. */
const PLACES: readonly (readonly [name: string, place: LabPlace, lacks: string | undefined])[] = [
  ["Debian's user-mode Linux", "uml", kernelBuilt && !soak ? "by make soak" : undefined],
  ["the lab's own kernel", "kernel", kernelBuilt ? undefined : "not built"],
];

for (const [name, place, lacks] of PLACES) {
  const run = lacks === undefined ? test : test.skip;
  run(
    `${name} keeps the contract for ${soak ? "every kind" : "what others lack"}${
      lacks === undefined ? "" : ` (left out: ${lacks})`
    }`,
    async () => {
      const result = await runLab({
        topology: TOPOLOGY,
        script: SCRIPT,
        place,
        timeout: 400,
        env: { REPOSITORY, BUN: process.execPath },
      });
      if (result.status !== 0) throw new Error(result.report());
      const log = result.read("tests.log");
      // Debian's is built without CONFIG_NET_FOU_IP_TUNNELS, and without nf_tables for IPv4 and IPv6.
      const known = place === "uml"
        ? /left out: this machine('s Linux lacks tunnels in UDP| lacks nft or nf_tables)/g
        : /$^/g;
      expect(log.replaceAll(known, "")).not.toContain("left out");
      expect(log).toMatch(/\n *0 fail\n/);
      expect(log).toMatch(/\(pass\) Linux keeps the contract > IPVS destination: /);
    },
    450_000,
  );
}
