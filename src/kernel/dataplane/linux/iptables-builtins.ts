/**
 * Tables and built-in chains that iptables-nft makes in nf_tables where a rule needs them, and never takes back. Those that were
 * not there before our first write are marked in a ledger, and go again when they are empty. (ip_tables, the legacy variant, keeps a
 * table until its module is unloaded; nobody can take that back.)
 */

import { KernelError } from "../errors.ts";
import type { Family } from "../resource.ts";
import { errno } from "./errno.ts";
import type { Ledger } from "./ledger.ts";
import type { MessageReader } from "./message.ts";
import {
  AF_INET,
  AF_INET6,
  MSG,
  NFGENMSG,
  NFNL_SUBSYS_NFTABLES,
  writeGetGeneration,
} from "./nft/messages.ts";
import { readGeneration } from "./nft/listing.ts";
import { BatchSocket, type Write } from "./nft/socket.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "./socket.ts";

const AF = { 4: AF_INET, 6: AF_INET6 } as const;
const NF_ACCEPT = 1;
const RESTARTS = 10;

/** The built-in chains of iptables' tables. */
const BUILTINS: Readonly<Record<string, readonly string[]>> = {
  filter: ["INPUT", "FORWARD", "OUTPUT"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  raw: ["PREROUTING", "OUTPUT"],
};

/** A chain of any table, as Linux lists it. */
export interface ChainInTable {
  readonly table: string;
  readonly name: string;
  /** Rules in it and jumps to it. */
  readonly use: number;
  /** It is called by Linux and accepts what its rules do not decide. */
  readonly accepts: boolean;
}

export interface TableInLinux {
  readonly name: string;
  /** Chains, sets and other things in it. */
  readonly use: number;
}

/** The tables and built-in chains of a family, as "4 nat" and "4 nat POSTROUTING", that iptables-nft would have to make. */
export function missing(
  family: Family,
  tables: readonly string[],
  there: readonly TableInLinux[],
  chains: readonly ChainInTable[],
): readonly string[] {
  return tables.flatMap((table) => [
    ...(there.some(({ name }) => name === table) ? [] : [`${family} ${table}`]),
    ...(BUILTINS[table] ?? []).filter((name) =>
      !chains.some((chain) => chain.table === table && chain.name === name)
    ).map((name) => `${family} ${table} ${name}`),
  ]);
}

/** Which of the marked ones say nothing any more: chains without rules, and tables with nothing but them. */
export function idle(
  family: Family,
  marked: ReadonlySet<string>,
  there: readonly TableInLinux[],
  chains: readonly ChainInTable[],
): { readonly chains: readonly ChainInTable[]; readonly tables: readonly string[] } {
  const empty = chains.filter(({ table, name, use, accepts }) =>
    use === 0 && accepts && marked.has(`${family} ${table} ${name}`)
  );
  const tables = there.filter(({ name, use }) =>
    marked.has(`${family} ${name}`) && use === empty.filter(({ table }) => table === name).length
  ).map(({ name }) => name);
  return { chains: empty, tables };
}

export class IptablesBuiltins {
  readonly #options: { readonly namespace?: number | string };
  readonly #ledger: () => Ledger;
  /** Family and table that were looked at: "4 nat". */
  readonly #known = new Set<string>();
  #reading: NetlinkSocket | undefined;
  /** The look before: both families are written at a time, and there is one socket to read with. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: { readonly namespace?: number | string }, ledger: () => Ledger) {
    this.#options = options;
    this.#ledger = ledger;
  }

  close(): void {
    this.#reading?.close();
    this.#reading = undefined;
  }

  /** To be called before iptables-nft writes to these tables. @throws {KernelError} where the marks cannot be written */
  before(family: Family, tables: readonly string[]): Promise<void> {
    const turn = this.#turn.then(() => this.#look(family, tables));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #look(family: Family, tables: readonly string[]): Promise<void> {
    const fresh = tables.filter((table) => !this.#known.has(`${family} ${table}`));
    if (fresh.length === 0) return;
    this.#ledger().add(
      missing(family, fresh, await this.#tables(family), await this.#chains(family)),
    );
    for (const table of fresh) this.#known.add(`${family} ${table}`);
  }

  /** Removes what is marked and empty, and all marks. @returns a line for each. @throws {KernelError} */
  async tidy(): Promise<readonly string[]> {
    const marked = new Set(this.#ledger().keys());
    if (marked.size === 0) return [];
    this.#known.clear();
    const removed: string[] = [];
    for (const family of [4, 6] as const) removed.push(...await this.#tidyFamily(family, marked));
    // What still has rules is others' from now on.
    this.#ledger().remove(marked);
    return removed;
  }

  async #tidyFamily(family: Family, marked: ReadonlySet<string>): Promise<readonly string[]> {
    for (let attempt = 1;; attempt++) {
      const generation = this.#generation();
      const { chains, tables } = idle(
        family,
        marked,
        await this.#tables(family),
        await this.#chains(family),
      );
      const writes: Write[] = [
        ...chains.map(({ table, name }): Write => (w) => writeDelete(w, family, table, name)),
        ...tables.map((table): Write => (w) => writeDelete(w, family, table)),
      ];
      if (writes.length === 0) return [];
      const socket = new BatchSocket(this.#options);
      try {
        // Of another generation a rule may have come into a chain meanwhile: Linux refuses, and we look again.
        const refusals = socket.batch("remove empty tables of iptables", writes, generation);
        if (refusals.size === 0) {
          const tool = family === 4 ? "iptables" : "ip6tables";
          return [
            ...chains.map(({ table, name }) => `empty chain ${name} of ${tool} -t ${table}`),
            ...tables.map((table) => `empty table ${table} of ${tool}`),
          ];
        }
        if (refusals.get(-1)?.errno !== errno.ERESTART || attempt >= RESTARTS) {
          const [[, refusal] = [0, { errno: errno.EINVAL }]] = [...refusals];
          throw new KernelError("remove empty tables of iptables", "EBUSY", {
            object: family === 4 ? "ip" : "ip6",
            detail: `Linux refused with errno ${refusal.errno}`,
            remedy: "run the cleanup again",
          });
        }
      } finally {
        socket.close();
      }
      await Bun.sleep(attempt);
    }
  }

  #generation(): number {
    let generation = 0;
    this.#socket.request("read nf_tables", writeGetGeneration, (message) => {
      generation = readGeneration(message) ?? generation;
    });
    return generation;
  }

  async #tables(family: Family): Promise<readonly TableInLinux[]> {
    return await this.#socket.dump(
      "list tables",
      (w) => writeAsk(w, MSG.getTable, family),
      readTable,
    );
  }

  async #chains(family: Family): Promise<readonly ChainInTable[]> {
    return await this.#socket.dump(
      "list chains",
      (w) => writeAsk(w, MSG.getChain, family),
      readChain,
    );
  }

  get #socket(): NetlinkSocket {
    this.#reading ??= new NetlinkSocket(NETLINK_NETFILTER, this.#options);
    return this.#reading;
  }
}

type Writer = Parameters<Write>[0];

function begin(w: Writer, type: number, family: Family): void {
  w.begin(NFNL_SUBSYS_NFTABLES << 8 | type);
  w.rawU8(AF[family]);
  w.rawU8(0);
  w.rawU16(0, true);
}

function writeAsk(w: Writer, type: number, family: Family): void {
  begin(w, type, family);
  w.end();
}

function writeDelete(w: Writer, family: Family, table: string, chain?: string): void {
  begin(w, chain === undefined ? MSG.delTable : MSG.delChain, family);
  w.string(1, table);
  if (chain !== undefined) w.string(3, chain);
  w.end();
}

export function readTable(message: MessageReader): TableInLinux | undefined {
  if (message.type !== (NFNL_SUBSYS_NFTABLES << 8 | MSG.newTable)) return undefined;
  let name = "";
  let use = 0;
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type === 1) name = a.string();
    else if (a.type === 3) use = a.u32be();
  }
  if (a.error !== undefined) message.error ??= a.error;
  return { name, use };
}

export function readChain(message: MessageReader): ChainInTable | undefined {
  if (message.type !== (NFNL_SUBSYS_NFTABLES << 8 | MSG.newChain)) return undefined;
  let table = "";
  let name = "";
  let use = 0;
  let hooked = false;
  let policy = NF_ACCEPT;
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type === 1) table = a.string();
    else if (a.type === 3) name = a.string();
    else if (a.type === 4) hooked = true;
    else if (a.type === 5) policy = a.u32be();
    else if (a.type === 6) use = a.u32be();
  }
  if (a.error !== undefined) message.error ??= a.error;
  return { table, name, use, accepts: hooked && policy === NF_ACCEPT };
}
