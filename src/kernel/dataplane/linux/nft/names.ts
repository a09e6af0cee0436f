/** What chains and sets of the compiled form are called in nf_tables. Every family has one table, for all of iptables' tables. */

import type { Family } from "../../resource.ts";
import type { Chain, FilterTable, Jump } from "../../resources/filter.ts";

/** Our table, in the families ip and ip6. */
export const TABLE = "routelet";

/** A chain of "filter" has its own name, one of another table that table before it: "nat/KUBE-ROUTER-MASQUERADE". */
export function chainName({ table, name }: Pick<Chain, "table" | "name">): string {
  return table === "filter" ? name : `${table}/${name}`;
}

const TABLES: readonly string[] = ["nat", "mangle", "raw"] satisfies FilterTable[];

/** Table and name of a chain by its name in nf_tables. */
export function parseChainName(text: string): Pick<Chain, "table" | "name"> {
  const slash = text.indexOf("/");
  const table = text.slice(0, Math.max(0, slash));
  return TABLES.includes(table)
    ? { table: table as FilterTable, name: text.slice(slash + 1) }
    : { table: "filter", name: text };
}

/** One hook of Linux, at one of two places: before or behind what iptables has in that table. */
export interface Hook extends Pick<Jump, "table" | "from"> {
  readonly first: boolean;
}

const LATE = "-late";

export function hookName({ table, from, first }: Hook): string {
  return chainName({ table, name: `${from}${first ? "" : LATE}` });
}

const FROM = /^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)(-late)?$/;

/** The hook of a base chain of ours by its name; undefined for other chains. */
export function parseHookName(text: string): Hook | undefined {
  const { table, name } = parseChainName(text);
  const found = FROM.exec(name);
  return found === null
    ? undefined
    : { table, from: found[1] as Jump["from"], first: found[2] === undefined };
}

const HOOKS = { PREROUTING: 0, INPUT: 1, FORWARD: 2, OUTPUT: 3, POSTROUTING: 4 } as const;
const PRIORITIES = { raw: -300, mangle: -150, filter: 0 } as const;

/** Where Linux calls a base chain: right before, or right behind, iptables' table of that name. */
export function hookPlace({ table, from, first }: Hook): {
  readonly type: "filter" | "nat" | "route";
  readonly hook: number;
  readonly priority: number;
} {
  const destination = from === "PREROUTING" || from === "OUTPUT";
  const priority = table === "nat" ? (destination ? -100 : 100) : PRIORITIES[table];
  return {
    // Of what leaves the host, a mark that is set in mangle has the route looked up again.
    type: table === "nat" ? "nat" : table === "mangle" && from === "OUTPUT" ? "route" : "filter",
    hook: HOOKS[from],
    priority: priority + (first ? -1 : 1),
  };
}

const IPV6 = "inet6:";

/** Sets of IPv6 have a table of their own, and nft cannot read a colon in a name. */
export function setName(name: string, family: Family): string {
  return family === 6 && name.startsWith(IPV6) ? name.slice(IPV6.length) : name;
}

const BOOK = ".members";

/** The set in which the members of a set of networks stand as they were given: intervals must not overlap. */
export function bookName(set: string): string {
  return `${set}${BOOK}`;
}

export function isBook(set: string): boolean {
  return set.endsWith(BOOK);
}
