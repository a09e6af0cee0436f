/** `$LAB wait`: until every agent has applied what the API server holds. */

import type { LabApi } from "../api/types.ts";
import type { Agents } from "./agents.ts";

/** Between bookmarks: an agent whose watch was down for the first one must still hear one. */
const BOOKMARK_MS = 250;

/**
 * Returns the slowest agent's time in ms. Rejects with the reason where an agent died or the time is
 * over.
 */
export async function waitForAgents(
  api: LabApi,
  agents: Agents,
  seconds: number,
): Promise<number> {
  const started = performance.now();
  const target = BigInt(api.bookmark());
  const deadline = started + seconds * 1000;
  const timer = setInterval(() => api.bookmark(), BOOKMARK_MS);
  try {
    const times = await Promise.all(
      agents.running().map(async (node) => {
        for (let pause = 5;; pause = Math.min(pause * 1.5, 50)) {
          const lacking = behind(await agents.status(node), target);
          const now = performance.now();
          if (lacking === undefined) return now - started;
          if (now > deadline) {
            throw new Error(
              `the agent of "${node}" has not applied revision ${target} within ${seconds} s: ` +
                lacking,
            );
          }
          await Bun.sleep(pause);
        }
      }),
    );
    return Math.max(0, ...times);
  } finally {
    clearInterval(timer);
  }
}

/** What a status lacks to have applied everything up to `target`; undefined: nothing. */
export function behind(status: unknown, target: bigint): string | undefined {
  const applied = (status as { applied?: unknown } | undefined)?.applied;
  if (typeof applied !== "object" || applied === null) return "its /status does not say";
  for (const [kind, revision] of Object.entries(applied as Record<string, unknown>)) {
    if (typeof revision !== "string" || !/^\d+$/.test(revision) || BigInt(revision) < target) {
      return `${kind} at ${String(revision) || "nothing"}`;
    }
  }
  return undefined;
}
