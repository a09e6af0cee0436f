/** A runtime on a fake Linux, a cluster in memory and a clock turned by hand. */

import type { Dataplane } from "../../src/kernel/dataplane/dataplane.ts";
import { type FakeDataplane, fakeDataplane } from "../../src/kernel/dataplane/fake.ts";
import { type TestLogger, testLogger } from "../../src/kernel/observe/log.ts";
import type { HostAddress, HostAddresses, Plugin } from "../../src/kernel/plugin.ts";
import type { EngineObserver } from "../../src/kernel/runtime/engine.ts";
import { Runtime } from "../../src/kernel/runtime/runtime.ts";
import type { PluginStatus } from "../../src/kernel/runtime/status.ts";
import { type ManualClock, manualClock } from "./clock.ts";
import { type TestCluster, testCluster } from "./cluster.ts";

/** Milliseconds between full read-backs in tests. */
export const FULL_INTERVAL = 300_000;

export interface Bench {
  readonly runtime: Runtime;
  readonly linux: FakeDataplane;
  readonly cluster: TestCluster;
  readonly clock: ManualClock;
  readonly log: TestLogger;
  /** Messages that were logged since the last call, "level message". */
  takeLog(): readonly string[];
  status(plugin?: string): PluginStatus;
  /** Lets all that is due happen, first retries included. */
  settle(): Promise<void>;
}

export interface BenchOptions {
  readonly linux?: FakeDataplane;
  /** What the runtime writes to, around `linux`. */
  readonly dataplane?: Dataplane;
  readonly cluster?: TestCluster;
  readonly clock?: ManualClock;
  readonly host?: readonly HostAddress[];
  readonly options?: unknown;
  readonly setupTimeout?: number;
  readonly observer?: (plugin: string) => EngineObserver;
}

export function bench(plugins: readonly Plugin<never>[], given: BenchOptions = {}): Bench {
  const linux = given.linux ?? fakeDataplane();
  const cluster = given.cluster ?? testCluster();
  const clock = given.clock ?? manualClock();
  const log = testLogger();
  const runtime = new Runtime({
    plugins: plugins.map((plugin, i) => ({ plugin, options: given.options, protocol: 201 + i })),
    source: cluster,
    dataplane: given.dataplane ?? linux,
    host: hostOf(given.host ?? []),
    node: "node1",
    log,
    clock,
    fullInterval: FULL_INTERVAL,
    setupTimeout: given.setupTimeout ?? 10_000,
    ...(given.observer === undefined ? {} : { observer: given.observer }),
  });
  return {
    runtime,
    linux,
    cluster,
    clock,
    log,
    takeLog: () =>
      log.lines.splice(0).filter(({ level }) => level !== "debug")
        .map(({ level, message }) => `${level} ${message}`),
    status(name) {
      const found = runtime.status().plugins.find((plugin) =>
        name === undefined || plugin.name === name
      );
      if (found === undefined) throw new Error(`No plugin "${name}" in the status`);
      return found;
    },
    settle: () => clock.advance(5_000),
  };
}

/** A bench that is started and has settled. */
export async function running(
  plugins: readonly Plugin<never>[],
  given: BenchOptions = {},
): Promise<Bench> {
  const made = bench(plugins, given);
  await made.runtime.start();
  await made.settle();
  return made;
}

function hostOf(addresses: readonly HostAddress[]): HostAddresses {
  return { name: "host", synced: true, subscribe: () => () => {}, values: () => addresses };
}
