/** The metric of whether each plugin works. */

import type { PluginStatus } from "../runtime/status.ts";
import type { Metrics } from "./metrics.ts";

export function pluginReady(
  metrics: Metrics,
  plugins: () => readonly Pick<PluginStatus, "name" | "phase">[],
): void {
  metrics.sampled(
    "gauge",
    "plugin_ready",
    "Whether a plugin works: 1 if it does, 0 while it waits or is degraded",
    ["plugin"],
    () =>
      plugins().map(({ name, phase }) => ({
        labels: { plugin: name },
        value: phase === "ready" ? 1 : 0,
      })),
  );
}
