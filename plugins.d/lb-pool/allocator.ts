/** The loop: whoever leads decides again whenever a Service changes, has it written, and tells the Services what happened. */

import type {
  ApiEvent,
  ClusterApi,
  Logger,
  PluginContext,
  Service,
} from "../../src/kernel/third-party.ts";
import { allocate } from "./allocate.ts";
import { type ClassRule, keyOf } from "./claims.ts";
import { elect, type Times } from "./election.ts";
import { type Range, rangeOf } from "./pool.ts";
import { type ProblemBoard, problemBoard } from "./problems.ts";
import { newestOf } from "./view.ts";
import { matters, sorted, usageOf } from "./world.ts";
import { type Job, writerOf } from "./writer.ts";

export interface Settings {
  readonly ranges: readonly Range[];
  readonly rule: ClassRule;
  /** "namespace/name". */
  readonly lease: string;
  /** Of this life of the agent alone. */
  readonly identity: string;
  /** Milliseconds after which all is decided again though nothing has changed. */
  readonly syncMs: number;
  /** Before the names of metrics. */
  readonly prefix: string;
  readonly times?: Times;
}

export type Context = Pick<
  PluginContext<unknown>,
  "stores" | "api" | "log" | "metrics" | "input" | "reconcile" | "background"
>;

/** Changes that come within this time, ms, are decided on together; with many Services, within so many times what it takes. */
const TOGETHER_MS = 20;
const PAUSE_FACTOR = 10;
const ADOPT_RETRY_MS = 2_000;

export function setUpAllocator(context: Context, settings: Settings): void {
  const { stores, input, reconcile, background } = context;
  const boards = { service: problemBoard(), lease: problemBoard() };
  for (const [name, board] of Object.entries(boards)) {
    reconcile({
      name,
      inputs: [input(stores.services, () => []), board.input],
      units: () => board.problems.keys(),
      desired(unit, desired) {
        const problem = board.problems.get(unit);
        if (problem !== undefined) desired.report(problem);
      },
    });
  }
  background(() => run(context, settings, boards));
}

function run(
  { stores: { services }, api, log, metrics }: Context,
  settings: Settings,
  { service: board, lease }: Readonly<Record<"service" | "lease", ProblemBoard>>,
): () => Promise<void> {
  const { ranges, rule, prefix } = settings;
  const view = newestOf(services);
  const emit = events(api, log);
  const leading = metrics.gauge(`${prefix}leading`, "Whether this agent allocates: 1 or 0");
  const size = metrics.gauge(`${prefix}addresses`, "Addresses of the pool", ["pool", "family"]);
  const used = metrics.gauge(`${prefix}used`, "Those in use", ["pool", "family"]);
  const failing = metrics.gauge(`${prefix}failing`, "Services that lack an address");
  const given = metrics.counter(`${prefix}allocated_total`, "Addresses given to Services");
  leading.set(0);

  let stopped = false;
  /** Since this agent leads: all Services were read. */
  let adopted = false;
  let term = 0;
  /** What Services were told that they lack. */
  let told: ReadonlyMap<string, string> = new Map();
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Milliseconds that the last decision took. */
  let took = 0;

  const wake = (ms = Math.max(TOGETHER_MS, took * PAUSE_FACTOR)): void => {
    if (!stopped) timer ??= setTimeout(() => void round(), ms);
  };
  const election = elect({
    api,
    key: settings.lease,
    identity: settings.identity,
    log,
    onProblem: (reason) =>
      lease.set(new Map(reason === undefined ? [] : [[settings.lease, reason]])),
    ...(settings.times === undefined ? {} : { times: settings.times }),
    onChange(leads) {
      term++;
      adopted = false;
      leading.set(leads ? 1 : 0);
      if (leads) wake();
      else {
        for (const gauge of [size, used, failing]) gauge.reset();
        told = new Map();
        board.set(told);
      }
    },
  });
  const writer = writerOf({
    api,
    view,
    ranges,
    may: () => !stopped && adopted && election.leads(),
    onWritten(service, added, removed) {
      given.inc(added.length);
      const addresses = [...added, ...removed.map((text) => `-${text}`)].join(" ");
      log.info("Changed a Service's addresses", { service: keyOf(service), addresses });
      emit(service, "Normal", added.length > 0 ? "Allocated" : "Released", textOf(added, removed));
    },
    onChange: () => wake(),
    log,
  });

  /** What an earlier leader has written last may not have come by the watch yet. */
  async function adopt(): Promise<boolean> {
    const since = term;
    try {
      await writer.idle();
      for (const service of await api.list("services")) view.learn(service);
      return term === since;
    } catch (error) {
      log.warn("Cannot read the Services that there are", { reason: String(error) });
      return false;
    }
  }

  async function round(): Promise<void> {
    try {
      if (!stopped && services.synced && election.leads() && !adopted) adopted = await adopt();
    } finally {
      // Wakes until here are served by this round.
      timer = undefined;
    }
    if (stopped || !services.synced || !election.leads()) return;
    if (!adopted) return wake(ADOPT_RETRY_MS);
    const began = performance.now();
    decide();
    took = performance.now() - began;
  }

  function decide(): void {
    const reserved = writer.reserved();
    const { claims, others, strays } = sorted(view.all(), ranges, rule);
    const decisions = allocate({ ranges, claims, others, reserved });
    const jobs: Job[] = strays.map((service) => ({ service, addresses: [] }));
    const problems = new Map<string, string>();
    let lacking = 0;
    for (const { key, have } of claims) {
      const { addresses = [], problem } = decisions.get(key) ?? {};
      const service = view.get(key);
      if (service === undefined) continue;
      const own = have.filter((text) => rangeOf(ranges, text) !== undefined);
      const same = own.length === addresses.length && own.every((text) => addresses.includes(text));
      if (!same) jobs.push({ service, addresses });
      if (problem === undefined) continue;
      problems.set(key, problem);
      lacking++;
      if (told.get(key) !== problem) emit(service, "Warning", "AllocationFailed", problem);
    }
    told = new Map(problems);
    writer.todo(jobs);
    for (const [key, { reason }] of writer.failures) {
      problems.set(
        key,
        [problems.get(key), `Its status is not written: ${reason}`].filter(Boolean).join("; "),
      );
    }
    board.set(problems);
    failing.set(lacking);
    for (const part of usageOf(ranges, { claims, others })) {
      const labels = { pool: part.pool, family: `IPv${part.family}` };
      size.set(part.size, labels);
      used.set(part.used, labels);
    }
  }

  const leave = services.subscribe((changes) => {
    const concerns = changes.some(({ previous, current }) =>
      [previous, current].some((one) => one !== undefined && matters(one, ranges, rule))
    );
    // It may just have become synced.
    if (concerns || !adopted) wake();
  });
  const again = setInterval(() => wake(), settings.syncMs);
  return async () => {
    stopped = true;
    leave();
    clearInterval(again);
    clearTimeout(timer);
    await writer.idle();
    await election.stop(writer.reserved().size > 0);
  };
}

function textOf(added: readonly string[], removed: readonly string[]): string {
  if (added.length === 0) return `Released ${removed.join(", ")}`;
  const instead = removed.length === 0 ? "" : ` in place of ${removed.join(", ")}`;
  return `Assigned ${added.join(", ")}${instead}`;
}

/** Events that wait to be sent; more are left out. */
const MOST_EVENTS = 5_000;
const EVENTS_AT_ONCE = 4;

/** Sends Events, a few at a time; one that fails is lost, as Events may be. */
function events(api: Pick<ClusterApi, "emit">, log: Logger) {
  const waiting: ApiEvent[] = [];
  let running = 0;
  let told = "";
  const send = async (): Promise<void> => {
    running++;
    for (let event = waiting.shift(); event !== undefined; event = waiting.shift()) {
      try {
        await api.emit(event);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (reason !== told) log.warn("Events are lost", { reason });
        told = reason;
      }
    }
    running--;
  };
  return (
    { metadata }: Service,
    type: ApiEvent["type"],
    reason: string,
    message: string,
  ): void => {
    if (waiting.length >= MOST_EVENTS) return;
    waiting.push({ kind: "services", metadata, type, reason, message });
    if (running < EVENTS_AT_ONCE) void send();
  };
}
