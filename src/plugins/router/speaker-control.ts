/**
 * Keeps the speaker as the plan wants it: starts it, gives it another configuration, replaces it where that cannot be done
 * in place. One thing at a time, and the last wish counts.
 */

import type { Family } from "../../kernel/ip.ts";
import type { Logger } from "../../kernel/plugin.ts";
import type {
  BestChange,
  LocalRoute,
  PeerConfig,
  Speaker,
  SpeakerEvent,
  SpeakerOptions,
} from "./bgp/mod.ts";
import { firstRoutes } from "./first-routes.ts";

/** What the speaker should be; absent: none. */
export interface SpeakerWish {
  readonly options: SpeakerOptions;
  /** Of a reflector. */
  readonly clusterId?: string;
  readonly peers: readonly PeerConfig[];
  /** By prefix; a live view, of which changes are told by `changeRoutes`. */
  readonly routes: ReadonlyMap<string, LocalRoute>;
}

export interface SpeakerControlOptions {
  readonly create: (options: SpeakerOptions) => Speaker;
  readonly log: Logger;
  /** Families whose forwarding state an earlier life of the agent left; asked once, before the first speaker. */
  readonly survived: () => Promise<readonly Family[]>;
  readonly onBest: (changes: readonly BestChange[]) => void;
  /** The speaker is gone, and all that it learned. */
  readonly onGone: () => void;
  readonly onSettled: (family: Family, settled: boolean) => void;
  readonly onEvent: (event: SpeakerEvent) => void;
  /** What is wrong now, one text each; called when that changes. */
  readonly onProblems: (problems: readonly string[]) => void;
  /** ms; for tests. */
  readonly retryAfter?: (attempt: number) => number;
  readonly settleAfter?: number;
}

export interface SpeakerControl {
  want(wish: SpeakerWish | undefined): void;
  /** The routes of these prefixes are others now. */
  changeRoutes(prefixes: Iterable<string>): void;
  readonly speaker: Speaker | undefined;
  stop(graceful: boolean): Promise<void>;
}

/**
 * How long after a start routes of before are kept where peers do not say that they are done: without graceful restart many
 * send no End-of-RIB. ms.
 */
const SETTLE_MS = 15_000;
const CHECK_MS = 250;
const FAMILIES: readonly Family[] = [4, 6];

export function speakerControl(options: SpeakerControlOptions): SpeakerControl {
  const { create, log, onProblems } = options;
  const retryAfter = options.retryAfter ?? ((n: number) => Math.min(30_000, 1000 * 2 ** n));
  const settleAfter = options.settleAfter ?? SETTLE_MS;
  let wish: SpeakerWish | undefined;
  let wishText = "";
  /** Prefixes whose routes the speaker was not told of; undefined: it was told of none. */
  let changed: Set<string> | undefined;
  let dirty = false;
  let stopped = false;
  let working: Promise<void> | undefined;
  let current:
    | { readonly speaker: Speaker; readonly text: string; readonly end: () => void }
    | undefined;
  let survived: readonly Family[] | undefined;
  let attempts = 0;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let settling: ReturnType<typeof setInterval> | undefined;
  let problems: readonly string[] = [];

  const tell = (now: readonly string[]): void => {
    if (now.join("\n") === problems.join("\n")) return;
    problems = now;
    onProblems(now);
  };

  /** One peer or route that the speaker refuses must not cost the others. */
  function configure(speaker: Speaker, { clusterId, options, peers, routes }: SpeakerWish): void {
    const found: string[] = [];
    speaker.setClusterId(clusterId);
    try {
      speaker.listen(options.listen);
    } catch (error) {
      found.push(`BGP listens as before: ${error instanceof Error ? error.message : error}`);
      retry = setTimeout(() => {
        changed = undefined;
        work();
      }, retryAfter(attempts++));
    }
    const without = <T>(
      list: readonly T[],
      name: (item: T) => string,
      set: (l: readonly T[]) => void,
    ) => {
      let left = list;
      for (;;) {
        try {
          set(left);
          return;
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
          found.push(error.message);
          const fewer = left.filter((item) => !error.message.includes(`"${name(item)}"`));
          if (fewer.length === left.length) return;
          left = fewer;
        }
      }
    };
    changed = new Set();
    without([...routes.values()], ({ prefix }) => prefix, (list) => speaker.setLocalRoutes(list));
    without(peers, ({ address }) => address, (list) => speaker.setPeers(list));
    tell(found);
  }

  /** What changed, and all where that is refused: then it takes a look at each. */
  function update(speaker: Speaker, next: SpeakerWish): void {
    if (changed === undefined) return configure(speaker, next);
    const prefixes = [...changed];
    changed.clear();
    if (prefixes.length === 0) return;
    try {
      speaker.changeLocalRoutes(prefixes.map((prefix) => [prefix, next.routes.get(prefix)]));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      configure(speaker, next);
    }
  }

  async function begin(next: SpeakerWish, text: string): Promise<void> {
    survived ??= await options.survived();
    const restarting = survived;
    // Only the first one follows a restart of the agent.
    survived = [];
    const speaker = create({
      ...next.options,
      ...(restarting.length > 0 ? { restarting } : {}),
    });
    const ends = [
      speaker.onBest(options.onBest),
      speaker.onEvent(options.onEvent),
    ];
    current = { speaker, text, end: () => ends.forEach((end) => end()) };
    configure(speaker, next);
    try {
      await speaker.start();
      attempts = 0;
      watchSettled(speaker, restarting.length > 0);
    } catch (error) {
      current.end();
      current = undefined;
      await speaker.stop().catch(() => {});
      survived = restarting;
      const reason = error instanceof Error ? error.message : String(error);
      tell([`BGP cannot start: ${reason}`]);
      const delay = retryAfter(attempts++);
      log.warn("BGP cannot start; it is tried again", { reason, retryMs: delay });
      retry = setTimeout(work, delay);
    }
  }

  /** Tells once of each family that its first routes are known. */
  function watchSettled(speaker: Speaker, isRestart: boolean): void {
    clearInterval(settling);
    const since = performance.now();
    const graceful = isRestart ? wish?.options.gracefulRestart : undefined;
    const known = firstRoutes({
      settleAfter,
      ...(graceful === undefined ? {} : {
        restart: {
          restartMs: 1000 * graceful.restartSeconds,
          deferralMs: 1000 * graceful.deferralSeconds,
        },
      }),
    });
    const waiting = new Set(FAMILIES);
    const check = (): void => {
      const now = performance.now() - since;
      for (const family of waiting) {
        if (!known(speaker, family, now)) continue;
        waiting.delete(family);
        options.onSettled(family, true);
      }
      if (waiting.size === 0) clearInterval(settling);
    };
    settling = setInterval(check, CHECK_MS);
    settling.unref();
    check();
  }

  async function end(how: { readonly graceful: boolean; readonly reason: string }): Promise<void> {
    const { speaker, end: unsubscribe } = current ?? {};
    current = undefined;
    clearInterval(settling);
    unsubscribe?.();
    await speaker?.stop(how);
  }

  async function step(): Promise<void> {
    const next = wish;
    const text = wishText;
    if (current !== undefined && current.text !== text) {
      await end({ graceful: false, reason: "configuration changed" });
      options.onGone();
      if (next !== undefined) {
        log.info("BGP starts anew: its AS number or router id changed");
      }
    }
    if (next === undefined) {
      tell([]);
      return;
    }
    if (current === undefined) await begin(next, text);
    else update(current.speaker, next);
  }

  function work(): void {
    clearTimeout(retry);
    retry = undefined;
    dirty = true;
    if (stopped || working !== undefined) return;
    working = (async () => {
      while (dirty && !stopped) {
        dirty = false;
        try {
          await step();
        } catch (error) {
          log.error("BGP cannot be configured", {
            reason: error instanceof Error ? error.message : String(error),
          });
        }
      }
    })().finally(() => working = undefined);
  }

  return {
    want(next) {
      wish = next;
      // Where it listens is changed in place.
      wishText = next === undefined ? "" : JSON.stringify({ ...next.options, listen: [] });
      changed = undefined;
      work();
    },
    changeRoutes(prefixes) {
      if (changed !== undefined) { for (const prefix of prefixes) changed.add(prefix); }
      work();
    },
    get speaker() {
      return current?.speaker;
    },
    async stop(graceful) {
      stopped = true;
      clearTimeout(retry);
      await working;
      await end({ graceful, reason: "the agent stops" });
    },
  };
}
