/**
 * Members of sets. Where they are single keys, each is an element. Networks may overlap, and except each other; they stand in the
 * set's book as they are, and in the set as ranges. Both change in one transaction, so that the book says what the set holds.
 */

import type { Owner } from "../../dataplane.ts";
import { KernelError } from "../../errors.ts";
import type { Actual, Op, Outcome, Table } from "../../resource.ts";
import {
  DEFAULT_MAX_ELEMENTS,
  type IpSet,
  type IpSetMember,
  ipsetMember as memberResource,
} from "../../resources/ipset.ts";
import { errno, kernelError, type Refusal } from "../errno.ts";
import { notOwnSet, ownsSet } from "../ipset-names.ts";
import {
  addressLength,
  bookKey,
  entryText,
  hasNetworks,
  keyLength,
  parseEntry,
  readBookKey,
  writeKey,
} from "./elements.ts";
import { preceding, type Range, rangesOf, rangeText } from "./intervals.ts";
import type { ElementRead } from "./listing.ts";
import { writeElements, writeFlushSet, writeKeys } from "./messages.ts";
import { bookName, setName } from "./names.ts";
import { listSets, readSets } from "./sets.ts";
import type { Write } from "./socket.ts";
import type { NftState } from "./state.ts";
import type { NftWatch } from "./watch.ts";

/** Elements of one message: at most 120 bytes each (a range of two keys of IPv6), and a list is shorter than 64 KiB. */
const ELEMENTS = 400;

/** Sets up to which each is asked for alone. */
const FEW = 32;

/** Elements in as many messages as they need. */
function elementWrites(
  verb: "add" | "remove",
  set: Pick<IpSet, "family" | "name">,
  elements: readonly (Uint8Array | Range)[],
  shape?: "single" | "pairs" | "ends",
): readonly Write[] {
  const writes: Write[] = [];
  for (let at = 0; at < elements.length; at += ELEMENTS) {
    const some = elements.slice(at, at + ELEMENTS);
    writes.push((w) => writeElements(w, verb, set, some, shape));
  }
  return writes;
}

function named({ family, name }: IpSet): Pick<IpSet, "family" | "name"> {
  return { family, name: setName(name, family) };
}

function bookOf(set: IpSet): Pick<IpSet, "family" | "name"> {
  return { family: set.family, name: bookName(setName(set.name, set.family)) };
}

function shapeOf({ type }: IpSet): "pairs" | "ends" {
  return type === "hash:net" ? "pairs" : "ends";
}

function keysOf(set: IpSet, members: readonly IpSetMember[]): readonly Uint8Array[] {
  return members.flatMap(({ entry }) => parseEntry(set, entry)?.key ?? []);
}

function bookKeys(set: IpSet, members: readonly IpSetMember[]): readonly Uint8Array[] {
  return members.flatMap(({ entry, nomatch }) => {
    const parsed = parseEntry(set, entry);
    return parsed === undefined ? [] : bookKey(parsed.key, parsed.prefix, nomatch === true);
  });
}

function ranges(set: IpSet, members: readonly IpSetMember[]): readonly Range[] {
  const networks = members.flatMap(({ entry, nomatch }) => {
    const parsed = parseEntry(set, entry);
    return parsed === undefined ? [] : { ...parsed, nomatch: nomatch === true };
  });
  return rangesOf(networks, addressLength(set.family));
}

/** Fills a set that has no members. */
export function writeMembers(set: IpSet, members: readonly IpSetMember[]): readonly Write[] {
  return hasNetworks(set.type)
    ? [
      ...elementWrites("add", named(set), ranges(set, members), shapeOf(set)),
      ...elementWrites("add", bookOf(set), bookKeys(set, members)),
    ]
    : elementWrites("add", named(set), keysOf(set, members));
}

/** What Linux holds of a set of networks. */
interface Held {
  readonly members: readonly IpSetMember[];
  readonly ranges: readonly Range[];
  /** Whether the ranges are what the members make. */
  readonly whole: boolean;
}

async function held(state: NftState, set: IpSet): Promise<Held> {
  const { family, name } = bookOf(set);
  const members = (await state.elements(family, name)).map(({ key }) => readBookKey(set, key));
  const there = rangesRead(await state.elements(family, named(set).name));
  const wanted = new Set(ranges(set, members).map(rangeText));
  const whole = there.length === wanted.size && there.every((one) => wanted.has(rangeText(one)));
  return { members, ranges: there, whole };
}

/** Elements as ranges: those of a set with one field are keys at which a range begins, or has ended. */
function rangesRead(elements: readonly ElementRead[]): readonly Range[] {
  if (elements.some(({ end }) => end !== undefined)) {
    return elements.map(({ key, end }) => ({ from: key, to: end ?? key }));
  }
  const sorted = elements.map((element) => ({ ...element, text: element.key.toHex() }))
    .toSorted((a, b) =>
      // What ends at a key comes before what begins there.
      a.text < b.text ? -1 : a.text > b.text ? 1 : Number(b.closes) - Number(a.closes)
    );
  return sorted.flatMap((element, i) => {
    if (element.closes) return [];
    const next = sorted[i + 1];
    const to = next === undefined
      ? new Uint8Array(element.key.length).fill(0xff)
      : preceding(next.key) ?? element.key;
    return [{ from: element.key, to }];
  });
}

/** The members of a set, as Linux holds them. @throws {KernelError} */
export async function readMembers(
  state: NftState,
  set: IpSet,
): Promise<readonly IpSetMember[]> {
  if (!hasNetworks(set.type)) {
    const elements = await state.elements(set.family, named(set).name);
    state.mostMembers.set(set.name, elements.length);
    return elements.map(({ key }) => ({ set: set.name, entry: entryText(set, key) }));
  }
  const have = await held(state, set);
  state.mostMembers.set(set.name, have.members.length);
  return have.whole ? have.members : broken(set, have);
}

/**
 * The members of a set whose ranges are not what its book says. A network without a part in any other is there if its range is.
 * The others, and ranges that nobody knows, are listed as what nobody wants: any op on the set writes it anew.
 */
function broken(set: IpSet, { members, ranges: there }: Held): readonly IpSetMember[] {
  const wanted = new Set(ranges(set, members).map(rangeText));
  const found = new Set(there.map(rangeText));
  const known = members.flatMap((member): readonly IpSetMember[] => {
    const [own] = ranges(set, [member]);
    if (own !== undefined && wanted.has(rangeText(own))) {
      return found.has(rangeText(own)) ? [member] : [];
    }
    const { nomatch, ...plain } = member;
    return [nomatch === true ? plain : { ...plain, nomatch: true }];
  });
  const unknown = there.filter((range) => !wanted.has(rangeText(range))).map((
    { from, to },
  ): IpSetMember => ({ set: set.name, entry: `${entryText(set, from)}-${entryText(set, to)}` }));
  return [...known, ...unknown];
}

type MemberOp = Op<IpSetMember>;

/** What a change of a set of networks writes. */
function networkWrites(set: IpSet, ops: readonly MemberOp[], have: Held): readonly Write[] {
  const members = new Map(have.members.map((member) => [member.entry, member]));
  const before = bookKeys(set, have.members);
  for (const { verb, item } of ops) {
    if (verb === "delete") members.delete(item.entry);
    else members.set(item.entry, item);
  }
  const wanted = [...members.values()];
  if (!have.whole) {
    return [
      (w) => writeFlushSet(w, set.family, named(set).name),
      (w) => writeFlushSet(w, set.family, bookOf(set).name),
      ...writeMembers(set, wanted),
    ];
  }
  const shape = shapeOf(set);
  const [gone, come] = difference(have.ranges, ranges(set, wanted), rangeText);
  const [out, into] = difference(before, bookKeys(set, wanted), (key) => key.toHex());
  return [
    ...elementWrites("remove", named(set), gone, shape),
    ...elementWrites("add", named(set), come, shape),
    ...elementWrites("remove", bookOf(set), out),
    ...elementWrites("add", bookOf(set), into),
  ];
}

function difference<T>(
  before: readonly T[],
  after: readonly T[],
  text: (item: T) => string,
): readonly [gone: readonly T[], come: readonly T[]] {
  const old = new Set(before.map(text));
  const now = new Set(after.map(text));
  return [
    before.filter((item) => !now.has(text(item))),
    after.filter((item) => !old.has(text(item))),
  ];
}

/** Removals go first: a range that takes another's place must not meet it. */
function keyWrites(set: IpSet, ops: readonly MemberOp[]): readonly Write[] {
  const length = keyLength(set);
  const of = (verb: "add" | "remove"): readonly Write[] => {
    const all = ops.filter((op) => (op.verb === "delete") === (verb === "remove"));
    const writes: Write[] = [];
    for (let from = 0; from < all.length; from += ELEMENTS) {
      const count = Math.min(ELEMENTS, all.length - from);
      const make = (i: number, bytes: Uint8Array, at: number): boolean =>
        writeKey(set, all[from + i]?.item.entry ?? "", bytes, at) >= 0;
      writes.push((w) => writeKeys(w, verb, named(set), length, count, make));
    }
    return writes;
  };
  return [...of("remove"), ...of("add")];
}

/** Where members are tried: no key is longer. */
const scratch = new Uint8Array(40);

function fits(set: IpSet, { entry }: IpSetMember): boolean {
  return writeKey(set, entry, scratch, 0) >= 0;
}

/**
 * The ops for which there is room. A set of nf_tables with a size takes the memory for all of it at once, so `maxElements` is held
 * here: by a number that no set has more members than, and where that could be too many by what the set holds.
 */
async function withRoom(
  state: NftState,
  set: IpSet,
  ops: readonly MemberOp[],
  refuse: (op: MemberOp) => void,
): Promise<readonly MemberOp[]> {
  const limit = set.maxElements ?? DEFAULT_MAX_ELEMENTS;
  const adds = ops.filter(({ verb }) => verb !== "delete").length;
  const known = state.mostMembers.get(set.name);
  if (adds === 0) return ops;
  if (known !== undefined && known + adds <= limit) {
    state.mostMembers.set(set.name, known + adds);
    return ops;
  }
  const there = new Set((await readMembers(state, set)).map(({ entry }) => entry));
  for (const { verb, item } of ops) if (verb === "delete") there.delete(item.entry);
  const fitting = ops.filter((op) => {
    const fits = op.verb === "delete" || there.has(op.item.entry) || there.size < limit;
    if (!fits) refuse(op);
    else if (op.verb !== "delete") there.add(op.item.entry);
    return fits;
  });
  state.mostMembers.set(set.name, there.size);
  return fitting;
}

const FULL: Refusal = { errno: errno.ENOSPC, text: "the set is full" };
const NO_SET: Refusal = { errno: errno.ENOENT, text: "there is no such set" };
const NO_MEMBER: Refusal = {
  errno: errno.EINVAL,
  text: "the member does not fit the type and family of the set",
};

async function applyMembers(
  state: NftState,
  ops: readonly MemberOp[],
): Promise<readonly Outcome<IpSetMember>[]> {
  const errors = new Map<MemberOp, KernelError>();
  const refuse = (op: MemberOp, refusal: Refusal): void => {
    errors.set(
      op,
      kernelError(`${op.verb} ipset.member`, refusal, {
        object: memberResource.key(op.item),
        ...(refusal === FULL ? { remedy: "ask for a set with more maxElements" } : {}),
      }),
    );
  };
  const names = new Set(ops.map(({ item }) => item.set));
  const read = names.size > FEW ? await listSets(state) : await readSets(state, names);
  const sets = new Map(read.map((set) => [set.name, set]));
  const groups = new Map<IpSet, MemberOp[]>();
  for (const op of ops) {
    const set = sets.get(op.item.set);
    if (set === undefined) {
      // A set that is gone has no members.
      if (op.verb !== "delete") refuse(op, NO_SET);
    } else if (op.verb !== "delete" && !fits(set, op.item)) {
      refuse(op, NO_MEMBER);
    } else {
      const group = groups.get(set);
      if (group === undefined) groups.set(set, [op]);
      else group.push(op);
    }
  }
  for (const [set, group] of groups) {
    groups.set(set, [...await withRoom(state, set, group, (op) => refuse(op, FULL))]);
  }
  /** What each set of these groups writes, as Linux is now. */
  async function writes(some: readonly (readonly [IpSet, readonly MemberOp[]])[], anew: boolean) {
    const all: Write[] = [];
    for (const [set, group] of some) {
      if (hasNetworks(set.type)) {
        const have = await held(state, set);
        all.push(...networkWrites(set, group, anew ? { ...have, whole: false } : have));
      } else all.push(...keyWrites(set, anew ? await needed(state, set, group) : group));
    }
    return all;
  }
  /** Halves what Linux refuses until what is wrong stands alone. */
  async function narrow(set: IpSet, group: readonly MemberOp[]): Promise<void> {
    const refusals = state.batch("write set", await writes([[set, group]], true));
    const [refusal] = refusals.values();
    if (refusal === undefined) return;
    if (group.length === 1) {
      for (const op of group) refuse(op, refusal);
      return;
    }
    const half = group.length >> 1;
    await narrow(set, group.slice(0, half));
    await narrow(set, group.slice(half));
  }
  const all = [...groups];
  if (state.batch("write sets", await writes(all, false)).size > 0) {
    for (const [set, group] of all) await narrow(set, group);
  }
  return ops.map((op) => {
    const error = errors.get(op);
    return error === undefined ? { op } : { op, error };
  });
}

/** Without removals of what is gone already, which Linux refuses. */
async function needed(
  state: NftState,
  set: IpSet,
  ops: readonly MemberOp[],
): Promise<readonly MemberOp[]> {
  const there = new Set((await readMembers(state, set)).map(({ entry }) => entry));
  return ops.filter(({ verb, item }) => verb !== "delete" || there.has(item.entry));
}

export function nftMemberTable(
  state: NftState,
  watch: NftWatch,
  owner: Owner,
): Table<IpSetMember> {
  async function list(only?: ReadonlySet<string>): Promise<readonly Actual<IpSetMember>[]> {
    const items: Actual<IpSetMember>[] = [];
    for (const set of await listSets(state)) {
      if (!ownsSet(owner, set.name) || only?.has(set.name) === false) continue;
      for (const item of await readMembers(state, set)) items.push({ item, owned: true });
    }
    return items;
  }
  return {
    resource: memberResource,
    list: () => list(),
    apply: (ops) =>
      state.applying(async () => {
        try {
          return await applyMembers(state, ops);
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
          return ops.map((op) => ({ op, error }));
        }
      }),
    watch(context) {
      const tell = () => context.drift("unknown");
      state.emptied.add(tell);
      const stop = watch.addMembers(owner, context, list);
      return () => {
        state.emptied.delete(tell);
        stop();
      };
    },
    refuse: ({ set }) => notOwnSet(owner, set),
  };
}
