/** The flags of the agent that runs on this node, as the starting point of commands that ask "what would it do?". */

import { resolve } from "node:path";
import { socketPath } from "../kernel/observe/socket.ts";
import { camelCase, FLAG_NAMES, FLAGS, type Flags } from "./flags.ts";
import { hideUserInfo } from "./validate-flags.ts";

/** What the agent tells others of its flags: paths hold in any folder, secrets are left out. */
export function toldFlags(flags: Flags): Partial<Flags> {
  const secret = new Set(FLAG_NAMES.filter((name) => FLAGS[name].secret === true).map(camelCase));
  const from = (path: string): string => path === "" ? "" : resolve(path);
  return Object.fromEntries(
    Object.entries({
      ...flags,
      kubeconfig: from(flags.kubeconfig),
      manifests: from(flags.manifests),
      master: hideUserInfo(flags.master),
    }).filter(([name]) => !secret.has(name)),
  );
}

/**
 * The flags given here, and for all others the running agent's: `routelet plan` says what that agent would change, and
 * `routelet plan --masquerade-all` what it would with one flag more. Without an agent, the flags given here.
 */
export async function overAgentFlags(flags: Flags): Promise<Flags> {
  const agent = await agentFlags(flags.runtimeDir);
  if (agent === undefined) return flags;
  const own = Object.fromEntries(
    flags.given.map((name) => [camelCase(name), flags[camelCase(name) as keyof Flags]]),
  );
  // An agent of another version may lack flags that this one knows.
  return { ...flags, ...agent, ...own, given: [...new Set([...agent.given, ...flags.given])] };
}

/** The flags of the agent that runs here; undefined where none does. */
export async function agentFlags(runtimeDir: string): Promise<Flags | undefined> {
  try {
    const response = await fetch("http://agent/flags", {
      unix: socketPath(runtimeDir),
      signal: AbortSignal.timeout(2000),
    });
    return response.ok ? await response.json() as Flags : undefined;
  } catch {
    return undefined;
  }
}
