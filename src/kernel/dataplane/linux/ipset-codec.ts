/** ipset messages over nfnetlink (linux/netfilter/ipset/ip_set.h): pure writing and reading. */

import type { Family } from "../resource.ts";
import { DEFAULT_MAX_ELEMENTS, type IpSet, type IpSetMember } from "../resources/ipset.ts";
import { type AttributeReader, NLA_F_NET_BYTEORDER } from "./attribute.ts";
import type { Refusal } from "./errno.ts";
import type { MessageReader, MessageWriter } from "./message.ts";

const NFNL_SUBSYS_IPSET = 6;
/** Bytes of struct nfgenmsg. */
const NFGENMSG = 4;
const PROTOCOL = 6;
const AF_INET = 2;
const AF_INET6 = 10;

export const IPSET_CMD_CREATE = 2;
export const IPSET_CMD_DESTROY = 3;
export const IPSET_CMD_SWAP = 6;
export const IPSET_CMD_LIST = 7;
export const IPSET_CMD_ADD = 9;
export const IPSET_CMD_DEL = 10;
export const IPSET_CMD_TYPE = 13;

const IPSET_ATTR_PROTOCOL = 1;
const IPSET_ATTR_SETNAME = 2;
const IPSET_ATTR_TYPENAME = 3;
const IPSET_ATTR_SETNAME2 = IPSET_ATTR_TYPENAME;
const IPSET_ATTR_REVISION = 4;
const IPSET_ATTR_FAMILY = 5;
const IPSET_ATTR_FLAGS = 6;
const IPSET_ATTR_DATA = 7;
const IPSET_ATTR_ADT = 8;
const IPSET_ATTR_LINENO = 9;
const IPSET_ATTR_IP = 1;
const IPSET_ATTR_CIDR = 3;
const IPSET_ATTR_PORT = 4;
const IPSET_ATTR_TIMEOUT = 6;
const IPSET_ATTR_PROTO = 7;
const IPSET_ATTR_CADT_FLAGS = 8;
const IPSET_ATTR_HASHSIZE = 18;
const IPSET_ATTR_MAXELEM = 19;
const IPSET_ATTR_ELEMENTS = 24;
/** These two stand in members, where the numbers mean other things than in heads. */
const IPSET_ATTR_IP2 = 20;
const IPSET_ATTR_CIDR2 = 21;
const IPSET_ATTR_IPADDR_IPV4 = 1;
const IPSET_ATTR_IPADDR_IPV6 = 2;
export const IPSET_FLAG_LIST_HEADER = 1 << 2;
const IPSET_FLAG_NOMATCH = 1 << 2;

export const PROTOCOLS: Readonly<Record<string, number>> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};
export const PROTOCOL_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(PROTOCOLS).map(([name, n]) => [n, name]),
);

/** Starts a message; the caller ends it. */
export function beginIpset(
  w: MessageWriter,
  command: number,
  family: Family,
  flags = 0,
): void {
  w.begin(NFNL_SUBSYS_IPSET << 8 | command, flags);
  w.rawU8(family === 4 ? AF_INET : AF_INET6);
  w.rawU8(0);
  w.rawU16(0);
  w.u8(IPSET_ATTR_PROTOCOL, PROTOCOL);
}

/** Asks which revisions of a set type this Linux has. */
export function writeTypeQuery(w: MessageWriter, type: string, family: Family): void {
  beginIpset(w, IPSET_CMD_TYPE, family);
  w.string(IPSET_ATTR_TYPENAME, type);
  w.u8(IPSET_ATTR_FAMILY, family === 4 ? AF_INET : AF_INET6);
  w.end();
}

/** The highest revision in an answer to {@linkcode writeTypeQuery}. */
export function readRevision(message: MessageReader): number {
  let revision = 0;
  const a = message.attributes(NFGENMSG);
  while (a.next()) if (a.type === IPSET_ATTR_REVISION) revision = a.u8();
  return revision;
}

export function writeCreate(w: MessageWriter, set: IpSet, revision: number, flags: number): void {
  beginIpset(w, IPSET_CMD_CREATE, set.family, flags);
  w.string(IPSET_ATTR_SETNAME, set.name);
  w.string(IPSET_ATTR_TYPENAME, set.type);
  w.u8(IPSET_ATTR_REVISION, revision);
  w.u8(IPSET_ATTR_FAMILY, set.family === 4 ? AF_INET : AF_INET6);
  w.nested(IPSET_ATTR_DATA, () => {
    if (set.buckets !== undefined) w.u32be(IPSET_ATTR_HASHSIZE | NLA_F_NET_BYTEORDER, set.buckets);
    if (set.maxElements !== undefined) {
      w.u32be(IPSET_ATTR_MAXELEM | NLA_F_NET_BYTEORDER, set.maxElements);
    }
    if (set.timeout !== undefined) {
      w.u32be(IPSET_ATTR_TIMEOUT | NLA_F_NET_BYTEORDER, set.timeout);
    }
  });
  w.end();
}

export function writeDestroy(w: MessageWriter, name: string): void {
  beginIpset(w, IPSET_CMD_DESTROY, 4);
  w.string(IPSET_ATTR_SETNAME, name);
  w.end();
}

/** Exchanges the contents of two sets of one type and family; what refers to either then refers to the other's. */
export function writeSwap(w: MessageWriter, one: string, other: string): void {
  beginIpset(w, IPSET_CMD_SWAP, 4);
  w.string(IPSET_ATTR_SETNAME, one);
  w.string(IPSET_ATTR_SETNAME2, other);
  w.end();
}

/** Asks for one set with its members, or for all sets without. */
export function writeList(w: MessageWriter, name?: string): void {
  beginIpset(w, IPSET_CMD_LIST, 4);
  if (name !== undefined) w.string(IPSET_ATTR_SETNAME, name);
  else w.u32be(IPSET_ATTR_FLAGS | NLA_F_NET_BYTEORDER, IPSET_FLAG_LIST_HEADER);
  w.end();
}

/**
 * Writes one message that adds or removes several members of one set. Linux stops at the first that it refuses, after
 * carrying out those before.
 */
export function writeMembers(
  w: MessageWriter,
  command: typeof IPSET_CMD_ADD | typeof IPSET_CMD_DEL,
  set: string,
  members: readonly IpSetMember[],
): void {
  // Without NLM_F_EXCL, what is there already (or gone already) is no error.
  beginIpset(w, command, 4);
  w.string(IPSET_ATTR_SETNAME, set);
  // Demanded beside ADT; its value does not matter.
  w.u32(IPSET_ATTR_LINENO, 0);
  const all = w.open(IPSET_ATTR_ADT);
  for (const member of members) {
    const one = w.open(IPSET_ATTR_DATA);
    writeEntry(w, member);
    w.close(one);
  }
  w.close(all);
  w.end();
}

/** "10.0.0.1", "10.0.0.0/8", "10.0.0.1,tcp:80", "fd00::1,udp:53", "10.0.0.1,tcp:80,10.0.0.0/8". */
function writeEntry(w: MessageWriter, member: IpSetMember): void {
  const { entry } = member;
  // Without lists of parts: a first round writes thousands.
  const comma = entry.indexOf(",");
  writeNet(w, comma < 0 ? entry : entry.slice(0, comma), IPSET_ATTR_IP, IPSET_ATTR_CIDR);
  if (comma >= 0) {
    const next = entry.indexOf(",", comma + 1);
    const end = next < 0 ? entry.length : next;
    const colon = entry.indexOf(":", comma);
    const protocol = entry.slice(comma + 1, colon < 0 || colon > end ? end : colon);
    const port = colon < 0 || colon > end ? "" : entry.slice(colon + 1, end);
    w.u16be(IPSET_ATTR_PORT | NLA_F_NET_BYTEORDER, Number(port));
    w.u8(IPSET_ATTR_PROTO, PROTOCOLS[protocol] ?? Number(protocol));
    if (next >= 0) writeNet(w, entry.slice(next + 1), IPSET_ATTR_IP2, IPSET_ATTR_CIDR2);
  }
  if (member.nomatch === true) {
    w.u32be(IPSET_ATTR_CADT_FLAGS | NLA_F_NET_BYTEORDER, IPSET_FLAG_NOMATCH);
  }
}

function writeNet(w: MessageWriter, net: string, address: number, prefix: number): void {
  const slash = net.indexOf("/");
  const text = slash < 0 ? net : net.slice(0, slash);
  const ip = w.open(address);
  const kind = text.includes(":") ? IPSET_ATTR_IPADDR_IPV6 : IPSET_ATTR_IPADDR_IPV4;
  w.address(kind | NLA_F_NET_BYTEORDER, text);
  w.close(ip);
  if (slash >= 0) w.u8(prefix, Number(net.slice(slash + 1)));
}

/** One message of a list: a set, or a part of one. The head (type, family) is in the first part only. */
export interface SetPart {
  readonly name: string;
  readonly head: IpSet | undefined;
  /** Number of members as the head says it; Linux of before 4.16 does not. */
  readonly count?: number;
  readonly members: readonly IpSetMember[];
}

/** Decodes one answer to {@linkcode writeList}; undefined for messages that are none. */
export function readList(message: MessageReader): SetPart | undefined {
  if (message.type >> 8 !== NFNL_SUBSYS_IPSET) return undefined;
  let name = "";
  let type = "";
  let family: Family = 4;
  let maxElements: number | undefined;
  let timeout: number | undefined;
  let count: number | undefined;
  const members: IpSetMember[] = [];
  const a = message.attributes(NFGENMSG);
  while (a.next()) {
    if (a.type === IPSET_ATTR_SETNAME) name = a.string();
    else if (a.type === IPSET_ATTR_TYPENAME) type = a.string();
    else if (a.type === IPSET_ATTR_FAMILY) family = a.u8() === AF_INET6 ? 6 : 4;
    else if (a.type === IPSET_ATTR_DATA) {
      a.nested((data) => {
        while (data.next()) {
          if (data.type === IPSET_ATTR_MAXELEM) maxElements = data.u32be();
          else if (data.type === IPSET_ATTR_TIMEOUT) timeout = data.u32be();
          else if (data.type === IPSET_ATTR_ELEMENTS) count = data.u32be();
        }
      });
    } else if (a.type === IPSET_ATTR_ADT) {
      a.nested((all) => {
        while (all.next()) {
          if (all.type !== IPSET_ATTR_DATA) continue;
          const inner = all.inner();
          const member = readEntry(inner, name);
          if (inner.error !== undefined) all.fail(inner.error);
          if (member !== undefined) members.push(member);
        }
      });
    }
  }
  if (a.error !== undefined) message.error ??= a.error;
  if (name === "") return undefined;
  const head = type === "" ? undefined : {
    name,
    // A foreign set may be of any type; it is only ever printed.
    type: type as IpSet["type"],
    family,
    // What is the same for nearly all sets is left out: an item is compared with one that a plugin wrote.
    ...(maxElements === undefined || maxElements === DEFAULT_MAX_ELEMENTS ? {} : { maxElements }),
    ...(timeout === undefined ? {} : { timeout }),
  };
  return { name, head, members, ...(count === undefined ? {} : { count }) };
}

function readEntry(a: AttributeReader, set: string): IpSetMember | undefined {
  let address = "";
  let prefix: number | undefined;
  let port: number | undefined;
  let protocol = 0;
  let second = "";
  let secondPrefix: number | undefined;
  let nomatch = false;
  while (a.next()) {
    if (a.type === IPSET_ATTR_IP) a.nested((ip) => address = ip.next() ? ip.address() : "");
    else if (a.type === IPSET_ATTR_CIDR) prefix = a.u8();
    else if (a.type === IPSET_ATTR_IP2) a.nested((ip) => second = ip.next() ? ip.address() : "");
    else if (a.type === IPSET_ATTR_CIDR2) secondPrefix = a.u8();
    else if (a.type === IPSET_ATTR_PORT) port = a.u16be();
    else if (a.type === IPSET_ATTR_PROTO) protocol = a.u8();
    else if (a.type === IPSET_ATTR_CADT_FLAGS) nomatch = (a.u32be() & IPSET_FLAG_NOMATCH) !== 0;
  }
  if (address === "") return undefined;
  const service = port === undefined ? "" : `,${PROTOCOL_NAMES.get(protocol) ?? protocol}:${port}`;
  const rest = second === "" ? "" : `,${netText(second, secondPrefix)}`;
  const entry = `${netText(address, prefix)}${service}${rest}`;
  return { set, entry, ...(nomatch ? { nomatch } : {}) };
}

function netText(address: string, prefix: number | undefined): string {
  const whole = prefix === undefined || prefix === (address.includes(":") ? 128 : 32);
  return whole ? address : `${address}/${prefix}`;
}

/** ipset's own error numbers (from 4096 on) as Linux's, with their meaning. */
const ERRORS: Readonly<Record<number, Refusal>> = {
  // Also what Linux says to an address of the other family.
  4097: { errno: 22, text: "the member does not fit the type and family of the set" },
  4098: { errno: 95, text: "this Linux has no such set type" },
  4099: { errno: 28, text: "too many sets" },
  4100: { errno: 16, text: "the set is in use by a rule or another set" },
  4103: { errno: 17, text: "the member is in the set already, or is not in it" },
  4104: { errno: 22, text: "the prefix length is not allowed; 0 never is" },
  4106: { errno: 22, text: "the family is not that of the set" },
  4108: { errno: 16, text: "the set is in use by a rule or another set" },
  4109: { errno: 22, text: "an IPv4 address is expected" },
  4110: { errno: 22, text: "an IPv6 address is expected" },
  4352: { errno: 28, text: "the set is full" },
  4353: { errno: 22, text: "the member is the null address" },
  4354: { errno: 22, text: "the protocol is not allowed in a set" },
};

/** A refusal in Linux's error numbers. */
export function ipsetRefusal(refusal: Refusal): Refusal {
  if (refusal.errno < 4096) return refusal;
  return ERRORS[refusal.errno] ?? { errno: 22, text: `ipset error ${refusal.errno}` };
}
