/**
 * The thread of BFD. Its timers are tens of milliseconds, and the main thread may be busy for longer: there sessions flapped
 * under garbage collection, here they do not.
 */

import { BfdEngine } from "./engine.ts";
import type { FromWorker, ToWorker } from "./messages.ts";

declare const self: {
  onmessage: ((event: { readonly data: ToWorker }) => void) | null;
  postMessage(message: FromWorker): void;
};

const engine = new BfdEngine(
  (peer, state, diagnostic) => self.postMessage({ kind: "changed", peer, state, diagnostic }),
  (message, fields) => self.postMessage({ kind: "report", message, fields }),
);

self.onmessage = ({ data }) => {
  engine.set(data.peers).then(() => {
    if (data.done === true) self.postMessage({ kind: "done" });
  });
};
