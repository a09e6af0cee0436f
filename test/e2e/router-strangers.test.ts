/** The router alone, on the host: routers that have IPv6 alone, and peers that speak BGP badly. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "router/peers");

test(
  "IPv4 goes by routers with IPv6 alone (RFC 8950), and peers that send garbage, flood, stall or are our twin cost nobody else",
  async () => {
    const lab = await passLab({
      topology: join(FOLDER, "strangers.yaml"),
      script: join(FOLDER, "strangers.sh"),
      timeout: 200,
    });
    expect(lab.stdout).toContain("ok   sessions with routers were not touched by any of it");
  },
  230_000,
);
