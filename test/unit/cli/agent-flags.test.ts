import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { overAgentFlags, toldFlags } from "../../../src/cli/agent-flags.ts";
import { parseFlags } from "../../../src/cli/parse-flags.ts";
import { describeGiven } from "../../../src/cli/validate-flags.ts";
import { listenSocket } from "../../../src/kernel/observe/socket.ts";

const folder = mkdtempSync(join(tmpdir(), "routelet-flags-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const AGENT = [
  "--peer-router-ips=10.0.0.1",
  "--peer-router-asns=64512",
  "--peer-router-passwords=c2VzYW1l",
  "--master=https://admin:sesame@10.0.0.1:6443",
  "--kubeconfig=some/config",
];
const SECRETS = /c2VzYW1l|sesame/;

test("the agent tells its flags without secrets, and paths that hold in any folder", () => {
  const told = toldFlags(parseFlags(AGENT).flags);
  expect(JSON.stringify(told)).not.toMatch(SECRETS);
  expect(told.master).toBe("https://***@10.0.0.1:6443");
  expect(told.kubeconfig).toBe(resolve("some/config"));
  expect(told.manifests).toBe("");
  expect(told.peerRouterIps).toEqual(["10.0.0.1"]);
});

test("the log's line of flags shows no secret", () => {
  const shown = describeGiven(parseFlags(AGENT).flags);
  expect(JSON.stringify(shown)).not.toMatch(SECRETS);
  expect(Object.keys(shown)).toContain("peer-router-passwords");
});

test("a command takes the running agent's flags below its own", async () => {
  const agent = parseFlags([...AGENT, "--masquerade-all"]).flags;
  const socket = await listenSocket(folder, () => Response.json(toldFlags(agent)));
  try {
    const own = parseFlags([`--runtime-dir=${folder}`, "--master=https://10.9.9.9"]).flags;
    const both = await overAgentFlags(own);
    expect(both.masqueradeAll).toBe(true);
    expect(both.master).toBe("https://10.9.9.9");
    expect(both.peerRouterPasswords).toEqual([]);
  } finally {
    await socket.stop();
  }
  const alone = parseFlags([`--runtime-dir=${folder}`]).flags;
  expect(await overAgentFlags(alone)).toBe(alone);
});
