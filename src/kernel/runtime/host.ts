/** The host's own addresses, as plugins see them. */

import { networkInterfaces } from "node:os";
import type { HostAddress, HostAddresses } from "../plugin.ts";

/** Milliseconds between looks: addresses of a host change rarely, and only some configurations ask. */
const INTERVAL = 2_000;

/** Looks at the links of the agent's network namespace, now and, while anybody subscribes, every two seconds. */
export function hostAddresses(): HostAddresses & { stop(): void } {
  const listeners = new Set<(units: "all") => void>();
  let values = read();
  let text = JSON.stringify(values);
  let timer: ReturnType<typeof setInterval> | undefined;
  const look = (): void => {
    const next = read();
    const nextText = JSON.stringify(next);
    if (nextText === text) return;
    values = next;
    text = nextText;
    for (const listener of listeners) listener("all");
  };
  const stop = (): void => {
    clearInterval(timer);
    timer = undefined;
  };
  return {
    name: "host addresses",
    synced: true,
    values: () => values,
    subscribe(wake) {
      const listener = (): void => wake("all");
      listeners.add(listener);
      timer ??= setInterval(look, INTERVAL);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) stop();
      };
    },
    stop,
  };
}

function read(): readonly HostAddress[] {
  return Object.entries(networkInterfaces()).flatMap(([link, addresses]) =>
    (addresses ?? []).map(({ address, family }): HostAddress => ({
      link,
      family: family === "IPv4" ? 4 : 6,
      address,
    }))
  );
}
