/** The four kinds of packet rules, by one of two backends: iptables with ipset, or nf_tables. Plugins do not know which. */

import { existsSync, readFileSync } from "node:fs";
import { release } from "node:os";
import type { Owner } from "../dataplane.ts";
import type { Table } from "../resource.ts";
import { IpsetDrift } from "./ipset-drift.ts";
import { ipsetMemberTable, IpsetState, ipsetTable, type OnIpsetWrite } from "./ipset.ts";
import { chainTable, IptablesState, jumpTable } from "./iptables.ts";
import { IptablesBuiltins } from "./iptables-builtins.ts";
import { IptablesTool, isInstalled } from "./iptables-tool.ts";
import { IptablesWatch } from "./iptables-watch.ts";
import type { Ledger } from "./ledger.ts";
import { nftChainTable } from "./nft/chains.ts";
import { nftJumpTable } from "./nft/jumps.ts";
import { nftMemberTable } from "./nft/members.ts";
import { nftSetTable } from "./nft/sets.ts";
import { NftState } from "./nft/state.ts";
import { NftWatch } from "./nft/watch.ts";

export type NetfilterBackend = "iptables" | "nftables";

/** Names of the kinds. */
export const NETFILTER_KINDS = ["ipset", "ipset.member", "chain", "jump"] as const;
type Kind = typeof NETFILTER_KINDS[number];

/** The other one: where it was used before, it may have left something. */
export function otherBackend(backend: NetfilterBackend): NetfilterBackend {
  return backend === "iptables" ? "nftables" : "iptables";
}

/**
 * The backend for a wish. "auto" is iptables where its tools are installed, since people look for rules there, and nodes that ran
 * before have theirs there. A wish for one that is missing is not changed: its first list says what is missing.
 */
export function chooseBackend(
  wish: NetfilterBackend | "auto",
  installed: () => boolean = isInstalled,
): NetfilterBackend {
  if (wish !== "auto") return wish;
  return installed() ? "iptables" : "nftables";
}

/**
 * Whether a backend may hold anything on this host: iptables without its tools cannot be read, and nf_tables that is not loaded
 * has nothing. To ask it would load it, where perhaps nobody wants it.
 */
export function mayHold(backend: NetfilterBackend): boolean {
  if (backend === "iptables") return isInstalled();
  // Without modules all is built in.
  if (!existsSync("/proc/modules") || existsSync("/sys/module/nf_tables")) return true;
  try {
    return readFileSync(`/lib/modules/${release()}/modules.builtin`, "utf8").includes(
      "/nf_tables.ko",
    );
  } catch {
    return true;
  }
}

export interface NetfilterOptions {
  readonly namespace?: string;
  readonly onIptables?: (action: "save" | "restore", family: 4 | 6, ms: number) => void;
  readonly onIpsets?: OnIpsetWrite;
  readonly onError?: (error: unknown) => void;
  /** Where tables and chains are marked that the iptables tool makes for our rules; absent: they stay. */
  readonly builtins?: () => Ledger;
}

export interface Netfilter {
  readonly tables: Readonly<Record<Kind, (owner: Owner) => Table<never>>>;
  /** Removes what stood only for our rules and is empty now. @returns a line for each. @throws {KernelError} */
  tidy(): Promise<readonly string[]>;
  close(): void;
}

function opened<T>(table: Table<T>): Table<never> {
  return table as unknown as Table<never>;
}

export function openIptables(options: NetfilterOptions): Netfilter {
  const { namespace, onIptables, onIpsets, onError } = options;
  const inNamespace = namespace === undefined ? {} : { namespace };
  const tool = new IptablesTool(namespace, onIptables);
  const builtins = options.builtins === undefined
    ? undefined
    : new IptablesBuiltins(inNamespace, options.builtins);
  if (builtins !== undefined) {
    // Rules matter more than what stays empty behind them: without a mark, a table of iptables-nft stays when they go.
    tool.onWrite = (...place) => builtins.before(...place).catch(() => {});
  }
  const state = new IptablesState(tool);
  const watch = new IptablesWatch(state, {
    ...inNamespace,
    ...(onError === undefined ? {} : { onError }),
  });
  const sets = new IpsetState(inNamespace, onIpsets);
  const drift = new IpsetDrift(sets);
  return {
    tables: {
      "ipset": (owner) => opened(ipsetTable(sets, drift, owner)),
      "ipset.member": (owner) => opened(ipsetMemberTable(sets, drift, owner)),
      "chain": (owner) => opened(chainTable(state, watch, owner)),
      "jump": (owner) => opened(jumpTable(state, watch, owner)),
    },
    tidy: async () => await builtins?.tidy() ?? [],
    close() {
      builtins?.close();
      watch.close();
      drift.close();
      sets.close();
    },
  };
}

export function openNftables(options: NetfilterOptions): Netfilter {
  const { namespace, onError } = options;
  const inNamespace = namespace === undefined ? {} : { namespace };
  const state = new NftState(inNamespace);
  const watch = new NftWatch(state, {
    ...inNamespace,
    ...(onError === undefined ? {} : { onError }),
  });
  return {
    tables: {
      "ipset": (owner) => opened(nftSetTable(state, watch, owner)),
      "ipset.member": (owner) => opened(nftMemberTable(state, watch, owner)),
      "chain": (owner) => opened(nftChainTable(state, watch, owner)),
      "jump": (owner) => opened(nftJumpTable(state, watch, owner)),
    },
    // Done with each change: the table is our own.
    tidy: () => Promise.resolve([]),
    close() {
      watch.close();
      state.close();
    },
  };
}
