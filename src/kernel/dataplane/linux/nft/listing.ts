/** nf_tables messages as Linux lists them and tells of them. Pure; garbage is an error of the message, never an exception. */

import type { AttributeReader } from "../attribute.ts";
import type { MessageReader } from "../message.ts";
import {
  AF_INET,
  AF_INET6,
  ELEM_INTERVAL_END,
  MSG,
  NFGENMSG,
  NFNL_SUBSYS_NFTABLES,
  NFTA_RULE_EXPRESSIONS,
  TABLE_COMMENT,
} from "./messages.ts";
import { TABLE } from "./names.ts";
import { readRuleData, readText } from "./userdata.ts";

/** Whether a message is of nf_tables, of this type and about our table; events and lists have all that Linux has. */
export function concernsUs(message: MessageReader): boolean {
  if (message.type >> 8 !== NFNL_SUBSYS_NFTABLES) return false;
  if ((message.type & 0xff) > MSG.delElement) return false;
  const family = message.u8(0);
  if (family !== AF_INET && family !== AF_INET6) return false;
  // In every message the first attribute is the table's name.
  const a = message.attributes(NFGENMSG);
  while (a.next()) if (a.type === 1) return a.string() === TABLE;
  return false;
}

/** The name of the set that an event about a set or its elements names. */
export function eventSet(message: MessageReader): string | undefined {
  const kind = message.type & 0xff;
  if (kind < MSG.newSet || kind > MSG.delElement) return undefined;
  const a = message.attributes(NFGENMSG);
  while (a.next()) if (a.type === 2) return a.string();
  return undefined;
}

function is(message: MessageReader, type: number): boolean {
  return message.type === (NFNL_SUBSYS_NFTABLES << 8 | type);
}

function finish<T>(message: MessageReader, a: AttributeReader, item: T): T {
  if (a.error !== undefined) message.error ??= a.error;
  return item;
}

export function readGeneration(message: MessageReader): number | undefined {
  if (!is(message, MSG.newGeneration)) return undefined;
  const a = message.attributes(NFGENMSG);
  while (a.next()) if (a.type === 1) return a.u32be();
  return undefined;
}

export interface TableRead {
  readonly ours: boolean;
  /** Chains, sets and other things in it. */
  readonly use: number;
}

/** A table of our name. */
export function readTable(message: MessageReader): TableRead | undefined {
  if (!is(message, MSG.newTable)) return undefined;
  let name = "";
  let use = 0;
  let comment = "";
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type === 1) name = a.string();
    else if (a.type === 3) use = a.u32be();
    else if (a.type === 6) comment = readText(a.data(), 0) ?? "";
  }
  return finish(message, a, name === TABLE ? { ours: comment === TABLE_COMMENT, use } : undefined);
}

export interface ChainRead {
  readonly name: string;
  /** Rules in it and jumps to it. */
  readonly use: number;
}

export function readChain(message: MessageReader): ChainRead | undefined {
  if (!is(message, MSG.newChain) || !concernsUs(message)) return undefined;
  let name = "";
  let use = 0;
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type === 3) name = a.string();
    else if (a.type === 6) use = a.u32be();
  }
  return finish(message, a, { name, use });
}

export interface RuleRead {
  readonly chain: string;
  readonly handle: bigint;
  readonly comment: string | undefined;
  /** Our mark, if it has one. */
  readonly mark: string | undefined;
  /** The chain that it jumps to, if it does. */
  readonly target: string | undefined;
  /** Names of the sets that it asks. */
  readonly sets: readonly string[];
  /** Packets that its counter has seen. */
  readonly packets: number | undefined;
  readonly expressions: Uint8Array;
  readonly data: Uint8Array;
}

/** @param whole whether the expressions of a chain's rules are wanted: reading them is what takes time */
export function readRule(
  message: MessageReader,
  whole: (chain: string) => boolean,
): RuleRead | undefined {
  if (!is(message, MSG.newRule) || !concernsUs(message)) return undefined;
  let chain = "";
  let handle = 0n;
  let expressions: Uint8Array = new Uint8Array();
  let data: Uint8Array = new Uint8Array();
  let said: Said = { target: undefined, sets: [], packets: undefined };
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type === 2) chain = a.string();
    else if (a.type === 3) handle = a.length < 8 ? 0n : a.view.getBigUint64(a.start, false);
    else if (a.type === NFTA_RULE_EXPRESSIONS) {
      if (!whole(chain)) continue;
      expressions = a.data();
      a.nested((all) => said = readExpressions(all));
    } else if (a.type === 7) data = a.data();
  }
  return finish(message, a, { chain, handle, expressions, data, ...readRuleData(data), ...said });
}

interface Said {
  readonly target: string | undefined;
  readonly sets: readonly string[];
  readonly packets: number | undefined;
}

function readExpressions(all: AttributeReader): Said {
  const sets: string[] = [];
  let target: string | undefined;
  let packets: number | undefined;
  while (all.next()) {
    let name = "";
    all.nested((one) => {
      while (one.next()) {
        if (one.type === 1) name = one.string();
        if (one.type !== 2) continue;
        if (name === "lookup") {
          one.nested((a) => {
            while (a.next()) if (a.type === 1) sets.push(a.string());
          });
        } else if (name === "counter") {
          one.nested((a) => {
            while (a.next()) if (a.type === 2) packets = u64be(a);
          });
        } else if (name === "immediate") one.nested((a) => target = verdictChain(a) ?? target);
      }
    });
  }
  return { target, sets, packets };
}

function u64be(a: AttributeReader): number {
  if (a.length < 8) return 0;
  return a.view.getUint32(a.start, false) * 0x1_0000_0000 + a.view.getUint32(a.start + 4, false);
}

function verdictChain(immediate: AttributeReader): string | undefined {
  let chain: string | undefined;
  while (immediate.next()) {
    if (immediate.type !== 2) continue;
    immediate.nested((data) => {
      while (data.next()) {
        if (data.type !== 2) continue;
        data.nested((verdict) => {
          while (verdict.next()) if (verdict.type === 2) chain = verdict.string();
        });
      }
    });
  }
  return chain;
}

export interface SetRead {
  readonly name: string;
  readonly comment: string | undefined;
}

export function readSet(message: MessageReader): SetRead | undefined {
  if (!is(message, MSG.newSet) || !concernsUs(message)) return undefined;
  let name = "";
  let comment: string | undefined;
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type === 2) name = a.string();
    else if (a.type === 13) comment = readText(a.data(), 7);
  }
  return finish(message, a, { name, comment });
}

/** An element as Linux lists it. */
export interface ElementRead {
  readonly key: Uint8Array;
  readonly end: Uint8Array | undefined;
  /** It is no member but the first key behind a range. */
  readonly closes: boolean;
  /** Our mark, if it has one. */
  readonly mark: string | undefined;
}

export function readElements(message: MessageReader): readonly ElementRead[] | undefined {
  if (!is(message, MSG.newElement) || !concernsUs(message)) return undefined;
  const elements: ElementRead[] = [];
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type !== 3) continue;
    a.nested((all) => {
      while (all.next()) all.nested((one) => elements.push(readElement(one)));
    });
  }
  return finish(message, a, elements);
}

function readElement(a: AttributeReader): ElementRead {
  let key: Uint8Array = new Uint8Array();
  let end: Uint8Array | undefined;
  let flags = 0;
  let mark: string | undefined;
  const value = (data: AttributeReader): Uint8Array => data.next() ? data.data() : new Uint8Array();
  while (a.next()) {
    if (a.type === 1) a.nested((data) => key = value(data));
    else if (a.type === 10) a.nested((data) => end = value(data));
    else if (a.type === 3) flags = a.u32be();
    else if (a.type === 6) ({ mark } = readRuleData(a.data()));
  }
  return { key, end, closes: (flags & ELEM_INTERVAL_END) !== 0, mark };
}
