/**
 * The agent's side of a third party's plugin: its process, watched. One that does not answer is ended; it cannot stall the agent,
 * only its own plugin.
 */

import { type FromGuest, type GuestMeta, type ToGuest } from "./messages.ts";
import type { GuestProcess } from "./process.ts";

export interface LinkOptions {
  readonly load: Extract<ToGuest, { type: "load" }>;
  /** Whatever comes besides what the link itself needs. */
  readonly onMessage: (message: FromGuest) => void;
  /** The process is at its end, or was ended; told once. `final`: trying again does not help. */
  readonly onFault: (reason: string, final: boolean) => void;
  readonly spawn: () => GuestProcess;
  /** Milliseconds between questions whether it lives; default 1,000. */
  readonly pingMs?: number;
  /** Questions without an answer after which it counts as hanging; default 5. */
  readonly patience?: number;
  /** Milliseconds that loading and setup may take; default 10,000. */
  readonly setupMs?: number;
}

/** A process that runs. */
export interface Link {
  /** Resolves when the plugin is set up; never where it fails, of which `onFault` tells. */
  readonly ready: Promise<GuestMeta>;
  post(message: ToGuest): void;
  /** Lets the plugin end what it began, for a moment, and ends the process. */
  stop(ms: number): Promise<void>;
}

const WORDS = { load: "while it was loaded", setup: "in its setup", run: "" } as const;

/** What comes even from code that never lets its event loop go on. */
const OUT_OF_LOOPS: ReadonlySet<FromGuest["type"]> = new Set(["log", "metric", "api"]);

/** Starts a plugin's process. */
export function startLink(options: LinkOptions): Link {
  const { load, onMessage, onFault, spawn, pingMs = 1_000, patience = 5 } = options;
  const setupMs = options.setupMs ?? 10_000;
  const child = spawn();
  const ready = Promise.withResolvers<GuestMeta>();
  const stopped = Promise.withResolvers<void>();
  let stage: keyof typeof WORDS = "load";
  let ended = false;
  let stopping = false;
  let missed = 0;

  const end = (reason: string, final = false): void => {
    if (ended) return;
    ended = true;
    clearInterval(pings);
    clearTimeout(late);
    child.terminate();
    stopped.resolve();
    if (!stopping) onFault(reason, final);
  };
  // Counted in questions, not in time: after a pause of the agent itself nobody is blamed.
  const pings = setInterval(() => {
    if (missed >= patience) {
      const where = WORDS[stage] === "" ? "" : ` ${WORDS[stage]}`;
      end(
        `it did not answer for ${
          Math.round(missed * pingMs / 1000)
        } s${where}, and its process was ended; ` +
          "look for a loop that does not end",
      );
      return;
    }
    missed++;
    child.postMessage({ type: "ping" });
  }, pingMs);
  pings.unref();
  const late = setTimeout(
    () =>
      end(
        `it was not set up within ${
          setupMs / 1000
        } s; perhaps it awaits something that never comes`,
      ),
    setupMs,
  );
  late.unref();

  const take = (data: FromGuest): void => {
    // A loop that never ends may log, measure and ask all the same; the rest comes between two turns of its event loop.
    if (!OUT_OF_LOOPS.has(data.type)) missed = 0;
    switch (data.type) {
      case "pong":
        return;
      case "stage":
        stage = data.stage;
        return;
      case "ready":
        stage = "run";
        clearTimeout(late);
        ready.resolve(data.meta);
        return;
      case "failed":
        return end(data.reason, data.final);
      case "stopped":
        return stopped.resolve();
      default:
        onMessage(data);
    }
  };
  child.onmessage = ({ data }) => {
    if (ended) return;
    // A plugin can reach the channel itself: what comes over it is whatever it has sent.
    try {
      take(data);
    } catch (error) {
      end(
        `it sent a message that is none of a plugin's: ${
          error instanceof Error ? error.message : String(error)
        }; remove process.send`,
      );
    }
  };
  child.onclose = (reason) => end(reason);
  child.postMessage(load);
  return {
    ready: ready.promise,
    post: (message) => {
      if (!ended) child.postMessage(message);
    },
    async stop(ms) {
      stopping = true;
      if (!ended) child.postMessage({ type: "stop" });
      await Promise.race([stopped.promise, Bun.sleep(ms)]);
      end("");
    },
  };
}
