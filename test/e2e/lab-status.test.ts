import { expect, test } from "bun:test";
import { ASK, FAKE_AGENT, pod } from "./lab-cluster.ts";
import { runLab } from "./lab.ts";

const NODE = { name: "n1", addresses: ["192.168.50.11/24"], podCIDRs: ["10.244.1.0/24"] };
const QUIET = { nodes: [{ ...NODE, agent: false }] };
const fake = (mode: string) => ({
  ROUTELET: FAKE_AGENT,
  FAKE: mode,
  ...(mode === "never" ? { LAB_READY: "2" } : {}),
});

test("the lab exits with the script's status, which is in OUT too", async () => {
  const result = await runLab({ topology: QUIET, script: "echo out; echo err >&2; exit 42\n" });
  expect([result.status, result.stdout, result.stderr, result.read("status")])
    .toEqual([42, "out\n", "err\n", "42\n"]);
});

test("a script that does not end is ended past TIMEOUT, with 124", async () => {
  const result = await runLab({ topology: QUIET, script: "sleep 1000\n\n", timeout: 6 });
  expect([result.status, result.read("status")]).toEqual([124, "124\n"]);
  expect(result.stderr).toContain("the script did not end within 6 s");
});

test("an agent that never becomes ready fails the lab before the script, with 125 and its log", async () => {
  const result = await runLab({
    topology: { nodes: [NODE] },
    script: "echo ran\n",
    env: fake("never"),
  });
  expect([result.status, result.stdout]).toEqual([125, ""]);
  expect(result.stderr).toContain('the agent of "n1" was not ready within 2 s (/readyz: 503');
  expect(result.read("agents/n1.log")).toContain("--hostname-override=n1");
});

test("an agent that ends at its start fails the lab with 125 and the agent's last words", async () => {
  const result = await runLab({
    topology: { nodes: [NODE] },
    script: "echo ran\n",
    env: fake("dies"),
  });
  expect([result.status, result.stdout]).toEqual([125, ""]);
  expect(result.stderr).toContain('the agent of "n1" ended with status 3');
  expect(result.stderr).toContain("cannot go on");
});

test("an agent that falls behind, or dies, fails a wait", async () => {
  const script = "$LAB wait 1\n";
  const behind = await runLab({ topology: { nodes: [NODE] }, script, env: fake("behind") });
  expect(behind.status).toBe(1);
  expect(behind.stderr).toContain('the agent of "n1" has not applied revision');
  const later = await runLab({ topology: { nodes: [NODE] }, script, env: fake("later") });
  expect(later.status).toBe(1);
  expect(later.stderr).toContain('the agent of "n1" ended with status 4');
});

test("an agent that says it is ready and programs nothing fails a script that looks", async () => {
  const result = await runLab({
    topology: { nodes: [NODE], manifests: ["objects.yaml"] },
    files: {
      "objects.yaml": [pod("a", "n1", ["10.244.1.10"]), {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "web", namespace: "default" },
        spec: { clusterIP: "10.96.0.5", selector: { app: "web" }, ports: [{ port: 80 }] },
      }],
    },
    env: fake(""),
    script: `${ASK}
      $LAB wait
      test "$(ask node-n1 10.244.1.10 80)" = "default/a 10.244.1.10 10.244.1.1"
      echo "the pod answers, and the Service:"
      test "$(ask node-n1 10.96.0.5 80 TCP 500)" = "default/a 10.244.1.10 10.244.1.1"
      echo never here
    `,
  });
  expect(result.status).toBe(1);
  expect(result.stdout).toEndWith("the pod answers, and the Service:\n");
});

const BROKEN: readonly (readonly [string, object | string, Record<string, string>, string])[] = [
  [
    "an address without a prefix",
    { nodes: [{ ...NODE, addresses: ["10.0.0.1"] }] },
    {},
    'like "10.0.0.1/24"',
  ],
  [
    "one address twice",
    { nodes: [NODE, { ...NODE, name: "n2" }] },
    {},
    'is given to "n1" and "n2"',
  ],
  [
    "a manifest that is not there",
    { ...QUIET, manifests: ["nowhere.yaml"] },
    {},
    'nowhere.yaml" is not there',
  ],
  ["a topology that is no YAML", "nodes: [\n", {}, "topology.yaml: "],
  ["no executable", { nodes: [NODE] }, { ROUTELET: "/nowhere/routelet" }, '"make build" makes it'],
  ["an unknown place", QUIET, { LAB_PLACE: "moon" }, '"moon" is none of host, uml, kernel'],
  ["no memory to boot", QUIET, { LAB_PLACE: "uml", LAB_MEMORY: "1M" }, "the guest died"],
];

for (const [what, topology, env, reason] of BROKEN) {
  test(`a broken lab exits with 125 and the reason: ${what}`, async () => {
    const result = await runLab({ topology, env, script: "echo ran\n" });
    expect([result.status, result.stdout, result.read("status")]).toEqual([125, "", "125\n"]);
    expect(result.stderr).toContain(reason);
  });
}
