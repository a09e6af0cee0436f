/**
 * Drift of chains and jumps. nf_tables tells of every change by netlink; ip_tables tells nothing, so the size of each
 * of its tables is asked for four times a second, which costs a system call. Either way what changed is found by reading
 * the rules of that family again and comparing: at once after a quiet time, once a second where others write all the time.
 */

import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Drift, Family, Resource, WatchContext } from "../resource.ts";
import { compared } from "./compared.ts";
import { listenEvents } from "./events.ts";
import { closeFile, libc } from "./ffi.ts";
import { ownsChain } from "./iptables-names.ts";
import { rank } from "./iptables-parse.ts";
import type { IptablesState } from "./iptables.ts";
import type { MessageReader } from "./message.ts";
import { muteSenders } from "./mute.ts";
import { inNetworkNamespace } from "./netns.ts";
import { Pace } from "./pace.ts";
import { NETLINK_NETFILTER } from "./socket.ts";

const NFNLGRP_NFTABLES = 7;
const NFNL_SUBSYS_NFTABLES = 10;
/** Bytes of struct nfgenmsg. */
const NFGENMSG = 4;
const NFT_MSG_NEWCHAIN = 3;
const NFT_MSG_DELCHAIN = 5;
const NFT_MSG_NEWRULE = 6;
const NFT_MSG_DELRULE = 8;
const NFTA_RULE_CHAIN = 2;
const NFTA_CHAIN_NAME = 3;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_RAW = 255;
const SOL_IP = 0;
const SOL_IPV6 = 41;
/** IPT_SO_GET_INFO and IP6T_SO_GET_INFO. */
const GET_INFO = 64;
/** Bytes of struct ipt_getinfo: name[32], hooks, entries by hook, underflows, number of entries, size. */
const GETINFO = 84;
/** Of them the table's name. */
const NAME = 32;

const FAMILIES: readonly Family[] = [4, 6];
const POLL_MS = 250;
/** From a change to the look at it: tools write in bursts, and the runtime takes note of our own. */
const SETTLE_MS = 25;
/** Looks that may follow one another at once after a quiet time, and the time after which there is one more: each costs processes. */
const LOOKS = 4;
const REFILL_MS = 1000;

/** One table that watches, as far as the check needs it. */
interface Watcher {
  readonly owner: Owner;
  /** Compares what Linux holds of a family with what the runtime believes. @throws {KernelError} */
  compare(family: Family): Promise<readonly Drift<unknown>[]>;
  report(changes: readonly Drift<unknown>[]): void;
}

export interface IptablesWatchOptions {
  readonly namespace?: string;
  readonly onError?: (error: unknown) => void;
}

export class IptablesWatch {
  readonly #state: IptablesState;
  readonly #options: IptablesWatchOptions;
  readonly #watchers = new Set<Watcher>();
  readonly #sizes = new Map<string, number>();
  readonly #sockets = new Map<Family, number>();
  #poll: ReturnType<typeof setInterval> | undefined;
  #check: ReturnType<typeof setTimeout> | undefined;
  readonly #pace = new Pace(LOOKS, REFILL_MS);
  /** Families to look at. */
  readonly #moved = new Set<Family>();
  readonly #info = new Uint8Array(new ArrayBuffer(GETINFO));
  readonly #infoView = new DataView(this.#info.buffer);
  #stopEvents: (() => void) | undefined;
  #listening = false;
  #closed = false;

  constructor(state: IptablesState, options: IptablesWatchOptions = {}) {
    this.#state = state;
    this.#options = options;
    // Sizes that we changed ourselves are the new ones to compare with.
    state.onApplied = () => this.#readSizes();
  }

  add<T extends { readonly family: Family; readonly table: string }>(
    resource: Resource<T>,
    owner: Owner,
    context: WatchContext<T>,
    list: (families: readonly Family[]) => Promise<readonly Actual<T>[]>,
  ): () => void {
    const watcher: Watcher = {
      owner,
      compare: async (family) =>
        compared(
          resource,
          context.actual,
          await list([family]),
          ({ item }) => item.family === family,
        ),
      report: (changes) => context.drift(changes as readonly Drift<T>[]),
    };
    this.#watchers.add(watcher);
    if (!this.#listening) {
      this.#poll ??= setInterval(() => void this.#tick(), POLL_MS).unref();
    }
    return () => this.#watchers.delete(watcher);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#poll);
    clearTimeout(this.#check);
    this.#state.tool.onStart = undefined;
    this.#stopEvents?.();
    for (const fd of this.#sockets.values()) closeFile(fd);
    this.#sockets.clear();
  }

  async #tick(): Promise<void> {
    // Before the first list nobody knows which variant there is, and nothing is believed.
    const variant = this.#state.tool.variant;
    if (this.#watchers.size === 0 || variant === undefined || this.#closed) return;
    if (variant === "legacy") {
      if (!this.#state.busy) this.#schedule(this.#readSizes());
    } else if (!this.#listening) {
      this.#listening = true;
      clearInterval(this.#poll);
      this.#poll = undefined;
      await this.#listen();
    }
  }

  async #listen(): Promise<void> {
    const { namespace, onError } = this.#options;
    try {
      const stop = await listenEvents(NETLINK_NETFILTER, [NFNLGRP_NFTABLES], {
        onMessage: (message) => {
          if (this.#concerns(message)) this.#schedule(familyOf(message));
        },
        onLost: () => this.#schedule(FAMILIES),
        onOpen: (fd) => {
          muteSenders(fd, this.#state.tool.pids);
          this.#state.tool.onStart = (pids) => muteSenders(fd, pids);
        },
        ...(onError === undefined ? {} : { onError }),
      }, namespace === undefined ? {} : { namespace });
      if (this.#closed) stop();
      else this.#stopEvents = stop;
      // What moved before the socket was open.
      this.#schedule(FAMILIES);
    } catch (error) {
      onError?.(error);
    }
  }

  /** Whether an nf_tables event is about a chain of ours or of Linux's own, and not of our own making. */
  #concerns(message: MessageReader): boolean {
    if (message.type >> 8 !== NFNL_SUBSYS_NFTABLES || this.#state.tool.isOurs(message.portId)) {
      return false;
    }
    const kind = message.type & 0xff;
    const wanted = kind === NFT_MSG_NEWRULE || kind === NFT_MSG_DELRULE
      ? NFTA_RULE_CHAIN
      : kind === NFT_MSG_NEWCHAIN || kind === NFT_MSG_DELCHAIN
      ? NFTA_CHAIN_NAME
      : undefined;
    if (wanted === undefined) return false;
    const a = message.attributes(NFGENMSG);
    while (a.next()) {
      if (a.type !== wanted) continue;
      const name = a.string();
      return /^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/.test(name) ||
        [...this.#watchers].some(({ owner }) => ownsChain(owner, name));
    }
    return false;
  }

  #schedule(families: readonly Family[]): void {
    for (const family of families) this.#moved.add(family);
    if (this.#moved.size === 0 || this.#check !== undefined || this.#closed) return;
    const wait = Math.max(SETTLE_MS, this.#pace.wait());
    this.#check = setTimeout(() => void this.#look(), wait).unref();
  }

  async #look(): Promise<void> {
    this.#check = undefined;
    const before = this.#state.generation;
    if (this.#state.busy) return this.#schedule([]);
    this.#pace.spend();
    this.#state.forget();
    const families = [...this.#moved];
    this.#moved.clear();
    try {
      // Who is told first is repaired first.
      const watchers = [...this.#watchers]
        .toSorted((a, b) => rank(a.owner.name) - rank(b.owner.name));
      for (const watcher of watchers) {
        const changes = [];
        for (const family of families) changes.push(...await watcher.compare(family));
        // We wrote meanwhile: what was read is old.
        if (this.#state.busy || this.#state.generation !== before) return this.#schedule(families);
        if (changes.length > 0) watcher.report(changes);
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#options.onError?.(error);
    }
  }

  /** Reads the sizes of the tables that we have something in; the families of those that differ from the last look. */
  #readSizes(): readonly Family[] {
    if (this.#state.tool.variant !== "legacy" || this.#closed) return [];
    const moved = new Set<Family>();
    for (const place of this.#state.places) {
      const family = place.startsWith("6") ? 6 : 4;
      const size = this.#size(family, place.slice(2));
      const before = this.#sizes.get(place);
      if (before === size) continue;
      if (before !== undefined) moved.add(family);
      this.#sizes.set(place, size);
    }
    return [...moved];
  }

  /** Number of entries and size of a table, as one number; 0 where Linux does not say. */
  #size(family: Family, table: string): number {
    const fd = this.#socket(family);
    this.#info.fill(0, 0, NAME);
    new TextEncoder().encodeInto(table, this.#info);
    const length = new Uint8Array([GETINFO, 0, 0, 0]);
    const level = family === 4 ? SOL_IP : SOL_IPV6;
    if (fd < 0 || libc().getsockopt(fd, level, GET_INFO, this.#info, length) !== 0) return 0;
    return this.#infoView.getUint32(76, true) * 2 ** 32 + this.#infoView.getUint32(80, true);
  }

  #socket(family: Family): number {
    const known = this.#sockets.get(family);
    if (known !== undefined) return known;
    const open = () =>
      libc().socket(family === 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    const { namespace } = this.#options;
    const fd = namespace === undefined ? open() : inNetworkNamespace(namespace, open);
    if (fd >= 0) this.#sockets.set(family, fd);
    return fd;
  }
}

/** The families that an nf_tables event is about: inet tables are of both. */
function familyOf(message: MessageReader): readonly Family[] {
  const family = message.u8(0);
  return family === AF_INET ? [4] : family === AF_INET6 ? [6] : FAMILIES;
}
