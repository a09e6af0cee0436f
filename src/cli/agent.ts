/** What the commands that work on this node share: its name, its source of objects, its plugins. */

import { hostname } from "node:os";
import { resolve } from "node:path";
import type { ClusterSource } from "../kernel/cluster/source.ts";
import type { AdvertisementCheck } from "../kernel/dataplane/advertisements.ts";
import type { Dataplane, Owner } from "../kernel/dataplane/dataplane.ts";
import { NETFILTER_KINDS } from "../kernel/dataplane/linux/netfilter.ts";
import type { Logger } from "../kernel/observe/log.ts";
import type { Plugin } from "../kernel/plugin.ts";
import { leftovers } from "../kernel/runtime/cleanup.ts";
import type { Hosted } from "../kernel/runtime/runtime.ts";
import firewall from "../plugins/firewall/mod.ts";
import loadbalancer from "../plugins/loadbalancer/mod.ts";
import proxy from "../plugins/proxy/mod.ts";
import router from "../plugins/router/mod.ts";
import { advertisementRefusal } from "../plugins/router/requests.ts";
import type { Flags } from "./flags.ts";
import type { Io } from "./io.ts";

interface BuiltIn {
  readonly plugin: Plugin<never>;
  /** Route protocol number: what lies in Linux under it is this plugin's, for ever. Of none where it has no part in Linux. */
  readonly protocol: number;
  readonly enabled: (flags: Flags) => boolean;
  /** Milliseconds between full comparisons with Linux. */
  readonly interval: (flags: Flags) => number;
}

const BUILT_INS: readonly BuiltIn[] = [
  {
    plugin: proxy as Plugin<never>,
    protocol: 201,
    enabled: (flags) => flags.runServiceProxy,
    interval: (flags) => flags.ipvsSyncPeriod,
  },
  {
    plugin: router as Plugin<never>,
    protocol: 202,
    enabled: (flags) => flags.runRouter,
    // One comparison serves both periods: the shorter one counts.
    interval: (flags) => Math.min(flags.routesSyncPeriod, flags.injectedRoutesSyncPeriod),
  },
  {
    plugin: firewall as Plugin<never>,
    protocol: 203,
    enabled: (flags) => flags.runFirewall,
    interval: (flags) => flags.iptablesSyncPeriod,
  },
  {
    plugin: loadbalancer as Plugin<never>,
    protocol: 0,
    enabled: (flags) => flags.runLoadbalancer,
    interval: (flags) => flags.loadbalancerSyncPeriod,
  },
];

/** Those that have something in Linux. */
const OWNING = BUILT_INS.filter(({ plugin }) => plugin.tables.length > 0);

/** The plugins that the flags switch on. */
export function hostedPlugins(flags: Flags): readonly Hosted[] {
  return BUILT_INS.filter(({ enabled }) => enabled(flags))
    .map(({ plugin, protocol, interval }) => ({
      plugin,
      protocol,
      options: flags,
      fullInterval: interval(flags),
    }));
}

/** Which advertisements of plugins can be served: none where the router is off. */
export function advertisable(flags: Flags): { readonly advertisable?: AdvertisementCheck } {
  const isOn = hostedPlugins(flags).some(({ plugin }) => plugin.name === router.name);
  return isOn ? { advertisable: advertisementRefusal } : {};
}

/** Milliseconds between full comparisons of a plugin with Linux. */
export function fullInterval(plugin: string, flags: Flags): number {
  const builtIn = BUILT_INS.find((each) => each.plugin.name === plugin);
  return builtIn?.interval(flags) ?? flags.ipvsSyncPeriod;
}

/** All owners that may have left something in Linux, enabled or not. */
export const OWNERS: readonly Owner[] = OWNING.map(({ plugin, protocol }) => ({
  name: plugin.name,
  protocol,
}));

/** The owners that the flags switch on. */
export function ownersOf(flags: Flags): readonly Owner[] {
  return OWNING.filter(({ enabled }) => enabled(flags))
    .map(({ plugin, protocol }) => ({ name: plugin.name, protocol }));
}

/** Built-in plugins that are off and whose work is still in Linux: a text each. Nobody looks after it any more. @param other the backend of packet rules that is not in use */
export async function leftoverTexts(
  flags: Flags,
  dataplane: Dataplane,
  other: Dataplane | undefined,
): Promise<readonly string[]> {
  const off = OWNING.filter(({ enabled }) => !enabled(flags))
    .map(({ plugin, protocol }) => ({ name: plugin.name, protocol }));
  const counts = new Map<string, number>();
  for (
    const { owner, items } of [
      ...await leftovers(dataplane, off),
      ...(other === undefined ? [] : await leftovers(other, off, NETFILTER_KINDS)),
    ]
  ) counts.set(owner, (counts.get(owner) ?? 0) + items);
  return [...counts].map(([owner, items]) =>
    `Plugin "${owner}" is off, and ${items} things of it stay in Linux as they are; stop the agent and run ` +
    '"routelet cleanup" to remove them'
  );
}

/** Name of the Node object of this host: `--hostname-override`, else NODE_NAME, else the host's name. */
export function nodeName(flags: Flags, env: Io["env"]): string {
  return flags.hostnameOverride || env["NODE_NAME"] || hostname().toLowerCase();
}

/**
 * Opens the source of the cluster's objects: a folder of manifests, or the API server.
 *
 * @throws {Error} where the configuration cannot be read, with the file, the reason and the remedy
 */
export async function openSource(flags: Flags, node: string, log: Logger): Promise<ClusterSource> {
  const common = { nodeName: node, log: log.child({ part: "cluster" }) };
  if (flags.manifests !== "") {
    const { openManifestSource } = await import("../kernel/cluster/manifest-source.ts");
    return openManifestSource({ ...common, directory: resolve(flags.manifests) });
  }
  const { openApiSource } = await import("../kernel/cluster/api-source.ts");
  return await openApiSource({
    ...common,
    ...(flags.kubeconfig === "" ? {} : { kubeconfig: flags.kubeconfig }),
    ...(flags.master === "" ? {} : { master: flags.master }),
  });
}

/** The text of an error for standard error. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
