/**
 * What all rtnetlink tables share: one command socket (opened at first use), the links of this Linux by name and
 * index, and the way from refusals to outcomes. Numbers are those of linux/rtnetlink.h and linux/if_link.h.
 */

import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Op, Outcome } from "../resource.ts";
import type { Tunnel } from "../resources/link.ts";
import { errno, kernelError, type Refusal } from "./errno.ts";
import type { MessageReader, MessageWriter } from "./message.ts";
import { decodeTunnelData } from "./tunnel.ts";
import { NETLINK_ROUTE, NetlinkSocket, type SocketOptions } from "./socket.ts";

export const AF_INET = 2;
export const AF_INET6 = 10;

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

/** Bytes of struct ifinfomsg. */
export const IFINFOMSG = 16;
export const IFF_UP = 1;
export const IFLA_IFNAME = 3;
export const IFLA_MTU = 4;
export const IFLA_LINKINFO = 18;
export const IFLA_IFALIAS = 20;
const IFLA_EXT_MASK = 29;
export const IFLA_INFO_KIND = 1;
export const IFLA_INFO_DATA = 2;
const RTEXT_FILTER_SKIP_STATS = 1 << 3;

/** A link as Linux describes it. */
export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  /** IFLA_INFO_KIND; empty for hardware. */
  readonly type: string;
  readonly up: boolean;
  readonly mtu: number;
  readonly alias: string;
  /** Of an ipip or ip6tnl link with two ends. */
  readonly tunnel?: Tunnel;
}

/** The alias text that marks a link as `owner`'s. */
export function aliasOf(owner: Owner): string {
  return `routelet:${owner.name}`;
}

/** Decodes RTM_NEWLINK and RTM_DELLINK; undefined for other messages and for bridge port events (AF_BRIDGE). */
export function decodeLink(message: MessageReader): LinkInfo | undefined {
  if (message.type !== RTM_NEWLINK && message.type !== RTM_DELLINK) return undefined;
  if (message.u8(0) !== 0) return undefined;
  let name = "";
  let type = "";
  let alias = "";
  let mtu = 0;
  let tunnel: Tunnel | undefined;
  const attributes = message.attributes(IFINFOMSG);
  while (attributes.next()) {
    switch (attributes.type) {
      case IFLA_IFNAME:
        name = attributes.string();
        break;
      case IFLA_MTU:
        mtu = attributes.u32();
        break;
      case IFLA_IFALIAS:
        alias = attributes.string();
        break;
      case IFLA_LINKINFO:
        attributes.nested((info) => {
          while (info.next()) {
            if (info.type === IFLA_INFO_KIND) type = info.string();
            else if (info.type === IFLA_INFO_DATA && (type === "ipip" || type === "ip6tnl")) {
              tunnel = decodeTunnelData(info);
            }
          }
        });
    }
  }
  if (attributes.error !== undefined || name === "") return undefined;
  const up = (message.u32(8) & IFF_UP) !== 0;
  const ends = tunnel === undefined ? {} : { tunnel };
  return { index: message.i32(4), name, type, up, mtu, alias, ...ends };
}

/** Writes the head of a link message: struct ifinfomsg. */
export function writeLinkHead(w: MessageWriter, index: number, flags = 0, change = 0): void {
  w.rawU16(0);
  w.rawU16(0);
  w.rawI32(index);
  w.rawU32(flags);
  w.rawU32(change);
}

/** The shared part of the rtnetlink tables of one network namespace. */
export class Rtnl {
  readonly #options: SocketOptions;
  #socket: NetlinkSocket | undefined;

  constructor(options: Pick<SocketOptions, "namespace" | "dumpTries"> = {}) {
    this.#options = { ...options, strict: true };
  }

  /** The command socket. @throws {KernelError} when it cannot be opened */
  get socket(): NetlinkSocket {
    this.#socket ??= new NetlinkSocket(NETLINK_ROUTE, this.#options);
    return this.#socket;
  }

  get namespace(): number | string | undefined {
    return this.#options.namespace;
  }

  /** Port id of the command socket: events that it caused carry it. 0 while it is closed. */
  get portId(): number {
    return this.#socket?.portId ?? 0;
  }

  close(): void {
    this.#socket?.close();
    this.#socket = undefined;
  }

  /** All links. @throws {KernelError} */
  async links(): Promise<readonly LinkInfo[]> {
    return await this.socket.dump("list link", (w) => {
      w.begin(RTM_GETLINK);
      writeLinkHead(w, 0);
      w.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
      w.end();
    }, decodeLink);
  }

  /** The link of a name as it is now, or undefined. @throws {KernelError} */
  link(name: string): LinkInfo | undefined {
    let found: LinkInfo | undefined;
    try {
      this.socket.request("read link", (w) => {
        w.begin(RTM_GETLINK);
        writeLinkHead(w, 0);
        w.string(IFLA_IFNAME, name);
        w.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        w.end();
      }, (message) => {
        found = decodeLink(message) ?? found;
      }, name);
    } catch (error) {
      // EINVAL, ERANGE: a name that no link can have, e.g. one of more than 15 characters.
      const absent = ["ENODEV", "EINVAL", "ERANGE", "ENAMETOOLONG"];
      if (!(error instanceof KernelError) || !absent.includes(error.code)) throw error;
    }
    return found;
  }

  /** Links of an owner, by index. @throws {KernelError} */
  async ownedLinks(owner: Owner): Promise<ReadonlyMap<number, LinkInfo>> {
    const alias = aliasOf(owner);
    const owned = (await this.links()).filter((link) => link.alias === alias);
    return new Map(owned.map((link) => [link.index, link]));
  }
}

/** One message for an op; several may belong to one op. */
export interface Request {
  /** Index of its op. */
  readonly op: number;
  readonly write: (w: MessageWriter) => void;
  /** Error numbers that mean success: the object was gone already, say. */
  readonly harmless?: readonly number[];
}

/** Answers to a delete which say that the object was gone already. */
export const GONE: readonly number[] = [
  errno.ESRCH,
  errno.ENOENT,
  errno.ENODEV,
  errno.EADDRNOTAVAIL,
];

/** Sends the requests in batches; refusals by index of the op, the first of each op. */
export function send(
  socket: NetlinkSocket,
  op: string,
  requests: readonly Request[],
): Map<number, Refusal> {
  const refused = socket.pipeline(op, requests.length, (w, i) => requests[i]?.write(w));
  const byOp = new Map<number, Refusal>();
  for (const [i, refusal] of refused) {
    const request = requests[i];
    if (request === undefined || request.harmless?.includes(refusal.errno) === true) continue;
    if (!byOp.has(request.op)) byOp.set(request.op, refusal);
  }
  return byOp;
}

/** The outcome of each op: the refusal by its index, or success. */
export function outcomes<T>(
  kind: string,
  ops: readonly Op<T>[],
  key: (item: T) => string,
  refusals: ReadonlyMap<number, Refusal>,
  remedy?: (op: Op<T>, refusal: Refusal) => string | undefined,
): readonly Outcome<T>[] {
  return ops.map((op, i) => {
    const refusal = refusals.get(i);
    if (refusal === undefined) return { op };
    const advice = remedy?.(op, refusal) ?? generalRemedy(refusal);
    return {
      op,
      error: kernelError(`${op.verb} ${kind}`, refusal, {
        object: key(op.item),
        ...(advice === undefined ? {} : { remedy: advice }),
      }),
    };
  });
}

function generalRemedy(refusal: Refusal): string | undefined {
  // With a text the refusal is our own: the object is not ours.
  return refusal.errno === errno.EPERM && refusal.text === undefined
    ? "run as root or give the process CAP_NET_ADMIN"
    : undefined;
}

/** Runs `work`; where it throws for all ops (no socket, say), each gets that error. */
export function guarded<T>(
  ops: readonly Op<T>[],
  work: () => readonly Outcome<T>[],
): readonly Outcome<T>[] {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    return ops.map((op) => ({ op, error }));
  }
}
