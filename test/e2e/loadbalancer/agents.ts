/** Compiled agents that run the allocator alone, on this host, against the lab's API server in this process. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Change, createApi, type KubeObject, type LabApi } from "../../lab/api/mod.ts";

const REPOSITORY = resolve(import.meta.dir, "../../..");
const EXECUTABLE = join(
  REPOSITORY,
  `dist/routelet-linux-${process.arch === "arm64" ? "arm64" : "x64"}`,
);

export interface Agent {
  readonly name: string;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Resolves with the exit code. */
  readonly ended: Promise<number>;
  readonly log: () => string;
  /** What `routelet status` prints. */
  readonly status: () => string;
}

export interface World {
  readonly api: LabApi;
  readonly folder: string;
  start(name: string, ...flags: readonly string[]): Agent;
  /** Waits for what comes by itself; fails with what it saw last. */
  until(
    what: string,
    holds: () => boolean | Promise<boolean>,
    saw?: () => unknown,
    seconds?: number,
  ): Promise<void>;
  close(): Promise<void>;
}

export function world(): World {
  const api = createApi({ serviceCIDRs: ["10.96.0.0/12", "fd00:96::/108"] });
  const folder = mkdtempSync(join(tmpdir(), "routelet-lb-"));
  const agents: Agent[] = [];
  let lives = 0;

  return {
    api,
    folder,
    start(name, ...flags) {
      const runtime = join(folder, name);
      mkdirSync(runtime, { recursive: true });
      const file = join(folder, `${name}-${++lives}.log`);
      const child = Bun.spawn([
        EXECUTABLE,
        `--master=${api.url}`,
        `--hostname-override=${name}`,
        `--runtime-dir=${runtime}`,
        ...["--run-service-proxy=false", "--run-router=false", "--run-firewall=false"],
        ...["--enable-ipv6", "--health-port=0", "--plugins-dir="],
        ...flags,
      ], {
        stdin: "ignore",
        stdout: "ignore",
        stderr: Bun.file(file),
        env: { PATH: process.env["PATH"] ?? "" },
      });
      const agent: Agent = {
        name,
        signal: (signal) => child.kill(signal),
        ended: child.exited,
        log: () => readFileSync(file, "utf8"),
        status: () =>
          Bun.spawnSync([EXECUTABLE, "status", `--runtime-dir=${runtime}`]).stdout.toString(),
      };
      agents.push(agent);
      return agent;
    },
    async until(what, holds, saw = () => "", seconds = 90) {
      const deadline = performance.now() + seconds * 1000;
      while (!await holds()) {
        if (performance.now() > deadline) {
          const logs = agents.map(({ name, log }) => `== ${name}\n${log().slice(-3000)}`);
          throw new Error(
            `Not within ${seconds} s: ${what}; saw ${JSON.stringify(saw())}\n${logs.join("\n")}`,
          );
        }
        await Bun.sleep(20);
      }
    },
    async close() {
      for (const { signal } of agents) signal("SIGKILL");
      await Promise.all(agents.map(({ ended }) => ended));
      api.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Name of the agent that a lease names as its holder; "" where there is none. */
export function holder(api: LabApi, name: string): string {
  const lease = api.get({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    namespace: "kube-system",
    name,
  });
  const { holderIdentity = "" } = (lease?.["spec"] ?? {}) as { holderIdentity?: string };
  return holderIdentity.split("_")[0] ?? "";
}

export function addresses(service: KubeObject | undefined): readonly string[] {
  const status = (service?.["status"] ?? {}) as {
    loadBalancer?: { ingress?: readonly { ip?: string }[] };
  };
  return status.loadBalancer?.ingress?.flatMap(({ ip }) => ip ?? []) ?? [];
}

/** Follows every single write of the API server. */
export interface Witness {
  /** What must never be: an address with two Services at a time, or a Service that lost one. */
  readonly faults: readonly string[];
  /** Addresses of each Service, by name. */
  readonly given: ReadonlyMap<string, readonly string[]>;
}

/**
 * @param mayShare whether these two may have one address
 * @param onGiven told at each Service that gets its first, with how many have one
 */
export function witness(
  api: LabApi,
  mayShare: (a: string, b: string) => boolean,
  onGiven: (services: number) => void = () => {},
): Witness {
  const faults: string[] = [];
  const given = new Map<string, readonly string[]>();
  const users = new Map<string, Set<string>>();
  api.on(({ kind, type, object }: Change) => {
    if (kind.plural !== "services") return;
    const name = object.metadata?.name ?? "";
    const before = given.get(name) ?? [];
    const now = type === "DELETED" ? [] : addresses(object);
    for (const address of before) {
      if (now.includes(address)) continue;
      users.get(address)?.delete(name);
      if (type !== "DELETED") faults.push(`${name} lost ${address}`);
    }
    for (const address of now) {
      const others = users.get(address) ?? new Set();
      users.set(address, others.add(name));
      for (const other of others) {
        if (other !== name && !mayShare(name, other)) {
          faults.push(`${address} was given to ${name} and to ${other}`);
        }
      }
    }
    if (now.length === 0) given.delete(name);
    else given.set(name, now);
    if (before.length === 0 && now.length > 0) onGiven(given.size);
  });
  return { faults, given };
}
