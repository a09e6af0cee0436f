/** What the day-two commands say, held against packets. Scripts in `see/`. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "see");

test(
  "see why: what it says of a connection is what packets meet, with rule, object and counter",
  async () => {
    const lab = await passLab({
      topology: join(FOLDER, "topology.yaml"),
      script: join(FOLDER, "why.sh"),
      timeout: 240,
    });
    expect(lab.stdout).toContain("ok   nothing else is planned");
  },
  300_000,
);

test(
  "see migrate: it takes over from kube-router and kube-proxy without a lost connection",
  async () => {
    const lab = await passLab({
      topology: join(FOLDER, "topology.yaml"),
      script: join(FOLDER, "migrate.sh"),
      timeout: 240,
    });
    expect(lab.stdout).toContain("ok   and migrate does nothing beside it");
  },
  300_000,
);
