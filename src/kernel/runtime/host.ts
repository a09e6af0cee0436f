/** The host's own addresses, as plugins see them. */

import { readFileSync } from "node:fs";
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
  return Object.entries(networkInterfaces()).flatMap(([link, addresses]) => {
    // A node has a link for each pod, with a link-local address at most: their files are not read.
    const mtu = addresses?.some(isGlobal) === true ? mtuOf(link) : undefined;
    return (addresses ?? []).map(({ address, family, cidr }): HostAddress => ({
      link,
      family: family === "IPv4" ? 4 : 6,
      address,
      ...prefixOf(cidr),
      ...(mtu === undefined ? {} : { mtu }),
    }));
  });
}

function prefixOf(cidr: string | null): { readonly prefix?: number } {
  const prefix = Number(/\/([0-9]+)$/.exec(cidr ?? "")?.[1] ?? NaN);
  return Number.isInteger(prefix) ? { prefix } : {};
}

function isGlobal({ address, internal }: { address: string; internal: boolean }): boolean {
  return !internal && !address.startsWith("fe80:");
}

/** The kernel's view of this network namespace is what /sys was mounted in: that of the agent. */
function mtuOf(link: string): number | undefined {
  try {
    const mtu = Number(readFileSync(`/sys/class/net/${link}/mtu`, "utf8"));
    return Number.isInteger(mtu) && mtu > 0 ? mtu : undefined;
  } catch {
    return undefined;
  }
}
