/** Asks a plugin of the running agent over its socket. */

import { socketPath } from "../kernel/observe/socket.ts";

/**
 * The answer of a plugin, or why there is none.
 *
 * @param plugin its name, or "-" for the agent itself
 * @param topic what the plugin answers to, with its `query`
 */
export async function askPlugin(
  plugin: "proxy" | "router" | "firewall" | "-",
  runtimeDir: string,
  topic: string,
  query: Readonly<Record<string, string>> | URLSearchParams = {},
): Promise<{ readonly answer: unknown } | string> {
  const path = socketPath(runtimeDir);
  let response: Response;
  try {
    const url = `http://agent/plugins/${plugin}/${topic}?${new URLSearchParams(query)}`;
    response = await fetch(url, { unix: path, signal: AbortSignal.timeout(10_000) });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "EACCES" || code === "EPERM"
      ? `Cannot ask the agent at "${path}": not permitted; run as root`
      : `No agent runs here: nothing answers at "${path}"; start one with "routelet${
        switchOf(plugin)
      }"`;
  }
  if (response.ok) return { answer: await response.json() };
  return response.status === 404
    ? plugin === "-"
      ? `The agent at "${path}" is of another version and cannot say that; restart it with this one`
      : `The agent at "${path}" runs no ${plugin}; start it with${switchOf(plugin)}`
    : (await response.text()).trim();
}

function switchOf(plugin: "proxy" | "router" | "firewall" | "-"): string {
  return plugin === "-" ? "" : ` --run-${plugin === "proxy" ? "service-proxy" : plugin}`;
}
