/** The agents of the nodes: started, stopped, asked how they are. */

import { closeSync, openSync, readFileSync } from "node:fs";
import type { NodeSpec, Topology } from "../topology/topology.ts";
import type { Hands } from "./hands.ts";

/** Where the agent answers `/readyz` and `/status` unless a flag says otherwise. */
const HEALTH_PORT = 20244;

export interface AgentSettings {
  readonly executable: string;
  /** The LAB command, which knows how to enter a node. */
  readonly lab: string;
  readonly logs: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Seconds an agent may take from its start to ready. */
  readonly readySeconds: number;
}

export interface Agents {
  /** Names of the nodes whose agent is meant to run. */
  readonly running: () => readonly string[];
  /** Resolves when the agent is ready; rejects with the reason and the end of its log. */
  readonly start: (node: string) => Promise<void>;
  /** SIGTERM; resolves when it is gone. After ten seconds SIGKILL, and a rejection that says so. */
  readonly stop: (node: string) => Promise<void>;
  readonly kill: (node: string) => Promise<void>;
  readonly setFlags: (node: string, flags: readonly string[]) => void;
  /** What the next start runs. */
  readonly setExecutable: (node: string, path: string) => void;
  readonly log: (node: string) => string;
  /** `/status` of the agent; undefined while it does not answer. Rejects where it died by itself. */
  readonly status: (node: string) => Promise<unknown>;
  /** The reason why an agent that should run does not. */
  readonly dead: (node: string) => string | undefined;
}

interface Agent {
  readonly node: NodeSpec;
  flags: readonly string[];
  executable: string;
  process: Bun.Subprocess | undefined;
  /** True between start and stop. */
  meant: boolean;
  ended: string | undefined;
}

export function createAgents(topology: Topology, hands: Hands, settings: AgentSettings): Agents {
  const agents = new Map<string, Agent>(
    topology.nodes.map((node) => [
      node.name,
      {
        node,
        flags: node.flags,
        executable: settings.executable,
        process: undefined,
        meant: false,
        ended: undefined,
      },
    ]),
  );

  function find(name: string): Agent {
    const agent = agents.get(name);
    if (agent === undefined) {
      throw new Error(`there is no node "${name}"; nodes are ${[...agents.keys()].join(", ")}`);
    }
    return agent;
  }

  function argumentsOf(agent: Agent): readonly string[] {
    return [
      `--kubeconfig=/run/lab/nodes/${agent.node.name}/kubeconfig`,
      `--hostname-override=${agent.node.name}`,
      ...topology.flags,
      ...agent.flags,
    ];
  }

  function spawn(agent: Agent): void {
    const { name } = agent.node;
    const log = openSync(logOf(name), "a");
    const child = Bun.spawn(
      [settings.lab, "exec", `node-${name}`, agent.executable, ...argumentsOf(agent)],
      {
        cwd: "/",
        env: { ...settings.environment, NODE_NAME: name },
        stdin: null,
        stdout: log,
        stderr: log,
        onExit: (_, code, signal) => {
          if (agent.process !== child) return;
          agent.process = undefined;
          agent.ended = `ended with ${signal === null ? `status ${code}` : `signal ${signal}`}`;
        },
      },
    );
    closeSync(log);
    agent.process = child;
    agent.meant = true;
    agent.ended = undefined;
  }

  function logOf(name: string): string {
    return `${settings.logs}/${name}.log`;
  }

  function log(name: string): string {
    try {
      return readFileSync(logOf(find(name).node.name), "utf8");
    } catch {
      return "";
    }
  }

  function dead(name: string): string | undefined {
    const agent = find(name);
    return agent.meant && agent.process === undefined
      ? `the agent of "${name}" ${agent.ended ?? "is not there"}${tail(name)}`
      : undefined;
  }

  function tail(name: string): string {
    const lines = log(name).trimEnd().split("\n").slice(-10).join("\n  ");
    return `; its log ends\n  ${lines}`;
  }

  async function start(name: string): Promise<void> {
    const agent = find(name);
    if (agent.process !== undefined) throw new Error(`the agent of "${name}" runs already`);
    spawn(agent);
    const started = performance.now();
    let last = "";
    for (let pause = 20;; pause = Math.min(pause * 1.5, 100)) {
      const reason = dead(name);
      if (reason !== undefined) throw new Error(reason);
      if (!agent.meant) throw new Error(`the agent of "${name}" was stopped before it was ready`);
      const answer = await hands.get(`node-${name}`, healthPort(agent), "/readyz");
      if (answer.status === 200) return;
      last = answer.status === 0 ? answer.body : `${answer.status} ${answer.body.trim()}`;
      if (performance.now() - started > settings.readySeconds * 1000) {
        const took = `${settings.readySeconds} s`;
        throw new Error(
          `the agent of "${name}" was not ready within ${took} (/readyz: ${last})${tail(name)}`,
        );
      }
      await Bun.sleep(pause);
    }
  }

  async function end(name: string, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const agent = find(name);
    agent.meant = false;
    const child = agent.process;
    if (child === undefined) return;
    child.kill(signal);
    const gone = await Promise.race([child.exited.then(() => true), Bun.sleep(10_000)]);
    if (gone !== true) child.kill("SIGKILL");
    await child.exited;
    // `onExit` may come later than this.
    if (agent.process === child) agent.process = undefined;
    if (gone === true) return;
    throw new Error(`the agent of "${name}" did not end within 10 s of SIGTERM and was killed`);
  }

  function healthPort(agent: Agent): number {
    return healthPortOf([...topology.flags, ...agent.flags]);
  }

  return {
    running: () => [...agents.values()].filter(({ meant }) => meant).map(({ node }) => node.name),
    start,
    stop: (name) => end(name, "SIGTERM"),
    kill: (name) => end(name, "SIGKILL"),
    setFlags: (name, flags) => {
      find(name).flags = flags;
    },
    setExecutable: (name, path) => {
      find(name).executable = path;
    },
    log,
    status: async (name) => {
      const agent = find(name);
      const reason = dead(name);
      if (reason !== undefined) throw new Error(reason);
      const { status, body } = await hands.get(`node-${name}`, healthPort(agent), "/status");
      return status === 200 ? JSON.parse(body) : undefined;
    },
    dead,
  };
}

/** The port of `--health-port`, the last one given. */
export function healthPortOf(flags: readonly string[]): number {
  let port = HEALTH_PORT;
  flags.forEach((flag, at) => {
    const text = /^--health-port=(\d+)$/.exec(flag)?.[1] ??
      (flag === "--health-port" ? flags[at + 1] : undefined);
    if (text !== undefined) port = Number(text);
  });
  return port;
}
