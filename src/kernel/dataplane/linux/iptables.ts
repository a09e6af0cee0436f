/**
 * Chains of ours and the jumps to them, by `iptables-restore --noflush`: one run for each family with one transaction for each
 * table, in which nothing of others is named. Others' rules, and their counters, stay as they are.
 */

import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Family, Op, Outcome, Resource, Table } from "../resource.ts";
import {
  type Chain,
  chain as chainResource,
  type FilterTable,
  type Jump,
  jump as jumpResource,
} from "../resources/filter.ts";
import {
  firstPlace,
  leads,
  parseSave,
  rank,
  savedChains,
  savedJumps,
  type SavedTable,
} from "./iptables-parse.ts";
import {
  type Features,
  refuseChain,
  refuseJump,
  renderDeclaration,
  renderJump,
  renderRules,
} from "./iptables-render.ts";
import {
  type IptablesTool,
  isHeldUp,
  type Script,
  toolError,
  type ToolResult,
} from "./iptables-tool.ts";
import type { IptablesWatch } from "./iptables-watch.ts";
import { Turns } from "./turns.ts";

const FAMILIES: readonly Family[] = [4, 6];
/**
 * Milliseconds after the last save of either family for which saves are used again: chains and jumps are listed one after the
 * other, and where starting a process is slow the first family's save is old before the second one's is there.
 */
const FRESH_MS = 50;
/** How many suspects are taken out of a failing transaction, by its line number, before each op goes alone. */
const SUSPECTS = 8;

type Saved = ReadonlyMap<FilterTable, SavedTable>;

/** What both tables share: reading, for all owners. */
export class IptablesState {
  readonly tool: IptablesTool;
  readonly #saves = new Map<Family, Promise<Saved>>();
  #freshUntil = 0;

  /** Family and table of all that we wrote or found: "4 nat". */
  readonly places = new Set<string>();
  /** Counts our own changes. */
  generation = 0;
  /** Called after each of our own changes. */
  onApplied: (() => void) | undefined;
  #applying = 0;
  readonly #turns = new Turns();

  constructor(tool: IptablesTool) {
    this.tool = tool;
  }

  /** The rules of a family. @throws {KernelError} */
  read(family: Family): Promise<Saved> {
    // While one runs, others wait for it.
    if (performance.now() > this.#freshUntil) this.forget();
    const known = this.#saves.get(family);
    if (known !== undefined) return known;
    this.#freshUntil = Infinity;
    const saved = this.tool.save(family).then(parseSave);
    this.#saves.set(family, saved);
    const ended = (): void => {
      this.#freshUntil = performance.now() + FRESH_MS;
    };
    // A failed read must not be given out again.
    saved.then(ended, () => {
      ended();
      if (this.#saves.get(family) === saved) this.#saves.delete(family);
    });
    return saved;
  }

  forget(): void {
    this.#saves.clear();
  }

  /** Whether ops are being carried out now. */
  get busy(): boolean {
    return this.#applying > 0;
  }

  /**
   * Runs `work`, which changes rules, after that of others has ended: where a jump goes is read before it is written, and
   * another owner's jump must not come in between. The firewall does not queue up: what others want can wait until nothing is
   * open any more.
   */
  async applying<R>(owner: Owner, work: () => Promise<R>): Promise<R> {
    this.#applying++;
    this.generation++;
    try {
      return await this.#turns.take(rank(owner.name), work);
    } finally {
      this.#applying--;
      this.forget();
      this.onApplied?.();
    }
  }
}

/** Ops of one family from which on its text is made while the tool reads: making that of 2,000 chains takes half as long. */
const STREAMED = 256;
/** Characters of one piece of such a text: what a pipe holds. */
const PIECE = 65_536;

/** The lines of one op within a transaction. */
interface Lines<T> {
  readonly op: Op<T>;
  /** Chains that the transaction declares; they come before all rules. */
  readonly declare: readonly string[];
  readonly rules: readonly string[];
  /** Removals of chains; they come after all rules. */
  readonly remove: readonly string[];
}

/**
 * Carries out ops of one family and table as one transaction. Where it fails, the op that the tool's message names is left
 * out and the rest tried again; in the end each goes alone. A new chain that is left out is made all the same, without rules:
 * others jump to it, and would fail in its place, and those that jump to them.
 */
async function transact<T extends { readonly family: Family; readonly table: FilterTable }>(
  state: IptablesState,
  resource: Resource<T>,
  parts: readonly Lines<T>[],
): Promise<ReadonlyMap<Op<T>, KernelError>> {
  const errors = new Map<Op<T>, KernelError>();
  const bare: Lines<T>[] = [];
  const write = async (some: readonly Lines<T>[]) => {
    const [first] = [...some, ...bare];
    if (first === undefined) return undefined;
    const { family, table } = first.op.item;
    const { text, owners } = compose(table, [...bare, ...some]);
    const result = await state.tool.restore(family, text);
    return result.status === 0 ? undefined : { ...result, owners };
  };
  const leaveOut = (part: Lines<T>, result: ToolResult): void => {
    errors.set(part.op, failure(resource, part.op, result));
    if (isNew(part.op)) bare.push({ ...part, rules: [] });
  };
  let left = [...parts];
  for (let attempt = 0; left.length > 0; attempt++) {
    const result = await write(left);
    if (result === undefined) return errors;
    if (isHeldUp(result)) {
      // No op is to blame, and each by itself would wait as long: with a thousand of them for hours.
      for (const part of left) errors.set(part.op, failure(resource, part.op, result));
      return errors;
    }
    if (left.length > 1 && attempt >= SUSPECTS) break;
    const line = Number(/line:? (\d+)/.exec(result.stderr)?.[1] ?? 0);
    // The nft variant counts one more for a chain that does not exist.
    const suspect = left.length === 1
      ? left[0]
      : result.owners.get(line) ?? result.owners.get(line - 1);
    if (suspect === undefined || !left.includes(suspect)) break;
    leaveOut(suspect, result);
    left = left.filter((part) => part !== suspect);
  }
  const known = bare.length;
  for (const part of left) if (isNew(part.op)) bare.push({ ...part, rules: [] });
  if (bare.length > 0) await write([]);
  bare.length = known;
  for (const part of left) {
    const { text } = compose(part.op.item.table, [part]);
    const result = await state.tool.restore(part.op.item.family, text);
    if (result.status !== 0) errors.set(part.op, failure(resource, part.op, result));
  }
  return errors;
}

/** Codes of a tool that did not get to work: not even an empty chain was made. */
const HELD_UP: ReadonlySet<string> = new Set(["EAGAIN", "ETIMEDOUT"]);

/** Whether it makes something, which stands in nobody's way while it is empty. */
function isNew<T>({ verb }: Op<T>): boolean {
  return verb === "create";
}

function failure<T>(
  resource: Resource<T>,
  op: Op<T>,
  result: Parameters<typeof toolError>[2],
): KernelError {
  // The legacy tool says only "line 3 failed" of a chain that a rule of others jumps to.
  const silent = op.verb === "delete" ? "EBUSY" : "EINVAL";
  return toolError(`${op.verb} ${resource.kind}`, resource.key(op.item), result, silent);
}

/**
 * Those that declare a chain, last name first: the nft variant keeps the chains that a run names in a list sorted by name, and
 * goes through it from the front for each new one. With 2,000 chains in any other order that is half of its time.
 */
function declared<P extends Pick<Lines<unknown>, "declare">>(parts: readonly P[]): readonly P[] {
  return parts.filter(({ declare }) => declare.length > 0)
    .toSorted(({ declare: [a = ""] }, { declare: [b = ""] }) => a > b ? -1 : a < b ? 1 : 0);
}

function compose<T>(table: FilterTable, parts: readonly Lines<T>[]): {
  readonly text: string;
  /** Whose a line is, by its number from 1. */
  readonly owners: ReadonlyMap<number, Lines<T>>;
} {
  const lines = [`*${table}`];
  const owners = new Map<number, Lines<T>>();
  for (const part of declared(parts)) {
    for (const line of part.declare) owners.set(lines.push(line), part);
  }
  for (const section of ["rules", "remove"] as const) {
    for (const part of parts) {
      for (const line of part[section]) owners.set(lines.push(line), part);
    }
  }
  lines.push("COMMIT", "");
  return { text: lines.join("\n"), owners };
}

/** The text that `compose` would give, bit by bit. */
function* streamed<T>(
  table: FilterTable,
  parts: readonly Omit<Lines<T>, "op">[],
): Iterable<string> {
  let piece = `*${table}\n`;
  const lines = function* (): Iterable<string> {
    yield* declared(parts).flatMap(({ declare }) => declare);
    for (const section of ["rules", "remove"] as const) {
      for (const part of parts) yield* part[section];
    }
  };
  for (const line of lines()) {
    piece += `${line}\n`;
    if (piece.length < PIECE) continue;
    yield piece;
    piece = "";
  }
  yield `${piece}COMMIT\n`;
}

/** Runs the ops by family and table; `render` gives an op's lines, none where nothing is to be done. */
async function applyByTable<
  T extends { readonly family: Family; readonly table: FilterTable },
>(
  state: IptablesState,
  resource: Resource<T>,
  ops: readonly Op<T>[],
  render: (op: Op<T>, saved: Saved | undefined, features: Features) => Omit<Lines<T>, "op">,
  needsSave: (op: Op<T>) => boolean,
): Promise<readonly Outcome<T>[]> {
  const errors = new Map<Op<T>, KernelError>();
  const places = new Map<string, Op<T>[]>();
  for (const op of ops) {
    const place = `${op.item.family} ${op.item.table}`;
    state.places.add(place);
    // Not copied for each op: there are thousands.
    const group = places.get(place);
    if (group === undefined) places.set(place, [op]);
    else group.push(op);
  }
  /** Gives the lines of an op of one family. */
  async function renderer(
    group: readonly Op<T>[],
    again: boolean,
  ): Promise<(op: Op<T>) => Omit<Lines<T>, "op">> {
    const { modern } = await state.tool.found();
    const read = again || group.some(needsSave);
    if (read) state.forget();
    const saved = read ? await state.read(group[0]?.item.family ?? 4) : undefined;
    return (op) => render(op, saved, { randomFully: modern });
  }
  /** What is to be said to the tool for some ops of one family. */
  async function linesOf(
    group: readonly Op<T>[],
    again: boolean,
  ): Promise<readonly Lines<T>[]> {
    const lines = await renderer(group, again);
    return group.map((op) => ({ op, ...lines(op) }))
      .filter((part) => part.declare.length + part.rules.length + part.remove.length > 0);
  }
  /** The same where it is long. */
  async function scriptOf(groups: readonly (readonly Op<T>[])[]): Promise<Script> {
    const lines = await renderer(groups.flat(), false);
    return {
      tables: groups.flatMap(([op]) => op === undefined ? [] : [op.item.table]),
      *pieces() {
        for (const group of groups) {
          const [first] = group;
          if (first !== undefined) yield* streamed(first.item.table, group.map(lines));
        }
      },
    };
  }
  /** All tables of a family in one run of the tool: a process is what costs most. False where anything fails. */
  async function allAtOnce(groups: readonly (readonly Op<T>[])[]): Promise<boolean> {
    const family = groups[0]?.[0]?.item.family ?? 4;
    try {
      if (groups.flat().length >= STREAMED) {
        return (await state.tool.restore(family, await scriptOf(groups))).status === 0;
      }
      const parts = await linesOf(groups.flat(), false);
      const tables = new Set(parts.map(({ op }) => op.item.table));
      const texts = [...tables].map((table) =>
        compose(table, parts.filter(({ op }) => op.item.table === table)).text
      );
      if (texts.length === 0) return true;
      return (await state.tool.restore(family, texts.join(""))).status === 0;
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      return false;
    }
  }
  const done = new Set<Op<T>>();
  const tried = new Set<Family>();
  const byFamily = FAMILIES.map((family) =>
    [...places.values()].filter((group) => group[0]?.item.family === family)
  );
  const both = byFamily.every((groups) => groups.length > 0);
  // Both families at a time, as far as the tool allows that.
  await Promise.all(byFamily.map(async (groups, i) => {
    if (groups.length < 2 && !both) return;
    if (await allAtOnce(groups)) { for (const op of groups.flat()) done.add(op); }
    // Some tables may be written and others not.
    else tried.add(FAMILIES[i] as Family);
  }));
  for (const group of places.values()) {
    if (group.some((op) => done.has(op))) continue;
    try {
      const parts = await linesOf(group, tried.has(group[0]?.item.family ?? 4));
      for (const [op, error] of await transact(state, resource, parts)) errors.set(op, error);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      for (const op of group) errors.set(op, error);
    }
  }
  return ops.map((op) => {
    const error = errors.get(op);
    return error === undefined ? { op } : { op, error };
  });
}

const NOTHING = { declare: [], rules: [], remove: [] } as const;

export function chainTable(
  state: IptablesState,
  watch: IptablesWatch,
  owner: Owner,
): Table<Chain> {
  async function list(families = FAMILIES): Promise<readonly Actual<Chain>[]> {
    const found = [];
    for (const family of families) {
      found.push(...savedChains(family, await state.read(family), owner));
    }
    for (const { family, table } of found) state.places.add(`${family} ${table}`);
    return found.map((item) => ({ item, owned: true }));
  }
  return {
    resource: chainResource,
    list: () => list(),
    watch(context) {
      // Finding the tool takes several of its runs: while the cluster is listed, not afterwards. The first list tells of errors.
      state.tool.found().catch(() => {});
      return watch.add(chainResource, owner, context, list);
    },
    apply: async (ops) => {
      const outcomes = await state.applying(
        owner,
        () =>
          applyByTable(state, chainResource, ops, (op, saved, features) => {
            const { name, table } = op.item;
            if (op.verb !== "delete") {
              return {
                declare: [renderDeclaration(name)],
                get rules() {
                  return renderRules(op.item, owner, features);
                },
                remove: [],
              };
            }
            if (saved?.get(table)?.chains.has(name) !== true) return NOTHING;
            // Emptied with the rules of others, removed last: chains of ours may name each other.
            return { declare: [renderDeclaration(name)], rules: [], remove: [`-X ${name}`] };
          }, (op) => op.verb === "delete"),
      );
      return outcomes.map(({ op, error }): Outcome<Chain> =>
        error === undefined || !isNew(op) || HELD_UP.has(error.code)
          ? { op, ...(error === undefined ? {} : { error }) }
          : { op, error, made: { ...op.item, rules: [] } }
      );
    },
    refuse: (item) => refuseChain(owner, item),
  };
}

export function jumpTable(
  state: IptablesState,
  watch: IptablesWatch,
  owner: Owner,
): Table<Jump> {
  async function list(families = FAMILIES): Promise<readonly Actual<Jump>[]> {
    const found = [];
    for (const family of families) {
      found.push(...savedJumps(family, await state.read(family), owner));
    }
    return found.map(({ jump }) => ({ item: jump, owned: true }));
  }
  const keyOf = (jump: Jump) => jumpResource.key(jump);
  return {
    resource: jumpResource,
    list: () => list(),
    watch: (context) => watch.add(jumpResource, owner, context, list),
    apply: (ops) =>
      state.applying(owner, () =>
        applyByTable(state, jumpResource, ops, (op, saved) => {
          const there = saved === undefined
            ? undefined
            : savedJumps(op.item.family, saved, owner).find(({ jump }) =>
              keyOf(jump) === keyOf(op.item)
            );
          const gone = (there?.lines ?? []).map((line) => `-D ${line}`);
          const place = firstPlace(saved?.get(op.item.table), op.item.from, owner);
          const rules = op.verb === "delete" ? gone : [...gone, renderJump(op.item, owner, place)];
          return { declare: [], rules, remove: [] };
        }, ({ item, verb }) => verb !== "create" || (item.first === true && !leads(owner)))),
    refuse: (item) => refuseJump(owner, item),
  };
}
