/** The health check's hysteresis: at each question the answers before it have been taken, so what is said then is certain. */

import { expect, test } from "bun:test";
import plugin from "../../../plugins.d/advertise-static.ts";
import { tables } from "../../../src/kernel/dataplane/resources/mod.ts";
import { silentLogger } from "../../../src/kernel/observe/log.ts";
import { noMetrics } from "../../../src/kernel/observe/metrics.ts";
import type { BackgroundEnd, PluginContext, Reconciler } from "../../../src/kernel/third-party.ts";
import { settingsOf } from "../../../src/kernel/guest/settings.ts";

/** What is announced at each question, the answers given in turn. */
async function announcedAt(
  answers: readonly boolean[],
  given: Readonly<Record<string, unknown>>,
): Promise<readonly string[]> {
  const seen: string[] = [];
  const done = Promise.withResolvers<void>();
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch() {
      seen.push(state());
      const good = answers[seen.length - 1];
      if (good === undefined) done.resolve();
      return new Response("", { status: good === false ? 503 : 200 });
    },
  });
  let reconciler: Reconciler | undefined;
  let begin: (() => BackgroundEnd | Promise<BackgroundEnd>) | undefined;
  const settings = settingsOf(plugin.options ?? {}, {
    prefixes: ["192.0.2.53/32"],
    check: `http://127.0.0.1:${server.port}/`,
    interval: 0.1,
    timeout: 10,
    ...given,
  });
  await plugin.setup({
    options: plugin.parse?.(settings),
    tables,
    metrics: noMetrics,
    log: silentLogger,
    reconcile: (each: Reconciler) => void (reconciler = each),
    background: (task: typeof begin) => void (begin = task),
  } as unknown as PluginContext<never>);
  function state(): string {
    if (reconciler?.inputs.every(({ synced }) => synced) !== true) return "unknown";
    let wants = "";
    reconciler.desired("192.0.2.53/32", {
      want: () => void (wants = "announced"),
      report: (problem) => void (wants = problem.replace(/http\S+/, "URL")),
    });
    return wants;
  }
  const end = await begin?.();
  await done.promise;
  await end?.();
  await server.stop(true);
  return seen;
}

const DOWN = "Not announced, as URL fails: status 503";

test("a prefix is announced after good answers in a row, and withdrawn after bad ones in a row", async () => {
  const [yes, no] = [true, false];
  expect(await announcedAt([yes, yes, no, no, yes, no, no, no, yes, no, yes, yes], {})).toEqual([
    "unknown",
    "unknown",
    ...Array.from({ length: 6 }, () => "announced"),
    ...Array.from({ length: 4 }, () => DOWN),
    "announced",
  ]);
});

test("with other numbers it takes as many", async () => {
  expect(await announcedAt([false, true, false], { rise: 1, fall: 1 })).toEqual([
    "unknown",
    DOWN,
    "announced",
    DOWN,
  ]);
});
