/** The bridge of pods: rtnetlink. It may be somebody else's, so that its mark is in the ledger. */

import { randomBytes } from "node:crypto";
import type { Owner } from "../dataplane.ts";
import { KernelError } from "../errors.ts";
import type { Actual, Op, Outcome, Table, WatchContext } from "../resource.ts";
import { type Bridge, bridge as resource } from "../resources/bridge.ts";
import { errno, kernelError, type Refusal } from "./errno.ts";
import { dumpPorts } from "./hairpin.ts";
import type { Ledger } from "./ledger.ts";
import { writeAlias, writeDelete, writeSet } from "./link-messages.ts";
import { type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import {
  aliasOf,
  GONE,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  type LinkInfo,
  type Request,
  RTM_NEWLINK,
  type Rtnl,
  send,
  writeLinkHead,
} from "./rtnl.ts";

const IFLA_ADDRESS = 1;
/** Between looks: one question about one link. */
const PERIOD_MS = 1000;

/** What the ledger keeps of a bridge, as JSON. */
interface Mark {
  readonly made?: true;
  /** Its MTU before ours. */
  readonly mtu?: number;
  /** It was down before us. */
  readonly down?: true;
}

/** @param openLedger opens the owner's ledger; called at the first use */
export function bridgeTable(
  rtnl: Rtnl,
  owner: Owner,
  openLedger: () => Ledger,
): Table<Bridge> {
  let opened: Ledger | undefined;
  const ledger = (): Ledger => opened ??= openLedger();
  // Not the mark of links: the link table would take it for one of its own that nobody wants.
  const alias = `${aliasOf(owner)}:bridge`;

  function list(): readonly Actual<Bridge>[] {
    return [...ledger().keys()].flatMap((name): readonly Actual<Bridge>[] => {
      const info = rtnl.link(name);
      if (info?.type !== "bridge") return [];
      const { mtu, up } = info;
      return [{ item: { name, mtu, ...(up ? {} : { down: true }) }, owned: true }];
    });
  }

  function run(op: string, name: string, writes: readonly Request["write"][]): void {
    const harmless = op === "delete bridge" ? { harmless: GONE } : {};
    const requests = writes.map((write) => ({ op: 0, write, ...harmless }));
    const refused = send(rtnl.socket, op, requests).get(0);
    if (refused !== undefined) throw kernelError(op, refused, { object: name, ...remedy(refused) });
  }

  function set(there: LinkInfo | undefined, item: Bridge): void {
    const { name } = item;
    if (there !== undefined && there.type !== "bridge") {
      throw new KernelError("create bridge", "EEXIST", {
        object: name,
        detail: `a link of type "${there.type}" has that name`,
      });
    }
    const writes: Request["write"][] = [];
    if (there === undefined) {
      if (!ledger().has(name)) ledger().add([[name, JSON.stringify({ made: true })]]);
      writes.push((w) => writeCreate(w, name), (w) => writeAlias(w, name, alias));
    } else if (!ledger().has(name)) {
      const was: Mark = { mtu: there.mtu, ...(there.up ? {} : { down: true }) };
      ledger().add([[name, JSON.stringify(was)]]);
    }
    run("set bridge", name, [...writes, (w) => writeSet(w, { name, mtu: item.mtu, up: true })]);
  }

  /** Takes back what is ours; a bridge that pods hang on stays, whoever made it. */
  async function release(there: LinkInfo | undefined, name: string): Promise<string | undefined> {
    const mark = parseMark(ledger().get(name));
    let note: string | undefined;
    if (there?.type === "bridge") {
      const ports = (await dumpPorts(rtnl)).filter((port) => port.bridge === there.index).length;
      if (mark.made === true && there.alias === alias && ports === 0) {
        run("delete bridge", name, [(w) => writeDelete(w, there.index)]);
      } else {
        const { mtu = there.mtu, down } = mark;
        // Pods that came since need it up.
        const up = there.up && (down !== true || ports > 0);
        if (mtu !== there.mtu || up !== there.up) {
          run("set bridge", name, [(w) => writeSet(w, { name, mtu, up })]);
        }
        note = ports > 0
          ? `${ports} links hang on it; it stays`
          : "it was there before us; it stays";
      }
    }
    ledger().remove([name]);
    return note;
  }

  return {
    resource,
    list: () => Promise.resolve(list()),
    async apply(ops) {
      const done: Outcome<Bridge>[] = [];
      for (const op of ops) {
        try {
          const note = await carryOut(op);
          done.push({ op, ...(note === undefined ? {} : { note }) });
        } catch (error) {
          if (!(error instanceof KernelError)) throw error;
          done.push({ op, error });
        }
      }
      return done;
    },
    watch: (context) => watch(context, list),
    refuse: ({ name }) =>
      /[\s/]/.test(name) || name === "" || name.length > 15
        ? `"${name}" is no name of a link`
        : undefined,
  };

  async function carryOut({ verb, item }: Op<Bridge>): Promise<string | undefined> {
    const there = rtnl.link(item.name);
    if (verb === "delete") return await release(there, item.name);
    set(there, item);
    return undefined;
  }
}

function watch(
  context: WatchContext<Bridge>,
  list: () => readonly Actual<Bridge>[],
): () => void {
  const look = (): void => {
    if (context.actual.size === 0) return;
    try {
      const now = new Map(list().map((actual) => [actual.item.name, actual]));
      for (const [key, believed] of context.actual) {
        const actual = now.get(key);
        if (actual === undefined) context.drift([{ key }]);
        else if (!resource.equal(believed.item, actual.item)) context.drift([{ key, actual }]);
      }
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
    }
  };
  const timer = setInterval(look, PERIOD_MS).unref();
  return () => clearInterval(timer);
}

function parseMark(text: string | undefined): Mark {
  try {
    const mark: unknown = JSON.parse(text ?? "null");
    return typeof mark === "object" && mark !== null ? mark as Mark : {};
  } catch {
    return {};
  }
}

function remedy({ errno: code }: Refusal): { readonly remedy?: string } {
  return code === errno.EOPNOTSUPP
    ? { remedy: "load the kernel module of bridges (modprobe bridge)" }
    : {};
}

/**
 * With an address of its own: without one Linux takes the lowest of the ports', which changes as pods come and go, and
 * IPv6 neighbours then send to an address that nobody has.
 */
function writeCreate(w: MessageWriter, name: string): void {
  w.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  writeLinkHead(w, 0);
  w.string(IFLA_IFNAME, name);
  w.data(IFLA_ADDRESS, freshMac());
  w.nested(IFLA_LINKINFO, (info) => info.string(IFLA_INFO_KIND, "bridge"));
  w.end();
}

/** A locally administered unicast address. */
function freshMac(): Uint8Array {
  const mac = new Uint8Array(randomBytes(6));
  mac[0] = ((mac[0] ?? 0) & 0xfc) | 0x02;
  return mac;
}
