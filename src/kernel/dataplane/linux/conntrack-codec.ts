/** ctnetlink messages (linux/netfilter/nfnetlink_conntrack.h): pure writing and reading. */

import type { Flow, FlowEnd } from "../dataplane.ts";
import type { Family } from "../resource.ts";
import type { AttributeReader } from "./attribute.ts";
import { readAddress } from "./inet.ts";
import type { MessageReader, MessageWriter } from "./message.ts";

const NFNL_SUBSYS_CTNETLINK = 1;
/** Without the flag to create: changes a flow that is there. */
export const IPCTNL_MSG_CT_NEW = 0;
export const IPCTNL_MSG_CT_GET = 1;
export const IPCTNL_MSG_CT_DELETE = 2;
/** Bytes of struct nfgenmsg. */
const NFGENMSG = 4;
const AF_INET = 2;
const AF_INET6 = 10;
const IPPROTO_UDP = 17;
/** TCP, UDP, SCTP. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, IPPROTO_UDP, 132]);

const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_MARK = 8;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_MARK_MASK = 21;
const CTA_FILTER = 25;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
/** "compare the protocol's number", of the flags of CTA_FILTER (net/netfilter/nf_internals.h). */
const CTA_FILTER_F_CTA_PROTO_NUM = 1 << 3;

/** A UDP flow of conntrack, as its first packet looked, and where its answers come from. */
export interface UdpFlow {
  readonly family: Family;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** Source of the answers: the endpoint where the flow is translated, else the destination itself. */
  readonly answers: FlowEnd;
  /** Conntrack's id of this entry: another one for the same addresses has another. */
  readonly id: number;
  readonly zone: number;
}

/** Asks for all UDP flows of a family. Linux before 5.8 does not know the filter and answers with all flows. */
export function writeFlowQuery(w: MessageWriter, family: Family): void {
  begin(w, IPCTNL_MSG_CT_GET, family);
  const tuple = w.open(CTA_TUPLE_ORIG);
  const protocol = w.open(CTA_TUPLE_PROTO);
  w.u8(CTA_PROTO_NUM, IPPROTO_UDP);
  w.close(protocol);
  w.close(tuple);
  const filter = w.open(CTA_FILTER);
  w.u32(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_CTA_PROTO_NUM);
  w.u32(CTA_FILTER_REPLY_FLAGS, 0);
  w.close(filter);
  w.end();
}

/** Asks for all flows of a family, of whatever protocol. */
export function writeAllQuery(w: MessageWriter, family: Family): void {
  begin(w, IPCTNL_MSG_CT_GET, family);
  w.end();
}

/** Deletes this very flow: by its id as well, so that one that has taken its place stays. */
export function writeFlowDelete(w: MessageWriter, flow: UdpFlow): void {
  begin(w, IPCTNL_MSG_CT_DELETE, flow.family);
  writeTuple(w, flow, IPPROTO_UDP);
  w.u32be(CTA_ID, flow.id);
  if (flow.zone !== 0) w.u16be(CTA_ZONE, flow.zone);
  w.end();
}

/** Sets the bits of `mask` in a flow's mark to those of `mark`. */
export function writeFlowMark(w: MessageWriter, flow: Flow, mark: number, mask: number): void {
  begin(w, IPCTNL_MSG_CT_NEW, flow.family);
  writeTuple(w, flow, flow.protocol);
  w.u32be(CTA_MARK, mark);
  w.u32be(CTA_MARK_MASK, mask);
  if (flow.zone !== 0) w.u16be(CTA_ZONE, flow.zone);
  w.end();
}

function writeTuple(
  w: MessageWriter,
  { family, source, destination }: Pick<Flow, "family" | "source" | "destination">,
  number: number,
): void {
  const tuple = w.open(CTA_TUPLE_ORIG);
  const ip = w.open(CTA_TUPLE_IP);
  w.address(family === 4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, source.address);
  w.address(family === 4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, destination.address);
  w.close(ip);
  const protocol = w.open(CTA_TUPLE_PROTO);
  w.u8(CTA_PROTO_NUM, number);
  w.u16be(CTA_PROTO_SRC_PORT, source.port);
  w.u16be(CTA_PROTO_DST_PORT, destination.port);
  w.close(protocol);
  w.close(tuple);
}

function begin(w: MessageWriter, command: number, family: Family): void {
  w.begin(NFNL_SUBSYS_CTNETLINK << 8 | command);
  w.rawU8(family === 4 ? AF_INET : AF_INET6);
  w.rawU8(0);
  w.rawU16(0);
}

interface Tuple {
  protocol: number;
  /** Offsets of the addresses in the message; -1 where there is none. */
  sourceAt: number;
  destinationAt: number;
  /** Bytes of an address. */
  size: number;
  sourcePort: number;
  destinationPort: number;
}

/** The flow of an answer whose source or answering end `wanted` wants; undefined for others and for protocols without ports. */
export function readAnyFlow(
  message: MessageReader,
  wanted: (address: string) => boolean,
): Flow | undefined {
  const attributes = message.attributes(NFGENMSG);
  let original: Tuple | undefined;
  let reply: Tuple | undefined;
  let mark = 0;
  let zone = 0;
  while (attributes.next()) {
    if (attributes.type === CTA_TUPLE_ORIG) original = readTuple(attributes);
    else if (attributes.type === CTA_TUPLE_REPLY) reply = readTuple(attributes);
    else if (attributes.type === CTA_MARK) mark = attributes.u32be();
    else if (attributes.type === CTA_ZONE) zone = attributes.u16be();
  }
  if (attributes.error !== undefined) message.error ??= attributes.error;
  if (original === undefined || reply === undefined) return undefined;
  if (!WITH_PORTS.has(original.protocol)) return undefined;
  if (original.sourceAt < 0 || original.destinationAt < 0 || reply.sourceAt < 0) return undefined;
  const at = (offset: number) => readAddress(attributes.bytes, offset, original.size);
  const source = at(original.sourceAt);
  const answers = at(reply.sourceAt);
  if (!wanted(source) && !wanted(answers)) return undefined;
  return {
    family: original.size === 4 ? 4 : 6,
    protocol: original.protocol,
    source: { address: source, port: original.sourcePort },
    destination: { address: at(original.destinationAt), port: original.destinationPort },
    answers: { address: answers, port: reply.sourcePort },
    mark,
    zone,
  };
}

/**
 * The UDP flow of an answer; undefined for others, and for those that `wanted` does not want: there may be 100,000, whose
 * other addresses are not worth reading.
 */
export function readFlow(
  message: MessageReader,
  wanted: (address: string, port: number) => boolean,
): UdpFlow | undefined {
  const attributes = message.attributes(NFGENMSG);
  let original: Tuple | undefined;
  let reply: Tuple | undefined;
  let id = 0;
  let zone = 0;
  while (attributes.next()) {
    switch (attributes.type) {
      case CTA_TUPLE_ORIG:
        original = readTuple(attributes);
        if (original.protocol !== IPPROTO_UDP) return undefined;
        break;
      case CTA_TUPLE_REPLY:
        reply = readTuple(attributes);
        break;
      case CTA_ID:
        id = attributes.u32be();
        break;
      case CTA_ZONE:
        zone = attributes.u16be();
        break;
    }
  }
  if (attributes.error !== undefined) message.error ??= attributes.error;
  if (original === undefined || reply === undefined) return undefined;
  if (original.sourceAt < 0 || original.destinationAt < 0 || reply.sourceAt < 0) return undefined;
  const at = (offset: number) => readAddress(attributes.bytes, offset, original.size);
  const destination = { address: at(original.destinationAt), port: original.destinationPort };
  if (!wanted(destination.address, destination.port)) return undefined;
  return {
    family: original.size === 4 ? 4 : 6,
    source: { address: at(original.sourceAt), port: original.sourcePort },
    destination,
    answers: { address: at(reply.sourceAt), port: reply.sourcePort },
    id,
    zone,
  };
}

function readTuple(attributes: AttributeReader): Tuple {
  const tuple: Tuple = {
    protocol: 0,
    sourceAt: -1,
    destinationAt: -1,
    size: 4,
    sourcePort: 0,
    destinationPort: 0,
  };
  const outer = attributes.inner();
  while (outer.next()) {
    const inner = outer.inner();
    if (outer.type === CTA_TUPLE_IP) readIp(inner, tuple);
    else if (outer.type === CTA_TUPLE_PROTO) readProtocol(inner, tuple);
    if (inner.error !== undefined) outer.fail(inner.error);
  }
  if (outer.error !== undefined) attributes.fail(outer.error);
  return tuple;
}

function readIp(a: AttributeReader, tuple: Tuple): void {
  while (a.next()) {
    const size = a.type === CTA_IP_V4_SRC || a.type === CTA_IP_V4_DST ? 4 : 16;
    if (a.type < CTA_IP_V4_SRC || a.type > CTA_IP_V6_DST) continue;
    if (a.length < size) {
      a.fail(`Address of ${a.length} bytes instead of ${size}`);
      return;
    }
    tuple.size = size;
    if (a.type === CTA_IP_V4_SRC || a.type === CTA_IP_V6_SRC) tuple.sourceAt = a.start;
    else tuple.destinationAt = a.start;
  }
}

function readProtocol(a: AttributeReader, tuple: Tuple): void {
  while (a.next()) {
    if (a.type === CTA_PROTO_NUM) tuple.protocol = a.u8();
    else if (a.type === CTA_PROTO_SRC_PORT) tuple.sourcePort = a.u16be();
    else if (a.type === CTA_PROTO_DST_PORT) tuple.destinationPort = a.u16be();
  }
}
