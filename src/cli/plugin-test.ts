/** Runs a third party's plugin on a Linux in memory: the plan that comes of a folder of manifests. */

import { existsSync } from "node:fs";
import { openManifestSource } from "../kernel/cluster/manifest-source.ts";
import { fakeDataplane } from "../kernel/dataplane/fake.ts";
import { givenOptions } from "../kernel/guest/config.ts";
import { Entry } from "../kernel/guest/entry.ts";
import { createLogger } from "../kernel/observe/log.ts";
import { noMetrics } from "../kernel/observe/metrics.ts";
import type { HostAddresses, Stores } from "../kernel/plugin.ts";
import { Runtime } from "../kernel/runtime/runtime.ts";
import { advertisementRefusal } from "../plugins/router/requests.ts";
import { pluginSpawner } from "./plugin-process.ts";
import { changesOf, planText } from "./plan.ts";

export interface DryRun {
  readonly name: string;
  /** The plugin's file or folder. */
  readonly file: string;
  /** What is loaded of it. */
  readonly module: string;
  /** A folder. */
  readonly manifests: string;
  /** Name of the Node object. */
  readonly node: string;
  /** Options from flags. */
  readonly given: Readonly<Record<string, string>>;
  /** Takes the plugin's log. */
  readonly stderr: (text: string) => void;
}

const PROTOCOL = 204;
/** Milliseconds until the plugin has answered. */
const LIMIT_MS = 15_000;

/** A host with the addresses that its Node object has. */
function hostOf(node: string, { nodes }: Stores): HostAddresses {
  return {
    name: "host addresses",
    get synced() {
      return nodes.synced;
    },
    values: () =>
      (nodes.get(node)?.status.addresses ?? []).filter(({ type }) => type === "InternalIP")
        .map(({ address }) => ({
          link: "eth0",
          family: address.includes(":") ? 6 : 4,
          address,
        })),
    subscribe: (wake) => nodes.subscribe(() => wake("all")),
  };
}

/**
 * The plan, and what is wrong with objects, a line each. `failed`: a unit threw.
 *
 * @throws {Error} where the plugin does not run
 */
export async function dryRun(
  options: DryRun,
): Promise<{ readonly text: string; readonly failed: boolean }> {
  const { name, file, module, manifests, node, given } = options;
  const log = createLogger({ verbosity: -1, format: "text", write: options.stderr });
  const source = openManifestSource({ directory: manifests, nodeName: node, log });
  source.start([{ kind: "nodes" }]);
  const host = hostOf(node, source.stores);
  const runtime = new Runtime({
    plugins: [],
    source,
    dataplane: fakeDataplane(advertisementRefusal),
    host,
    node,
    log,
    fullInterval: 300_000,
  });
  const config = [".yaml", ".yml"].map((end) => file.replace(/\.[tj]s$/, "") + end)
    .find(existsSync);
  const entry = new Entry({ name, file, module, fingerprint: "" }, {
    runtime,
    host,
    node,
    log,
    metrics: noMetrics,
    given: () => givenOptions(config, given),
    prepare: () => Promise.resolve(PROTOCOL),
    spawn: pluginSpawner(log),
    isDry: true,
  });
  runtime.admit(entry);
  try {
    entry.launch();
    const deadline = performance.now() + LIMIT_MS;
    while (!entry.synced) {
      if (entry.fault !== undefined) throw new Error(entry.fault);
      if (performance.now() > deadline) {
        throw new Error(
          `it did not say what it wants within ${LIMIT_MS / 1000} s: ${
            entry.waitsFor ?? "an input of it is not synced"
          }`,
        );
      }
      await Bun.sleep(10);
    }
    const [preview] = await runtime.preview(true);
    const changes = preview === undefined ? [] : changesOf(name, preview.tables);
    const conflicts = preview?.tables.flatMap((table) => table.conflicts) ?? [];
    const problems = preview?.problems ?? [];
    const text = [
      planText(changes) || "nothing to change\n",
      ...conflicts.map(({ kind, key, reason }) => `conflict: ${kind} ${key}: ${reason}\n`),
      ...problems.map(({ subject, reason }) => `problem: ${subject}: ${reason}\n`),
    ].join("");
    return { text, failed: problems.some(({ type }) => type === "failed") };
  } finally {
    await entry.stop(100);
    await runtime.stop();
    await source.stop();
  }
}
