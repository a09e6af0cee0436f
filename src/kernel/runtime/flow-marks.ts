/**
 * Ends connections that a plugin's rules would deny by now. Rules accept what is established, so a connection that is to
 * end is marked in conntrack, and a rule of the plugin refuses what has the mark, whichever end sends. (A flow that is
 * only deleted comes back with its next packet, perhaps the other way round, where nobody denies it.)
 *
 * A look comes after each round that changed Linux: what begins later meets the new rules. Flows that are allowed again lose
 * the mark.
 */

import type { Flow, Flows } from "../dataplane/dataplane.ts";
import { KernelError } from "../dataplane/errors.ts";
import type { EngineObserver } from "./engine.ts";
import type { Logger } from "../observe/log.ts";

/** Says which connections may not go on. */
export interface FlowRule {
  /** One bit of conntrack's mark, which a rule of the plugin refuses. */
  readonly mark: number;
  /** Whether flows of an address can be denied at all: cheap, it is asked for each flow of the host. */
  concerns(address: string): boolean;
  /** Called at the start of each look. The answer says whether one flow is denied. */
  begin(): (flow: Flow) => boolean;
}

/** Milliseconds after a failure. */
const RETRY_MS = 5_000;
/** Flows that are judged before the event loop gets a turn. */
const AT_ONCE = 500;
/** How much longer the pause between two looks is than a look took: at most a tenth of a core. */
const PAUSE_FACTOR = 10;

export class FlowMarks {
  readonly #flows: Flows;
  readonly #log: Pick<Logger, "warn" | "info" | "debug">;
  readonly #rules: FlowRule[] = [];
  #changed = true;
  #wanted = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running = false;
  #notBefore = 0;
  #failure: string | undefined;
  #closed = false;

  constructor(flows: Flows, log: Pick<Logger, "warn" | "info" | "debug">) {
    this.#flows = flows;
    this.#log = log;
  }

  add(rule: FlowRule): void {
    this.#rules.push(rule);
  }

  readonly observer: Partial<EngineObserver> = {
    ops: () => {
      this.#changed = true;
    },
    round: () => {
      if (!this.#changed || this.#rules.length === 0) return;
      this.#changed = false;
      this.#wanted = true;
      this.#schedule();
    },
  };

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (!this.#wanted || this.#timer !== undefined || this.#running || this.#closed) return;
    const delay = Math.max(0, this.#notBefore - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = true;
      void this.#look().finally(() => {
        this.#running = false;
        this.#schedule();
      });
    }, delay);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    this.#wanted = false;
    const start = performance.now();
    try {
      for (const rule of this.#rules) {
        const flows = [
          ...await this.#flows.all(4, rule.concerns),
          ...await this.#flows.all(6, rule.concerns),
        ];
        const denied = rule.begin();
        const cut: Flow[] = [];
        const free: Flow[] = [];
        for (let at = 0; at < flows.length; at += AT_ONCE) {
          const differ = differing(flows.slice(at, at + AT_ONCE), rule.mark, denied);
          cut.push(...differ.cut);
          free.push(...differ.free);
          // A change of the cluster does not wait for 100,000 flows. What it changes is looked at again.
          await new Promise<void>((resolve) => setImmediate(resolve));
          if (this.#closed) return;
        }
        if (cut.length > 0) this.#flows.mark(cut, rule.mark, rule.mark);
        if (free.length > 0) this.#flows.mark(free, 0, rule.mark);
        if (cut.length > 0) this.#log.info("Cut connections", { count: cut.length });
        const ms = performance.now() - start;
        this.#log.debug("Looked at connections", { flows: flows.length, ms });
      }
      this.#failure = undefined;
      const end = performance.now();
      this.#notBefore = end + PAUSE_FACTOR * (end - start);
    } catch (error) {
      if (this.#closed) return;
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#failure !== reason) {
        this.#log.warn("Established connections go on, though they may be denied", { reason });
      }
      this.#failure = reason;
      this.#notBefore = performance.now() + RETRY_MS;
      this.#wanted = !(error instanceof KernelError && error.code === "ENOSUPPORT");
    }
  }
}

/** The flows to mark, and those to free of the mark. */
export function differing(
  flows: readonly Flow[],
  mark: number,
  denied: (flow: Flow) => boolean,
): { readonly cut: readonly Flow[]; readonly free: readonly Flow[] } {
  const cut: Flow[] = [];
  const free: Flow[] = [];
  for (const flow of flows) {
    const marked = (flow.mark & mark) !== 0;
    if (denied(flow) === marked) continue;
    (marked ? free : cut).push(flow);
  }
  return { cut, free };
}
