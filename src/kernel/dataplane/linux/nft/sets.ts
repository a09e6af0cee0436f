/**
 * ipsets of the compiled form as sets of nf_tables. The comment of a set says what it was asked for; one of networks has a
 * second set beside it, its book, in which its members stand as they were given.
 */

import type { Owner } from "../../dataplane.ts";
import type { Actual, Family, Op, Outcome, Table } from "../../resource.ts";
import {
  DEFAULT_MAX_ELEMENTS,
  type IpSet,
  ipset as setResource,
  type IpSetMember,
} from "../../resources/ipset.ts";
import { errno, type Refusal } from "../errno.ts";
import { ownsSet, refuseSet } from "../ipset-names.ts";
import { changing } from "./chains.ts";
import { bookKeyType, hasNetworks, keyType } from "./elements.ts";
import { nextId } from "./ids.ts";
import type { RuleRead } from "./listing.ts";
import { readMembers, writeMembers } from "./members.ts";
import { writeDeleteRule, writeDeleteSet, writeRule, writeSet, writeTable } from "./messages.ts";
import { bookName, isBook, setName } from "./names.ts";
import type { Write } from "./socket.ts";
import { FAMILIES, type NftState } from "./state.ts";
import { refused, transact } from "./transaction.ts";
import type { NftWatch } from "./watch.ts";

const TYPES: ReadonlySet<string> = new Set<IpSet["type"]>([
  "hash:ip",
  "hash:net",
  "hash:ip,port",
  "hash:ip,port,ip",
  "hash:ip,port,net",
]);
const COMMENT = /^ipset (\S+) (hash:\S+) maxelem (\d+)(?: timeout (\d+))?$/;

function comment({ name, type, maxElements, timeout }: IpSet): string {
  const words = `ipset ${name} ${type} maxelem ${maxElements ?? DEFAULT_MAX_ELEMENTS}`;
  return timeout === undefined ? words : `${words} timeout ${timeout}`;
}

/** The set that a comment describes; undefined where it is not one of ours. */
function parseComment(family: Family, name: string, text: string | undefined): IpSet | undefined {
  const found = COMMENT.exec(text ?? "");
  const [, own = "", type = "", most, timeout] = found ?? [];
  if (!TYPES.has(type) || setName(own, family) !== name) return undefined;
  const maxElements = Number(most);
  return {
    name: own,
    type: type as IpSet["type"],
    family,
    ...(maxElements === DEFAULT_MAX_ELEMENTS ? {} : { maxElements }),
    ...(timeout === undefined ? {} : { timeout: Number(timeout) }),
  };
}

/**
 * The sets of both families, without books. One whose book somebody removed is listed as none that anybody wants, so that it is
 * made anew.
 *
 * @throws {KernelError}
 */
export async function listSets(state: NftState): Promise<readonly IpSet[]> {
  await state.found();
  const sets: IpSet[] = [];
  for (const family of FAMILIES) {
    const read = await state.sets(family);
    const names = new Set(read.map(({ name }) => name));
    for (const { name, comment } of read) {
      const set = isBook(name) ? undefined : parseComment(family, name, comment);
      if (set === undefined) continue;
      const broken = hasNetworks(set.type) && !names.has(bookName(name));
      sets.push(broken ? { ...set, maxElements: BROKEN } : set);
    }
  }
  return sets;
}

/**
 * Sets by their names in the compiled form, as {@linkcode listSets}; those that are gone are left out. Each is asked for alone,
 * so that the change of one member does not list a thousand sets.
 *
 * @throws {KernelError}
 */
export async function readSets(
  state: NftState,
  wanted: Iterable<string>,
): Promise<readonly IpSet[]> {
  await state.found();
  const sets: IpSet[] = [];
  for (const own of wanted) {
    // Only the sets of kube-router's names say their family in them.
    for (const family of own.startsWith("inet6:") ? [6] as const : FAMILIES) {
      const name = setName(own, family);
      const read = await state.set(family, name);
      const set = read === undefined ? undefined : parseComment(family, name, read.comment);
      if (set?.name !== own) continue;
      const broken = hasNetworks(set.type) &&
        await state.set(family, bookName(name)) === undefined;
      sets.push(broken ? { ...set, maxElements: BROKEN } : set);
      break;
    }
  }
  return sets;
}

/** Nobody wants a set for no members. */
const BROKEN = 0;

function creation(set: IpSet): readonly Write[] {
  const { family, timeout } = set;
  const name = setName(set.name, family);
  const common = { family, comment: comment(set), ...(timeout === undefined ? {} : { timeout }) };
  const write = (one: Parameters<typeof writeSet>[1]): Write => {
    const id = nextId();
    return (w) => writeSet(w, one, id);
  };
  return [
    (w) => writeTable(w, family),
    write({ ...common, name, key: keyType(set) }),
    ...(hasNetworks(set.type)
      ? [write({
        family,
        name: bookName(name),
        key: bookKeyType(set),
        comment: `members of ${name}, which holds their ranges`,
      })]
      : []),
  ];
}

function removal({ family, name, type, maxElements }: IpSet): readonly Write[] {
  const own = setName(name, family);
  return [
    (w) => writeDeleteSet(w, family, own),
    ...(hasNetworks(type) && maxElements !== BROKEN
      ? [((w) => writeDeleteSet(w, family, bookName(own))) satisfies Write]
      : []),
  ];
}

/** What an update needs to know: a set cannot be changed, and not be removed while rules ask it. */
interface Surroundings {
  readonly members: readonly IpSetMember[];
  /** All rules of the chains that ask the set, in order. */
  readonly rules: readonly RuleRead[];
}

/** The set made anew, and the rules that ask it beside it: as they are, in the same transaction. */
function replacement(
  set: IpSet,
  have: IpSet,
  { members, rules }: Surroundings,
): readonly (readonly Write[])[] {
  const { family } = have;
  const chains = [...new Set(rules.map(({ chain }) => chain))];
  return [
    [
      ...chains.map((chain): Write => (w) => writeDeleteRule(w, family, chain)),
      ...removal(have),
    ],
    [
      ...creation(set),
      ...writeMembers(set, members),
      ...rules.map(({ chain, expressions, data }): Write => (w) =>
        writeRule(w, { family, chain, expressions, data })
      ),
    ],
  ];
}

function remedyOf({ verb }: Op<IpSet>, refusal: Refusal): string | undefined {
  return refusal.errno === errno.EBUSY && verb === "delete"
    ? "rules ask it; they go first"
    : undefined;
}

export function nftSetTable(state: NftState, watch: NftWatch, owner: Owner): Table<IpSet> {
  async function list(): Promise<readonly Actual<IpSet>[]> {
    return (await listSets(state)).map((item) => ({ item, owned: ownsSet(owner, item.name) }));
  }
  async function surroundings(item: IpSet, have: IpSet): Promise<Surroundings> {
    const name = setName(have.name, have.family);
    const rules = await state.rules(have.family, () => true);
    const chains = new Set(rules.flatMap(({ chain, sets }) => sets.includes(name) ? [chain] : []));
    const same = item.type === have.type && item.family === have.family;
    return {
      members: same ? await readMembers(state, have) : [],
      rules: rules.filter(({ chain }) => chains.has(chain)),
    };
  }
  /** Others' rules may come or go while ours are read: such an update reads again. */
  async function update(op: Op<IpSet>, have: IpSet): Promise<Outcome<IpSet>> {
    const refusals = await state.consistent(
      "write nftables",
      async () => replacement(op.item, have, await surroundings(op.item, have)).flat(),
    );
    const [refusal] = refusals.values();
    return refusal === undefined
      ? { op }
      : { op, error: refused(setResource, op, refusal, remedyOf) };
  }
  return {
    resource: setResource,
    list,
    watch: (context) => watch.add(setResource, owner, context, list),
    apply: (ops) =>
      changing(state, ops.some(({ verb }) => verb === "delete"), ops, async () => {
        const there = new Map<string, IpSet>();
        for (const set of await listSets(state)) there.set(set.name, set);
        const updates = ops.filter((op) => op.verb === "update" && there.has(op.item.name));
        const others = transact(
          state,
          setResource,
          ops.filter((op) => !updates.includes(op)),
          (op) => {
            const have = there.get(op.item.name);
            state.mostMembers.delete(op.item.name);
            if (op.verb === "delete") return have === undefined ? [] : [removal(have)];
            if (have === undefined) state.mostMembers.set(op.item.name, 0);
            return [creation(op.item)];
          },
          remedyOf,
        );
        const done = new Map(others.map((outcome) => [outcome.op, outcome]));
        for (const op of updates) {
          done.set(op, await update(op, there.get(op.item.name) ?? op.item));
        }
        if (updates.length > 0) queueMicrotask(() => state.emptied.forEach((tell) => tell()));
        return ops.map((op) => done.get(op) ?? { op });
      }),
    refuse: (item) => refuseSet(owner, item.name),
  };
}
