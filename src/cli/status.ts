/** The command `status`: asks the running agent over its socket and prints the answer. */
import type { KindState } from "../kernel/cluster/source.ts";
import { printable } from "../kernel/observe/printable.ts";
import { socketPath } from "../kernel/observe/socket.ts";
import type { RuntimeStatus } from "../kernel/runtime/runtime.ts";
import type { PluginStatus } from "../kernel/runtime/status.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { overviewOf, overviewText } from "./overview.ts";
import { columns } from "./text-table.ts";
import { type Shown, watched } from "./watch.ts";

/** The fields that this version prints; an agent of another version may send fewer or more. */
export type AgentStatus = Partial<RuntimeStatus> & { readonly version?: string };

/** Prints the agent's status; 0 when it is ready, 1 when it is not or none answers. */
export async function status(flags: Flags, io: Io): Promise<number> {
  return await watched(flags, io, () => answerOf(flags));
}

async function answerOf(flags: Flags): Promise<Shown> {
  const path = socketPath(flags.runtimeDir);
  let response: Response;
  try {
    response = await fetch("http://agent/status", {
      unix: path,
      signal: AbortSignal.timeout(5000),
    });
  } catch (error) {
    return { error: unreachable(path, error), exit: EXIT.failed };
  }
  if (!response.ok) {
    const body = (await response.text()).trim();
    return {
      error: `The agent at "${path}" could not say its status: HTTP ${response.status}, ${body}`,
      exit: EXIT.failed,
    };
  }
  const answer = await response.json() as AgentStatus;
  const exit = answer.ready === true ? 0 : EXIT.failed;
  const overview = await overviewOf(flags.runtimeDir, answer);
  if (flags.output === "json") {
    return { text: `${JSON.stringify({ ...answer, ...overview }, null, 2)}\n`, exit };
  }
  const parts = [`${statusText(answer, Date.now())}${overviewText(overview)}`];
  // On a screen that is drawn again and again there is no room for whole tables.
  if (!flags.watch) {
    const { bgpBanner, ipvsBanner } = await import("./banner.ts");
    const runs = (plugin: string) => answer.plugins?.some(({ name }) => name === plugin) === true;
    parts.push(
      ...await Promise.all([
        runs("router") ? bgpBanner(flags.runtimeDir) : "",
        runs("proxy") ? ipvsBanner(flags.runtimeDir) : "",
      ]),
    );
  }
  return { text: parts.filter((part) => part !== "").join("\n"), exit };
}

function unreachable(path: string, error: unknown): string {
  const { code, name } = error as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM") {
    return `Cannot ask the agent at "${path}": not permitted; run as root`;
  }
  if (name === "TimeoutError") return `The agent at "${path}" did not answer within 5s`;
  return `No agent runs here: nothing answers at "${path}"; start one with "routelet", or name its --runtime-dir`;
}

/** The status for people. `now` is Unix time in ms. */
export function statusText(status: AgentStatus, now: number): string {
  const { node, ready, version, waitingFor = [], source, plugins = [] } = status;
  const lines = [
    `routelet ${version ?? ""} on ${node ?? "this node"}: ${ready ? "ready" : "not ready"}`.replace(
      "  ",
      " ",
    ),
    ...waitingFor.map((cause) => `  - ${cause}`),
  ];
  if (source !== undefined) {
    lines.push(`source  ${source.from}: ${source.connected ? "connected" : "not connected"}`);
    lines.push(...columns([
      ["KIND", "OBJECTS", "STATE", "LAST EVENT"],
      ...source.kinds.map((kind) => kindRow(kind, now)),
    ], "  "));
    const errors = new Set(source.kinds.flatMap(({ lastError }) => lastError ?? []));
    for (const error of errors) {
      if (!waitingFor.some((cause) => cause.includes(error))) lines.push(`  ${error}`);
    }
  }
  if (plugins.length > 0) {
    lines.push("plugins");
    lines.push(...columns([
      ["NAME", "PHASE", "IN LINUX", "PENDING", "PROBLEMS", "LAST ROUND"],
      ...plugins.map((plugin) => pluginRow(plugin, now)),
    ], "  "));
  }
  for (const { name, problems, problemCount, phase, reason } of plugins) {
    if (reason !== undefined && !waitingFor.some((cause) => cause.includes(reason))) {
      lines.push(`${name}: ${phase}: ${reason}`);
    }
    lines.push(
      ...problems.map(({ type, subject, unit, reason }) =>
        `${name}: ${type} ${subject}${unit === undefined ? "" : ` of ${unit}`}: ${reason}`
      ),
    );
    const more = problemCount - problems.length;
    if (more > 0) lines.push(`${name}: and ${more} more`);
  }
  return `${lines.map(printable).join("\n")}\n`;
}

function kindRow(kind: KindState, now: number): readonly string[] {
  const state = kind.synced ? (kind.connected ? "synced" : "stale") : "waiting";
  return [kind.kind, String(kind.objects), state, ago(kind.lastEventAt, now)];
}

function pluginRow(plugin: PluginStatus, now: number): readonly string[] {
  const owned = Object.entries(plugin.owned).filter(([, count]) => count > 0)
    .map(([kind, count]) => `${kind} ${count}`).join(", ");
  return [
    plugin.name,
    plugin.phase,
    plugin.rounds === 0 ? "not read yet" : owned || "nothing",
    plugin.rounds === 0 ? "-" : String(plugin.pending),
    String(plugin.problemCount),
    plugin.lastRoundMs === undefined
      ? "never"
      : `${plugin.lastRoundMs.toFixed(1)} ms, ${ago(plugin.lastSuccess ?? 0, now)}`,
  ];
}

function ago(time: number, now: number): string {
  if (time === 0) return "never";
  const seconds = Math.max(0, Math.round((now - time) / 1000));
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7200
    ? `${Math.floor(seconds / 60)} min ago`
    : `${Math.floor(seconds / 3600)} h ago`;
}
