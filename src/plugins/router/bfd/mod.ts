/** BFD (RFC 5880, 5881, 5883) for the peers of the speaker, in a thread of its own that runs while there is a session. */

import type { BfdPeer, BfdState, FromWorker, ToWorker } from "./messages.ts";

export type { BfdPeer, BfdState } from "./messages.ts";

/** For the last packets, which tell peers that we end BFD on purpose. */
const CLOSE_MS = 500;

/** In the executable, where `scripts/build.ts` names it as an entry point of its own, by its path below `src`. */
const WORKER = import.meta.url.includes("$bunfs")
  ? "./plugins/router/bfd/worker.ts"
  : new URL("./worker.ts", import.meta.url).href;

export class Bfd {
  readonly #changed: (peer: string, state: BfdState, diagnostic: string) => void;
  readonly #report: (message: string, fields: Record<string, string>) => void;
  #worker: Worker | undefined;
  #closed: (() => void) | undefined;

  constructor(
    changed: (peer: string, state: BfdState, diagnostic: string) => void,
    report: (message: string, fields: Record<string, string>) => void,
  ) {
    this.#changed = changed;
    this.#report = report;
  }

  /** All sessions that should run. */
  set(peers: readonly BfdPeer[]): void {
    if (peers.length === 0 && this.#worker === undefined) return;
    this.#worker ??= this.#start();
    this.#worker.postMessage({ peers } satisfies ToWorker);
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    this.#worker = undefined;
    const done = new Promise<void>((resolve) => this.#closed = resolve);
    worker.postMessage({ peers: [], done: true } satisfies ToWorker);
    await Promise.race([done, Bun.sleep(CLOSE_MS)]);
    worker.terminate();
  }

  #start(): Worker {
    const worker = new Worker(WORKER);
    worker.onmessage = ({ data }: { data: FromWorker }) => {
      if (data.kind === "changed") this.#changed(data.peer, data.state, data.diagnostic);
      else if (data.kind === "report") this.#report(data.message, data.fields);
      else this.#closed?.();
    };
    worker.onerror = (event) => {
      this.#report("The thread of BFD failed", { reason: event.message });
    };
    // The process may end while it runs.
    worker.unref();
    return worker;
  }
}
