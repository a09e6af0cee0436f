/** Tables of nf_tables, whosever they are, for commands that look for what other programs left. */

import { kernelError } from "../errno.ts";
import { NETLINK_NETFILTER, NetlinkSocket } from "../socket.ts";
import { BatchSocket } from "./socket.ts";

const NFT_MSG_NEWTABLE = 0x0a00;
const NFT_MSG_GETTABLE = 0x0a01;
const NFT_MSG_DELTABLE = 0x0a02;
/** struct nfgenmsg (linux/netfilter/nfnetlink.h). */
const NFGENMSG = 4;
const NFTA_TABLE_NAME = 1;
const FAMILIES: Readonly<Record<number, string>> = {
  1: "inet",
  2: "ip",
  3: "arp",
  5: "netdev",
  7: "bridge",
  10: "ip6",
};

export interface NftTableName {
  /** As nft calls it: "ip", "ip6", "inet". */
  readonly family: string;
  readonly name: string;
}

/** All tables of this network namespace. @throws {KernelError} where Linux has no nf_tables */
export async function nftTables(): Promise<readonly NftTableName[]> {
  const socket = new NetlinkSocket(NETLINK_NETFILTER);
  try {
    return await socket.dump("list nftables tables", (w) => {
      w.begin(NFT_MSG_GETTABLE);
      w.rawU8(0);
      w.rawU8(0);
      w.rawU16(0);
      w.end();
    }, (message): NftTableName | undefined => {
      if (message.type !== NFT_MSG_NEWTABLE) return undefined;
      const family = FAMILIES[message.u8(0)];
      let name = "";
      const a = message.attributes(NFGENMSG);
      while (a.next()) if (a.type === NFTA_TABLE_NAME) name = a.string();
      return family === undefined || name === "" ? undefined : { family, name };
    });
  } finally {
    socket.close();
  }
}

/** Deletes a table with all that is in it. @throws {KernelError} */
export function deleteNftTable({ family, name }: NftTableName): void {
  const number = Number(Object.entries(FAMILIES).find(([, text]) => text === family)?.[0] ?? 0);
  const socket = new BatchSocket();
  try {
    const refused = socket.batch("delete nftables table", [(w) => {
      w.begin(NFT_MSG_DELTABLE);
      w.rawU8(number);
      w.rawU8(0);
      w.rawU16(0);
      w.string(NFTA_TABLE_NAME, name);
      w.end();
    }]);
    const refusal = refused.get(0) ?? refused.get(-1);
    if (refusal !== undefined) {
      throw kernelError("delete nftables table", refusal, { object: `${family} ${name}` });
    }
  } finally {
    socket.close();
  }
}
