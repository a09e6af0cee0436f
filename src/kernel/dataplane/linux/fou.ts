/**
 * Ports of UDP tunnels (linux/fou.h), over generic netlink, for generic UDP encapsulation. Linux has no mark for them: ours
 * are in the owner's ledger.
 */

import { KernelError } from "../errors.ts";
import type { Actual, Family, Op, Outcome, Table } from "../resource.ts";
import { type FouPort, fouPort as resource } from "../resources/fou.ts";
import { errno, kernelError } from "./errno.ts";
import { GENL_HEADER, genlHeader, loadModule, resolveOrLoadFamily } from "./genl.ts";
import type { Ledger } from "./ledger.ts";
import type { MessageReader, MessageWriter } from "./message.ts";
import { AF_INET, AF_INET6 } from "./rtnl.ts";
import { NETLINK_GENERIC, NetlinkSocket } from "./socket.ts";

const FAMILY = "fou";
const VERSION = 1;
const FOU_CMD_ADD = 1;
const FOU_CMD_DEL = 2;
const FOU_CMD_GET = 3;
const FOU_ATTR_PORT = 1;
const FOU_ATTR_AF = 2;
const FOU_ATTR_TYPE = 4;
const FOU_ENCAP_GUE = 2;

/** A port as Linux describes it. */
export interface FouInfo {
  readonly family: Family;
  readonly port: number;
  /** 1: direct, 2: GUE. */
  readonly type: number;
}

/** Decodes an answer of FOU_CMD_GET; undefined where it names no port. */
export function decodeFou(message: MessageReader): FouInfo | undefined {
  let af = 0;
  let port = 0;
  let type = 0;
  const a = message.attributes(GENL_HEADER);
  while (a.next()) {
    if (a.type === FOU_ATTR_PORT) port = a.u16be();
    else if (a.type === FOU_ATTR_AF) af = a.u8();
    else if (a.type === FOU_ATTR_TYPE) type = a.u8();
  }
  if (a.error !== undefined || port === 0 || (af !== AF_INET && af !== AF_INET6)) return undefined;
  return { family: af === AF_INET ? 4 : 6, port, type };
}

/** Writes FOU_CMD_ADD or FOU_CMD_DEL. Without a protocol: GUE says in each packet what is in it, and Linux 6 refuses one. */
export function writeFou(
  w: MessageWriter,
  id: number,
  verb: "add" | "delete",
  { family, port }: FouPort,
): void {
  w.begin(id);
  genlHeader(w, verb === "add" ? FOU_CMD_ADD : FOU_CMD_DEL, VERSION);
  w.u16be(FOU_ATTR_PORT, port);
  w.u8(FOU_ATTR_AF, family === 4 ? AF_INET : AF_INET6);
  if (verb === "add") w.u8(FOU_ATTR_TYPE, FOU_ENCAP_GUE);
  w.end();
}

interface Handle {
  readonly socket: NetlinkSocket;
  readonly id: number;
}

/** FOU in one network namespace. Opens at the first use. */
export interface Fou {
  /** @param openLedger opens the owner's ledger, at the first use */
  ports(openLedger: () => Ledger): Table<FouPort>;
  close(): void;
}

export function openFou(options: { readonly namespace?: number | string } = {}): Fou {
  let handle: Handle | undefined;
  const ready = async (): Promise<Handle> => {
    if (handle !== undefined) return handle;
    const socket = new NetlinkSocket(NETLINK_GENERIC, options);
    try {
      const id = await resolveOrLoadFamily(socket, FAMILY, "fou");
      // Tunnels of IPv6 need it, and Linux does not ask for it itself.
      await loadModule("fou6");
      return handle ??= { socket, id };
    } catch (error) {
      socket.close();
      throw error;
    }
  };
  return {
    ports: (openLedger) => fouTable(ready, openLedger),
    close() {
      handle?.socket.close();
      handle = undefined;
    },
  };
}

function fouTable(ready: () => Promise<Handle>, openLedger: () => Ledger): Table<FouPort> {
  let opened: Ledger | undefined;
  const ledger = (): Ledger => opened ??= openLedger();

  const there = ({ socket, id }: Handle): Promise<readonly FouInfo[]> =>
    socket.dump("list fou port", (w) => {
      w.begin(id);
      genlHeader(w, FOU_CMD_GET, VERSION);
      w.end();
    }, decodeFou);

  async function list(): Promise<readonly Actual<FouPort>[]> {
    // A node without tunnels of this kind needs no module for them.
    if ([...ledger().keys()].length === 0) return [];
    return (await there(await ready())).map(({ family, port, type }) => {
      const item = { family, port, ...(type === FOU_ENCAP_GUE ? {} : { other: true as const }) };
      return { item, owned: ledger().has(resource.key(item)) };
    });
  }

  function send(handle: Handle, verb: "add" | "delete", item: FouPort): number {
    const refused = handle.socket.pipeline(
      `${verb} fou port`,
      1,
      (w) => writeFou(w, handle.id, verb, item),
    ).get(0);
    if (refused === undefined) return 0;
    const gone = verb === "delete" &&
      (refused.errno === errno.ENOENT || refused.errno === errno.EINVAL);
    if (gone) return 0;
    throw kernelError(`${verb} fou port`, refused, {
      object: resource.key(item),
      ...(refused.errno === errno.EADDRINUSE
        ? { remedy: "another program has that UDP port; choose one by --overlay-encap-port" }
        : {}),
    });
  }

  async function carryOut(handle: Handle, { verb, item }: Op<FouPort>): Promise<void> {
    const key = resource.key(item);
    const found = (await there(handle)).find((info) =>
      info.family === item.family && info.port === item.port
    );
    if (verb === "delete") {
      if (found !== undefined) send(handle, "delete", item);
      ledger().remove([key]);
      return;
    }
    const ours = ledger().has(key);
    if (found !== undefined && !ours) {
      throw new KernelError(`${verb} fou port`, "EEXIST", { object: key });
    }
    if (found?.type === FOU_ENCAP_GUE) return;
    if (found !== undefined) send(handle, "delete", item);
    ledger().add([key]);
    try {
      send(handle, "add", item);
    } catch (error) {
      if (!ours) ledger().remove([key]);
      throw error;
    }
  }

  return {
    resource,
    list,
    async apply(ops) {
      const done: Outcome<FouPort>[] = [];
      for (const op of ops) {
        try {
          await carryOut(await ready(), op);
          done.push({ op });
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
          done.push({ op, error });
        }
      }
      return done;
    },
  };
}
