/** The command `doctor`: is this host fit for the agent, and what is to be done where it is not? Changes nothing. */

import { ownNamespace } from "../../../plugins.d/lb-pool/place.ts";
import type { KindName } from "../../kernel/cluster/kinds.ts";
import { socketPath } from "../../kernel/observe/socket.ts";
import type { Plugin, Watch } from "../../kernel/plugin.ts";
import { overAgentFlags } from "../agent-flags.ts";
import { errorText, hostedPlugins, nodeName } from "../agent.ts";
import { EXIT } from "../commands.ts";
import type { Flags } from "../flags.ts";
import type { Io } from "../io.ts";
import { netfilterOf } from "../netfilter.ts";
import type { AgentStatus } from "../status.ts";
import { agentFindings } from "./agent-checks.ts";
import { openDoctorApi } from "./api.ts";
import { apiFindings } from "./api-checks.ts";
import { fail, type Finding, type Grade, ok, skip, warn } from "./findings.ts";
import { readHost } from "./host.ts";
import { linuxFindings, type Runs } from "./linux-checks.ts";

/** Prints what was found; 0 where nothing fails, 1 where something does. */
export async function doctor(given: Flags, io: Io): Promise<number> {
  const flags = await overAgentFlags(given);
  const hosted = hostedPlugins(flags);
  const on = (name: string) => hosted.some(({ plugin }) => plugin.name === name);
  const runs: Runs = {
    proxy: on("proxy"),
    router: on("router"),
    firewall: on("firewall"),
    netfilter: netfilterOf(flags),
  };
  const host = await readHost(io.isRoot);
  const findings = [
    await agentFinding(flags.runtimeDir),
    ...linuxFindings(host, flags, runs),
    ...agentFindings(host, flags, runs),
    ...await clusterFindings(),
  ];
  io.stdout(
    flags.output === "json" ? `${JSON.stringify({ findings }, null, 2)}\n` : doctorText(findings),
  );
  return findings.some(({ grade }) => grade === "fail") ? EXIT.failed : 0;

  async function clusterFindings(): Promise<readonly Finding[]> {
    if (flags.manifests !== "") return [skip("api", "objects come from a folder of manifests")];
    try {
      const { kubeconfig, master } = flags;
      const api = await openDoctorApi({
        ...(kubeconfig === "" ? {} : { kubeconfig }),
        ...(master === "" ? {} : { master }),
      });
      const kinds = hosted.flatMap(({ plugin, options }) => watchedBy(plugin, options));
      return await apiFindings({
        api,
        kinds: [...new Set(kinds)],
        writes: hosted.flatMap(({ plugin }) => plugin.writes ?? []),
        leaseNamespace: ownNamespace(io.env),
        node: nodeName(flags, io.env),
        host,
        needsPodCIDRs: runs.router,
        now: Date.now,
      });
    } catch (error) {
      return [fail("api/credentials", errorText(error), "correct --kubeconfig or --master")];
    }
  }
}

function watchedBy(plugin: Plugin<never>, options: unknown): readonly KindName[] {
  const watches: readonly Watch[] = typeof plugin.watches === "function"
    ? plugin.watches(plugin.parse(options))
    : plugin.watches;
  return watches.map(({ kind }) => kind);
}

async function agentFinding(runtimeDir: string): Promise<Finding> {
  const path = socketPath(runtimeDir);
  let status: AgentStatus;
  try {
    const response = await fetch("http://agent/status", {
      unix: path,
      signal: AbortSignal.timeout(2000),
    });
    status = await response.json() as AgentStatus;
  } catch {
    return skip("agent", "no agent runs here: checked for the flags that are given");
  }
  if (status.ready === true) {
    return ok("agent", `an agent runs here and is ready, version ${status.version}`);
  }
  return warn(
    "agent",
    `an agent runs here and is not ready: ${(status.waitingFor ?? []).join("; ")}`,
    'see "routelet status"',
  );
}

const MARKS: Readonly<Record<Grade, string>> = {
  ok: "ok  ",
  warn: "WARN",
  fail: "FAIL",
  skip: "-   ",
};

/** One line a check, with the remedy below those that need one, and a last line that counts. */
export function doctorText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ id }) => id.length));
  const lines = findings.flatMap(({ id, grade, text, fix }) => [
    `${MARKS[grade]}  ${id.padEnd(width)}  ${text}`,
    ...(fix === undefined ? [] : [`${" ".repeat(width + 8)}fix: ${fix}`]),
  ]);
  const count = (grade: Grade) => findings.filter((each) => each.grade === grade).length;
  const [bad, odd] = [count("fail"), count("warn")];
  lines.push(
    bad + odd === 0
      ? `all ${count("ok")} checks are good`
      : `${count("ok")} good, ${odd} to look at, ${bad} to mend`,
  );
  return `${lines.join("\n")}\n`;
}
