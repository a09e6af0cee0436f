/** The process of a third party's plugin: started by the agent alone, spoken to over Bun's channel between processes. */

import { statSync } from "node:fs";
import { confineThisProcess } from "../kernel/dataplane/linux/confine.ts";
import { guestChild } from "../kernel/guest/child.ts";
import type { FromGuest, ToGuest } from "../kernel/guest/messages.ts";
import { type GuestProcess, MEMORY_LIMIT, spawnGuest } from "../kernel/guest/process.ts";
import type { Logger } from "../kernel/plugin.ts";
import { EXIT } from "./commands.ts";
import type { Io } from "./io.ts";

/** The word that makes it of this executable; no command for people. */
export const PLUGIN_PROCESS = "plugin-process";

/** The command line of such a process: of the executable, or of the sources that run in Bun. */
const command = (): readonly string[] =>
  import.meta.url.includes("$bunfs")
    ? [runningFile(), PLUGIN_PROCESS]
    : [process.execPath, new URL("../main.ts", import.meta.url).pathname, PLUGIN_PROCESS];

/**
 * The file that a process runs. After an upgrade another release lies at its path, or nothing: a plugin's process must be of the
 * agent's own release to understand it.
 */
export function runningFile(path = process.execPath, running = `/proc/${process.pid}/exe`): string {
  const [there, here] = [path, running].map((file) => statSync(file, { throwIfNoEntry: false }));
  const isSame = there !== undefined && there.ino === here?.ino && there.dev === here.dev;
  return isSame || here === undefined ? path : running;
}

/** Starts the process of a plugin. What it prints goes to the log. */
export function pluginSpawner(log: Logger): (name: string) => GuestProcess {
  return (plugin) =>
    spawnGuest({
      command: command(),
      onOutput: (line) => log.info("Plugin printed", { plugin, line }),
    });
}

/** Milliseconds in which the agent ends a process that has said that it fails. */
const LAST_WORD_MS = 2_000;

/** Serves one plugin until the agent ends this process, or is gone itself. */
export async function pluginProcess(io: Io): Promise<number> {
  if (process.send === undefined) {
    io.stderr(
      "routelet: The agent starts this process for a plugin; there is nothing in it for people\n",
    );
    return EXIT.usage;
  }
  for (const refused of confineThisProcess(2 * MEMORY_LIMIT)) {
    io.stderr(`Linux does not let this process ${refused}\n`);
  }
  const post = (message: FromGuest | { readonly type: "listening" }): void =>
    void process.send?.(message);
  const take = guestChild(post, async (file) => (await import(file)).default);
  process.on("message", (message) => take(message as ToGuest));
  process.on("disconnect", () => process.exit(0));
  // They are meant for the agent, which ends its plugins in its own time.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
  for (const event of ["uncaughtException", "unhandledRejection"] as const) {
    process.on(event, (error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      post({
        type: "failed",
        reason: `it threw outside of its reconcilers: ${reason}`,
        final: false,
      });
      setTimeout(() => process.exit(1), LAST_WORD_MS);
    });
  }
  post({ type: "listening" });
  return await new Promise<never>(() => {});
}
