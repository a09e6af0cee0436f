/** Third parties' plugins as the commands meet them: where they are, and what runs them. */

import { realpathSync } from "node:fs";
import type { Dataplane, Owner } from "../kernel/dataplane/dataplane.ts";
import { type Loader, pluginLoader } from "../kernel/guest/loader.ts";
import { openProtocols } from "../kernel/guest/protocols.ts";
import { scan } from "../kernel/guest/scan.ts";
import type { Metrics } from "../kernel/observe/metrics.ts";
import type { HostAddresses, Logger } from "../kernel/plugin.ts";
import type { Runtime } from "../kernel/runtime/runtime.ts";
import { OWNERS } from "./agent.ts";
import type { Flags } from "./flags.ts";
import { pluginSpawner } from "./plugin-process.ts";
import { BESIDE, isUnasked } from "./shipped-plugins.ts";

/** Names that no third party's plugin may have. */
export const RESERVED: readonly string[] = [...OWNERS.map(({ name }) => name), "loadbalancer"];

/** The folders of plugins: `--plugins-dir`, and `plugins.d` beside the executable; none where the flag is empty. */
export function pluginFolders(flags: Pick<Flags, "pluginsDir">): readonly string[] {
  if (flags.pluginsDir === "") return [];
  const folders = [flags.pluginsDir, BESIDE];
  return folders.filter((folder, i) => folders.findIndex((o) => real(o) === real(folder)) === i);
}

function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** Whether there is a plugin in the folders that may run. */
export function hasThirdParties(flags: Pick<Flags, "pluginsDir" | "plugin">): boolean {
  try {
    return scan(pluginFolders(flags), RESERVED, isUnasked(flags))
      .some(({ refusal }) => refusal === undefined);
  } catch {
    // The loader says what is wrong with the folder.
    return false;
  }
}

export interface ThirdPartyOptions {
  readonly flags: Flags;
  readonly runtime: Runtime;
  readonly dataplane: Dataplane;
  readonly host: HostAddresses;
  readonly node: string;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Milliseconds that the built-in plugins have for their first round, before others may take what they want. */
const BUILT_INS_FIRST_MS = 30_000;

/** Runs the plugins of the folders, behind the first rounds of the built-in ones. */
export function runThirdParties(
  options: ThirdPartyOptions,
): Pick<Loader, "stop"> & { readonly owners: readonly Owner[] } {
  const { flags, runtime } = options;
  const protocols = openProtocols(flags.runtimeDir);
  const loader = pluginLoader({
    ...options,
    folders: pluginFolders(flags),
    reserved: RESERVED,
    skip: isUnasked(flags),
    given: flags.plugin,
    protocols,
    spawn: pluginSpawner(options.log),
  });
  const deadline = performance.now() + BUILT_INS_FIRST_MS;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const start = (): void => {
    if (runtime.ready || performance.now() > deadline) void loader.start();
    else timer = setTimeout(start, 100);
  };
  start();
  return {
    // Of an earlier life of the agent.
    owners: protocols.owners(),
    stop: async () => {
      clearTimeout(timer);
      await loader.stop();
    },
  };
}
