/** Jumps from the base chains of the table `routelet` to chains of ours. */

import type { Owner } from "../../dataplane.ts";
import type { Actual, Family, Op, Table } from "../../resource.ts";
import {
  type FilterRule,
  type Jump,
  jump as jumpResource,
  ruleHash,
} from "../../resources/filter.ts";
import { ownsChain } from "../iptables-names.ts";
import { rank } from "../iptables-parse.ts";
import { refuseJump } from "../iptables-render.ts";
import {
  changing,
  type Encoders,
  namesIn,
  newEncoders,
  parseMark,
  remedyOf,
  tablesOf,
  writeRules,
} from "./chains.ts";
import type { RuleRead } from "./listing.ts";
import { type RulePlace, writeChain, writeDeleteRule } from "./messages.ts";
import { hookName, parseChainName, parseHookName } from "./names.ts";
import type { Write } from "./socket.ts";
import { FAMILIES, type NftState } from "./state.ts";
import { transact } from "./transaction.ts";
import type { NftWatch } from "./watch.ts";

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

/** The rules of the hooks that ops are about, whichever place a jump has or had there. */
async function hookRules(
  state: NftState,
  family: Family,
  ops: readonly Op<Jump>[],
): Promise<readonly RuleRead[]> {
  const hooks = new Set(
    ops.filter(({ item }) => item.family === family).flatMap(({ item: { table, from } }) =>
      [true, false].map((first) => hookName({ table, from, first }))
    ),
  );
  const rules: RuleRead[] = [];
  // Not all rules of the table, of which there may be 20,000.
  for (const hook of hooks) rules.push(...await state.rulesOf(family, hook));
  return rules;
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
    encoders: Encoders,
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
    const writing = {
      family,
      name: hook,
      names: namesIn(hook),
      owner,
      encoder: encoders[family],
    };
    return [
      [(w) => writeChain(w, family, hook)],
      [(w) => writeRules(w, writing, rule, at)],
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
        for (const family of FAMILIES) rules.set(family, await hookRules(state, family, ops));
        const encoders = newEncoders();
        return transact(
          state,
          jumpResource,
          ops,
          (op) => steps(op, rules, encoders),
          remedyOf,
          undefined,
          tablesOf(ops),
        );
      }),
    refuse: (item) => refuseJump(owner, item),
  };
}
