/**
 * Drift in the table `routelet`. nf_tables tells of every change by netlink; what changed is found by reading again and comparing.
 * Of sets those alone are read whose elements an event names.
 */

import type { Owner } from "../../dataplane.ts";
import { KernelError } from "../../errors.ts";
import type { Actual, Drift, Resource, WatchContext } from "../../resource.ts";
import { type IpSetMember, ipsetMember } from "../../resources/ipset.ts";
import { listenEvents } from "../events.ts";
import { muteSenders } from "../mute.ts";
import { ownsSet } from "../ipset-names.ts";
import { compared } from "../compared.ts";
import { rank } from "../iptables-parse.ts";
import { NETLINK_NETFILTER, setMembership } from "../socket.ts";
import { concernsUs, eventSet } from "./listing.ts";
import { isBook } from "./names.ts";
import type { Refusals } from "./socket.ts";
import type { NftState } from "./state.ts";

const NFNLGRP_NFTABLES = 7;
/** From a change to the look at it: tools write in bursts, and the runtime takes note of our own. */
const SETTLE_MS = 25;
/** Between two looks. */
const PERIOD_MS = 500;
/** Until a socket that could not be opened is tried again. */
const RETRY_MS = 5000;

/** One table that watches. */
interface Watcher {
  readonly owner: Owner;
  /** Compares Linux with what the runtime believes, and tells it. @throws {KernelError} */
  compare(sets: ReadonlySet<string> | "all"): Promise<readonly Drift<unknown>[]>;
  report(changes: readonly Drift<unknown>[]): void;
}

export interface NftWatchOptions {
  readonly namespace?: string;
  readonly onError?: (error: unknown) => void;
}

export class NftWatch {
  readonly #state: NftState;
  readonly #options: NftWatchOptions;
  readonly #watchers = new Set<Watcher>();
  /** Sets whose elements moved, as nf_tables calls them. */
  #moved: Set<string> | "all" = new Set();
  #check: ReturnType<typeof setTimeout> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #checked = -Infinity;
  #listening = false;
  #stopEvents: (() => void) | undefined;
  #closed = false;

  constructor(state: NftState, options: NftWatchOptions = {}) {
    this.#state = state;
    this.#options = options;
  }

  add<T>(
    resource: Resource<T>,
    owner: Owner,
    context: WatchContext<T>,
    list: () => Promise<readonly Actual<T>[]>,
  ): () => void {
    return this.#watch({
      owner,
      compare: async () => compared(resource, context.actual, await list()),
      report: (changes) => context.drift(changes as readonly Drift<T>[]),
    });
  }

  /** @param list of some sets, by their names in the compiled form, or of all */
  addMembers(
    owner: Owner,
    context: WatchContext<IpSetMember>,
    list: (only?: ReadonlySet<string>) => Promise<readonly Actual<IpSetMember>[]>,
  ): () => void {
    return this.#watch({
      owner,
      async compare(sets) {
        if (sets === "all") return compared(ipsetMember, context.actual, await list());
        const names = new Set(
          [...sets].flatMap((name) => [name, `inet6:${name}`]).filter((name) =>
            ownsSet(owner, name)
          ),
        );
        if (names.size === 0) return [];
        const believed = new Map(
          [...context.actual].filter(([, { item }]) => names.has(item.set)),
        );
        return compared(ipsetMember, believed, await list(names));
      },
      report: (changes) => context.drift(changes as readonly Drift<IpSetMember>[]),
    });
  }

  close(): void {
    this.#closed = true;
    this.#state.unheard = undefined;
    clearTimeout(this.#check);
    clearTimeout(this.#retry);
    this.#stopEvents?.();
  }

  #watch(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    if (!this.#listening) {
      this.#listening = true;
      void this.#listen(false);
    }
    return () => this.#watchers.delete(watcher);
  }

  /** @param late whether something may have moved before the socket was open; the first time it opens at once */
  async #listen(late: boolean): Promise<void> {
    const { namespace, onError } = this.#options;
    try {
      const stop = await listenEvents(NETLINK_NETFILTER, [NFNLGRP_NFTABLES], {
        onMessage: (message) => {
          if (!concernsUs(message) || this.#state.isOurs(message.portId)) return;
          const set = eventSet(message);
          if (set !== undefined && this.#moved !== "all") {
            this.#moved.add(isBook(set) ? set.slice(0, set.lastIndexOf(".")) : set);
          }
          this.#schedule();
        },
        // 20,000 rules of our own are as many events: to read and drop them takes longer than to write them.
        onOpen: (fd) => {
          muteSenders(fd, [this.#state.portId]);
          this.#state.unheard = (send) => this.#unheard(fd, send);
        },
        onClose: () => this.#state.unheard = undefined,
        onLost: () => {
          this.#moved = "all";
          this.#schedule();
        },
        ...(onError === undefined ? {} : { onError }),
      }, namespace === undefined ? {} : { namespace });
      if (this.#closed) stop();
      else this.#stopEvents = stop;
      if (!late) return;
      this.#moved = "all";
      this.#schedule();
    } catch (error) {
      onError?.(error);
      if (!this.#closed) this.#retry = setTimeout(() => void this.#listen(true), RETRY_MS).unref();
    }
  }

  /**
   * Linux makes an event of each of 20,000 rules as long as anybody listens, which is a third of what it takes to write them. So
   * nobody does meanwhile, and by the number of the rule set's state it is seen whether that was the only change.
   */
  #unheard(fd: number, send: () => Refusals): Refusals {
    const before = this.#state.currentGeneration();
    let own = before;
    setMembership(fd, NFNLGRP_NFTABLES, false);
    try {
      const refusals = send();
      if (refusals.size === 0) own = following(before);
      return refusals;
    } finally {
      if (!setMembership(fd, NFNLGRP_NFTABLES, true)) this.#listenAnew();
      else if (this.#state.currentGeneration() !== own) {
        this.#moved = "all";
        this.#schedule();
      }
    }
  }

  #listenAnew(): void {
    this.#state.unheard = undefined;
    this.#stopEvents?.();
    this.#stopEvents = undefined;
    void this.#listen(true);
  }

  #schedule(): void {
    if (this.#check !== undefined || this.#closed) return;
    const wait = Math.max(SETTLE_MS, this.#checked + PERIOD_MS - performance.now());
    this.#check = setTimeout(() => void this.#look(), wait).unref();
  }

  async #look(): Promise<void> {
    this.#check = undefined;
    this.#checked = performance.now();
    const before = this.#state.generation;
    if (this.#state.busy) return this.#schedule();
    const sets = this.#moved;
    this.#moved = new Set();
    const again = (): void => {
      if (sets === "all" || this.#moved === "all") this.#moved = "all";
      else for (const set of sets) this.#moved.add(set);
      this.#schedule();
    };
    try {
      // Who is told first is repaired first.
      const watchers = [...this.#watchers]
        .toSorted((a, b) => rank(a.owner.name) - rank(b.owner.name));
      for (const watcher of watchers) {
        const changes = await watcher.compare(sets);
        if (this.#closed) return;
        // We wrote meanwhile: what was read is old.
        if (this.#state.busy || this.#state.generation !== before) return again();
        if (changes.length > 0) watcher.report(changes);
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      if (this.#closed) return;
      this.#options.onError?.(error);
      again();
    }
  }
}

/** The number of the state behind that of a number: 32 bits, of which none are 0. */
function following(generation: number): number {
  return generation === 0xffffffff ? 1 : generation + 1;
}
