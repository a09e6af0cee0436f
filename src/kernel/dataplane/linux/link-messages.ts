/** The messages about a link that stands already, and what to do where its type is unknown: alike for all kinds of links. */

import { errno, type Refusal } from "./errno.ts";
import type { MessageWriter } from "./message.ts";
import {
  IFF_UP,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_MTU,
  RTM_DELLINK,
  RTM_NEWLINK,
  writeLinkHead,
} from "./rtnl.ts";

/**
 * Marks a link. Linux ignores the alias of a creating message, so the mark is a message of its own; all of one send are handled
 * within one system call.
 */
export function writeAlias(w: MessageWriter, name: string, alias: string): void {
  w.begin(RTM_NEWLINK);
  writeLinkHead(w, 0);
  w.string(IFLA_IFNAME, name);
  w.string(IFLA_IFALIAS, alias);
  w.end();
}

/** Sets a link up or down, and its MTU in bytes where one is given. */
export function writeSet(
  w: MessageWriter,
  { name, up, mtu }: {
    readonly name: string;
    readonly up: boolean;
    readonly mtu?: number | undefined;
  },
): void {
  w.begin(RTM_NEWLINK);
  writeLinkHead(w, 0, up ? IFF_UP : 0, IFF_UP);
  w.string(IFLA_IFNAME, name);
  if (mtu !== undefined) w.u32(IFLA_MTU, mtu);
  w.end();
}

/** Deletes a link by its index. */
export function writeDelete(w: MessageWriter, index: number): void {
  w.begin(RTM_DELLINK);
  writeLinkHead(w, index);
  w.end();
}

/** What to do where Linux does not know a type of link. */
export function moduleRemedy(type: string, refusal: Refusal): string | undefined {
  return refusal.errno === errno.EOPNOTSUPP
    ? `load the kernel module of link type "${type}" (modprobe ${
      type === "ip6tnl" ? "ip6_tunnel" : type
    })`
    : undefined;
}
