/** Which backend programs packet rules, and what the other one left from another start. */

import type { Dataplane, Owner } from "../kernel/dataplane/dataplane.ts";
import { type LinuxDataplane, openLinux } from "../kernel/dataplane/linux/mod.ts";
import {
  chooseBackend,
  mayHold,
  NETFILTER_KINDS,
  type NetfilterBackend,
  otherBackend,
} from "../kernel/dataplane/linux/netfilter.ts";
import type { Op, TableRef } from "../kernel/dataplane/resource.ts";
import type { Logger } from "../kernel/observe/log.ts";
import { cleanup, removalOrder } from "../kernel/runtime/cleanup.ts";
import type { Flags } from "./flags.ts";

/** The backend that the flags ask for, or that this host has. */
export function netfilterOf(
  flags: Pick<Flags, "netfilter" | "useNftablesForNetpol">,
): NetfilterBackend {
  return flags.useNftablesForNetpol ? "nftables" : chooseBackend(flags.netfilter);
}

/**
 * Opens Linux as the backend sees it that is not in use; undefined where it cannot hold anything. Only the kinds of packet rules
 * are meant to be opened of it.
 */
export function openOther(flags: Flags): LinuxDataplane | undefined {
  const netfilter = otherBackend(netfilterOf(flags));
  return mayHold(netfilter)
    ? openLinux({ runtimeDirectory: flags.runtimeDir, netfilter })
    : undefined;
}

/** What the other backend has of owners, as the deletions that would remove it. What cannot be read has nothing. */
export async function leftByOther(
  other: Dataplane | undefined,
  owners: readonly Owner[],
): Promise<
  readonly { readonly owner: Owner; readonly ref: TableRef<unknown>; readonly op: Op<unknown> }[]
> {
  const found = [];
  for (const ref of other === undefined ? [] : removalOrder(NETFILTER_KINDS)) {
    for (const owner of owners) {
      const listed = await other?.open(ref, owner).list().catch(() => []) ?? [];
      for (const { item, owned } of listed) {
        if (owned) found.push({ owner, ref, op: { verb: "delete", item } as const });
      }
    }
  }
  return found;
}

/** Between two looks whether the rules of this backend stand. */
const LOOK_MS = 200;

/**
 * Removes what the other backend left of owners, once `ready` says that all rules stand in this one: no packet meets neither.
 * Meanwhile it meets both, which say the same.
 *
 * @returns what ends the waiting
 */
export function removeOther(
  flags: Flags,
  owners: readonly Owner[],
  ready: () => boolean,
  log: Logger,
): () => void {
  const timer = setInterval(() => {
    if (!ready()) return;
    clearInterval(timer);
    void remove();
  }, LOOK_MS);
  timer.unref();
  async function remove(): Promise<void> {
    const other = openOther(flags);
    if (other === undefined) return;
    try {
      const { removed, failed } = await cleanup(other, owners, NETFILTER_KINDS);
      const from = otherBackend(netfilterOf(flags));
      if (removed.length > 0) {
        log.info("Removed what another backend left", { netfilter: from, items: removed.length });
      }
      for (const reason of failed) {
        log.warn("Cannot remove what another backend left", { netfilter: from, reason });
      }
    } finally {
      await other.close();
    }
  }
  return () => clearInterval(timer);
}
