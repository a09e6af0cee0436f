/**
 * Hosts plugins: checks them, sets them up in order, gives each an engine, and sums up their status. A plugin that
 * fails is named and degraded; the others go on.
 */

import type { ClusterSource, KindName, KindState, SourceState } from "../cluster/store.ts";
import type { Dataplane, Owner } from "../dataplane/dataplane.ts";
import type { TableRef } from "../dataplane/resource.ts";
import { tables } from "../dataplane/resources/mod.ts";
import {
  type BackgroundEnd,
  type HostAddresses,
  type Logger,
  type Plugin,
  PLUGIN_API,
  type PluginContext,
  type RetirementRule,
} from "../plugin.ts";
import { combined } from "../observe/rounds.ts";
import { type Metrics, noMetrics } from "../observe/metrics.ts";
import { type Clock, systemClock } from "./clock.ts";
import { Engine, type EngineObserver, type TablePlan } from "./engine.ts";
import { FlowMarks } from "./flow-marks.ts";
import { restrictedApi } from "./api-access.ts";
import type { Holder } from "./evaluation.ts";
import type { PluginPhase, PluginStatus, Problem } from "./status.ts";
import { faultOf, type Hosted, inCreationOrder } from "./plugin-check.ts";
import { onlyWatched, storeInput } from "./store-input.ts";

export type { Hosted };

export interface RuntimeOptions {
  readonly plugins: readonly Hosted[];
  readonly source: ClusterSource;
  readonly dataplane: Dataplane;
  readonly host: HostAddresses;
  readonly node: string;
  readonly log: Logger;
  readonly clock?: Clock;
  /** Milliseconds between full read-backs of Linux. */
  readonly fullInterval: number;
  /** Milliseconds between rounds of one plugin; default 100. */
  readonly minInterval?: number;
  /** Milliseconds that `setup` may take; default 10,000. */
  readonly setupTimeout?: number;
  readonly observer?: (plugin: string) => EngineObserver;
  /** What plugins measure with; absent: nothing. */
  readonly metrics?: Metrics;
}

/** What `/status` answers. */
export interface RuntimeStatus {
  readonly node: string;
  readonly ready: boolean;
  /** Why not ready, one text for each cause. */
  readonly waitingFor: readonly string[];
  /** By watched kind, the resourceVersion up to which all is in Linux, or has been said to be impossible. */
  readonly applied: Readonly<Record<string, string>>;
  readonly pending: number;
  readonly source: SourceState;
  readonly plugins: readonly PluginStatus[];
}

/** What one plugin would do. */
export interface Preview {
  readonly plugin: string;
  readonly tables: readonly TablePlan[];
  /** What is wrong with objects, besides the conflicts that stand in `tables`. */
  readonly problems: readonly Problem[];
}

/** Put on a node by the cluster autoscaler before it removes it. */
const LEAVING_TAINT = "ToBeDeletedByClusterAutoscaler";

type Task = () => BackgroundEnd | Promise<BackgroundEnd>;

/** A third party's plugin as its loader knows it; read whenever somebody asks, so it may change. */
export interface Guest {
  readonly name: string;
  /** The file or folder that it came from. */
  readonly file: string;
  /** What is wrong with it as a whole, whatever its engine says; undefined while all is well. */
  readonly fault: string | undefined;
  /** Whether it has answered to all that it was told. */
  readonly settled: boolean;
  /** Whether it has said what it wants since it was started, the last time. */
  readonly heard: boolean;
}

/** One plugin; with neither engine nor failure while it is being set up. */
interface Host {
  readonly name: string;
  /** Set for a third party's plugin: the agent's readiness and health do not depend on it. */
  readonly guest?: Guest;
  /** Aborted when it must stop. */
  readonly abort: AbortController;
  engine: Engine | undefined;
  failure: string | undefined;
}

interface Yield {
  readonly from: Host;
  readonly to: Host;
  readonly kind: string;
}

export class Runtime {
  readonly #options: RuntimeOptions;
  #hosts: readonly Host[];
  readonly #watched = new Set<KindName>();
  /** Kinds that third parties' plugins watch: the agent's readiness does not depend on their lists. */
  readonly #watchedByGuests = new Set<KindName>();
  /** Kinds of which a third party's plugin lets go for a built-in one. */
  #yields: Yield[] = [];
  /** Ends of what plugins run beside their rounds. */
  readonly #tasks: (() => Promise<void>)[] = [];
  /** What plugins answer, by "plugin/topic". */
  readonly #answers = new Map<string, (query: URLSearchParams) => unknown>();
  #applied: Record<string, string> = {};
  /** Whether engines start as soon as they are set up. */
  #started = false;

  constructor(options: RuntimeOptions) {
    this.#options = options;
    this.#hosts = options.plugins.map(({ plugin: { name } }) => newHost(name));
  }

  /**
   * Sets up all plugins, and starts each as soon as it is set up: one that hangs holds up nobody else. Returns when
   * every plugin is set up or has failed to be.
   */
  async start(): Promise<void> {
    this.#started = true;
    await this.setup();
  }

  /** Sets up all plugins and starts the watches, but leaves Linux alone: `preview` needs no more. */
  async setup(): Promise<void> {
    const { plugins } = this.#options;
    const done = new Map<Hosted, Promise<void>>();
    const setUp = (hosted: Hosted, index: number): Promise<void> => {
      const running = done.get(hosted) ?? this.#setUp(hosted, index, setUp);
      done.set(hosted, running);
      return running;
    };
    await Promise.all(plugins.map(setUp));
  }

  /** Sets up one plugin, behind those that it names in `after`. */
  async #setUp(
    hosted: Hosted,
    index: number,
    other: (hosted: Hosted, index: number) => Promise<void>,
  ): Promise<void> {
    const { plugins, log } = this.#options;
    const host = this.#hosts[index] as Host;
    const fault = faultOf(hosted, index, plugins);
    if (fault !== undefined) {
      host.failure = fault;
      log.error("Plugin not started", { plugin: host.name, reason: fault });
      return;
    }
    const { after = [] } = hosted.plugin;
    const before = plugins.flatMap((each, i) =>
      after.includes(each.plugin.name) ? [other(each, i)] : []
    );
    if (before.length > 0) await Promise.all(before);
    await this.#host(hosted, host);
  }

  /** Stops the plugins; Linux stays as it is. */
  async stop(): Promise<void> {
    for (const { abort } of this.#hosts) abort.abort();
    await Promise.all([
      ...this.#hosts.map(({ engine }) => engine?.stop()),
      ...this.#tasks.map((end) => end()),
    ]);
  }

  /** Takes in a third party's plugin that is not running yet: from now on the status shows it. */
  admit(guest: Guest): void {
    this.#hosts = [...this.#hosts, newHost(guest.name, guest)];
  }

  /** Runs an admitted plugin. Returns what is wrong, where it could not be set up. */
  async runGuest(hosted: Hosted): Promise<string | undefined> {
    const { name } = hosted.plugin;
    const host = this.#guest(name);
    if (host === undefined) return `no plugin "${name}" was admitted`;
    const all = [...this.#options.plugins, hosted];
    host.failure = faultOf(hosted, all.length - 1, all);
    if (host.failure === undefined) await this.#host(hosted, host);
    return host.failure;
  }

  /** Something about an admitted plugin is other than it was. */
  noteGuest(name: string): void {
    const host = this.#guest(name);
    if (host !== undefined) this.#noteAdvertising(host);
  }

  /**
   * What a third party's plugin had announced is withdrawn while it is degraded: nobody knows whether it still would want it,
   * and traffic that is drawn for nothing is worse than none. In between, while it starts anew, it stays as it was.
   */
  #noteAdvertising(host: Host): void {
    const { name, guest, engine } = host;
    if (guest === undefined) return;
    const { advertisements } = this.#options.dataplane;
    const phase = phaseOf(host);
    if (phase === "degraded") advertisements?.suspend(name, true);
    else if (phase === "ready" && engine?.settled === true && guest.heard) {
      advertisements?.suspend(name, false);
    }
  }

  /** Stops an admitted plugin and forgets it; Linux stays as it is. What it held is free for others. */
  async dismiss(name: string): Promise<void> {
    const host = this.#guest(name);
    if (host === undefined) return;
    host.abort.abort();
    await host.engine?.stop();
    this.#hosts = this.#hosts.filter((each) => each !== host);
    for (const { engine } of this.#hosts) engine?.recheck();
  }

  #guest(name: string): Host | undefined {
    return this.#hosts.find((each) => each.name === name && each.guest !== undefined);
  }

  /** Begins what a plugin runs beside its rounds. */
  #begin(task: Task, log: Logger): void {
    const running = (async () => await task())();
    running.catch((error: unknown) => {
      log.error("Background task failed", {
        reason: error instanceof Error ? error.message : String(error),
      });
    });
    this.#tasks.push(async () => {
      const end = await running.catch(() => undefined);
      await end?.();
    });
  }

  /**
   * A plugin's answer to a question, "plugin/topic"; undefined where nobody answers it.
   *
   * @throws {RangeError} where the question is wrong
   */
  answer(question: string, query: URLSearchParams): unknown {
    return this.#answers.get(question)?.(query);
  }

  /** The unit of a plugin that wants what Linux has at a key, as logs name it: "service default/web". */
  holder(plugin: string, kind: string, key: string): string | undefined {
    return this.#hosts.find(({ name }) => name === plugin)?.engine?.holderLabel(kind, key);
  }

  get ready(): boolean {
    return this.waitingFor().length === 0;
  }

  /** Why the agent is not ready, one text for each cause. */
  waitingFor(): readonly string[] {
    const causes = [
      ...this.#missingLists(),
      ...(this.#options.source.unread ?? []).map((text) =>
        `${text}; it was never read since the start, and what an earlier run made of it stays in Linux`
      ),
    ];
    for (const host of this.#hosts) {
      if (host.guest !== undefined) continue;
      const cause = this.#causeOf(host, causes.length > 0);
      if (cause !== undefined) causes.push(cause);
    }
    return causes;
  }

  /**
   * Why this node should get no new traffic, one text for each cause: a plugin that fails as a whole, or the
   * autoscaler about to remove the node (KEP-3836). None of it is mended by a restart of the agent.
   *
   * @param only the plugin that is meant; absent: all
   */
  unhealthy(only?: string): readonly string[] {
    const causes = this.#hosts.flatMap(({ name, guest, engine, failure }) => {
      if (only !== undefined && name !== only) return [];
      if (guest !== undefined || engine !== undefined && engine.phase !== "degraded") return [];
      const reason = failure ?? engine?.reason;
      return [`plugin ${name} is degraded${reason === undefined ? "" : `: ${reason}`}`];
    });
    const node = this.#watched.has("nodes")
      ? this.#options.source.stores.nodes.get(this.#options.node)
      : undefined;
    if (node?.spec.taints.some(({ key }) => key === LEAVING_TAINT) === true) {
      causes.push(`the node is about to be removed: it has the taint ${LEAVING_TAINT}`);
    }
    return causes;
  }

  /** Why a plugin is not ready, if it is not. */
  #causeOf(host: Host, listsMissing: boolean): string | undefined {
    const { name, engine, failure } = host;
    const phase = phaseOf(host);
    const reason = failure ?? engine?.reason;
    switch (phase) {
      case "ready":
        return undefined;
      case "waiting":
        if (reason !== undefined) return `plugin ${name} waits: ${reason}`;
        if (engine === undefined) return `plugin ${name} is being set up`;
        // What it waits for is said already.
        return listsMissing ? undefined : `plugin ${name} has not begun its first round`;
      case "starting":
        return `plugin ${name} is in its first round`;
      default:
        return `plugin ${name} is ${phase}${reason === undefined ? "" : `: ${reason}`}`;
    }
  }

  #missing(): readonly KindState[] {
    return this.#options.source.state.kinds
      .filter((state) => !state.synced && this.#watched.has(state.kind));
  }

  #missingLists(): readonly string[] {
    return this.#missing().map(({ kind, lastError }) =>
      `no list of ${kind} yet${lastError === undefined ? "" : `: ${lastError}`}`
    );
  }

  status(): RuntimeStatus {
    const plugins = this.#hosts.map(statusOf);
    const waitingFor = this.waitingFor();
    this.#noteApplied();
    return {
      node: this.#options.node,
      ready: waitingFor.length === 0,
      waitingFor,
      applied: this.#applied,
      pending: plugins.reduce((sum, plugin) => sum + plugin.pending, 0),
      source: this.#options.source.state,
      plugins,
    };
  }

  /**
   * Resolves when every watched kind has its first list.
   *
   * @throws {Error} after `ms`, naming what is missing; or where the lists hold less than a plugin needs
   */
  async synced(ms: number): Promise<void> {
    const clock = this.#options.clock ?? systemClock;
    const deadline = clock.now() + ms;
    while (this.#missingLists().length > 0) {
      if (clock.now() >= deadline) {
        const missing = this.#missing();
        // The reason of one is, but for the kind's name, that of all.
        const reason = missing.find(({ lastError }) => lastError !== undefined)?.lastError;
        throw new Error(
          `No list of ${missing.map(({ kind }) => kind).join(", ")} came within ${ms / 1000} s${
            reason === undefined ? "" : `: ${reason}`
          }`,
        );
      }
      await new Promise<void>((resolve) => clock.after(10, resolve));
    }
    const waits = this.#hosts.flatMap(({ engine }) => engine?.waitsFor ?? []);
    if (waits.length > 0) throw new Error(waits.join("; "));
  }

  /** What each plugin would do to Linux now. The stores must be synced. @param inProcess what lives in this process as well */
  async preview(inProcess = false): Promise<readonly Preview[]> {
    const previews: Preview[] = [];
    for (const { name, guest, engine, failure } of this.#hosts) {
      // What it had stays until it says what it wants.
      if (guest !== undefined && (guest.fault !== undefined || !guest.heard)) continue;
      if (engine === undefined) throw new Error(`Plugin "${name}" did not start: ${failure}`);
      let tables: readonly TablePlan[];
      try {
        tables = await engine.preview(inProcess);
      } catch (error) {
        // A kind that Linux lacks costs a third party's plugin its own part alone.
        if (guest === undefined) throw error;
        const reason = error instanceof Error ? error.message : String(error);
        previews.push({
          plugin: name,
          tables: [],
          problems: [{ type: "failed", subject: `plugin ${name}`, reason }],
        });
        continue;
      }
      const problems = engine.status().problems.filter(({ type }) => type !== "conflict");
      previews.push({ plugin: name, tables, problems });
    }
    return previews;
  }

  /** Stores are updated before engines are woken, so a settled engine has carried out all that its stores hold. */
  #noteApplied(): void {
    if (!this.#hosts.every(isSettled)) return;
    const applied: Record<string, string> = {};
    for (const { kind, resourceVersion } of this.#options.source.state.kinds) {
      if (this.#watched.has(kind) || this.#watchedByGuests.has(kind)) {
        applied[kind] = resourceVersion;
      }
    }
    this.#applied = applied;
  }

  async #host(hosted: Hosted, host: Host): Promise<void> {
    const { plugin } = hosted;
    const { name } = plugin;
    const log = this.#options.log.child({ plugin: name });
    const owner: Owner = {
      name,
      protocol: hosted.protocol,
      ...(plugin.adopts === undefined ? {} : { adopts: plugin.adopts }),
    };
    let engine: Engine | undefined;
    const tasks: Task[] = [];
    try {
      if (plugin.api !== PLUGIN_API) {
        throw new Error(
          `it was made for plugin API ${plugin.api}, this agent speaks ${PLUGIN_API}; take a release that fits`,
        );
      }
      const options = plugin.parse(hosted.options);
      const { flows } = this.#options.dataplane;
      const marks = flows === undefined ? undefined : new FlowMarks(flows, log);
      host.abort.signal.addEventListener("abort", () => marks?.close());
      engine = new Engine({
        owner,
        dataplane: this.#options.dataplane,
        tables: inCreationOrder(plugin.tables),
        log,
        clock: this.#options.clock ?? systemClock,
        minInterval: this.#options.minInterval ?? 100,
        incomplete: () => (this.#options.source.unread?.length ?? 0) > 0,
        fullInterval: hosted.fullInterval ?? this.#options.fullInterval,
        heldElsewhere: (kind, key) => this.#heldElsewhere(host, kind, key),
        onChange: () => {
          for (const other of this.#hosts) if (other !== host) other.engine?.recheck();
          this.#settleYields(host);
          this.#noteAdvertising(host);
          this.#noteApplied();
        },
        observer: combined([
          ...(this.#options.observer === undefined ? [] : [this.#options.observer(name)]),
          ...(marks === undefined ? [] : [marks.observer]),
        ]),
      });
      const watches = typeof plugin.watches === "function"
        ? plugin.watches(options)
        : plugin.watches;
      const watched = host.guest === undefined ? this.#watched : this.#watchedByGuests;
      for (const { kind } of watches) watched.add(kind);
      this.#options.source.start(watches);
      const { advertisements, statistics } = this.#options.dataplane;
      const context: PluginContext<unknown> = {
        options,
        node: this.#options.node,
        stores: onlyWatched(name, watches, this.#options.source.stores),
        tables,
        host: this.#options.host,
        api: restrictedApi({
          plugin: name,
          watches,
          writes: plugin.writes ?? [],
          isGuest: host.guest !== undefined,
        }, this.#options.source.api),
        log,
        metrics: this.#options.metrics ?? noMetrics,
        ...(statistics === undefined ? {} : { statistics }),
        ...(advertisements === undefined ? {} : { advertisements }),
        holder: (table, key) => engine?.holder(table.resource.kind, key),
        signal: host.abort.signal,
        reconcile: (reconciler) => engine?.add(reconciler),
        judgeFlows: (rule) => marks?.add(rule),
        retire: (table, rule) =>
          engine?.retire(table as TableRef<unknown>, rule as RetirementRule<unknown>),
        hold: (table, until, concerns = () => true) =>
          engine?.hold(
            table as TableRef<unknown>,
            until,
            concerns as (item: unknown) => boolean,
          ),
        owned: async (table) =>
          await engine?.listed(table as TableRef<unknown>, "owned") as never ?? [],
        adoptable: async (table) =>
          await engine?.listed(table as TableRef<unknown>, "adoptable") as never ?? [],
        background: (begin) => void tasks.push(begin),
        answer: (topic, respond) => void this.#answers.set(`${name}/${topic}`, respond),
        input: (store, units) => storeInput(store, units, log),
      };
      const setup = (plugin as Plugin<unknown>).setup(context);
      if (setup !== undefined) {
        await within(this.#options.setupTimeout ?? 10_000, setup);
      }
      if (host.abort.signal.aborted) throw new Error("the agent stops");
      host.engine = engine;
      if (this.#started) {
        engine.start();
        for (const task of tasks) this.#begin(task, log);
      }
    } catch (error) {
      host.failure = error instanceof Error ? error.message : String(error);
      log.error("Plugin not started", { reason: host.failure });
      // Its inputs must not wake it.
      await engine?.stop();
    }
  }

  #heldElsewhere(asking: Host, kind: string, key: string): Holder | undefined {
    for (const host of this.#hosts) {
      const { name, guest, engine } = host;
      if (engine === undefined || name === asking.name) continue;
      const item = engine.desired(kind, key);
      if (item === undefined) continue;
      if (guest === undefined || asking.guest !== undefined) return { plugin: name, item };
      // A built-in plugin goes before those of third parties, whichever came first.
      this.#yields.push({ from: host, to: asking, kind });
      engine.yieldKey(kind, key);
    }
    return undefined;
  }

  /** What a third party's plugin had to let go of is out of Linux now; the one that goes before it looks again. */
  #settleYields(from: Host): void {
    if (this.#yields.length === 0 || from.engine?.settled !== true) return;
    for (const yielded of this.#yields) {
      if (yielded.from === from) yielded.to.engine?.reread(yielded.kind);
    }
    this.#yields = this.#yields.filter((yielded) => yielded.from !== from);
  }
}

function newHost(name: string, guest?: Guest): Host {
  const abort = new AbortController();
  return {
    name,
    ...(guest === undefined ? {} : { guest }),
    abort,
    engine: undefined,
    failure: undefined,
  };
}

function phaseOf({ guest, engine, failure }: Host): PluginPhase {
  if (guest?.fault !== undefined) return "degraded";
  return engine?.phase ?? (failure === undefined ? "waiting" : "degraded");
}

function statusOf(host: Host): PluginStatus {
  const { name, guest, engine, failure } = host;
  const known = engine?.status() ?? {
    name,
    phase: phaseOf(host),
    ...(failure === undefined ? {} : { reason: failure }),
    owned: {},
    pending: 0,
    problems: [],
    problemCount: 0,
    rounds: 0,
  };
  if (guest === undefined) return known;
  const { file, fault } = guest;
  const reason = fault ?? known.reason;
  return { ...known, file, phase: phaseOf(host), ...(reason === undefined ? {} : { reason }) };
}

/** Whether a plugin has carried out all that it knows, or has said that it cannot. */
function isSettled({ guest, engine, failure }: Host): boolean {
  if (guest !== undefined && (guest.fault !== undefined || engine === undefined)) return true;
  return engine === undefined
    ? failure !== undefined
    : engine.settled && (guest === undefined || guest.settled);
}

async function within(ms: number, setup: Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new Error(
            `its setup did not end within ${ms} ms; perhaps it awaits something that never comes`,
          ),
        ),
      ms,
    );
  });
  try {
    await Promise.race([setup, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
