/**
 * Plugins that ship beside the executable. They are there for everybody and run where somebody asks for them: one that takes up
 * hostPorts, say, is a change that nobody makes by updating an executable. Any other file there runs as in `--plugins-dir`.
 */

import { dirname, join } from "node:path";
import type { Flags } from "./flags.ts";

/** Names, separated by commas; set by the build (`--define`), absent when run from source. */
declare const ROUTELET_PLUGINS: string | undefined;

const SHIPPED: readonly string[] = typeof ROUTELET_PLUGINS === "undefined"
  ? []
  : ROUTELET_PLUGINS.split(",");

/** Where they lie. */
export const BESIDE: string = join(dirname(process.execPath), "plugins.d");

/**
 * Whether a file is passed over: a plugin that ships, without a YAML file beside it, an option or its name in a flag.
 *
 * @param shipped names, and @param beside their folder; for tests
 */
export function isUnasked(
  { plugin: asked }: Pick<Flags, "plugin">,
  shipped: readonly string[] = SHIPPED,
  beside: string = BESIDE,
): (file: string, name: string, isConfigured: boolean) => boolean {
  return (file, name, isConfigured) =>
    dirname(file) === beside && shipped.includes(name) && !isConfigured &&
    !Object.hasOwn(asked, name);
}
