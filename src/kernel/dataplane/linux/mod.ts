/**
 * The real dataplane. Every kind opens lazily, at its first list or apply: a node without ip_vs can still use
 * routes, and a plan for one plugin does not touch what it does not need.
 */

import type { Logger } from "../../observe/log.ts";
import { type AdvertisementCheck, createAdvertisements } from "../advertisements.ts";
import type { Dataplane, Owner } from "../dataplane.ts";
import type { Table, TableRef } from "../resource.ts";
import { addressTable } from "./address.ts";
import { bridgeTable } from "./bridge.ts";
import { cniConfTable } from "./cni.ts";
import { openFou } from "./fou.ts";
import { hairpinTable } from "./hairpin.ts";
import { Conntrack } from "./conntrack.ts";
import { criSource } from "./cri.ts";
import { healthChecks } from "./health-check.ts";
import type { OnIpsetWrite } from "./ipset.ts";
import { type Ipvs, openIpvs } from "./ipvs.ts";
import { readIpvsEntries, readIpvsTable, serviceStatistics } from "./ipvs-statistics.ts";
import { ipvsTimeoutTable } from "./ipvs-timeouts.ts";
import { type Ledger, openLedger, RUNTIME_DIRECTORY } from "./ledger.ts";
import { linkTable } from "./link.ts";
import { Modules } from "./modules.ts";
import { Monitor } from "./monitor.ts";
import { type NetfilterBackend, openIptables, openNftables } from "./netfilter.ts";
import { podAddressTable, podLinkTable } from "./pod.ts";
import { PodNamespaces } from "./pod-namespaces.ts";
import { routeTable } from "./route.ts";
import { Rtnl } from "./rtnl.ts";
import { ruleTable } from "./rule.ts";
import { sysctlTable } from "./sysctl.ts";

export interface LinuxOptions {
  /** Where the ownership ledgers lie. Default: /run/routelet. */
  readonly runtimeDirectory?: string;
  /** Told of what costs only comfort: drift that is not seen at once. */
  readonly log?: Pick<Logger, "warn" | "info">;
  /** Whether the service proxy works; health check node ports answer 503 while it does not. Default: it does. */
  readonly proxyHealthy?: () => boolean;
  /** Which advertisements the router can serve; absent: no router runs. */
  readonly advertisable?: AdvertisementCheck;
  /** Told of each run of iptables-save and iptables-restore. */
  readonly onIptables?: (action: "save" | "restore", family: 4 | 6, ms: number) => void;
  /** Told of each write of ipsets. */
  readonly onIpsets?: OnIpsetWrite;
  /** What programs packet rules and their sets. Default: iptables. */
  readonly netfilter?: NetfilterBackend;
  /** Path of the network namespace to program. Default: that of this thread. */
  readonly namespace?: string;
  /** Socket of the container runtime ("unix:///run/containerd/containerd.sock"), to ask for pods' namespaces. */
  readonly runtimeEndpoint?: string;
}

/** Linux, for all owners. */
export interface LinuxDataplane extends Dataplane {
  readonly ipvs: Ipvs;
}

/** Opens nothing yet. */
export function openLinux(options: LinuxOptions = {}): LinuxDataplane {
  const { namespace } = options;
  const directory = options.runtimeDirectory ?? RUNTIME_DIRECTORY;
  const inNamespace = namespace === undefined ? {} : { namespace };
  const warn = (error: unknown): void =>
    options.log?.warn("Cannot watch Linux; changes by others are found by full rounds only", {
      reason: error instanceof Error ? error.message : String(error),
    });
  const rtnl = new Rtnl(inNamespace);
  const monitor = new Monitor(rtnl, { onError: warn });
  const openNetfilter = options.netfilter === "nftables" ? openNftables : openIptables;
  const netfilter = openNetfilter({
    ...inNamespace,
    onError: warn,
    // Nobody's in particular: whatever plugin's rules they were made for.
    builtins: () => ledgerOf({ name: "shared" }, "iptables"),
    ...(options.onIptables === undefined ? {} : { onIptables: options.onIptables }),
    ...(options.onIpsets === undefined ? {} : { onIpsets: options.onIpsets }),
  });
  const fou = openFou(inNamespace);
  const warnOfLedger = (message: string, fields: object): void =>
    options.log?.warn(message, fields);
  const ipvs = openIpvs({
    ...inNamespace,
    runtimeDirectory: directory,
    warn: warnOfLedger,
    ...(options.log === undefined ? {} : { log: options.log }),
  });
  const conntrack = new Conntrack(inNamespace);
  const modules = new Modules(namespace);
  const pods = new PodNamespaces({
    ...inNamespace,
    ...(options.runtimeEndpoint === undefined || options.runtimeEndpoint === ""
      ? {}
      : { source: criSource(options.runtimeEndpoint) }),
  });
  const checks = healthChecks(options.proxyHealthy ?? (() => true));
  const advertisements = createAdvertisements(options.advertisable);
  const ledgers = new Map<string, Ledger>();
  const ledgerOf = (owner: Pick<Owner, "name">, kind: string): Ledger => {
    const name = `${owner.name} ${kind}`;
    const ledger = ledgers.get(name) ??
      openLedger(directory, owner.name, kind, { ...inNamespace, warn: warnOfLedger });
    ledgers.set(name, ledger);
    return ledger;
  };
  const sysctls = {
    ...inNamespace,
    modules,
    ledgers: new Set<Ledger>(),
    ledger: (owner: Owner): Ledger => ledgerOf(owner, "sysctl"),
  };

  const kinds: Readonly<Record<string, (owner: Owner) => unknown>> = {
    "fou.port": (owner) => fou.ports(() => ledgerOf(owner, "fou")),
    "bridge": (owner) => bridgeTable(rtnl, owner, () => ledgerOf(owner, "bridge")),
    "cni.conf": (owner) => cniConfTable(() => ledgerOf(owner, "cni")),
    "link": (owner) => linkTable(rtnl, monitor, owner),
    "sysctl": (owner) => sysctlTable(sysctls, owner),
    "address": (owner) => addressTable(rtnl, monitor, owner),
    "route": (owner) => routeTable(rtnl, monitor, owner),
    "rule": (owner) => ruleTable(rtnl, monitor, owner),
    "bridge.hairpin": (owner) => hairpinTable(rtnl, () => ledgerOf(owner, "hairpin")),
    ...netfilter.tables,
    "pod.link": (owner) => podLinkTable(pods, owner),
    "pod.address": (owner) => podAddressTable(pods, owner),
    "ipvs.service": (owner) => ipvs.services(owner.name),
    "ipvs.destination": (owner) => ipvs.destinations(owner.name),
    "health.check": () => checks.table,
    "bgp.advertisement": (owner) => advertisements.table(owner),
    "ipvs.timeout": (owner) =>
      ipvsTimeoutTable(ipvs.connection, () => ledgerOf(owner, "ipvs-timeout")),
  };

  return {
    ipvs,
    statistics: {
      ipvsServices: () => serviceStatistics(ipvs.connection),
      ipvsTable: (most) => readIpvsTable(ipvs.connection, most),
      ipvsEntries: (only, most) => readIpvsEntries(ipvs.connection, only, most),
    },
    flows: conntrack,
    advertisements,
    open<T>(ref: TableRef<T>, owner: Owner): Table<T> {
      const make = kinds[ref.resource.kind];
      if (make === undefined) {
        throw new TypeError(`No table of kind "${ref.resource.kind}" for Linux`);
      }
      return make(owner) as Table<T>;
    },
    tidy: () => netfilter.tidy(),
    close() {
      monitor.close();
      netfilter.close();
      rtnl.close();
      ipvs.close();
      fou.close();
      checks.close();
      conntrack.close();
      for (const ledger of ledgers.values()) ledger.close();
      return Promise.resolve();
    },
  };
}
