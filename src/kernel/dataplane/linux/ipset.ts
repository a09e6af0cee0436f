/** ipsets of ours and their members, by nfnetlink. The name is the mark. */

import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Family, Op, Outcome, Table } from "../resource.ts";
import {
  type IpSet,
  ipset as setResource,
  type IpSetMember,
  ipsetMember as memberResource,
} from "../resources/ipset.ts";
import { DumpSnapshot } from "./dump-snapshot.ts";
import { errno, type Refusal } from "./errno.ts";
import { loadModule } from "./genl.ts";
import {
  IPSET_CMD_ADD,
  IPSET_CMD_DEL,
  ipsetRefusal,
  readList,
  readRevision,
  type SetPart,
  writeCreate,
  writeDestroy,
  writeList,
  writeMembers,
  writeSwap,
  writeTypeQuery,
} from "./ipset-codec.ts";
import type { IpsetDrift } from "./ipset-drift.ts";
import { notOwnSet, ownsSet, refuseSet } from "./ipset-names.ts";
import { MessageReader, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import { GONE, guarded, outcomes, type Request, send } from "./rtnl.ts";
import { NETLINK_NETFILTER, NetlinkSocket, type SocketOptions } from "./socket.ts";

/** Members of one message: at most 84 bytes each (two IPv6 nets and a port), and a nest of attributes is shorter than 64 KiB. */
const MEMBERS = 750;
/** Names of sets whose owner is remembered. */
const REMEMBERED = 64;

/** Told of each write of sets or their members: by whom, how long it took, and of which families they were. */
export type OnIpsetWrite = (
  write: {
    readonly owner: string;
    readonly ms: number;
    readonly four: boolean;
    readonly six: boolean;
  },
) => void;

/**
 * What our own change did to sets, by name: by how much the number of members went up or down, as far as Linux had what we
 * believed; or that a set is new and empty, gone, or has members that were not counted.
 */
export type SetEffects = ReadonlyMap<string, number | "new" | "gone" | "unknown">;

/** What both tables share: the socket and the revisions of the set types. */
export class IpsetState {
  readonly #options: SocketOptions;
  readonly #revisions = new Map<string, number>();
  #socket: NetlinkSocket | undefined;
  /** For lists that are read bit by bit. */
  #scanning: NetlinkSocket | undefined;
  #heads: DumpSnapshot | undefined;
  #loaded: Promise<unknown> | undefined;
  /** Told when a set was made anew, which may lose its members. */
  readonly emptied = new Set<() => void>();
  /** Counts our own changes: what was read before one of them is old after it. */
  generation = 0;
  /** Called after our own changes. */
  onApplied: ((effects: SetEffects) => void) | undefined;
  readonly #onWrite: OnIpsetWrite | undefined;
  #applying = 0;

  constructor(options: Pick<SocketOptions, "namespace"> = {}, onWrite?: OnIpsetWrite) {
    this.#options = options;
    this.#onWrite = onWrite;
  }

  /** @throws {KernelError} when it cannot be opened */
  get socket(): NetlinkSocket {
    this.#socket ??= new NetlinkSocket(NETLINK_NETFILTER, this.#options);
    return this.#socket;
  }

  close(): void {
    this.#socket?.close();
    this.#scanning?.close();
    this.#heads?.close();
    this.#socket = this.#scanning = this.#heads = undefined;
  }

  /** Whether ops are being carried out now. */
  get busy(): boolean {
    return this.#applying > 0;
  }

  /** Runs `work`, which changes sets of an owner. */
  async applying<R>(
    owner: Owner,
    work: () => R | Promise<R>,
    effectsOf: (result: R) => SetEffects,
  ): Promise<R> {
    this.#applying++;
    this.generation++;
    try {
      const start = performance.now();
      const result = await work();
      const ms = performance.now() - start;
      const effects = effectsOf(result);
      if (this.#onWrite !== undefined) {
        const six = [...effects.keys()].filter((name) => name.startsWith("inet6:")).length;
        this.#onWrite({
          owner: owner.name,
          ms,
          four: six < effects.size,
          six: six > 0,
        });
      }
      this.onApplied?.(effects);
      return result;
    } finally {
      this.#applying--;
    }
  }

  /** Sets without members whose heads are not what they were at the last call; undefined where it may be all. @throws {KernelError} */
  movedHeads(): readonly SetPart[] | undefined {
    this.#heads ??= new DumpSnapshot(NETLINK_NETFILTER, (w) => writeList(w), this.#options);
    return this.#heads.moved()?.flatMap((bytes) => {
      const message = new MessageReader(bytes);
      message.load(bytes.length);
      const parts: SetPart[] = [];
      while (message.next()) parts.push(...[readList(message) ?? []].flat());
      return parts;
    });
  }

  /** Sets by name, without members, or one set with them. @throws {KernelError} */
  async list(name?: string): Promise<readonly SetPart[]> {
    const dump = () => this.socket.dump("list ipset", (w) => writeList(w, name), readList);
    try {
      return await dump();
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      // The set went while the list of sets was read.
      if (error.code === "ENOENT") return [];
      // nfnetlink answers EINVAL for a subsystem that is not loaded and cannot be.
      if (error.code !== "EINVAL" && error.code !== "EOPNOTSUPP") throw error;
      this.#loaded ??= loadModule("ip_set");
      await this.#loaded;
      return await dump().catch(() => {
        throw new KernelError("list ipset", "ENOSUPPORT", {
          detail: "this Linux has no ipset",
          remedy: 'load it on the host with "modprobe ip_set" or use a kernel that has it',
        });
      });
    }
  }

  /**
   * The members of one set, part by part; one call at a time.
   *
   * @param take false ends it
   * @returns whether all were read; a set that is gone has none
   * @throws {KernelError}
   */
  async scan(
    name: string,
    take: (members: readonly IpSetMember[]) => Promise<boolean>,
  ): Promise<boolean> {
    this.#scanning ??= new NetlinkSocket(NETLINK_NETFILTER, this.#options);
    try {
      return await this.#scanning.dumpInParts(
        "list ipset",
        (w) => writeList(w, name),
        readList,
        (parts) => take(parts.flatMap(({ members }) => members)),
      );
    } catch (error) {
      if (error instanceof KernelError && error.code === "ENOENT") return true;
      throw error;
    }
  }

  /** The highest revision of a set type that Linux has. @throws {KernelError} */
  revision(type: string, family: Family): number {
    const name = `${type} ${family}`;
    const known = this.#revisions.get(name);
    if (known !== undefined) return known;
    let revision = 0;
    // Linux loads the type's module for this question.
    this.socket.request(
      "read ipset type",
      (w) => writeTypeQuery(w, type, family),
      (message) => revision = readRevision(message),
      type,
    );
    this.#revisions.set(name, revision);
    return revision;
  }
}

export function ipsetTable(state: IpsetState, drift: IpsetDrift, owner: Owner): Table<IpSet> {
  function requests(
    op: Op<IpSet>,
    i: number,
    copied: ReadonlyMap<Op<IpSet>, readonly IpSetMember[]>,
  ): readonly Request[] {
    const { item } = op;
    const destroy = (name: string): Request => ({
      op: i,
      write: (w) => writeDestroy(w, name),
      harmless: GONE,
    });
    if (op.verb === "delete") return [destroy(item.name)];
    const revision = state.revision(item.type, item.family);
    const create = (set: IpSet): Request => ({
      op: i,
      write: (w) => writeCreate(w, set, revision, NLM_F_CREATE | NLM_F_EXCL),
    });
    if (op.verb === "create") return [create(item)];
    const members = copied.get(op);
    if (members === undefined) return [destroy(item.name), create(item)];
    // A set that rules refer to cannot be destroyed, but exchanged.
    const name = `${item.name.slice(0, 27)}-new`;
    return [
      destroy(name),
      create({ ...item, name }),
      ...chunks(members).map((some): Request => ({
        op: i,
        write: (w) => writeMembers(w, IPSET_CMD_ADD, name, some),
      })),
      { op: i, write: (w) => writeSwap(w, name, item.name) },
      destroy(name),
    ];
  }

  /** The members of sets that get other options; a set of another type or family is made anew. */
  async function copies(
    ops: readonly Op<IpSet>[],
  ): Promise<ReadonlyMap<Op<IpSet>, readonly IpSetMember[]>> {
    const copied = new Map<Op<IpSet>, readonly IpSetMember[]>();
    for (const op of ops) {
      if (op.verb !== "update") continue;
      const { item, have } = op;
      if (item.type !== have.type || item.family !== have.family) continue;
      copied.set(op, (await state.list(item.name)).flatMap(({ members }) => members));
    }
    return copied;
  }

  function carryOut(
    ops: readonly Op<IpSet>[],
    copied: ReadonlyMap<Op<IpSet>, readonly IpSetMember[]>,
  ): readonly Outcome<IpSet>[] {
    const all: Request[] = [];
    const failed = new Map<number, KernelError>();
    for (const [i, op] of ops.entries()) {
      try {
        all.push(...requests(op, i, copied));
      } catch (error) {
        if (!(error instanceof KernelError)) throw error;
        failed.set(i, error);
      }
    }
    const refusals = new Map<number, Refusal>();
    for (const [i, refusal] of send(state.socket, "write ipset", all)) {
      refusals.set(i, ipsetRefusal(refusal));
    }
    if (ops.some((op) => op.verb === "update")) {
      queueMicrotask(() => state.emptied.forEach((tell) => tell()));
    }
    return outcomes("ipset", ops, setResource.key, refusals).map((outcome, i) => {
      const error = failed.get(i);
      return error === undefined ? outcome : { op: outcome.op, error };
    });
  }

  return {
    resource: setResource,
    async list() {
      return (await state.list()).flatMap(({ head }) =>
        head === undefined ? [] : [{ item: head, owned: ownsSet(owner, head.name) }]
      );
    },
    apply: (ops) =>
      state.applying(owner, async () => {
        const copied = await copies(ops);
        return guarded(ops, () => carryOut(ops, copied));
      }, setEffects),
    watch: (context) => drift.watchSets(owner, context),
    refuse: (item) => refuseSet(owner, item.name),
  };
}

export function ipsetMemberTable(
  state: IpsetState,
  drift: IpsetDrift,
  owner: Owner,
): Table<IpSetMember> {
  // Members come set by set or in turn of a few sets: at 20,000 of them the pattern need not be matched each time.
  const refusals = new Map<string, string | undefined>();
  function refuse({ set }: IpSetMember): string | undefined {
    if (refusals.has(set)) return refusals.get(set);
    if (refusals.size >= REMEMBERED) refusals.clear();
    const refusal = notOwnSet(owner, set);
    refusals.set(set, refusal);
    return refusal;
  }
  return {
    resource: memberResource,
    async list() {
      const items: Actual<IpSetMember>[] = [];
      for (const { head } of await state.list()) {
        if (head === undefined || !ownsSet(owner, head.name)) continue;
        for (const part of await state.list(head.name)) {
          for (const item of part.members) items.push({ item, owned: true });
        }
      }
      return items;
    },
    apply: (ops) =>
      state.applying(
        owner,
        () => guarded(ops, () => applyMembers(state.socket, ops)),
        memberEffects,
      ),
    watch(context) {
      const tell = () => context.drift("unknown");
      state.emptied.add(tell);
      const stop = drift.watchMembers(owner, context);
      return () => {
        state.emptied.delete(tell);
        stop();
      };
    },
    refuse,
  };
}

function setEffects(outcomes: readonly Outcome<IpSet>[]): SetEffects {
  const verbs = { create: "new", delete: "gone", update: "unknown" } as const;
  return new Map(
    outcomes.map((
      { op, error },
    ) => [op.item.name, error === undefined ? verbs[op.verb] : "unknown"]),
  );
}

function memberEffects(outcomes: readonly Outcome<IpSetMember>[]): SetEffects {
  const effects = new Map<string, number>();
  for (const { op: { verb, item: { set } }, error } of outcomes) {
    const change = error !== undefined || verb === "update" ? 0 : verb === "create" ? 1 : -1;
    effects.set(set, (effects.get(set) ?? 0) + change);
  }
  return effects;
}

function chunks<T>(items: readonly T[]): readonly (readonly T[])[] {
  const parts: T[][] = [];
  for (let at = 0; at < items.length; at += MEMBERS) parts.push(items.slice(at, at + MEMBERS));
  return parts;
}

function applyMembers(
  socket: NetlinkSocket,
  ops: readonly Op<IpSetMember>[],
): readonly Outcome<IpSetMember>[] {
  const refusals = new Map<number, Refusal>();
  const all = chunked(ops);
  // Removals go first: a full set makes room.
  const refused = socket.pipeline("write ipset members", all.length, (w, i) => {
    const chunk = all[i];
    if (chunk !== undefined) writeChunk(w, ops, chunk);
  });
  // Which member of a chunk Linux refused is not told: those chunks are sent again, member by member.
  const again = [...refused.keys()].flatMap((i) => {
    const chunk = all[i];
    return chunk === undefined
      ? []
      : chunk.indexes.map((index) => ({ ...chunk, indexes: [index] }));
  });
  const alone = socket.pipeline("write ipset member", again.length, (w, i) => {
    const chunk = again[i];
    if (chunk !== undefined) writeChunk(w, ops, chunk);
  });
  for (const [i, raw] of alone) {
    const index = again[i]?.indexes[0];
    if (index === undefined) continue;
    const refusal = ipsetRefusal(raw);
    // A set that is gone has no members.
    if (ops[index]?.verb === "delete" && refusal.errno === errno.ENOENT) continue;
    refusals.set(index, refusal);
  }
  return outcomes(
    "ipset.member",
    ops,
    memberResource.key,
    refusals,
    (_, refusal) =>
      refusal.text === "the set is full" ? "ask for a set with more maxElements" : undefined,
  );
}

interface Chunk {
  readonly set: string;
  readonly command: typeof IPSET_CMD_ADD | typeof IPSET_CMD_DEL;
  /** Indexes of its ops. */
  readonly indexes: readonly number[];
}

function writeChunk(
  w: Parameters<typeof writeMembers>[0],
  ops: readonly Op<IpSetMember>[],
  chunk: Chunk,
): void {
  const members = chunk.indexes.map((i) => (ops[i] as Op<IpSetMember>).item);
  writeMembers(w, chunk.command, chunk.set, members);
}

/** The ops by set and command, in messages of at most 1,000 members; removals before additions. */
function chunked(ops: readonly Op<IpSetMember>[]): readonly Chunk[] {
  const removed = new Map<string, number[]>();
  const added = new Map<string, number[]>();
  for (let i = 0; i < ops.length; i++) {
    const { verb, item: { set } } = ops[i] as Op<IpSetMember>;
    const groups = verb === "delete" ? removed : added;
    const indexes = groups.get(set);
    if (indexes === undefined) groups.set(set, [i]);
    else indexes.push(i);
  }
  const found: Chunk[] = [];
  for (const [command, groups] of [[IPSET_CMD_DEL, removed], [IPSET_CMD_ADD, added]] as const) {
    for (const [set, indexes] of groups) {
      for (const part of chunks(indexes)) found.push({ set, command, indexes: part });
    }
  }
  return found;
}
