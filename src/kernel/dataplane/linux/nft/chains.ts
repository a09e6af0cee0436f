/** Chains of ours in the table `routelet`, and the jumps to them from its base chains. */

import type { Owner } from "../../dataplane.ts";
import { KernelError } from "../../errors.ts";
import type { Actual, Family, Op, Outcome, Table } from "../../resource.ts";
import {
  type Chain,
  chain as chainResource,
  type FilterRule,
  type Jump,
  jump as jumpResource,
  ruleHash,
} from "../../resources/filter.ts";
import type { Refusal } from "../errno.ts";
import { ownsChain } from "../iptables-names.ts";
import { rank } from "../iptables-parse.ts";
import { refuseChain, refuseJump } from "../iptables-render.ts";
import { dispatched, isDispatch } from "./dispatch.ts";
import type { RuleRead } from "./listing.ts";
import { type Maps, mapWrites, readMaps } from "./maps.ts";
import {
  type RulePlace,
  writeChain,
  writeDeleteChain,
  writeDeleteRule,
  writeRule,
  writeTable,
} from "./messages.ts";
import { chainName, hookName, parseChainName, parseHookName } from "./names.ts";
import { renderRule } from "./rules.ts";
import type { Write } from "./socket.ts";
import { FAMILIES, type NftState } from "./state.ts";
import { transact } from "./transaction.ts";
import type { NftWatch } from "./watch.ts";

/**
 * The mark of a rule: whose it is, and the hash of what it says; of several rules for one, which of how many; of one for several,
 * that it is a map.
 */
const MARK = /^([a-z][a-z0-9-]*):(first:|map:)?([0-9a-f]{14})(?:\.(\d+)\/(\d+))?$/;

interface Mark {
  readonly owner: string;
  readonly first: boolean;
  readonly map: boolean;
  readonly hash: string;
  readonly part: number;
  readonly parts: number;
}

function parseMark(text: string | undefined): Mark | undefined {
  const found = MARK.exec(text ?? "");
  return found === null ? undefined : {
    owner: found[1] ?? "",
    first: found[2] === "first:",
    map: found[2] === "map:",
    hash: found[3] ?? "",
    part: Number(found[4] ?? 0),
    parts: Number(found[5] ?? 1),
  };
}

/** The rules of nf_tables that one of ours becomes, with its mark. */
function writes(
  family: Family,
  chain: string,
  owner: Owner,
  rule: FilterRule & { readonly first?: boolean },
  place: RulePlace,
): readonly Write[] {
  const { table } = parseChainName(chain);
  const lists = renderRule(family, rule, (name) => chainName({ table, name }));
  const text = `${owner.name}:${rule.first === true ? "first:" : ""}${ruleHash(rule)}`;
  // At the head each would come before the one before it.
  const ordered = place === "end" ? [...lists.entries()] : [...lists.entries()].toReversed();
  return ordered.map(([i, expressions]) => {
    const mark = lists.length === 1 ? text : `${text}.${i}/${lists.length}`;
    const { comment } = rule;
    const data = { mark, ...(comment === undefined ? {} : { comment }) };
    return (w) => writeRule(w, { family, chain, expressions, data }, place);
  });
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
    }
    last = mark?.hash ?? "";
    expected = mark === undefined || mark.part + 1 === mark.parts ? 0 : mark.part + 1;
  }
  if (expected > 0) found.push({ matches: [], target: { kind: "return" }, hash: "incomplete" });
  return found;
}

function remedyOf({ item }: Op<Chain | Jump>, { errno }: Refusal): string | undefined {
  const rules = "rules" in item ? item.rules : [item];
  const asksIpvs = rules.some(({ matches }) => matches.some(({ kind }) => kind === "ipvs"));
  return errno === 2 && asksIpvs
    ? 'its rules ask IPVS, which nf_tables does by modules of iptables: "modprobe -a nft_compat xt_ipvs"'
    : undefined;
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
  function steps(op: Op<Chain>, there: ReadonlySet<string>): readonly (readonly Write[])[] {
    const { family, rules } = op.item;
    const name = chainName(op.item);
    const flush: Write = (w) => writeDeleteRule(w, family, name);
    if (op.verb !== "delete") {
      return [
        [(w) => writeTable(w, family), (w) => writeChain(w, family, name)],
        [
          flush,
          ...dispatched(family, rules).flatMap((rule) =>
            isDispatch(rule)
              ? mapWrites(family, name, owner, rule)
              : writes(family, name, owner, rule, "end")
          ),
        ],
      ];
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
        const outcomes = transact(
          state,
          chainResource,
          ops,
          (op) => steps(op, there),
          remedyOf,
          // Others jump to it, and would fail in its place, and those that jump to them.
          ({ verb, item: { family, table, name } }) =>
            verb === "create"
              ? [[
                (w) => writeTable(w, family),
                (w) => writeChain(w, family, chainName({ table, name })),
              ]]
              : undefined,
        );
        return outcomes.map(({ op, error }): Outcome<Chain> =>
          error === undefined
            ? { op }
            : { op, error, ...(op.verb === "create" ? { made: { ...op.item, rules: [] } } : {}) }
        );
      }),
    refuse: (item) => refuseChain(owner, item),
  };
}

/** A jump as it stands: more than one rule where somebody added another. */
interface Standing {
  readonly jump: Jump;
  readonly rules: readonly RuleRead[];
}

function standing(
  family: Family,
  rules: readonly RuleRead[],
  owner: Owner,
): ReadonlyMap<string, Standing> {
  const found = new Map<string, Standing>();
  const foreignBefore = new Set<string>();
  for (const rule of rules) {
    const hook = parseHookName(rule.chain);
    if (hook === undefined) continue;
    const mark = parseMark(rule.mark);
    const to = parseChainName(rule.target ?? "");
    if (rule.target !== undefined && to.table === hook.table && ownsChain(owner, to.name)) {
      const first = hook.first && mark?.first === true && !foreignBefore.has(rule.chain);
      const { table, from } = hook;
      const hash = mark?.hash ?? `foreign ${rule.handle}`;
      const jump = {
        family,
        table,
        from,
        to: to.name,
        matches: [],
        hash,
        ...(first ? { first } : {}),
      };
      const before = found.get(jumpResource.key(jump));
      const parts = (mark?.parts ?? 1) > 1 && before?.jump.hash === hash;
      found.set(
        jumpResource.key(jump),
        before === undefined ? { jump, rules: [rule] } : {
          jump: parts ? before.jump : { ...jump, hash: "twice" },
          rules: [...before.rules, rule],
        },
      );
    }
    // Others of ours may come first as well, but not before the firewall.
    if (mark === undefined || rank(mark.owner) > rank(owner.name)) foreignBefore.add(rule.chain);
  }
  return found;
}

const isHook = (chain: string): boolean => parseHookName(chain) !== undefined;

export function nftJumpTable(state: NftState, watch: NftWatch, owner: Owner): Table<Jump> {
  const key = (jump: Jump) => jumpResource.key(jump);
  async function list(): Promise<readonly Actual<Jump>[]> {
    await state.found();
    const items: Actual<Jump>[] = [];
    for (const family of FAMILIES) {
      for (const { jump } of standing(family, await state.rules(family, isHook), owner).values()) {
        items.push({ item: jump, owned: true });
      }
    }
    return items;
  }
  /** Behind what must stand before the owner's, else at the head. */
  function place(rules: readonly RuleRead[], hook: string): RulePlace {
    let behind: bigint | undefined;
    for (const rule of rules) {
      if (rule.chain !== hook) continue;
      const mark = parseMark(rule.mark);
      if (mark === undefined || rank(mark.owner) >= rank(owner.name)) break;
      behind = rule.handle;
    }
    return behind === undefined ? "head" : { behind };
  }
  function steps(
    op: Op<Jump>,
    rules: ReadonlyMap<Family, readonly RuleRead[]>,
  ): readonly (readonly Write[])[] {
    const { item } = op;
    const { family, to, matches } = item;
    const all = rules.get(family) ?? [];
    const gone = (standing(family, all, owner).get(key(item))?.rules ?? []).map((
      { chain, handle },
    ): Write =>
    (w) => writeDeleteRule(w, family, chain, handle));
    if (op.verb === "delete") return [[], [], gone];
    const { table, from } = item;
    const hook = hookName({ table, from, first: item.first === true });
    const at = item.first === true ? place(all, hook) : "end";
    const rule: FilterRule & { readonly first?: boolean } = {
      matches,
      target: { kind: "jump", chain: to },
      hash: ruleHash(item),
      ...(item.comment === undefined ? {} : { comment: item.comment }),
      ...(item.first === true ? { first: true } : {}),
    };
    return [
      [(w) => writeTable(w, family), (w) => writeChain(w, family, hook)],
      writes(family, hook, owner, rule, at),
      gone,
    ];
  }
  return {
    resource: jumpResource,
    list,
    watch: (context) => watch.add(jumpResource, owner, context, list),
    apply: (ops) =>
      changing(state, ops.some(({ verb }) => verb !== "create"), ops, async () => {
        const rules = new Map<Family, readonly RuleRead[]>();
        for (const family of FAMILIES) rules.set(family, await state.rules(family, isHook));
        return transact(state, jumpResource, ops, (op) => steps(op, rules), remedyOf);
      }),
    refuse: (item) => refuseJump(owner, item),
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
