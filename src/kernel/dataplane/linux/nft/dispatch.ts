/**
 * Jumps by address as one lookup. A node's chains for its pods are called by a rule an address; in a row they are one verdict map,
 * which takes the time of one rule however many there are. Pure.
 *
 * Each jump stays what it was: its hash stands at its element, with its place in the row, so that a list gives the rules back.
 */

import type { Family } from "../../resource.ts";
import { type FilterRule, ruleHash } from "../../resources/filter.ts";
import { addressBytes } from "./expressions.ts";

/** A jump of a map. */
export interface DispatchEntry {
  readonly address: Uint8Array;
  /** As the compiled form calls it. */
  readonly chain: string;
  readonly comment?: string;
  readonly hash: string;
}

/** Rules in a row that one lookup stands for. */
export interface Dispatch {
  readonly side: "source" | "destination";
  readonly entries: readonly DispatchEntry[];
  /** Stands for all of them. */
  readonly hash: string;
}

/** Fewer are as quick as rules. */
const FEWEST = 3;
const LENGTH = { 4: 4, 6: 16 } as const;

interface Single {
  readonly side: Dispatch["side"];
  readonly entry: DispatchEntry;
}

/** The jump of a rule that asks one whole address and nothing else. */
function single(family: Family, rule: FilterRule): Single | undefined {
  const [match, more] = rule.matches;
  if (match === undefined || more !== undefined || rule.target.kind !== "jump") return undefined;
  if ((match.kind !== "source" && match.kind !== "destination") || match.negate === true) {
    return undefined;
  }
  const [text = "", size = String(LENGTH[family] * 8)] = match.prefix.split("/");
  const address = addressBytes(text, LENGTH[family]);
  if (address === undefined || Number(size) !== LENGTH[family] * 8) return undefined;
  const { comment, target: { chain } } = rule;
  const entry = { address, chain, hash: ruleHash(rule) };
  return { side: match.kind, entry: comment === undefined ? entry : { ...entry, comment } };
}

/**
 * A chain's rules, those in a row that jump by one side's address taken together. A packet has one address of each side, so of such
 * rules it meets one, and goes on behind the last of them when that chain returns: what one lookup does. An address that comes
 * again begins another row.
 *
 * A chain that asks sets is left as it is: where a set is made anew its rules are put back as Linux gave them, and a map would
 * be gone by then.
 */
export function dispatched(
  family: Family,
  rules: readonly FilterRule[],
): readonly (FilterRule | Dispatch)[] {
  if (rules.some(({ matches }) => matches.some(({ kind }) => kind === "set"))) return rules;
  const all: (FilterRule | Dispatch)[] = [];
  let row: FilterRule[] = [];
  let entries: DispatchEntry[] = [];
  let side: Dispatch["side"] = "source";
  const seen = new Set<string>();
  const close = (): void => {
    if (row.length < FEWEST) all.push(...row);
    else all.push({ side, entries, hash: hashOf(entries) });
    row = [];
    entries = [];
    seen.clear();
  };
  for (const rule of rules) {
    const one = single(family, rule);
    const key = one?.entry.address.toHex() ?? "";
    if (one === undefined || one.side !== side || seen.has(key)) close();
    if (one === undefined) {
      all.push(rule);
      continue;
    }
    ({ side } = one);
    seen.add(key);
    row.push(rule);
    entries.push(one.entry);
  }
  close();
  return all;
}

function hashOf(entries: readonly DispatchEntry[]): string {
  return ruleHash({ matches: [], comment: entries.map(({ hash }) => hash).join(" ") });
}

export function isDispatch(item: FilterRule | Dispatch): item is Dispatch {
  return "entries" in item;
}

const COMMENT = "jumps by address ";

/** The comment of a map, by which a list finds it. */
export function mapComment({ hash }: Pick<Dispatch, "hash">): string {
  return `${COMMENT}${hash}`;
}

/** The hash in a map's comment; undefined where the set is another. */
export function mapHash(comment: string | undefined): string | undefined {
  return comment?.startsWith(COMMENT) === true ? comment.slice(COMMENT.length) : undefined;
}

/** The mark of an element: its place in the row, and the hash of its rule. */
export function entryMark(place: number, { hash }: Pick<DispatchEntry, "hash">): string {
  return `${place} ${hash}`;
}

/** The hashes of a map's rules in their order, by the marks of its elements; undefined where one is missing. */
export function hashesOf(marks: readonly (string | undefined)[]): readonly string[] | undefined {
  const hashes = new Map<number, string>();
  for (const mark of marks) {
    const [, place, hash] = /^(\d+) ([0-9a-f]{14})$/.exec(mark ?? "") ?? [];
    if (hash === undefined) return undefined;
    hashes.set(Number(place), hash);
  }
  const list = marks.map((_, i) => hashes.get(i));
  return list.every((hash) => hash !== undefined) ? list : undefined;
}
