/** Links of ours: rtnetlink RTM_NEWLINK and RTM_DELLINK. The alias text is the mark. */

import type { Owner } from "../dataplane.ts";
import type { Actual, Op, Outcome, Table } from "../resource.ts";
import { type Link, link as resource, sameTunnel } from "../resources/link.ts";
import { errno, type Refusal } from "./errno.ts";
import { moduleRemedy, writeAlias, writeDelete, writeSet } from "./link-messages.ts";
import { type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import type { Monitor } from "./monitor.ts";
import { writeTunnelData } from "./tunnel.ts";
import {
  aliasOf,
  GONE,
  guarded,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  type LinkInfo,
  outcomes,
  type Request,
  RTM_NEWLINK,
  type Rtnl,
  send,
  writeLinkHead,
} from "./rtnl.ts";

/** What the runtime sees of a link. */
export function linkItem(info: LinkInfo, owner: Owner): Actual<Link> {
  // A foreign link may be of any type; it is only ever printed.
  const item: Link = {
    name: info.name,
    type: info.type as Link["type"],
    up: info.up,
    mtu: info.mtu,
    ...(info.tunnel === undefined ? {} : { tunnel: info.tunnel }),
  };
  const adoptable = info.alias === "" && owner.adopts?.links?.(item) === true;
  return {
    item,
    owned: info.alias === aliasOf(owner),
    ...(adoptable ? { adoptable } : {}),
  };
}

export function linkTable(rtnl: Rtnl, monitor: Monitor, owner: Owner): Table<Link> {
  const alias = aliasOf(owner);

  function requests(op: Op<Link>, i: number, refused: Map<number, Refusal>): readonly Request[] {
    const { name, type } = op.item;
    const there = op.verb === "create" ? undefined : rtnl.link(name);
    const adopts = op.verb === "update" && there !== undefined &&
      linkItem(there, owner).adoptable === true &&
      resource.equal(op.item, linkItem(there, owner).item);
    if (op.verb !== "create" && there !== undefined && there.alias !== alias && !adopts) {
      refused.set(i, {
        errno: errno.EPERM,
        text: `its alias is "${there.alias}", not "${alias}": it is not ours`,
      });
      return [];
    }
    const remove: readonly Request[] = there === undefined
      ? []
      : [{ op: i, write: (w) => writeDelete(w, there.index), harmless: GONE }];
    if (op.verb === "delete") return remove;
    const same = there?.type === type &&
      (op.item.tunnel === undefined || sameTunnel(op.item, linkItem(there, owner).item));
    if (op.verb === "update" && same) {
      return [
        ...(adopts ? [{ op: i, write: (w: MessageWriter) => writeAlias(w, name, alias) }] : []),
        { op: i, write: (w) => writeSet(w, op.item) },
      ];
    }
    if (op.verb === "update" && there === undefined) {
      refused.set(i, { errno: errno.ENODEV });
      return [];
    }
    // Linux ignores the alias of a creating message, so the mark is a message of its own. All of one send are
    // handled within one system call: a killed agent leaves no unmarked link behind.
    return [
      ...remove,
      { op: i, write: (w) => writeCreate(w, op.item) },
      { op: i, write: (w) => writeAlias(w, name, alias) },
      { op: i, write: (w) => writeSet(w, op.item) },
    ];
  }

  return {
    resource,
    async list() {
      await monitor.ready();
      return (await rtnl.links()).map((info) => linkItem(info, owner));
    },
    apply(ops) {
      const work = (): readonly Outcome<Link>[] => {
        const refused = new Map<number, Refusal>();
        for (const [i, op] of ops.entries()) {
          // One by one: a create that Linux refuses must not have its alias set on somebody else's link of that name.
          const taken = op.verb === "create" ? rtnl.link(op.item.name) : undefined;
          if (taken !== undefined) {
            refused.set(i, { errno: errno.EEXIST, text: `its alias is "${taken.alias}"` });
            continue;
          }
          const list = requests(op, i, refused);
          if (list.length === 0) continue;
          for (const [at, refusal] of send(rtnl.socket, `${op.verb} link`, list)) {
            refused.set(at, refusal);
          }
        }
        return outcomes("link", ops, resource.key, refused, remedy);
      };
      return Promise.resolve(guarded(ops, work));
    },
    watch: (context) => monitor.watchLinks(owner, context),
  };
}

function remedy(op: Op<Link>, refusal: Refusal): string | undefined {
  if (refusal.errno === errno.EINVAL && op.item.tunnel?.gue !== undefined) {
    return "this Linux may lack tunnels in UDP (CONFIG_NET_FOU_IP_TUNNELS); use --overlay-encap=ipip";
  }
  return moduleRemedy(op.item.type, refusal);
}

function writeCreate(w: MessageWriter, item: Link): void {
  w.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  writeLinkHead(w, 0);
  w.string(IFLA_IFNAME, item.name);
  w.nested(IFLA_LINKINFO, (info) => {
    info.string(IFLA_INFO_KIND, item.type);
    if (item.tunnel !== undefined) writeTunnelData(info, item.tunnel);
  });
  w.end();
}
