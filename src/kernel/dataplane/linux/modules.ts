/** Kernel modules that Linux does not load by itself when we ask for what they do. */

import { existsSync } from "node:fs";
import { loadModule } from "./genl.ts";
import { inNetworkNamespace } from "./netns.ts";

/** A module, and the file that is there once it is loaded. */
const SYSCTL_MODULES: readonly { readonly module: string; readonly prefix: string }[] = [
  { module: "ip_vs", prefix: "net/ipv4/vs/" },
  { module: "br_netfilter", prefix: "net/bridge/" },
  { module: "nf_conntrack", prefix: "net/netfilter/nf_conntrack" },
  { module: "ipv6", prefix: "net/ipv6/" },
];

/**
 * Loads modules at the first need, each once: without modprobe, or without the right to, nothing happens, and what
 * needs the module says so.
 */
export class Modules {
  readonly #tried = new Map<string, Promise<void>>();
  readonly #namespace: number | string | undefined;

  constructor(namespace?: number | string) {
    this.#namespace = namespace;
  }

  /** The modules whose sysctls appear only when they are loaded: `paths` are below /proc/sys. */
  async forSysctls(paths: readonly string[]): Promise<void> {
    await Promise.all(SYSCTL_MODULES.map(({ module, prefix }) => {
      const path = paths.find((p) => p.startsWith(prefix));
      if (path === undefined || this.#exists(path)) return undefined;
      return this.#once(module);
    }));
  }

  #exists(path: string): boolean {
    const look = () => existsSync(`/proc/sys/${path}`);
    return this.#namespace === undefined ? look() : inNetworkNamespace(this.#namespace, look);
  }

  #once(module: string): Promise<void> {
    const known = this.#tried.get(module) ?? loadModule(module).then(() => {});
    this.#tried.set(module, known);
    return known;
  }
}
