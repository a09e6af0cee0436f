/** Endpoints that go: a rolling update, connections that drain, UDP clients that move on. Scripts in `draining/`. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { passLab } from "./lab.ts";

const FOLDER = join(import.meta.dir, "draining");

const SCENARIOS = {
  rolling: "a rolling update under load loses no request, agent killed in the middle",
  graceful: "connections drain until they end or the grace period is over",
  terminating: "without the flag connections go on while the endpoint is listed as terminating",
  dsr: "direct server return drains endpoints, and ends with its Service",
  stray: "a stray segment of an endpoint resets no connection",
  udp: "UDP clients of removed endpoints move on, others are left alone",
};

describe("endpoints that go", () => {
  for (const [name, sentence] of Object.entries(SCENARIOS)) {
    test(`${name}: ${sentence}`, async () => {
      const lab = await passLab({
        topology: join(FOLDER, "topology.yaml"),
        script: join(FOLDER, `${name}.sh`),
        timeout: 240,
      });
      expect(lab.stdout).toContain("ok   ");
      expect(lab.stdout).not.toContain("FAIL");
    });
  }
});
