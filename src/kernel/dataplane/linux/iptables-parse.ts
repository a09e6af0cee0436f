/** Reads what `iptables-save` prints, as far as our own chains and jumps are concerned. */

import type { Owner } from "../dataplane.ts";
import type { Family } from "../resource.ts";
import type { Chain, FilterRule, FilterTable, Jump } from "../resources/filter.ts";
import { ownsChain } from "./iptables-names.ts";

/** One rule of a saved table. */
export interface SavedRule {
  readonly chain: string;
  /** What follows "-A CHAIN ". */
  readonly text: string;
  /** Target chain or extension, if there is one. */
  readonly target: string | undefined;
  /** Our mark, if the comment has one. */
  readonly mark:
    | { readonly owner: string; readonly first: boolean; readonly hash: string }
    | undefined;
}

export interface SavedTable {
  /** Names of the chains that are not Linux's own. */
  readonly chains: ReadonlySet<string>;
  readonly rules: readonly SavedRule[];
}

const TABLES: readonly string[] = ["filter", "nat", "mangle", "raw"] satisfies FilterTable[];
const BASE = new Set<string>(
  ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"] satisfies Jump["from"][],
);
const MARK = /\broutelet:([a-z][a-z0-9-]*):(first:)?([0-9a-f]{14})"?(?= |$)/;
/** The target stands outside of quotes; a comment may hold " -j ". */
const QUOTED = /"(?:[^"\\]|\\.)*"/g;
const TARGET = /(?:^| )-[jg] (\S+)/;

/** Splits a save into its tables. Lines that are not understood are skipped. */
export function parseSave(text: string): ReadonlyMap<FilterTable, SavedTable> {
  const tables = new Map<FilterTable, { chains: Set<string>; rules: SavedRule[] }>();
  let current: { chains: Set<string>; rules: SavedRule[] } | undefined;
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      const name = line.slice(1).trim();
      current = undefined;
      if (!TABLES.includes(name)) continue;
      current = { chains: new Set(), rules: [] };
      tables.set(name as FilterTable, current);
    } else if (current === undefined) continue;
    else if (line.startsWith(":")) {
      const [name, policy] = line.slice(1).split(" ");
      if (name !== undefined && policy === "-") current.chains.add(name);
    } else {
      const rule = parseRule(line);
      if (rule !== undefined) current.rules.push(rule);
    }
  }
  return tables;
}

function parseRule(line: string): SavedRule | undefined {
  // With counters ("[1:60] -A …") or without.
  const found = /^(?:\[\d+:\d+\] )?-A (\S+)(?: (.*))?$/.exec(line);
  if (found === null) return undefined;
  const [, chain = "", text = ""] = found;
  const mark = MARK.exec(text);
  const target = TARGET.exec(text.replaceAll(QUOTED, '""'))?.[1];
  return {
    chain,
    text,
    target,
    mark: mark === null
      ? undefined
      : { owner: mark[1] ?? "", first: mark[2] !== undefined, hash: mark[3] ?? "" },
  };
}

/** The owner's chains in a save. Rules are opaque: their hash stands for them. */
export function savedChains(
  family: Family,
  tables: ReadonlyMap<FilterTable, SavedTable>,
  owner: Owner,
): readonly Chain[] {
  return [...tables].flatMap(([table, { chains, rules }]) => {
    const ours = new Map<string, FilterRule[]>();
    for (const name of chains) if (ownsChain(owner, name)) ours.set(name, []);
    for (const rule of rules) ours.get(rule.chain)?.push(opaque(rule));
    return [...ours].map(([name, list]): Chain => ({ family, table, name, rules: list }));
  });
}

function opaque(rule: SavedRule): FilterRule {
  // A rule in our chain that is not ours can be equal to none that we want.
  const hash = rule.mark?.hash ?? `foreign ${rule.text}`;
  return { matches: [], target: { kind: "return" }, hash };
}

/** The owner's jumps in a save, and the lines that make them up: more than one where somebody added another. */
export interface SavedJump {
  readonly jump: Jump;
  readonly lines: readonly string[];
}

/** Jumps from Linux's chains to chains of the owner, whoever placed them: without our chain they mean nothing. */
export function savedJumps(
  family: Family,
  tables: ReadonlyMap<FilterTable, SavedTable>,
  owner: Owner,
): readonly SavedJump[] {
  const jumps: SavedJump[] = [];
  for (const [table, { chains, rules }] of tables) {
    const foreignBefore = new Set<string>();
    const seen = new Map<string, number>();
    for (const rule of rules) {
      const ours = BASE.has(rule.chain) && rule.target !== undefined &&
        chains.has(rule.target) && ownsChain(owner, rule.target);
      if (ours) {
        const name = `${rule.chain} ${rule.target}`;
        const at = seen.get(name);
        const line = `${rule.chain} ${rule.text}`;
        const jump = savedJump(family, table, rule, foreignBefore.has(rule.chain));
        if (at === undefined) {
          seen.set(name, jumps.length);
          jumps.push({ jump, lines: [line] });
        } else {
          const twice = jumps[at];
          if (twice !== undefined) {
            jumps[at] = { jump: { ...jump, hash: "twice" }, lines: [...twice.lines, line] };
          }
        }
      }
      if (isInTheWay(rule, owner)) foreignBefore.add(rule.chain);
    }
  }
  return jumps;
}

/**
 * Others of ours may come first as well: only foreign rules are in the way. But nothing may stand before the firewall: the
 * router accepts what pods send, and whatever meets that first never meets a policy.
 */
function isInTheWay({ mark }: SavedRule, owner: Owner): boolean {
  return mark === undefined || rank(mark.owner) > rank(owner.name);
}

/** Whether jumps of an owner that must be first are the first of all, whatever stands there. */
export function leads(owner: Owner): boolean {
  return rank(owner.name) === 0;
}

export function rank(owner: string): number {
  return owner === "firewall" ? 0 : 1;
}

/** Where a jump of the owner that must come first goes in a base chain, from 1: behind the firewall's. */
export function firstPlace(table: SavedTable | undefined, from: string, owner: Owner): number {
  let place = 1;
  for (const { chain, mark } of table?.rules ?? []) {
    if (chain !== from) continue;
    if (mark === undefined || !mark.first || rank(mark.owner) >= rank(owner.name)) break;
    place++;
  }
  return place;
}

function savedJump(
  family: Family,
  table: FilterTable,
  rule: SavedRule,
  foreignBefore: boolean,
): Jump {
  const first = rule.mark?.first === true && !foreignBefore;
  return {
    family,
    table,
    from: rule.chain as Jump["from"],
    to: rule.target ?? "",
    matches: [],
    hash: rule.mark?.hash ?? `foreign ${rule.text}`,
    ...(first ? { first } : {}),
  };
}
