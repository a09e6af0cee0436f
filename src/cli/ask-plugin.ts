/** Asks a plugin of the running agent over its socket. */

import { socketPath } from "../kernel/observe/socket.ts";

/**
 * The answer of a plugin, or why there is none.
 *
 * @param plugin its name; it is switched on by `--run-` and that name
 * @param topic what the plugin answers to, with its `query`
 */
export async function askPlugin(
  plugin: "proxy" | "router" | "firewall",
  runtimeDir: string,
  topic: string,
  query: Readonly<Record<string, string>> = {},
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
      : `No agent runs here: nothing answers at "${path}"; start one with "routelet --run-${plugin}"`;
  }
  if (response.ok) return { answer: await response.json() };
  return response.status === 404
    ? `The agent at "${path}" runs no ${plugin}; start it with --run-${plugin}`
    : (await response.text()).trim();
}
