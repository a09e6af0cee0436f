/**
 * (d) From the start of the executable to the end of its first round, on a node without Services. Runs on the host, in a network
 * namespace of its own, and in the lab; the API server speaks TLS with a client certificate, from another process. Most hosts
 * have no IPVS: there the first round ends by naming it, after all lists are in.
 *
 * start.ts EXECUTABLE RUNS → JSON on standard output; start.ts --api FOLDER is the API server.
 */

import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApi } from "../../test/lab/api/mod.ts";

const NODE = "node1";

export interface StartTimes {
  /** Executed to the first line of the log. */
  readonly firstLine: number;
  /** To the end of the first round: all lists were in, Linux was read and written as far as it goes. */
  readonly firstRound: number;
  /** The round reached Linux's IPVS. */
  readonly complete: boolean;
  readonly reason: string;
}

/** Serves one Node and nothing else until it is killed; the kubeconfig in `folder` says that it listens. */
async function serve(folder: string): Promise<void> {
  const api = createApi({ host: "127.0.0.1", port: 0, tls: { names: ["127.0.0.1"] } });
  api.applyAll([{
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: NODE },
    spec: { podCIDRs: ["10.244.1.0/24"] },
    status: { addresses: [{ type: "InternalIP", address: "192.168.50.11" }] },
  }]);
  await Bun.write(join(folder, "kubeconfig"), api.kubeconfig({ user: "certificate" }));
  await new Promise(() => {});
}

/** One start, measured from outside: the log is read as it is written. */
async function start(executable: string, kubeconfig: string, folder: string): Promise<StartTimes> {
  const log = join(folder, "agent.log");
  const runtimeDirectory = `--runtime-dir=${join(folder, "run")}`;
  const file = openSync(log, "w");
  const begin = performance.now();
  const child = Bun.spawn([
    executable,
    `--kubeconfig=${kubeconfig}`,
    `--hostname-override=${NODE}`,
    runtimeDirectory,
    "--service-cluster-ip-range=10.96.0.0/16",
    "--run-router=false",
    "--run-firewall=false",
    "--log-format=json",
    "--health-port=0",
    "-v=1",
  ], { stdin: "ignore", stdout: "ignore", stderr: file });
  closeSync(file);
  let firstLine = NaN;
  let clean = false;
  try {
    for (;;) {
      const text = readFileSync(log, "utf8");
      const now = performance.now() - begin;
      if (text !== "" && Number.isNaN(firstLine)) firstLine = now;
      const lines = text.split("\n").filter((line) => line.endsWith("}"))
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      const round = lines.find(({ message }) => message === "Round done");
      if (round !== undefined) {
        const reason = lines.find(({ reason }) => reason !== undefined)?.["reason"];
        const complete = round["ok"] === true && reason === undefined;
        clean = complete;
        return { firstLine, firstRound: now, complete, reason: String(reason ?? "") };
      }
      if (now > 20_000 || child.exitCode !== null) throw new Error(`the agent says:\n${text}`);
      await Bun.sleep(1);
    }
  } finally {
    child.kill();
    await child.exited;
    // The next one shall find an empty node, too.
    if (clean) Bun.spawnSync([executable, "cleanup", runtimeDirectory]);
  }
}

const [first = "", second = ""] = process.argv.slice(2);
if (first === "--api") {
  await serve(second);
} else {
  const folder = mkdtempSync(join(tmpdir(), "bench-start-"));
  const api = Bun.spawn([process.execPath, import.meta.path, "--api", folder], {
    stdout: "ignore",
    stderr: "inherit",
  });
  try {
    const kubeconfig = join(folder, "kubeconfig");
    while (!existsSync(kubeconfig)) await Bun.sleep(10);
    const times: StartTimes[] = [];
    for (let i = 0; i < Number(second || 10); i++) {
      times.push(await start(first, kubeconfig, folder));
    }
    console.log(JSON.stringify(times));
  } finally {
    api.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}
