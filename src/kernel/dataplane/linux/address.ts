/** Addresses on links of ours: rtnetlink RTM_NEWADDR and RTM_DELADDR (linux/if_addr.h). */

import type { Owner } from "../dataplane.ts";
import type { Op, Outcome, Table } from "../resource.ts";
import { type Address, address as resource } from "../resources/address.ts";
import { errno, type Refusal } from "./errno.ts";
import { type MessageReader, type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from "./message.ts";
import type { Monitor } from "./monitor.ts";
import {
  AF_INET,
  AF_INET6,
  aliasOf,
  GONE,
  guarded,
  type LinkInfo,
  outcomes,
  type Request,
  type Rtnl,
  send,
} from "./rtnl.ts";
import type { NetlinkSocket } from "./socket.ts";

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;

/** Bytes of struct ifaddrmsg. */
const IFADDRMSG = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_FLAGS = 8;
const IFA_F_NODAD = 0x02;
const IFA_F_NOPREFIXROUTE = 0x200;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;

/** An address as Linux describes it: the link by its index. */
export interface AddressInfo extends Omit<Address, "link"> {
  readonly index: number;
}

/** Decodes an address message; undefined for others, and for IPv6 link-local addresses, which Linux makes. */
export function decodeAddress(message: MessageReader): AddressInfo | undefined {
  if (message.type !== RTM_NEWADDR && message.type !== RTM_DELADDR) return undefined;
  const family = message.u8(0);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const prefix = message.u8(1);
  const index = message.u32(4);
  let text = "";
  let local = "";
  const attributes = message.attributes(IFADDRMSG);
  while (attributes.next()) {
    if (attributes.type === IFA_ADDRESS) text = attributes.address();
    else if (attributes.type === IFA_LOCAL) local = attributes.address();
  }
  // On a point-to-point link IFA_ADDRESS is the peer's.
  const found = local === "" ? text : local;
  if (attributes.error !== undefined || found === "" || found.startsWith("fe80:")) return undefined;
  return { family: family === AF_INET ? 4 : 6, address: found, prefix, index };
}

/** Writes one address message. */
export function writeAddressMessage(
  w: MessageWriter,
  type: number,
  flags: number,
  item: Address,
  index: number,
): void {
  const host = item.prefix === (item.family === 4 ? 32 : 128);
  w.begin(type, flags);
  w.rawU8(item.family === 4 ? AF_INET : AF_INET6);
  w.rawU8(item.prefix);
  w.rawU8(0);
  w.rawU8(host && item.family === 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  w.rawU32(index);
  w.address(IFA_LOCAL, item.address);
  w.address(IFA_ADDRESS, item.address);
  if (item.family === 6 && type === RTM_NEWADDR) {
    // A VIP stands on many nodes at once: probing for duplicates would find them. The /128 that Linux would put into
    // the main table serves nobody.
    w.u32(IFA_FLAGS, IFA_F_NODAD | (host ? IFA_F_NOPREFIXROUTE : 0));
  }
  w.end();
}

/** All addresses of a family, or those of one link. @throws {KernelError} */
export async function dumpAddresses(
  socket: NetlinkSocket,
  family: number,
  index = 0,
): Promise<readonly AddressInfo[]> {
  const found = await socket.dump("list address", (w) => {
    w.begin(RTM_GETADDR);
    w.rawU8(family);
    w.rawZero(3);
    // With strict checking Linux filters by this index; 0 is every link.
    w.rawU32(index);
    w.end();
  }, decodeAddress);
  return index === 0 ? found : found.filter((a) => a.index === index);
}

export function addressTable(rtnl: Rtnl, monitor: Monitor, owner: Owner): Table<Address> {
  const alias = aliasOf(owner);

  /** The link an op is about, if we may write on it. */
  function target(
    op: Op<Address>,
    i: number,
    known: Map<string, LinkInfo | undefined>,
    refused: Map<number, Refusal>,
  ): LinkInfo | undefined {
    const name = op.item.link;
    if (!known.has(name)) known.set(name, rtnl.link(name));
    const link = known.get(name);
    if (link === undefined) {
      if (op.verb !== "delete") refused.set(i, { errno: errno.ENODEV, text: "no such link" });
      return undefined;
    }
    if (link.alias === alias) return link;
    refused.set(i, { errno: errno.EPERM, text: `link "${name}" is not ours` });
    return undefined;
  }

  function request(op: Op<Address>, i: number, index: number): Request {
    return op.verb === "delete"
      ? {
        op: i,
        write: (w) => writeAddressMessage(w, RTM_DELADDR, 0, op.item, index),
        harmless: GONE,
      }
      : {
        op: i,
        write: (w) =>
          writeAddressMessage(w, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, op.item, index),
      };
  }

  async function list(link: LinkInfo, family: number): Promise<readonly Address[]> {
    return (await dumpAddresses(rtnl.socket, family, link.index)).map((
      { family, address, prefix },
    ) => ({ family, address, prefix, link: link.name }));
  }

  return {
    resource,
    async list() {
      await monitor.ready();
      const items: Address[] = [];
      for (const link of (await rtnl.ownedLinks(owner)).values()) {
        items.push(...await list(link, AF_INET), ...await list(link, AF_INET6));
      }
      return items.map((item) => ({ item, owned: true }));
    },
    apply(ops) {
      const work = (): readonly Outcome<Address>[] => {
        const refused = new Map<number, Refusal>();
        const known = new Map<string, LinkInfo | undefined>();
        const requests = ops.flatMap((op, i) => {
          const link = target(op, i, known, refused);
          return link === undefined ? [] : [request(op, i, link.index)];
        });
        for (const [i, refusal] of send(rtnl.socket, "write address", requests)) {
          refused.set(i, refusal);
        }
        return outcomes("address", ops, resource.key, refused, remedy);
      };
      return Promise.resolve(guarded(ops, work));
    },
    watch: (context) => monitor.watchAddresses(owner, context),
  };
}

function remedy(op: Op<Address>, refusal: Refusal): string | undefined {
  // EOPNOTSUPP: no ipv6 module. EACCES: disable_ipv6 is 1 on the link.
  return op.item.family === 6 &&
      (refusal.errno === errno.EOPNOTSUPP || refusal.errno === errno.EACCES)
    ? `enable IPv6 (module ipv6, sysctl net.ipv6.conf.${op.item.link}.disable_ipv6=0)`
    : undefined;
}
