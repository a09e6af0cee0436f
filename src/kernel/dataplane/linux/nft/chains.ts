/** Chains of ours in the table `routelet`, and how their rules are written. */

import type { Owner } from "../../dataplane.ts";
import { KernelError } from "../../errors.ts";
import type { Actual, Family, Op, Outcome, Table } from "../../resource.ts";
import {
  type Chain,
  chain as chainResource,
  type FilterRule,
  type Jump,
  ruleHash,
} from "../../resources/filter.ts";
import type { Refusal } from "../errno.ts";
import type { MessageWriter } from "../message.ts";
import { ownsChain } from "../iptables-names.ts";
import { refuseChain } from "../iptables-render.ts";
import { dispatched, isDispatch } from "./dispatch.ts";
import { RuleEncoder } from "./encode.ts";
import type { RuleRead } from "./listing.ts";
import { pairsFrom } from "./pairs.ts";
import { type Maps, readMaps, writeDispatch } from "./maps.ts";
import {
  type RulePlace,
  writeChain,
  writeDeleteChain,
  writeDeleteRule,
  writeRule,
  writeTable,
} from "./messages.ts";
import { chainName, parseChainName } from "./names.ts";
import type { Write } from "./socket.ts";
import { FAMILIES, type NftState } from "./state.ts";
import { transact } from "./transaction.ts";
import type { NftWatch } from "./watch.ts";

/**
 * The mark of a rule: whose it is, and the hash of what it says; of several rules for one, which of how many; of one for two, both
 * hashes; of one for several, that it is a map.
 */
const MARK = /^([a-z][a-z0-9-]*):(first:|map:)?([0-9a-f]{14})(?:\+([0-9a-f]{14})|\.(\d+)\/(\d+))?$/;

export interface Mark {
  readonly owner: string;
  readonly first: boolean;
  readonly map: boolean;
  readonly hash: string;
  /** Of the rule behind it, which it does as well. */
  readonly next: string | undefined;
  readonly part: number;
  readonly parts: number;
}

export function parseMark(text: string | undefined): Mark | undefined {
  const found = MARK.exec(text ?? "");
  return found === null ? undefined : {
    owner: found[1] ?? "",
    first: found[2] === "first:",
    map: found[2] === "map:",
    hash: found[3] ?? "",
    next: found[4],
    part: Number(found[5] ?? 0),
    parts: Number(found[6] ?? 1),
  };
}

/** Writes the rules of nf_tables that one of ours becomes, with its mark. @throws {Unsayable} */
export function writeRules(
  w: MessageWriter,
  { family, name, names, owner, encoder }: Writing,
  rule: FilterRule & { readonly first?: boolean },
  place: RulePlace = "end",
): void {
  const lists = encoder.encode(rule, names);
  const text = `${owner.name}:${rule.first === true ? "first:" : ""}${ruleHash(rule)}`;
  const { comment } = rule;
  for (let n = 0; n < lists.length; n++) {
    // At the head each would come before the one before it.
    const i = place === "end" ? n : lists.length - 1 - n;
    const mark = lists.length === 1 ? text : `${text}.${i}/${lists.length}`;
    const data = comment === undefined ? { mark } : { mark, comment };
    writeRule(w, { family, chain: name, expressions: lists[i] ?? [], data }, place);
  }
}

/** Writes a rule that marks and the one behind it, that sends back what is marked, as one. @throws {Unsayable} */
function writePair(
  w: MessageWriter,
  { family, name, names, owner, encoder }: Writing,
  rule: FilterRule,
  next: FilterRule,
): void {
  const [first = []] = encoder.encode(rule, names);
  const { comment } = rule;
  const mark = `${owner.name}:${ruleHash(rule)}+${ruleHash(next)}`;
  const data = comment === undefined ? { mark } : { mark, comment };
  const expressions = [...first, encoder.verdict("return")];
  writeRule(w, { family, chain: name, expressions, data });
}

/** What chains of the compiled form are called, for rules in a chain of nf_tables. */
export function namesIn(chain: string): (name: string) => string {
  const { table } = parseChainName(chain);
  return (name) => chainName({ table, name });
}

/** Where rules are written, and by whom. */
export interface Writing {
  readonly family: Family;
  /** The chain's, in nf_tables. */
  readonly name: string;
  /** As {@linkcode namesIn} gives it. */
  readonly names: (name: string) => string;
  readonly owner: Owner;
  readonly encoder: RuleEncoder;
}

/** Rules of a chain as their hashes say them. */
function opaque(rules: readonly RuleRead[], maps: Maps): readonly FilterRule[] {
  const found: FilterRule[] = [];
  let expected = 0;
  let last = "";
  for (const rule of rules) {
    const mark = parseMark(rule.mark);
    const together = mark?.map === true && expected === 0 ? maps.get(mark.hash) : undefined;
    if (together !== undefined) {
      for (const hash of together) {
        found.push({ matches: [], target: { kind: "return" }, hash });
      }
      continue;
    }
    const goesOn = mark !== undefined && mark.part > 0 && mark.part === expected &&
      mark.hash === last;
    // A rule in our chain that is not ours, or a part without the others, is equal to none that we want.
    if (!goesOn) {
      const known = mark?.part === 0 && !mark.map && expected === 0;
      const hash = known ? mark.hash : `foreign ${rule.handle}`;
      found.push({ matches: [], target: { kind: "return" }, hash });
      const next = known ? mark.next : undefined;
      if (next !== undefined) found.push({ matches: [], target: { kind: "return" }, hash: next });
    }
    last = mark?.hash ?? "";
    expected = mark === undefined || mark.part + 1 === mark.parts ? 0 : mark.part + 1;
  }
  if (expected > 0) found.push({ matches: [], target: { kind: "return" }, hash: "incomplete" });
  return found;
}

export function remedyOf({ item }: Op<Chain | Jump>, { errno }: Refusal): string | undefined {
  const rules = "rules" in item ? item.rules : [item];
  const asksIpvs = rules.some(({ matches }) => matches.some(({ kind }) => kind === "ipvs"));
  return errno === 2 && asksIpvs
    ? 'its rules ask IPVS, which nf_tables does by modules of iptables: "modprobe -a nft_compat xt_ipvs"'
    : undefined;
}

export type Encoders = Readonly<Record<Family, RuleEncoder>>;

export function newEncoders(): Encoders {
  return { 4: new RuleEncoder(4), 6: new RuleEncoder(6) };
}

/** Makes the tables of what is created, before all else. */
export function tablesOf(ops: readonly Op<{ readonly family: Family }>[]): readonly Write[] {
  return FAMILIES
    .filter((family) => ops.some(({ verb, item }) => verb !== "delete" && item.family === family))
    .map((family) => (w) => writeTable(w, family));
}

/** Pauses before a chain that is still in use is deleted again, in ms. */
const IN_USE_MS = [10, 20, 40, 80, 160] as const;

/**
 * Deletes again what was still in use. Linux before 6.4, but for its later patch releases, holds the chains that a map names until
 * it has freed the map, which it does some time after the transaction in which the map went.
 */
async function settled(
  outcomes: readonly Outcome<Chain>[],
  write: (ops: readonly Op<Chain>[]) => readonly Outcome<Chain>[],
): Promise<readonly Outcome<Chain>[]> {
  let now = outcomes;
  for (const pause of IN_USE_MS) {
    const inUse = now.filter(({ op, error }) => op.verb === "delete" && error?.code === "EBUSY");
    if (inUse.length === 0) break;
    await Bun.sleep(pause);
    const again = write(inUse.map(({ op }) => op));
    const by = new Map(again.map((outcome) => [outcome.op, outcome]));
    now = now.map((outcome) => by.get(outcome.op) ?? outcome);
  }
  return now;
}

export function nftChainTable(state: NftState, watch: NftWatch, owner: Owner): Table<Chain> {
  async function list(): Promise<readonly Actual<Chain>[]> {
    await state.found();
    const items: Actual<Chain>[] = [];
    for (const family of FAMILIES) {
      const read = await state.rules(family, () => false);
      const asksMap = read.some(({ mark }) => mark?.startsWith(`${owner.name}:map:`) === true);
      const maps: Maps = asksMap ? await readMaps(state, family) : new Map();
      const rules = byChain(read);
      for (const { name } of await state.chains(family)) {
        const place = parseChainName(name);
        if (!ownsChain(owner, place.name)) continue;
        const item = { family, ...place, rules: opaque(rules.get(name) ?? [], maps) };
        items.push({ item, owned: true });
      }
    }
    return items;
  }
  function steps(
    op: Op<Chain>,
    there: ReadonlySet<string>,
    encoders: Encoders,
  ): readonly (readonly Write[])[] {
    const { family, rules } = op.item;
    const name = chainName(op.item);
    const flush: Write = (w) => writeDeleteRule(w, family, name);
    if (op.verb !== "delete") {
      const writing = { family, name, names: namesIn(name), owner, encoder: encoders[family] };
      return [[(w) => writeChain(w, family, name)], [(w) => {
        flush(w);
        const pairs = pairsFrom(rules);
        const others = pairs === rules.length ? dispatched(family, rules) : rules.slice(0, pairs);
        for (const rule of others) {
          if (isDispatch(rule)) writeDispatch(w, family, name, owner, rule);
          else writeRules(w, writing, rule);
        }
        for (let i = pairs; i < rules.length; i += 2) {
          writePair(w, writing, rules[i] as FilterRule, rules[i + 1] as FilterRule);
        }
      }]];
    }
    if (!there.has(`${family} ${name}`)) return [];
    // Emptied with the others, removed last: chains of ours may name each other.
    return [[], [flush], [(w) => writeDeleteChain(w, family, name)]];
  }
  return {
    resource: chainResource,
    list,
    watch: (context) => watch.add(chainResource, owner, context, list),
    apply: (ops) =>
      changing(state, ops.some(({ verb }) => verb === "delete"), ops, async () => {
        const there = new Set<string>();
        for (const family of ops.some(({ verb }) => verb === "delete") ? FAMILIES : []) {
          for (const { name } of await state.chains(family)) there.add(`${family} ${name}`);
        }
        const encoders = newEncoders();
        const write = (some: readonly Op<Chain>[]) =>
          transact(
            state,
            chainResource,
            some,
            (op) => steps(op, there, encoders),
            remedyOf,
            // Others jump to it, and would fail in its place, and those that jump to them.
            ({ verb, item: { family, table, name } }) =>
              verb === "create"
                ? [[(w) => writeChain(w, family, chainName({ table, name }))]]
                : undefined,
            tablesOf(some),
          );
        const outcomes = await settled(write(ops), write);
        return outcomes.map(({ op, error }): Outcome<Chain> =>
          error === undefined
            ? { op }
            : { op, error, ...(op.verb === "create" ? { made: { ...op.item, rules: [] } } : {}) }
        );
      }),
    refuse: (item) => refuseChain(owner, item),
  };
}

/**
 * Runs `work`; where nothing can be done, each op gets the error.
 *
 * @param empties whether hooks and tables may be left empty, which are removed then
 */
export function changing<T>(
  state: NftState,
  empties: boolean,
  ops: readonly Op<T>[],
  work: () => Promise<readonly Outcome<T>[]>,
): Promise<readonly Outcome<T>[]> {
  return state.applying(async () => {
    try {
      await state.found();
      // Not into a table of others that has our name.
      for (const family of FAMILIES) await state.table(family);
      const outcomes = await work();
      if (empties) {
        // The ops are done; what stays empty is tried again after the next deletion.
        await state.tidy().catch((error: unknown) => {
          if (!(error instanceof KernelError)) throw error;
        });
      }
      return outcomes;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return ops.map((op) => ({ op, error }));
    }
  });
}

function byChain(rules: readonly RuleRead[]): ReadonlyMap<string, readonly RuleRead[]> {
  const chains = new Map<string, RuleRead[]>();
  for (const rule of rules) {
    const chain = chains.get(rule.chain);
    if (chain === undefined) chains.set(rule.chain, [rule]);
    else chain.push(rule);
  }
  return chains;
}
