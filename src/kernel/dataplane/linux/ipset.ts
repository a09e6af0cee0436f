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
  writeTypeQuery,
} from "./ipset-codec.ts";
import { ownsSet, setPattern } from "./ipset-names.ts";
import { NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import { GONE, guarded, outcomes, type Request, send } from "./rtnl.ts";
import { NETLINK_NETFILTER, NetlinkSocket, type SocketOptions } from "./socket.ts";

/** Members of one message: at most 52 bytes each, and a nest of attributes is shorter than 64 KiB. */
const MEMBERS = 1000;

/** What both tables share: the socket and the revisions of the set types. */
export class IpsetState {
  readonly #options: SocketOptions;
  readonly #revisions = new Map<string, number>();
  #socket: NetlinkSocket | undefined;
  #loaded: Promise<unknown> | undefined;
  /** Told when a set was made anew, which loses its members. */
  readonly emptied = new Set<() => void>();

  constructor(options: Pick<SocketOptions, "namespace"> = {}) {
    this.#options = options;
  }

  /** @throws {KernelError} when it cannot be opened */
  get socket(): NetlinkSocket {
    this.#socket ??= new NetlinkSocket(NETLINK_NETFILTER, this.#options);
    return this.#socket;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
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

export function ipsetTable(state: IpsetState, owner: Owner): Table<IpSet> {
  function request(op: Op<IpSet>, i: number): readonly Request[] {
    const { item } = op;
    const destroy: Request = {
      op: i,
      write: (w) => writeDestroy(w, item.name),
      harmless: GONE,
    };
    if (op.verb === "delete") return [destroy];
    const revision = state.revision(item.type, item.family);
    const create: Request = {
      op: i,
      write: (w) => writeCreate(w, item, revision, NLM_F_CREATE | NLM_F_EXCL),
    };
    return op.verb === "create" ? [create] : [destroy, create];
  }

  return {
    resource: setResource,
    async list() {
      return (await state.list()).flatMap(({ head }) =>
        head === undefined ? [] : [{ item: head, owned: ownsSet(owner, head.name) }]
      );
    },
    apply: (ops) =>
      Promise.resolve(guarded(ops, () => {
        const refusals = new Map<number, Refusal>();
        const requests: Request[] = [];
        const failed = new Map<number, KernelError>();
        for (const [i, op] of ops.entries()) {
          try {
            requests.push(...request(op, i));
          } catch (error) {
            if (!(error instanceof KernelError)) throw error;
            failed.set(i, error);
          }
        }
        for (const [i, refusal] of send(state.socket, "write ipset", requests)) {
          refusals.set(i, ipsetRefusal(refusal));
        }
        if (ops.some((op) => op.verb === "update")) {
          queueMicrotask(() => state.emptied.forEach((tell) => tell()));
        }
        return outcomes("ipset", ops, setResource.key, refusals).map((outcome, i) => {
          const error = failed.get(i);
          return error === undefined ? outcome : { op: outcome.op, error };
        });
      })),
    refuse: (item) =>
      !ownsSet(owner, item.name)
        ? `sets of "${owner.name}" are called ${setPattern(owner)}`
        : item.name.length > 31
        ? "the name of a set has at most 31 characters"
        : undefined,
  };
}

export function ipsetMemberTable(state: IpsetState, owner: Owner): Table<IpSetMember> {
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
    apply: (ops) => Promise.resolve(guarded(ops, () => applyMembers(state.socket, ops))),
    watch(context) {
      const tell = () => context.drift("unknown");
      state.emptied.add(tell);
      return () => state.emptied.delete(tell);
    },
    refuse: (item) =>
      ownsSet(owner, item.set)
        ? undefined
        : `sets of "${owner.name}" are called ${setPattern(owner)}`,
  };
}

function applyMembers(
  socket: NetlinkSocket,
  ops: readonly Op<IpSetMember>[],
): readonly Outcome<IpSetMember>[] {
  const refusals = new Map<number, Refusal>();
  const chunks = chunked(ops);
  // Removals go first: a full set makes room.
  const refused = socket.pipeline("write ipset members", chunks.length, (w, i) => {
    const chunk = chunks[i];
    if (chunk !== undefined) writeChunk(w, ops, chunk);
  });
  // Which member of a chunk Linux refused is not told: those chunks are sent again, member by member.
  const again = [...refused.keys()].flatMap((i) => {
    const chunk = chunks[i];
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
  const members = chunk.indexes.flatMap((i) => ops[i]?.item ?? []);
  writeMembers(w, chunk.command, chunk.set, members);
}

/** The ops by set and command, in messages of at most 1,000 members; removals before additions. */
function chunked(ops: readonly Op<IpSetMember>[]): readonly Chunk[] {
  const groups = new Map<string, { readonly set: string; readonly indexes: number[] }>();
  for (const [i, op] of ops.entries()) {
    const name = `${op.verb === "delete" ? "0" : "1"} ${op.item.set}`;
    const group = groups.get(name) ?? { set: op.item.set, indexes: [] };
    group.indexes.push(i);
    groups.set(name, group);
  }
  const chunks: Chunk[] = [];
  for (const [name, { set, indexes }] of [...groups].toSorted(([a], [b]) => a < b ? -1 : 1)) {
    const command = name.startsWith("0") ? IPSET_CMD_DEL : IPSET_CMD_ADD;
    for (let at = 0; at < indexes.length; at += MEMBERS) {
      chunks.push({ set, command, indexes: indexes.slice(at, at + MEMBERS) });
    }
  }
  return chunks;
}
