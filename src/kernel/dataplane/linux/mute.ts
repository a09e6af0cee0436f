/**
 * Keeps a socket from hearing what some senders caused. Writing 20,000 rules makes as many events, and to read and drop
 * them takes longer than to write them; a socket filter (classic BPF) drops them in Linux.
 */

import { ptr } from "bun:ffi";
import { libc } from "./ffi.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
/** Bytes of struct sock_filter. */
const INSTRUCTION = 8;
/** struct sock_fprog: a count, padding, an address. */
const PROGRAM = 16;
/** Jumps reach 255 instructions far. */
const MOST = 250;

const LOAD_WORD = 0x20;
const JUMP_IF_EQUAL = 0x15;
const RETURN = 0x06;
/** Where nlmsg_pid is: all messages of one datagram have the same sender. */
const PORT_ID = 12;

/** The program: drops datagrams whose first message has one of these port ids. */
export function filterProgram(portIds: readonly number[]): Uint8Array<ArrayBuffer> {
  const senders = portIds.slice(-MOST);
  const program = new Uint8Array(new ArrayBuffer((senders.length + 3) * INSTRUCTION));
  const view = new DataView(program.buffer);
  let at = 0;
  const add = (code: number, yes: number, k: number): void => {
    view.setUint16(at, code, true);
    view.setUint8(at + 2, yes);
    view.setUint32(at + 4, k, true);
    at += INSTRUCTION;
  };
  add(LOAD_WORD, 0, PORT_ID);
  for (const [i, sender] of senders.entries()) {
    // Loaded as if it were in network byte order, which it is not.
    add(JUMP_IF_EQUAL, senders.length - i, swapped(sender));
  }
  add(RETURN, 0, 0xffffffff);
  add(RETURN, 0, 0);
  return program;
}

/** Attaches it, in place of an older one. What it cannot keep away is only more to read. */
export function muteSenders(fd: number, portIds: readonly number[]): void {
  const program = filterProgram(portIds);
  const header = new Uint8Array(new ArrayBuffer(PROGRAM));
  const view = new DataView(header.buffer);
  view.setUint16(0, program.length / INSTRUCTION, true);
  view.setBigUint64(8, BigInt(ptr(program)), true);
  libc().setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, header, PROGRAM);
}

function swapped(value: number): number {
  return ((value & 0xff) << 24 | (value & 0xff00) << 8 | value >>> 8 & 0xff00 | value >>> 24) >>> 0;
}
