/**
 * The side of a third party's plugin, in a process of its own: loads the module, keeps copies of the stores that it watches, and
 * answers what its units want.
 */

import type { KubeObject } from "../cluster/kinds.ts";
import { createStore, type Stores, type WritableStore } from "../cluster/store.ts";
import { tables } from "../dataplane/resources/mod.ts";
import type { Level, Logger } from "../observe/log.ts";
import type { BackgroundEnd, HostAddress, HostAddresses } from "../plugin.ts";
import { onlyWatched, storeInput } from "../runtime/store-input.ts";
import type { PluginContext } from "../third-party.ts";
import { askingApi } from "./api-calls.ts";
import { DefinitionError, pluginOf } from "./definition.ts";
import { type Evaluator, evaluator, textOf } from "./evaluator.ts";
import { messageMetrics } from "./message-metrics.ts";
import type { FromGuest, ToGuest } from "./messages.ts";
import { settingsOf } from "./settings.ts";

type Load = Extract<ToGuest, { type: "load" }>;
type Task = () => BackgroundEnd | Promise<BackgroundEnd>;

/** Lines of a plugin's log that are passed on each second; of more only the number is. */
const LINES_A_SECOND = 100;

/**
 * Makes a process's side.
 *
 * @param load imports a module; its default export is the plugin
 * @returns takes messages of the agent
 */
export function guestChild(
  post: (message: FromGuest) => void,
  load: (file: string) => Promise<unknown>,
): (message: ToGuest) => void {
  const stores = new Map<string, WritableStore<KubeObject>>();
  const abort = new AbortController();
  const host = mirroredHost();
  const tasks: Task[] = [];
  const ends: Promise<BackgroundEnd>[] = [];
  const log = messageLog(post);
  const { api, take } = askingApi(post);
  let units: Evaluator | undefined;

  async function start(message: Load): Promise<void> {
    post({ type: "stage", stage: "load" });
    const plugin = pluginOf(await load(message.file), message.name);
    const settings = settingsOf(plugin.options ?? {}, message.given);
    const options = plugin.parse === undefined ? settings : plugin.parse(settings);
    for (const { kind } of plugin.watches) stores.set(kind, createStore(kind));
    host.set(message.host);
    units = evaluator(plugin.tables, post);
    const { add } = units;
    const context: PluginContext<unknown> = {
      options,
      node: message.node,
      stores: onlyWatched(
        message.name,
        plugin.watches,
        Object.fromEntries(stores) as unknown as Stores,
      ),
      tables,
      host,
      api,
      log,
      metrics: messageMetrics(post),
      signal: abort.signal,
      reconcile: (reconciler) => add(reconciler),
      input: (store, concerned) => storeInput(store, concerned, log),
      background: (begin) => void tasks.push(begin),
    };
    post({ type: "stage", stage: "setup" });
    await plugin.setup(context);
    post({
      type: "ready",
      meta: {
        summary: plugin.summary ?? "",
        watches: plugin.watches,
        tables: plugin.tables,
        writes: plugin.writes ?? [],
        reconcilers: units.names,
      },
    });
  }

  function fail(error: unknown): void {
    const final = error instanceof DefinitionError;
    post({ type: "failed", reason: final ? error.message : reasonOf(error), final });
  }

  function begin(): void {
    for (const task of tasks.splice(0)) {
      const running = (async () => await task())();
      running.catch((error: unknown) =>
        log.error("Background task failed", { reason: textOf(error) })
      );
      ends.push(running);
    }
  }

  async function stop(): Promise<void> {
    abort.abort();
    units?.stop();
    await Promise.allSettled(ends.map(async (end) => await (await end)?.()));
    post({ type: "stopped" });
  }

  return (message) => {
    switch (message.type) {
      case "load":
        return void start(message).catch(fail);
      case "replace":
        return void stores.get(message.kind)?.replace(message.objects, message.resourceVersion);
      case "update":
        return void stores.get(message.kind)?.update(message.events, message.resourceVersion);
      case "host":
        return host.set(message.values);
      case "serve":
        return units?.serve(message.number);
      case "api":
        return take(message);
      case "ping":
        return post({ type: "pong" });
      case "begin":
        return begin();
      case "stop":
        return void stop();
    }
  };
}

/** What an error says, and where in the plugin it was thrown. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) {
    const [first] = error.errors;
    return first === undefined ? error.message : buildText(first);
  }
  return error instanceof Error && error.name === "BuildMessage" ? buildText(error) : textOf(error);
}

/** Bun's message of a module that is no TypeScript. */
function buildText(error: unknown): string {
  const { message, position } = error as {
    readonly message?: string;
    readonly position?: { readonly file?: string; readonly line?: number } | null;
  };
  const line = position?.line === undefined ? "" : ` in line ${position.line}`;
  return `${message ?? String(error)}${line}`;
}

function mirroredHost(): HostAddresses & { set(values: readonly HostAddress[]): void } {
  let values: readonly HostAddress[] = [];
  const wakes = new Set<(units: "all") => void>();
  return {
    name: "host addresses",
    synced: true,
    values: () => values,
    subscribe(wake) {
      const own = (): void => wake("all");
      wakes.add(own);
      return () => void wakes.delete(own);
    },
    set(next) {
      values = next;
      for (const wake of wakes) wake("all");
    },
  };
}

/** A plugin that logs without end must not fill the agent's memory. */
function messageLog(post: (message: FromGuest) => void): Logger {
  let second = 0;
  let lines = 0;
  let dropped = 0;
  const send = (level: Level, message: string, fields?: object): void => {
    const now = Math.floor(performance.now() / 1000);
    if (now !== second) {
      if (dropped > 0) {
        post({
          type: "log",
          level: "warn",
          message: "Lines of the log were left out",
          fields: { dropped },
        });
      }
      second = now;
      lines = dropped = 0;
    }
    if (lines++ >= LINES_A_SECOND) dropped++;
    else {post(
        fields === undefined ? { type: "log", level, message } : line(level, message, fields),
      );}
  };
  const line = (level: Level, message: string, fields: object): FromGuest => {
    try {
      return { type: "log", level, message, fields: structuredClone(fields) };
    } catch {
      return { type: "log", level, message };
    }
  };
  const make = (bound: object): Logger => {
    const at = (level: Level) => (message: string, fields?: object) =>
      send(level, String(message), { ...bound, ...fields });
    return {
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: (fields) => make({ ...bound, ...fields }),
    };
  };
  return make({});
}
