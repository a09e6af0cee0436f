/** The compiled agent with the firewall alone, beside an API server of its own, in this network namespace. */

import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { NODE } from "./objects.ts";

export type Backend = "iptables" | "nftables";

export interface LogLine {
  readonly message: string;
  readonly [field: string]: unknown;
}

export interface Agent {
  readonly pid: number;
  /** The lines of its log with a message. */
  said(message: string): readonly LogLine[];
  /** Waits until it has said a message more than `seen` times, and gives the next line. */
  next(message: string, seen: number): Promise<LogLine>;
  /** A request to the API server; ends when it has answered. */
  put(path: string, object: object): Promise<void>;
  post(path: string, object: object): Promise<void>;
  remove(path: string): Promise<void>;
  stop(): Promise<void>;
}

interface Settings {
  readonly executable: string;
  readonly folder: string;
  readonly pods: number;
  readonly policies: number;
  readonly backend: Backend;
}

export async function startAgent(settings: Settings): Promise<Agent> {
  const { executable, folder, pods, policies, backend } = settings;
  const apiScript = join(import.meta.dir, "api.ts");
  const api = Bun.spawn([process.execPath, apiScript, folder, `${pods}`, `${policies}`], {
    stdout: "ignore",
    stderr: "inherit",
  });
  const kubeconfig = join(folder, "kubeconfig");
  while (!existsSync(kubeconfig)) {
    if (api.exitCode !== null) throw new Error("the API server ended");
    await Bun.sleep(20);
  }
  const access = JSON.parse(readFileSync(join(folder, "access.json"), "utf8")) as {
    readonly url: string;
    readonly token: string;
  };
  const ask = async (method: string, path: string, object?: object): Promise<void> => {
    const answer = await fetch(access.url + path, {
      method,
      headers: { "content-type": "application/json", authorization: `Bearer ${access.token}` },
      ...(object === undefined ? {} : { body: JSON.stringify(object) }),
    });
    if (!answer.ok) {
      throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    }
  };
  const file = join(folder, "agent.log");
  const log = openSync(file, "w");
  const child = Bun.spawn([
    executable,
    `--kubeconfig=${kubeconfig}`,
    `--hostname-override=${NODE}`,
    `--runtime-dir=${join(folder, "run")}`,
    "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
    "--enable-ipv6",
    "--run-service-proxy=false",
    "--run-router=false",
    "--run-firewall=true",
    "--log-format=json",
    "--health-port=0",
    `--netfilter=${backend}`,
    "-v=1",
  ], { stdin: "ignore", stdout: "ignore", stderr: log });
  closeSync(log);

  const said = (message: string): readonly LogLine[] =>
    readFileSync(file, "utf8").split("\n").filter((line) =>
      line.endsWith("}") && line.includes(message)
    ).map((line) => JSON.parse(line) as LogLine).filter((line) => line.message === message);
  return {
    pid: child.pid,
    said,
    async next(message, seen) {
      const deadline = performance.now() + 240_000;
      for (;;) {
        const line = said(message)[seen];
        if (line !== undefined) return line;
        if (child.exitCode !== null || performance.now() > deadline) {
          throw new Error(`no "${message}" in:\n${readFileSync(file, "utf8").slice(-4_000)}`);
        }
        await Bun.sleep(5);
      }
    },
    put: (path, object) => ask("PUT", path, object),
    post: (path, object) => ask("POST", path, object),
    remove: (path) => ask("DELETE", path),
    async stop() {
      child.kill();
      await child.exited;
      api.kill();
      await api.exited;
    },
  };
}
