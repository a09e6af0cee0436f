/** What the day-two commands say, held against packets. Scripts in `see/`. */

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { capturesPage, shapeOf } from "../support/captures.ts";
import { passLab } from "./lab.ts";

/** `make captures` writes it. */
const CAPTURES = join(import.meta.dir, "../../docs/captures.md");
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
    // Elsewhere the host's own modules, tools and processes are seen.
    if (!lab.place.includes("lab-kernel")) return;
    const page = capturesPage((name) => lab.read(`captures/${name}`));
    if (process.env["CAPTURES"] === "1") writeFileSync(CAPTURES, page);
    expect(shapeOf(readFileSync(CAPTURES, "utf8"))).toBe(shapeOf(page));
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
