/** One third party's plugin: its process, started again where it fails, and its place in the runtime. */

import type { HostAddresses, Logger, Tables } from "../plugin.ts";
import type { Metrics } from "../observe/metrics.ts";
import { retryDelay } from "../runtime/backoff.ts";
import type { Guest, Runtime } from "../runtime/runtime.ts";
import { answeringApi } from "./api-calls.ts";
import { type Link, startLink } from "./link.ts";
import { metricTaker } from "./message-metrics.ts";
import type { FromGuest, GuestMeta } from "./messages.ts";
import { type Mirror, mirrorOf } from "./mirror.ts";
import type { GuestProcess } from "./process.ts";
import type { Candidate } from "./scan.ts";

export interface EntryOptions {
  readonly runtime: Pick<Runtime, "runGuest" | "noteGuest">;
  readonly host: HostAddresses;
  readonly node: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Its options as they were given. */
  readonly given: () => Promise<Readonly<Record<string, unknown>>>;
  /** Called before it is hosted, with the kinds that it wants items of; gives its route protocol number. */
  readonly prepare: (tables: readonly (keyof Tables)[]) => Promise<number>;
  /** Starts the process of a plugin. */
  readonly spawn: (name: string) => GuestProcess;
  /** Milliseconds that it works before the log says that it recovered; until then the same fault is not told again. Default 10,000. */
  readonly steadyMs?: number;
  /** Linux is left alone, and so is what a plugin runs beside its rounds. */
  readonly isDry?: boolean;
}

/** Until it was set up: what awaits an answer must not wait for ever. */
const NOT_YET = answeringApi(undefined);
/** Metrics of a plugin that the log says are refused. */
const MOST_TOLD = 20;
/** The first pause before another try is a second: processes are not cheap. */
const FIRST_ATTEMPT = 4;
/** Milliseconds after which a process that fails counts as one that had worked. */
const WORKED_MS = 60_000;
/** One that fails again and again a moment after its start is told of once. */
const STEADY_MS = 10_000;

export class Entry implements Guest {
  readonly candidate: Candidate;
  #fault: string | undefined;
  readonly #options: EntryOptions;
  readonly #log: Logger;
  #link: Link | undefined;
  #mirror: Mirror | undefined;
  #answer: ReturnType<typeof answeringApi> | undefined;
  /** What it said of itself the first time. */
  #meta: string | undefined;
  #attempts = 0;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;
  /** The fault that the log has told last and that is not over for long enough. */
  #told: string | undefined;
  #steady: ReturnType<typeof setTimeout> | undefined;
  readonly #badMetrics = new Set<string>();
  readonly #measured: ReturnType<typeof metricTaker>;

  constructor(candidate: Candidate, options: EntryOptions) {
    this.candidate = candidate;
    this.#options = options;
    this.#measured = metricTaker(options.metrics, candidate.name);
    this.#log = options.log.child({ plugin: candidate.name });
  }

  get name(): string {
    return this.candidate.name;
  }

  /** Why it does not work as a whole; undefined while it does. */
  get fault(): string | undefined {
    return this.#fault;
  }

  set fault(reason: string | undefined) {
    this.#fault = reason;
    this.#options.runtime.noteGuest(this.name);
  }

  get file(): string {
    return this.candidate.file;
  }

  get settled(): boolean {
    return this.#mirror?.settled ?? false;
  }

  /** The kinds that it wants items of; undefined until it was set up. */
  get tables(): readonly (keyof Tables)[] | undefined {
    return this.#mirror?.plugin.tables;
  }

  /** Whether its present process has said what it wants. */
  get heard(): boolean {
    return this.#mirror?.heard ?? false;
  }

  /** Whether it has said at least once what it wants, and has answered since to all that it was told. */
  get synced(): boolean {
    return this.#mirror?.synced === true && this.settled;
  }

  get waitsFor(): string | undefined {
    return this.#mirror?.waitsFor;
  }

  /** Starts its process; what fails is its fault, and tried again. */
  launch(): void {
    this.#launch().catch((error: unknown) => this.#fail(textOf(error), true));
  }

  async #launch(): Promise<void> {
    const { given, host, node, spawn } = this.#options;
    const { name, module } = this.candidate;
    const settings = await given();
    if (this.#stopped) return;
    const started = performance.now();
    const start = (): Link =>
      startLink({
        load: { type: "load", file: module, name, given: settings, node, host: host.values() },
        onMessage: (message) => this.#take(message, link),
        onFault: (reason, final) => {
          this.#link = undefined;
          this.#mirror?.detach();
          if (performance.now() - started > WORKED_MS) this.#attempts = 0;
          this.#fail(reason, final);
        },
        spawn: () => spawn(name),
      });
    let link: Link;
    try {
      link = start();
    } catch (error) {
      // Of memory, processes or descriptors there may be enough again in a moment.
      this.#fail(`its process cannot be started: ${textOf(error)}`, false);
      return;
    }
    this.#link = link;
    link.ready.then((meta) => this.#ready(link, meta)).catch((error: unknown) => {
      this.#fail(textOf(error), true);
      void link.stop(0);
    });
  }

  async #ready(link: Link, meta: GuestMeta): Promise<void> {
    const { runtime, prepare } = this.#options;
    const text = JSON.stringify({ ...meta, summary: "" });
    if (this.#mirror === undefined) {
      const mirror = mirrorOf(this.name, meta);
      const protocol = await prepare(meta.tables);
      // Another process is on its way where this one failed meanwhile.
      if (this.#stopped || this.#link !== link) return;
      const reason = await runtime.runGuest({
        plugin: mirror.plugin as never,
        options: undefined,
        protocol,
      });
      if (reason !== undefined) throw new Error(reason);
      this.#mirror = mirror;
      if (mirror.api !== undefined) this.#answer = answeringApi(mirror.api, this.#options.isDry);
      this.#meta = text;
    } else if (this.#meta !== text) {
      throw new Error(
        'it declares other "watches", "tables" or reconcilers than at its first start; make them depend on nothing',
      );
    }
    // It may have failed meanwhile.
    if (this.#stopped || this.#link !== link) return;
    this.#mirror.attach((message) => link.post(message));
    if (this.#options.isDry !== true) link.post({ type: "begin" });
    // One that failed before has to answer first: it may fail in the same way at once.
    if (this.fault === undefined) this.#log.info("Plugin started", { file: this.file });
  }

  #take(message: FromGuest, link: Link): void {
    switch (message.type) {
      case "api":
        void (this.#answer ?? NOT_YET)(message, (answer) => link.post(answer));
        return;
      case "results": {
        this.#mirror?.take(message);
        const { fault } = message;
        if (fault !== undefined) {
          this.#tell(fault);
          this.fault = fault;
        } else if (this.fault !== undefined && this.settled) {
          this.fault = undefined;
          this.#steady = setTimeout(() => {
            this.#told = undefined;
            this.#log.info("Plugin recovered", { file: this.file });
          }, this.#options.steadyMs ?? STEADY_MS);
        }
        this.#options.runtime.noteGuest(this.name);
        return;
      }
      case "log":
        return this.#log[message.level](String(message.message), ownFields(message.fields));
      case "metric":
        try {
          this.#measured(message);
        } catch (error) {
          if (this.#badMetrics.has(message.name) || this.#badMetrics.size >= MOST_TOLD) return;
          this.#badMetrics.add(message.name);
          this.#log.warn("Metric refused", { metric: message.name, reason: textOf(error) });
        }
        return;
      default:
    }
  }

  #fail(reason: string, final: boolean): void {
    if (this.#stopped) return;
    this.#tell(reason);
    this.fault = reason;
    if (final) return;
    this.#retry = setTimeout(
      () => this.launch(),
      retryDelay(FIRST_ATTEMPT + this.#attempts++),
    );
  }

  #tell(reason: string): void {
    clearTimeout(this.#steady);
    if (this.#told === reason) return;
    this.#told = reason;
    this.#log.error("Plugin degraded", { file: this.file, reason });
  }

  /** Ends its process; Linux stays as it is. */
  async stop(ms: number): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#steady);
    this.#mirror?.detach();
    await this.#link?.stop(ms);
  }
}

/** The fields of a plugin's line: it speaks for itself, and for no other plugin. */
function ownFields(fields: object | undefined): object | undefined {
  if (fields === undefined || !Object.hasOwn(fields, "plugin")) return fields;
  const { plugin, ...rest } = fields as { readonly plugin: unknown };
  return { ...rest, plugin_: plugin };
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
