/**
 * List and watch of one kind: fills its store and never ends until told to.
 *
 * How a dead connection is noticed. A watch of a quiet kind is silent for a minute at a time, so silence
 * by itself proves nothing, and TCP's own probes are answered by a server that hangs. So each watch asks
 * the server to end it after `watchSeconds`; one that neither brought a byte nor ended shortly after
 * that is dead. The next watch goes on from the last resourceVersion over the same connection, which
 * costs one small request and no handshake. A server that answers nothing at all is noticed alike.
 */

import type { Logger } from "../observe/log.ts";
import { type ApiClient, readJson } from "./api-client.ts";
import { ApiError, isExpired, isMissing } from "./api-error.ts";
import { createBackoff, pause } from "./backoff.ts";
import { CredentialsError } from "./credentials.ts";
import { type KindName, KINDS, type KindTypes } from "./kinds.ts";
import { createLineSplitter } from "./lines.ts";
import { listAll } from "./list.ts";
import type { KindState } from "./source.ts";
import type { WritableStore } from "./store.ts";
import { connectionReporter, problemReporter } from "./report.ts";
import { trim } from "./trim.ts";
import { readEvents } from "./watch-events.ts";

export interface Tuning {
  /** Objects a page of a list. */
  readonly pageSize: number;
  /** Seconds after which the server ends a watch; shortened by up to a tenth at random. */
  readonly watchSeconds: number;
  /** Longest time without a byte before a connection is dead; more than `watchSeconds`. */
  readonly silenceMs: number;
  readonly backoff: { readonly minMs: number; readonly maxMs: number };
  /** How often a kind that is optional and not served is asked for, at least: a server may be upgraded. */
  readonly absentMs: number;
}

export const TUNING: Tuning = {
  pageSize: 500,
  watchSeconds: 22,
  silenceMs: 27_000,
  backoff: { minMs: 100, maxMs: 30_000 },
  absentMs: 60_000,
};

/** Objects from which on a list leaves so much garbage that it is collected at once: 0.1 s at 10,000. */
const LARGE_LIST = 2_000;
/**
 * Objects after which the garbage of a list is collected while more of it comes. Otherwise what is kept lies scattered among
 * ten times as much garbage, of which Linux gets little back, and 100,000 pods take 50 MB more meanwhile.
 */
const COLLECTED_LIST = 4_000;

export interface InformerOptions<K extends KindName> {
  readonly kind: K;
  readonly client: ApiClient;
  readonly store: WritableStore<KindTypes[K]>;
  readonly log: Logger;
  /** Only the object of this name. */
  readonly name?: string;
  readonly tuning?: Tuning;
}

export interface Informer {
  readonly state: KindState;
  readonly stop: () => Promise<void>;
}

export function startInformer<K extends KindName>(options: InformerOptions<K>): Informer {
  const { kind, client, store, tuning = TUNING } = options;
  const log = options.log.child({ kind });
  const { group, optional = false, older = [] } = KINDS[kind];
  const paths = [KINDS[kind].path, ...older.map(({ path }) => path)];
  const ending = new AbortController();
  const { signal } = ending;
  const backoff = createBackoff(tuning.backoff);
  const selector: Readonly<Record<string, string>> = options.name === undefined
    ? {}
    : { fieldSelector: `metadata.name=${options.name}` };
  let connected = false;
  let lastError: string | undefined;
  let lastEventAt = 0;
  let lists = 0;
  /** The next round must list: nothing to resume from. */
  let mustList = true;
  /** Which of the paths is asked. */
  let at = 0;

  const request = (verb: "list" | "watch", query: Readonly<Record<string, string>>) =>
    client.request({
      verb,
      path: paths[at] ?? "",
      query: { ...selector, ...query },
      resource: kind,
      group,
      signal,
      silenceMs: tuning.silenceMs,
      fresh: backoff.failures > 0,
    });
  const cannotWatch = `Cannot watch ${kind} at ${client.server}`;
  const asked = (verb: "list" | "watch") => client.asked({ verb, resource: kind, group });
  const reporter = connectionReporter(log);
  const reportProblem = problemReporter(log);

  function trimmed(raw: unknown): KindTypes[K] | undefined {
    return trim(kind, raw, (path, reason) => reportProblem(raw, path, reason));
  }

  async function list(): Promise<void> {
    let uncollected = 0;
    const { objects, resourceVersion } = await listAll({
      page: async (query) => {
        if (uncollected >= COLLECTED_LIST) {
          uncollected = 0;
          Bun.gc(true);
        }
        const answer = await readJson(await request("list", query), asked("list"));
        lastEventAt = Date.now();
        return answer;
      },
      pageSize: tuning.pageSize,
      read: (raw) => {
        uncollected++;
        return trimmed(raw);
      },
      asked: asked("list"),
    });
    if (signal.aborted) return;
    lists++;
    mustList = false;
    // What the list was read from is ten times as large as what is kept. Collected bit by bit it would slow down what the
    // list wakes, and be kept as room for the next list.
    if (objects.length >= LARGE_LIST) Bun.gc(true);
    store.replace(objects, resourceVersion);
  }

  /** Until the server ends it. */
  async function watch(): Promise<void> {
    const seconds = tuning.watchSeconds * (1 - Math.random() / 10);
    const response = await request("watch", {
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: store.resourceVersion,
      timeoutSeconds: String(Math.max(1, Math.round(seconds))),
    });
    recovered();
    const lines = createLineSplitter();
    // When the first chunk came of a line that has not ended.
    let since: number | undefined;
    for await (const chunk of response.chunks()) {
      const now = performance.now();
      lastEventAt = Date.now();
      const complete = lines.push(chunk);
      applyLines(complete, since ?? now);
      since = lines.pending === 0 ? undefined : complete.length > 0 ? now : since ?? now;
      if (signal.aborted) return;
    }
    if (lines.pending > 0) {
      throw new ApiError("network", `${cannotWatch}: the stream ended within a line`);
    }
  }

  /** One chunk is one batch: what came together wakes subscribers once. */
  function applyLines(lines: readonly string[], receivedAt: number): void {
    if (lines.length === 0) return;
    const { events, resourceVersion, failure } = readEvents(lines, trimmed, asked("watch"));
    // What came before the failure is good.
    store.update(events, resourceVersion ?? store.resourceVersion, receivedAt);
    if (failure !== undefined) throw failure;
  }

  function recovered(): void {
    connected = true;
    if (lastError !== undefined) reporter.recovered();
    lastError = undefined;
  }

  /** Milliseconds to wait before the next try. */
  function failed(error: unknown, wasOpen: boolean): number {
    connected = false;
    const known = error instanceof ApiError || error instanceof CredentialsError;
    if (isExpired(error) || !known) mustList = true;
    lastError = known ? error.message : `${cannotWatch}: ${messageOf(error)}: listing anew`;
    // What is ordinary is tried again at once, and only grows slow when that fails as well.
    const ordinary = backoff.failures === 0 && (isExpired(error) || wasOpen && isBroken(error));
    reporter.failed(lastError, ordinary);
    return Math.max(backoff.next(), error instanceof ApiError ? error.retryAfterMs : 0);
  }

  /** The kind is none that must be there: as if the server held none. What was known before it went stays. */
  async function absent(error: ApiError): Promise<void> {
    const listed = !mustList;
    mustList = true;
    if (error.status === 404 && at + 1 < paths.length) {
      at++;
      return;
    }
    at = 0;
    connected = true;
    if (!store.synced) store.replace([], "0");
    // Not served is what many servers are; not allowed is what somebody forgot.
    const forbidden = error.status === 403 ? error.message : undefined;
    if (forbidden !== undefined && forbidden !== lastError) {
      const fields = { error: forbidden };
      if (listed) log.warn("Objects may be listed and not watched: changes are seen late", fields);
      else log.warn("Objects are not read: the agent goes on without them", fields);
    }
    lastError = forbidden;
    const absentMs = tuning.absentMs * (1 - Math.random() / 10);
    // A server that starts up refuses what it does not know the roles for yet: soon it has them.
    await pause(forbidden === undefined ? absentMs : Math.min(backoff.next(), absentMs), signal);
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const began = performance.now();
      try {
        if (mustList) await list();
        if (signal.aborted) return;
        const watching = performance.now();
        await watch();
        // A server, or a proxy before it, that ends every watch at once must not be asked in a loop.
        if (performance.now() - watching < Math.min(1_000, tuning.watchSeconds * 500)) {
          await pause(backoff.next(), signal);
        } else backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        if (optional && isMissing(error)) {
          await absent(error);
          continue;
        }
        const wasOpen = connected;
        // It worked for a while, so this is a new failure, not one more of the same.
        if (wasOpen && performance.now() - began > Math.max(1_000, tuning.backoff.minMs * 10)) {
          backoff.reset();
        }
        await pause(failed(error, wasOpen), signal);
      }
    }
  }

  const running = run();

  return {
    get state(): KindState {
      return {
        kind,
        synced: store.synced,
        objects: store.size,
        resourceVersion: store.resourceVersion,
        connected,
        ...(lastError === undefined ? {} : { lastError }),
        lastEventAt,
        relists: Math.max(0, lists - 1),
      };
    },
    stop: async () => {
      ending.abort();
      await running;
      connected = false;
    },
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function isBroken(error: unknown): boolean {
  return error instanceof ApiError && (error.kind === "network" || error.kind === "silence");
}
