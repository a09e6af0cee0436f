/** What all tables of the nftables backend share: its sockets, what Linux has of ours, and whose changes are under way. */

import { KernelError } from "../../errors.ts";
import type { Family } from "../../resource.ts";
import { errno } from "../errno.ts";
import { loadModule } from "../genl.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "../socket.ts";
import {
  type ChainRead,
  type ElementRead,
  readChain,
  readElements,
  readGeneration,
  readRule,
  readSet,
  readTable,
  type RuleRead,
  type SetRead,
} from "./listing.ts";
import {
  MSG,
  writeDeleteChain,
  writeDeleteTable,
  writeGet,
  writeGetGeneration,
} from "./messages.ts";
import { parseHookName, TABLE } from "./names.ts";
import { type Around, BatchSocket, type Refusals, type Write } from "./socket.ts";

export const FAMILIES: readonly Family[] = [4, 6];
const RESTARTS = 10;

export const MISSING = new KernelError("use nftables", "ENOSUPPORT", {
  detail: "this Linux has no nf_tables",
  remedy: 'load it on the host with "modprobe nf_tables", or choose --netfilter=iptables',
});

export class NftState {
  readonly #options: { readonly namespace?: number | string };
  #reading: NetlinkSocket | undefined;
  #writing: BatchSocket | undefined;
  #loaded: Promise<unknown> | undefined;
  #there = false;
  #applying = 0;
  /** Counts our own changes: what was read before one of them is old after it. */
  generation = 0;
  /** By set: how many members it has at most, as it was read and written here. */
  readonly mostMembers = new Map<string, number>();
  /** Sends a large transaction while nobody of us listens, whoever does. */
  unheard: Around | undefined;
  /** Told when a set was made anew, which may lose its members. */
  readonly emptied = new Set<() => void>();

  constructor(options: { readonly namespace?: number | string } = {}) {
    this.#options = options;
  }

  close(): void {
    this.#reading?.close();
    this.#writing?.close();
    this.#reading = this.#writing = undefined;
  }

  /** Whether ops are being carried out now. */
  get busy(): boolean {
    return this.#applying > 0;
  }

  /** Whether a netlink port id is that of our changes. */
  isOurs(portId: number): boolean {
    return this.#writing?.portId === portId;
  }

  /** The netlink port id of our changes. @throws {KernelError} when the socket for them cannot be opened */
  get portId(): number {
    return this.#writer.portId;
  }

  get #writer(): BatchSocket {
    return this.#writing ??= new BatchSocket(this.#options);
  }

  /** Runs `work`, which changes rules or sets, and removes what it left empty. */
  async applying<R>(work: () => Promise<R>): Promise<R> {
    this.#applying++;
    this.generation++;
    try {
      return await work();
    } finally {
      this.#applying--;
    }
  }

  /** @throws {KernelError} ENOSUPPORT where Linux has no nf_tables */
  async found(): Promise<void> {
    if (this.#there) return;
    try {
      this.currentGeneration();
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      if (!["EINVAL", "EOPNOTSUPP", "EPROTONOSUPPORT"].includes(error.code)) throw error;
      this.#loaded ??= loadModule("nf_tables");
      await this.#loaded;
      try {
        this.currentGeneration();
      } catch {
        throw MISSING;
      }
    }
    this.#there = true;
  }

  /** The number of the rule set's present state, that of others' tables included. @throws {KernelError} */
  currentGeneration(): number {
    let generation = 0;
    this.#socket.request("read nf_tables", writeGetGeneration, (message) => {
      generation = readGeneration(message) ?? generation;
    });
    return generation;
  }

  /** One transaction. @throws {KernelError} as {@linkcode BatchSocket.batch} */
  batch(op: string, messages: readonly Write[], generation?: number): Refusals {
    return this.#writer.batch(op, messages, generation, this.unheard);
  }

  /**
   * One transaction that depends on what was read: `compose` reads and says what to write, again where others changed
   * something meanwhile.
   */
  async consistent(op: string, compose: () => Promise<readonly Write[]>): Promise<Refusals> {
    for (let attempt = 1;; attempt++) {
      const generation = this.currentGeneration();
      const refusals = this.batch(op, await compose(), generation);
      if (refusals.get(-1)?.errno !== errno.ERESTART || attempt >= RESTARTS) return refusals;
      await Bun.sleep(attempt);
    }
  }

  async table(family: Family): Promise<{ readonly use: number } | undefined> {
    const found = await this.#socket.dump(
      "list tables",
      (w) => writeGet(w, MSG.getTable, family),
      readTable,
    );
    const [table] = found;
    if (table === undefined || table.ours) return table;
    throw new KernelError("use nftables table", "EEXIST", {
      object: `${family === 4 ? "ip" : "ip6"} ${TABLE}`,
      detail: "it is not ours",
      remedy: "rename or delete it",
    });
  }

  async chains(family: Family): Promise<readonly ChainRead[]> {
    await this.table(family);
    return await this.#socket.dump(
      "list chains",
      (w) => writeGet(w, MSG.getChain, family),
      readChain,
    );
  }

  /** @param whole of which chains the rules' expressions are read too; the others say of themselves their mark alone */
  async rules(family: Family, whole: (chain: string) => boolean): Promise<readonly RuleRead[]> {
    return await this.#socket.dump(
      "list rules",
      (w) => writeGet(w, MSG.getRule, family),
      (message) => readRule(message, whole),
    );
  }

  /** The rules of one chain as a whole; none where there is no such chain. */
  async rulesOf(family: Family, chain: string): Promise<readonly RuleRead[]> {
    const found = await this.#unlessGone(() =>
      this.#socket.dump(
        "list rules",
        (w) => writeGet(w, MSG.getRule, family, chain),
        (message) => readRule(message, () => true),
      )
    );
    // Linux leaves out the others, as far as it knows how.
    return found.filter((rule) => rule.chain === chain);
  }

  async sets(family: Family): Promise<readonly SetRead[]> {
    await this.table(family);
    return await this.#unlessGone(() =>
      this.#socket.dump("list sets", (w) => writeGet(w, MSG.getSet, family), readSet)
    );
  }

  /** One set by its name; undefined where it is gone. @throws {KernelError} */
  async set(family: Family, name: string): Promise<SetRead | undefined> {
    await this.table(family);
    const found = await this.#unlessGone(() => {
      let read: SetRead | undefined;
      this.#socket.request(
        "read set",
        (w) => writeGet(w, MSG.getSet, family, name),
        (message) => read ??= readSet(message),
      );
      return Promise.resolve(read === undefined ? [] : [read]);
    });
    return found[0];
  }

  /** The elements of a set; none where it is gone. */
  async elements(family: Family, set: string): Promise<readonly ElementRead[]> {
    const parts = await this.#unlessGone(() =>
      this.#socket.dump(
        "list set",
        (w) => writeGet(w, MSG.getElement, family, set),
        readElements,
      )
    );
    return parts.flat();
  }

  async #unlessGone<T>(read: () => Promise<readonly T[]>): Promise<readonly T[]> {
    try {
      return await read();
    } catch (error) {
      if (error instanceof KernelError && error.code === "ENOENT") return [];
      throw error;
    }
  }

  /** Removes hooks that call nothing, and tables with nothing in them. */
  async tidy(): Promise<void> {
    for (const family of FAMILIES) {
      if (await this.table(family) === undefined) continue;
      await this.consistent("tidy nftables", async () => {
        const idle = (await this.chains(family)).filter(({ name, use }) =>
          use === 0 && parseHookName(name) !== undefined
        );
        const use = (await this.table(family))?.use;
        if (use === undefined) return [];
        return [
          ...idle.map(({ name }): Write => (w) => writeDeleteChain(w, family, name)),
          ...(use === idle.length ? [(w) => writeDeleteTable(w, family)] satisfies Write[] : []),
        ];
      });
    }
  }

  get #socket(): NetlinkSocket {
    this.#reading ??= new NetlinkSocket(NETLINK_NETFILTER, this.#options);
    return this.#reading;
  }
}
