import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultFlags } from "../../../src/cli/flags.ts";
import { type AgentStatus, status, statusText } from "../../../src/cli/status.ts";
import { startHealth } from "../../../src/kernel/observe/health.ts";

const NOW = Date.UTC(2026, 0, 1);

const ANSWER: AgentStatus = {
  version: "0.1.0",
  node: "node1",
  ready: false,
  waitingFor: ["plugin proxy is degraded: no ip_vs"],
  pending: 2,
  applied: {},
  source: {
    from: "https://10.0.0.1:6443",
    connected: true,
    kinds: [{
      kind: "services",
      synced: true,
      objects: 12,
      resourceVersion: "7",
      connected: true,
      lastEventAt: NOW - 3000,
      relists: 0,
    }],
  },
  plugins: [{
    name: "proxy",
    phase: "degraded",
    reason: "no ip_vs",
    owned: { "ipvs.service": 3, "ipset": 0 },
    pending: 2,
    problems: [{ type: "conflict", subject: "TCP 10.0.0.9:80", reason: "another holds it" }],
    problemCount: 4,
    rounds: 1,
    lastRoundMs: 1.25,
    lastSuccess: NOW - 600_000,
  }],
};

test("statusText() says what a person asks first", () => {
  expect(statusText(ANSWER, NOW)).toBe(`routelet 0.1.0 on node1: not ready
  - plugin proxy is degraded: no ip_vs
source  https://10.0.0.1:6443: connected
  KIND      OBJECTS  STATE   LAST EVENT
  services  12       synced  3 s ago
plugins
  NAME   PHASE     IN LINUX        PENDING  PROBLEMS  LAST ROUND
  proxy  degraded  ipvs.service 3  2        4         1.3 ms, 10 min ago
proxy: conflict TCP 10.0.0.9:80: another holds it
proxy: and 3 more
`);
});

test("statusText() keeps a problem one line, whatever an annotation or a plugin says", () => {
  const plugin = ANSWER.plugins?.[0];
  if (plugin === undefined) throw new Error("there is no plugin");
  const reason = 'Annotation a is "x\n  router ready\u001b[2J"';
  const problems = [{ type: "problem", subject: "service a/b", reason }] as const;
  const text = statusText({ ...ANSWER, plugins: [{ ...plugin, problems }] }, NOW);
  expect(text).toContain('service a/b: Annotation a is "x\\n  router ready\\u001b[2J"\n');
});

test("statusText() says an error of the source once, and nothing of Linux before it was read", () => {
  const [kind] = ANSWER.source?.kinds ?? [];
  const [plugin] = ANSWER.plugins ?? [];
  if (kind === undefined || plugin === undefined) throw new Error("no example");
  const lost = { ...kind, connected: false, lastError: "connection refused" };
  const text = statusText({
    node: "node1",
    ready: false,
    waitingFor: ["no list of nodes yet: forbidden"],
    source: {
      from: "https://10.0.0.1:6443",
      connected: false,
      kinds: [lost, { ...lost, kind: "endpointslices" }, {
        ...kind,
        kind: "nodes",
        synced: false,
        objects: 0,
        lastError: "forbidden",
        lastEventAt: 0,
      }],
    },
    plugins: [{ ...plugin, phase: "waiting", rounds: 0, problems: [], problemCount: 0 }],
  }, NOW);
  expect(text).toStartWith(`routelet on node1: not ready
  - no list of nodes yet: forbidden
source  https://10.0.0.1:6443: not connected
  KIND            OBJECTS  STATE    LAST EVENT
  services        12       stale    3 s ago
  endpointslices  12       stale    3 s ago
  nodes           0        waiting  never
  connection refused
plugins
  NAME   PHASE    IN LINUX      PENDING  PROBLEMS  LAST ROUND
  proxy  waiting  not read yet  -        0         `);
});

test("statusText() takes the answer of an agent that says less", () => {
  expect(statusText({ ready: true }, NOW)).toBe("routelet on this node: ready\n");
});

test("status() prints what the agent answers over its socket and exits by its readiness", async () => {
  const runtimeDir = mkdtempSync(join(tmpdir(), "routelet-status-"));
  let answer: unknown = ANSWER;
  const health = await startHealth({
    source: { alive: () => true, waitingFor: () => [], status: () => answer },
    address: "",
    port: 0,
    runtimeDir,
  });
  let out = "";
  let err = "";
  const io = {
    stdout: (text: string) => void (out += text),
    stderr: (text: string) => void (err += text),
    env: {},
    isRoot: true,
  };
  expect(await status(defaultFlags({ runtimeDir, output: "json" }), io)).toBe(1);
  expect(JSON.parse(out)).toEqual(ANSWER);
  answer = { ready: true };
  expect(await status(defaultFlags({ runtimeDir }), io)).toBe(0);
  expect(out).toEndWith("routelet on this node: ready\n");
  await health.stop();
  expect(await status(defaultFlags({ runtimeDir }), io)).toBe(1);
  expect(err).toContain("No agent runs here");
  rmSync(runtimeDir, { recursive: true });
});
