/** Hairpin mode of bridge ports: rtnetlink IFLA_BRPORT_MODE, which `bridge link set dev PORT hairpin on` sets too. */

import { KernelError } from "../errors.ts";
import type { Actual, Op, Outcome, Table, WatchContext } from "../resource.ts";
import { type BridgeHairpin, bridgeHairpin as resource } from "../resources/hairpin.ts";
import { errno, kernelError } from "./errno.ts";
import type { Ledger } from "./ledger.ts";
import type { MessageReader, MessageWriter } from "./message.ts";
import { IFINFOMSG, IFLA_IFNAME, type LinkInfo, RTM_NEWLINK, type Rtnl } from "./rtnl.ts";

const AF_BRIDGE = 7;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const IFLA_MASTER = 10;
const IFLA_PROTINFO = 12;
const IFLA_BRPORT_MODE = 4;
/** Between looks for new ports: a dump of the ports costs some 0.1 ms for 100 pods. */
const PERIOD_MS = 1000;

/** A port of a bridge. */
export interface Port {
  readonly index: number;
  readonly name: string;
  readonly bridge: number;
  readonly hairpin: boolean;
}

/** @param openLedger opens the owner's ledger; called at the first use */
export function hairpinTable(
  rtnl: Rtnl,
  openLedger: () => Ledger,
): Table<BridgeHairpin> {
  let opened: Ledger | undefined;
  /** A bridge's name marks that it is wanted; "bridge port" marks a port that was off before. */
  const ledger = (): Ledger => opened ??= openLedger();

  /** Ports to pods by their bridge's name. */
  async function ports(): Promise<ReadonlyMap<string, readonly Port[]>> {
    const links = new Map(
      (await rtnl.links()).map((link): [number, LinkInfo] => [link.index, link]),
    );
    const found = new Map<string, Port[]>();
    for (const port of await dumpPorts(rtnl)) {
      // A frame of the wire must not go back to it: physical ports stay as they are.
      if (links.get(port.index)?.type !== "veth") continue;
      const bridge = links.get(port.bridge)?.name ?? "";
      found.set(bridge, [...found.get(bridge) ?? [], port]);
    }
    return found;
  }

  async function list(): Promise<readonly Actual<BridgeHairpin>[]> {
    const wanted = [...ledger().keys()].filter((key) => !key.includes(" "));
    if (wanted.length === 0) return [];
    const all = await ports();
    return wanted.map((bridge) => {
      const partial = all.get(bridge)?.some(({ hairpin }) => !hairpin) ?? false;
      return { item: { bridge, ...(partial ? { partial } : {}) }, owned: true };
    });
  }

  function set(port: Port, on: boolean): KernelError | undefined {
    const refused = rtnl.socket.pipeline("set hairpin mode", 1, (w) => writeMode(w, port, on)).get(
      0,
    );
    // The pod has gone meanwhile.
    if (refused === undefined || refused.errno === errno.ENODEV) return undefined;
    return kernelError("set hairpin mode", refused, { object: port.name });
  }

  function carryOut(
    { verb, item: { bridge } }: Op<BridgeHairpin>,
    all: readonly Port[],
  ): KernelError | undefined {
    const marks = [...ledger().keys()].filter((key) => key.startsWith(`${bridge} `));
    const errors: (KernelError | undefined)[] = [];
    if (verb === "delete") {
      const ours = all.filter(({ name, hairpin }) => hairpin && ledger().has(`${bridge} ${name}`));
      errors.push(...ours.map((port) => set(port, false)));
      ledger().remove([...marks, bridge]);
    } else {
      const off = all.filter(({ hairpin }) => !hairpin);
      ledger().add([bridge, ...off.map(({ name }) => `${bridge} ${name}`)]);
      errors.push(...off.map((port) => set(port, true)));
      const there = new Set(all.map(({ name }) => `${bridge} ${name}`));
      ledger().remove(marks.filter((mark) => !there.has(mark)));
    }
    return errors.find((error) => error !== undefined);
  }

  return {
    resource,
    list,
    async apply(ops) {
      const done: Outcome<BridgeHairpin>[] = [];
      for (const op of ops) {
        try {
          const error = carryOut(op, (await ports()).get(op.item.bridge) ?? []);
          done.push(error === undefined ? { op } : { op, error });
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
          done.push({ op, error });
        }
      }
      return done;
    },
    watch: (context) => watch(context, list),
    refuse: ({ bridge }) =>
      /[\s/]/.test(bridge) || bridge === "" || bridge.length > 15
        ? `"${bridge}" is no name of a link`
        : undefined,
  };
}

/** Looks for ports that were added or switched off, while hairpin mode is on somewhere. */
function watch(
  context: WatchContext<BridgeHairpin>,
  list: () => Promise<readonly Actual<BridgeHairpin>[]>,
): () => void {
  let looking = false;
  const look = async (): Promise<void> => {
    if (looking || context.actual.size === 0) return;
    looking = true;
    try {
      for (const actual of await list()) {
        const believed = context.actual.get(actual.item.bridge);
        if (believed !== undefined && resource.equal(believed.item, actual.item)) continue;
        context.drift([{ key: actual.item.bridge, actual }]);
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    } finally {
      looking = false;
    }
  };
  const timer = setInterval(() => void look(), PERIOD_MS).unref();
  return () => clearInterval(timer);
}

export async function dumpPorts(rtnl: Rtnl): Promise<readonly Port[]> {
  return await rtnl.socket.dump("list bridge port", (w) => {
    w.begin(RTM_GETLINK);
    writeHead(w, 0);
    w.end();
  }, decodePort);
}

/** Decodes a link message of AF_BRIDGE; undefined for others, and for bridges themselves. */
export function decodePort(message: MessageReader): Port | undefined {
  if (message.type !== RTM_NEWLINK || message.u8(0) !== AF_BRIDGE) return undefined;
  let name = "";
  let bridge = 0;
  let hairpin: boolean | undefined;
  const a = message.attributes(IFINFOMSG);
  while (a.next()) {
    if (a.type === IFLA_IFNAME) name = a.string();
    else if (a.type === IFLA_MASTER) bridge = a.u32();
    else if (a.type === IFLA_PROTINFO) {
      a.nested((info) => {
        while (info.next()) if (info.type === IFLA_BRPORT_MODE) hairpin = info.u8() === 1;
      });
    }
  }
  if (a.error !== undefined || name === "" || bridge === 0 || hairpin === undefined) {
    return undefined;
  }
  return { index: message.i32(4), name, bridge, hairpin };
}

function writeMode(w: MessageWriter, port: Port, on: boolean): void {
  w.begin(RTM_SETLINK);
  writeHead(w, port.index);
  w.nested(IFLA_PROTINFO, (info) => info.u8(IFLA_BRPORT_MODE, on ? 1 : 0));
  w.end();
}

/** struct ifinfomsg of AF_BRIDGE. */
function writeHead(w: MessageWriter, index: number): void {
  w.rawU16(AF_BRIDGE);
  w.rawU16(0);
  w.rawI32(index);
  w.rawU32(0);
  w.rawU32(0);
}
