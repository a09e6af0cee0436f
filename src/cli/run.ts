/** The command `run`: the agent itself, until SIGTERM. */

import type { ClusterSource } from "../kernel/cluster/source.ts";
import { openLinux } from "../kernel/dataplane/linux/mod.ts";
import { releaseCode } from "../kernel/dataplane/linux/code-pages.ts";
import { preferThisThread } from "../kernel/dataplane/linux/priority.ts";
import { startHealth } from "../kernel/observe/health.ts";
import { heartbeats } from "../kernel/observe/heartbeat.ts";
import { createLogger, type Logger } from "../kernel/observe/log.ts";
import { memoryKeeper } from "../kernel/observe/memory.ts";
import {
  buildInfo,
  createMetrics,
  metricsOn,
  noMetrics,
  serveMetrics,
} from "../kernel/observe/metrics.ts";
import { pluginReady } from "../kernel/observe/plugin-ready.ts";
import {
  combined,
  firewallMetrics,
  ipsetMetrics,
  iptablesMetrics,
  proxyMetrics,
  roundMetrics,
  routerMetrics,
} from "../kernel/observe/rounds.ts";
import type { EngineObserver } from "../kernel/runtime/engine.ts";
import { hostAddresses } from "../kernel/runtime/host.ts";
import { Runtime } from "../kernel/runtime/runtime.ts";
import { agentAnswer } from "./agent-answers.ts";
import { toldFlags } from "./agent-flags.ts";
import {
  advertisable,
  errorText,
  fullInterval,
  hostedPlugins,
  leftoverTexts,
  nodeName,
  openSource,
  ownersOf,
} from "./agent.ts";
import { EXIT } from "./commands.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";
import { netfilterOf, openOther, removeOther } from "./netfilter.ts";
import { hasThirdParties, runThirdParties } from "./third-parties.ts";
import { isLoopback, parseUiAddress } from "./ui/address.ts";
import { changeLog } from "./ui/changes.ts";
import { uiData } from "./ui/data.ts";
import { describeGiven, startWarnings } from "./validate-flags.ts";
import { VERSION } from "./version.ts";

/** Runs the agent. Returns when it was told to stop; Linux stays as it is. */
export async function run(flags: Flags, io: Io): Promise<number> {
  const log = createLogger({
    verbosity: flags.v,
    format: flags.logFormat,
    write: (line) => io.stderr(line),
  });
  const node = nodeName(flags, io.env);
  log.info("Starting routelet", { version: VERSION, node, flags: describeGiven(flags) });
  for (const warning of startWarnings(flags)) log.warn(warning);
  preferThisThread();

  // What was opened, to be closed in the reverse order.
  const closers: (() => void | Promise<void>)[] = [];
  const stopped = stopSignal();
  const start = async (): Promise<void> => {
    const registry = metricsOn(flags.metricsPort) ? await createMetrics() : undefined;
    const beats = heartbeats();
    const agent: { runtime?: Runtime; source?: ClusterSource } = {};
    // First of all the socket: it says that no other agent works on this node.
    const health = await startHealth({
      address: flags.healthAddr,
      port: flags.healthPort,
      runtimeDir: flags.runtimeDir,
      source: {
        alive: () => beats.late().length === 0,
        unhealthy: () => agent.runtime?.unhealthy() ?? [],
        waitingFor: () => agent.runtime?.waitingFor() ?? ["the agent's start"],
        status: () => ({ version: VERSION, ...agent.runtime?.status() }),
        flags: () => toldFlags(flags),
        answer: (question, query) =>
          agentAnswer(
            agent.source,
            node,
            (...of) => agent.runtime?.holder(...of),
            question,
            query,
          ) ?? agent.runtime?.answer(question, query),
      },
    });
    closers.push(() => health.stop());
    if (registry !== undefined) {
      buildInfo(registry, VERSION);
      const server = serveMetrics({
        registry,
        address: flags.metricsAddr,
        port: flags.metricsPort,
        path: flags.metricsPath,
      });
      closers.push(() => server.stop());
    }
    const source = await openSource(flags, node, log);
    agent.source = source;
    closers.push(() => source.stop());
    const netfilter = netfilterOf(flags);
    const dataplane = openLinux({
      runtimeDirectory: flags.runtimeDir,
      netfilter,
      runtimeEndpoint: flags.runtimeEndpoint,
      ...advertisable(flags),
      log: log.child({ part: "dataplane" }),
      ...(registry === undefined || !runsFirewall(flags)
        ? {}
        : { onIptables: iptablesMetrics(registry), onIpsets: ipsetMetrics(registry) }),
      // Load balancers ask whether the proxy works: a policy that breaks the firewall must not take all nodes from them at once.
      proxyHealthy: () => agent.runtime?.unhealthy("proxy").length === 0,
    });
    closers.push(() => dataplane.close());
    const host = hostAddresses();
    closers.push(() => host.stop());
    const metrics = registry ?? noMetrics;
    const builtIn = new Set(hostedPlugins(flags).map(({ plugin: { name } }) => name));
    const ui = parseUiAddress(flags.uiAddr);
    const changes = changeLog();
    const runtime = new Runtime({
      plugins: hostedPlugins(flags),
      source,
      dataplane,
      host,
      node,
      log: ui === undefined ? log : changes.logger(log),
      fullInterval: flags.ipvsSyncPeriod,
      metrics,
      observer: (plugin) =>
        combined([
          {
            // Not before: to wait for an API server is no fault of ours, and a restart would not help. And not of third
            // parties: they come and go, and no restart mends them.
            begin: () => {
              if (builtIn.has(plugin)) beats.expect(plugin, fullInterval(plugin, flags));
            },
            round: () => beats.beat(plugin),
          },
          keptMemory(),
          roundMetrics(plugin, metrics),
          ...(plugin === "firewall" ? [firewallMetrics(metrics)] : []),
          ...(plugin === "router" ? [routerMetrics(metrics)] : []),
          ...(plugin === "proxy" ? [proxyMetrics(source.stores, metrics)] : []),
        ]),
    });
    agent.runtime = runtime;
    pluginReady(metrics, () => runtime.status().plugins);
    closers.push(() => runtime.stop());
    if (ui !== undefined) {
      // Late: most agents run without it.
      const { serveUi } = await import("./ui/server.ts");
      const page = serveUi(
        ui,
        uiData({
          status: () => ({ version: VERSION, ...runtime.status() }),
          answer: (question, query) => runtime.answer(question, query),
          source: () => agent.source,
          changes: changes.changes,
          now: Date.now,
        }),
      );
      closers.push(() => page.stop());
      log.info("The live page is served", { url: `http://${page.address}/` });
      if (!isLoopback(ui.address)) {
        log.warn("The live page has no log-in: whoever reaches its port can read it", {
          address: ui.address,
        });
      }
    }
    await runtime.start();
    const thirdParties = runThirdParties({ flags, runtime, dataplane, host, node, log, metrics });
    closers.push(() => thirdParties.stop());
    const other = openOther(flags);
    for (const text of await leftoverTexts(flags, dataplane, other)) log.warn(text);
    await other?.close();
    closers.push(
      removeOther(flags, [...ownersOf(flags), ...thirdParties.owners], () => runtime.ready, log),
    );
    if (hostedPlugins(flags).length === 0 && !hasThirdParties(flags)) {
      log.warn("No plugin is on; nothing is to be done");
    }
    log.info("Started", { listening: health.addresses.join(", "), netfilter });
  };
  try {
    // A start that hangs, in an exec plugin or a plugin's setup, must not hold up the end.
    const signal = await Promise.race([stopped, start().then(() => stopped)]);
    log.info("Stopping; what is in Linux stays there", { signal });
    return 0;
  } catch (error) {
    log.error("Cannot run", { reason: errorText(error) });
    return EXIT.failed;
  } finally {
    await closeAll(closers, log);
  }
}

/** Longest time that closing may take, in ms; an agent that is killed in the middle of a change repairs it at its next start. */
const CLOSING_MS = 1_500;

async function closeAll(
  closers: readonly (() => void | Promise<void>)[],
  log: Logger,
): Promise<void> {
  const closing = (async () => {
    for (const close of closers.toReversed()) await close();
    return true;
  })();
  if (await Promise.race([closing, Bun.sleep(CLOSING_MS)]) !== true) {
    log.warn("Stopped in the middle of something that does not end", { waitedMs: CLOSING_MS });
  }
}

function runsFirewall(flags: Flags): boolean {
  return hostedPlugins(flags).some(({ plugin }) => plugin.name === "firewall");
}

/** Resolves with the name of the first signal that asks to stop. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => resolve(signal));
  });
}

/** Milliseconds from the end of the first round until what it woke has run. */
const STARTED_MS = 2_000;

function keptMemory(): Partial<EngineObserver> {
  const memory = memoryKeeper(() => {
    Bun.gc(true);
    releaseCode();
  });
  let first = true;
  return {
    round() {
      memory.ended();
      // A small cluster makes no burst, and its first round is the last that needs the code of the start.
      if (first) setTimeout(releaseCode, STARTED_MS).unref();
      first = false;
    },
    ops: (_kind, _verb, _ok, count) => memory.worked(count),
  };
}
