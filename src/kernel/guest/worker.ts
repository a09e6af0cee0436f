/** The thread of a third party's plugin. An entry point of the build of its own. */

import type { FromGuest, ToGuest } from "./messages.ts";
import { guestThread } from "./thread.ts";

declare const self: {
  onmessage: ((event: { readonly data: ToGuest }) => void) | null;
  postMessage(message: FromGuest): void;
};

const take = guestThread(
  (message) => self.postMessage(message),
  async (file) => (await import(file)).default,
);

self.onmessage = ({ data }) => take(data);
