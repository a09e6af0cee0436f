/** nf_tables messages over nfnetlink (linux/netfilter/nf_tables.h), written. Pure. */

import type { Family } from "../../resource.ts";
import { type MessageWriter, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL } from "../message.ts";
import type { KeyType } from "./elements.ts";
import { type Expression, writeExpressions, writeJump } from "./expressions.ts";
import { following, type Range } from "./intervals.ts";
import { hookPlace, parseHookName, TABLE } from "./names.ts";
import { writeRuleData, writeText } from "./userdata.ts";

export const NFNL_SUBSYS_NFTABLES = 10;
/** Bytes of struct nfgenmsg. */
export const NFGENMSG = 4;
const NFNL_MSG_BATCH_BEGIN = 0x10;
const NFNL_MSG_BATCH_END = 0x11;
const NFNL_BATCH_GENID = 1;

export const MSG = {
  newTable: 0,
  getTable: 1,
  delTable: 2,
  newChain: 3,
  getChain: 4,
  delChain: 5,
  newRule: 6,
  getRule: 7,
  delRule: 8,
  newSet: 9,
  getSet: 10,
  delSet: 11,
  newElement: 12,
  getElement: 13,
  delElement: 14,
  newGeneration: 15,
  getGeneration: 16,
} as const;

export const AF_INET = 2;
export const AF_INET6 = 10;
const AF = { 4: AF_INET, 6: AF_INET6 } as const;
const NF_ACCEPT = 1;
const NFTA_LIST_ELEM = 1;
const NFTA_DATA_VALUE = 1;
export const NFTA_RULE_EXPRESSIONS = 4;
/** Flags of sets. */
const SET_ANONYMOUS = 1;
const SET_CONSTANT = 2;
const SET_INTERVAL = 4;
const SET_MAP = 8;
const SET_TIMEOUT = 0x10;
const SET_CONCAT = 0x80;
export const ELEM_INTERVAL_END = 1;
/** NFT_DATA_VERDICT: a map whose values are verdicts. */
const DATA_VERDICT = 0xffffff00;

/** Text in the user data of our tables: nft prints it as their comment. */
export const TABLE_COMMENT = "routelet";

function begin(w: MessageWriter, type: number, family: Family | 0, flags = 0): void {
  w.begin(NFNL_SUBSYS_NFTABLES << 8 | type, flags);
  header(w, family === 0 ? 0 : AF[family], 0);
}

function header(w: MessageWriter, family: number, resource: number): void {
  w.rawU8(family);
  w.rawU8(0);
  w.rawU16(resource, true);
}

/** @param generation that Linux must still have, or it refuses the whole batch with ERESTART */
export function writeBatchBegin(w: MessageWriter, generation?: number): void {
  w.begin(NFNL_MSG_BATCH_BEGIN);
  header(w, 0, NFNL_SUBSYS_NFTABLES);
  if (generation !== undefined) w.u32be(NFNL_BATCH_GENID, generation);
  w.end();
}

export function writeBatchEnd(w: MessageWriter): void {
  w.begin(NFNL_MSG_BATCH_END);
  header(w, 0, NFNL_SUBSYS_NFTABLES);
  w.end();
}

export function writeGetGeneration(w: MessageWriter): void {
  begin(w, MSG.getGeneration, 0);
  w.end();
}

export function writeTable(w: MessageWriter, family: Family): void {
  begin(w, MSG.newTable, family, NLM_F_CREATE);
  w.string(1, TABLE);
  w.u32be(2, 0);
  writeText(w, 6, 0, TABLE_COMMENT);
  w.end();
}

export function writeDeleteTable(w: MessageWriter, family: Family): void {
  begin(w, MSG.delTable, family);
  w.string(1, TABLE);
  w.end();
}

/** A chain of ours, or one that Linux calls itself, by its name. One that is there stays. */
export function writeChain(w: MessageWriter, family: Family, name: string): void {
  begin(w, MSG.newChain, family, NLM_F_CREATE);
  w.string(1, TABLE);
  w.string(3, name);
  const hook = parseHookName(name);
  if (hook !== undefined) {
    const place = hookPlace(hook);
    const nest = w.open(4);
    w.u32be(1, place.hook);
    w.u32be(2, place.priority >>> 0);
    w.close(nest);
    w.u32be(5, NF_ACCEPT);
    w.string(7, place.type);
  }
  w.end();
}

export function writeDeleteChain(w: MessageWriter, family: Family, name: string): void {
  begin(w, MSG.delChain, family);
  w.string(1, TABLE);
  w.string(3, name);
  w.end();
}

/** Where a rule goes in its chain: to its end, to its head, or behind the rule of a handle. */
export type RulePlace = "end" | "head" | { readonly behind: bigint };

/** A rule to write: its expressions, each as such or as its bytes, or all those of a rule that was read, as they are. */
export interface RuleToWrite {
  readonly family: Family;
  readonly chain: string;
  readonly expressions: readonly (Expression | Uint8Array)[] | Uint8Array;
  readonly data: { readonly comment?: string; readonly mark: string } | Uint8Array;
}

export function writeRule(
  w: MessageWriter,
  { family, chain, expressions, data }: RuleToWrite,
  place: RulePlace = "end",
): void {
  begin(w, MSG.newRule, family, NLM_F_CREATE | (place === "head" ? 0 : NLM_F_APPEND));
  w.string(1, TABLE);
  w.string(2, chain);
  if (typeof place === "object") w.u64(6, place.behind, true);
  if (expressions instanceof Uint8Array) {
    const nest = w.open(NFTA_RULE_EXPRESSIONS);
    w.rawBytes(expressions);
    w.close(nest);
  } else writeExpressions(w, NFTA_RULE_EXPRESSIONS, expressions);
  if (!(data instanceof Uint8Array)) writeRuleData(w, 7, data);
  else if (data.length > 0) w.data(7, data);
  w.end();
}

/** Deletes one rule, or all of a chain. */
export function writeDeleteRule(
  w: MessageWriter,
  family: Family,
  chain: string,
  handle?: bigint,
): void {
  begin(w, MSG.delRule, family);
  w.string(1, TABLE);
  w.string(2, chain);
  if (handle !== undefined) w.u64(3, handle, true);
  w.end();
}

export interface SetToWrite {
  readonly family: Family;
  readonly name: string;
  readonly key: KeyType;
  /** Seconds; 0: members stay, but where a time is said with them. */
  readonly timeout?: number;
  readonly comment: string;
}

/** @param id tells the sets of one batch apart */
export function writeSet(w: MessageWriter, set: SetToWrite, id: number): void {
  const { family, name, key, timeout, comment } = set;
  begin(w, MSG.newSet, family, NLM_F_CREATE | NLM_F_EXCL);
  w.string(1, TABLE);
  w.string(2, name);
  const concatenated = key.fields.length > 1;
  const flags = (key.ranges ? SET_INTERVAL | (concatenated ? SET_CONCAT : 0) : 0) |
    (timeout !== undefined && timeout > 0 ? SET_TIMEOUT : 0);
  w.u32be(3, flags);
  w.u32be(4, key.type);
  w.u32be(5, key.length);
  w.u32be(10, id);
  // Without a size: Linux would take the memory for all of it at once.
  if (key.ranges && concatenated) {
    const desc = w.open(9);
    const concat = w.open(2);
    for (const length of key.fields) {
      const field = w.open(NFTA_LIST_ELEM);
      w.u32be(1, length);
      w.close(field);
    }
    w.close(concat);
    w.close(desc);
  }
  if (timeout !== undefined && timeout > 0) w.u64(11, BigInt(timeout) * 1000n, true);
  writeText(w, 13, 7, comment);
  w.end();
}

/** A map of verdicts that its rule alone has, and that goes with it. */
export interface MapToWrite {
  readonly family: Family;
  /** NFT type of the keys, and their bytes. */
  readonly key: Pick<KeyType, "type" | "length">;
  readonly comment: string;
  readonly entries: readonly {
    readonly key: Uint8Array;
    /** What is jumped to. */
    readonly chain: string;
    readonly comment?: string;
    readonly mark: string;
  }[];
}

/** Linux puts a number in its place. */
export const MAP_NAME = "__map%d";

export function writeMap(w: MessageWriter, map: MapToWrite, id: number): void {
  begin(w, MSG.newSet, map.family, NLM_F_CREATE);
  w.string(1, TABLE);
  w.string(2, MAP_NAME);
  w.u32be(3, SET_ANONYMOUS | SET_CONSTANT | SET_MAP);
  w.u32be(4, map.key.type);
  w.u32be(5, map.key.length);
  w.u32be(6, DATA_VERDICT);
  w.u32be(7, 0);
  const desc = w.open(9);
  w.u32be(1, map.entries.length);
  w.close(desc);
  w.u32be(10, id);
  writeText(w, 13, 7, map.comment);
  w.end();
}

/** @param from the first of them that this message has */
export function writeMapEntries(
  w: MessageWriter,
  { family, entries }: MapToWrite,
  id: number,
  from: number,
  to: number,
): void {
  begin(w, MSG.newElement, family, NLM_F_CREATE);
  w.string(1, TABLE);
  w.string(2, MAP_NAME);
  w.u32be(4, id);
  const all = w.open(3);
  for (const entry of entries.slice(from, to)) {
    const one = w.open(NFTA_LIST_ELEM);
    const key = w.open(1);
    w.data(NFTA_DATA_VALUE, entry.key);
    w.close(key);
    writeJump(w, 2, entry.chain);
    writeRuleData(w, 6, entry);
    w.close(one);
  }
  w.close(all);
  w.end();
}

export function writeDeleteSet(w: MessageWriter, family: Family, name: string): void {
  begin(w, MSG.delSet, family);
  w.string(1, TABLE);
  w.string(2, name);
  w.end();
}

/** Adds or removes elements: single keys, ranges of a set with one field, or of one with several. */
export function writeElements(
  w: MessageWriter,
  verb: "add" | "remove",
  { family, name }: { readonly family: Family; readonly name: string },
  elements: readonly (Uint8Array | Range)[],
  shape: "single" | "pairs" | "ends" = "single",
): void {
  begin(
    w,
    verb === "add" ? MSG.newElement : MSG.delElement,
    family,
    verb === "add" ? NLM_F_CREATE : 0,
  );
  w.string(1, TABLE);
  w.string(2, name);
  const all = w.open(3);
  for (const element of elements) {
    if (element instanceof Uint8Array) writeElement(w, element);
    else if (shape === "ends") writeElement(w, element.from, element.to);
    else {
      writeElement(w, element.from);
      const end = following(element.to);
      if (end !== undefined) writeElement(w, end, undefined, ELEM_INTERVAL_END);
    }
  }
  w.close(all);
  w.end();
}

/**
 * Adds or removes single keys that are made where they are sent: of 100,000 none is kept.
 *
 * @param length bytes of each
 * @param make writes one into bytes that are zero; false where there is none
 */
export function writeKeys(
  w: MessageWriter,
  verb: "add" | "remove",
  { family, name }: { readonly family: Family; readonly name: string },
  length: number,
  count: number,
  make: (i: number, bytes: Uint8Array, at: number) => boolean,
): void {
  const adds = verb === "add";
  begin(w, adds ? MSG.newElement : MSG.delElement, family, adds ? NLM_F_CREATE : 0);
  w.string(1, TABLE);
  w.string(2, name);
  const all = w.open(3);
  for (let i = 0; i < count; i++) {
    const one = w.open(NFTA_LIST_ELEM);
    const data = w.open(1);
    const at = w.zeroes(NFTA_DATA_VALUE, length);
    if (at < 0) return;
    if (make(i, w.bytes, at)) {
      w.close(data);
      w.close(one);
    } else w.position = one;
  }
  w.close(all);
  w.end();
}

function writeElement(w: MessageWriter, key: Uint8Array, end?: Uint8Array, flags = 0): void {
  const one = w.open(NFTA_LIST_ELEM);
  const data = w.open(1);
  w.data(NFTA_DATA_VALUE, key);
  w.close(data);
  if (end !== undefined) {
    const last = w.open(10);
    w.data(NFTA_DATA_VALUE, end);
    w.close(last);
  }
  if (flags !== 0) w.u32be(3, flags);
  w.close(one);
}

/** Removes all elements. */
export function writeFlushSet(w: MessageWriter, family: Family, name: string): void {
  begin(w, MSG.delElement, family);
  w.string(1, TABLE);
  w.string(2, name);
  w.end();
}

/** Asks for the tables of a family, for what our table has of one kind, or for the elements of one set of it. */
export function writeGet(
  w: MessageWriter,
  type:
    | typeof MSG.getTable
    | typeof MSG.getChain
    | typeof MSG.getRule
    | typeof MSG.getSet
    | typeof MSG.getElement,
  family: Family,
  of?: string,
): void {
  begin(w, type, family);
  if (type !== MSG.getTable) w.string(1, TABLE);
  // A set's name, or the chain's of rules.
  if (of !== undefined) w.string(2, of);
  w.end();
}
