/** The host's own addresses, as plugins see them. */

import { readFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import type { HostAddress, HostAddresses } from "../plugin.ts";

/** Milliseconds between looks: addresses of a host change rarely, and only some configurations ask. */
const INTERVAL = 2_000;
/** The pause is this many looks at least: one is slow where Linux has thousands of VIPs to tell of. */
const PAUSE_FACTOR = 200;

/** What a look reads, for tests. */
export interface HostLinks {
  readonly interfaces: typeof networkInterfaces;
  /** Text of a file of a link below /sys/class/net, if there is one. */
  readonly file: (link: string, name: "mtu" | "ifalias") => string | undefined;
}

/** Looks at the links of the agent's network namespace, now and, while anybody subscribes, every two seconds. */
export function hostAddresses(
  links: HostLinks = { interfaces: networkInterfaces, file: linkFile },
): HostAddresses & { stop(): void } {
  const listeners = new Set<(units: "all") => void>();
  let values = read(links);
  let text = JSON.stringify(values);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const look = (): void => {
    const start = performance.now();
    const next = read(links);
    const nextText = JSON.stringify(next);
    const took = performance.now() - start;
    timer = setTimeout(look, Math.max(INTERVAL, PAUSE_FACTOR * took));
    if (nextText === text) return;
    values = next;
    text = nextText;
    for (const listener of listeners) listener("all");
  };
  const stop = (): void => {
    clearTimeout(timer);
    timer = undefined;
  };
  return {
    name: "host addresses",
    synced: true,
    values: () => values,
    subscribe(wake) {
      const listener = (): void => wake("all");
      listeners.add(listener);
      timer ??= setTimeout(look, INTERVAL);
      return () => {
        listeners.delete(listener);
        if (listeners.size === 0) stop();
      };
    },
    stop,
  };
}

function read({ interfaces, file }: HostLinks): readonly HostAddress[] {
  return Object.entries(interfaces()).flatMap(([link, addresses = []]) => {
    // A node has a link for each pod, with a link-local address at most: their files are not read.
    const global = addresses.some(isGlobal);
    // The mark of a link that a plugin made: what is on it are VIPs, thousands of them. A bridge of ours has a longer one,
    // and an address of the host.
    if (global && /^routelet:[^:\s]+\s*$/.test(file(link, "ifalias") ?? "")) return [];
    const mtu = global ? mtuOf(file(link, "mtu")) : undefined;
    return addresses.map(({ address, family, cidr }): HostAddress => ({
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

function mtuOf(text: string | undefined): number | undefined {
  const mtu = Number(text);
  return Number.isInteger(mtu) && mtu > 0 ? mtu : undefined;
}

/** The kernel's view of this network namespace is what /sys was mounted in: that of the agent. */
function linkFile(link: string, name: string): string | undefined {
  try {
    return readFileSync(`/sys/class/net/${link}/${name}`, "utf8");
  } catch {
    return undefined;
  }
}
