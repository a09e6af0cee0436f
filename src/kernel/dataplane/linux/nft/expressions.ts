/**
 * nf_tables expressions (linux/netfilter/nf_tables.h): what a rule is made of, one attribute list each. Numbers in attributes
 * are in network byte order, values in registers as the packet or Linux has them.
 */

import { writeAddress } from "../inet.ts";
import { MessageWriter } from "../message.ts";

const NFTA_LIST_ELEM = 1;
const NFTA_EXPR_NAME = 1;
const NFTA_EXPR_DATA = 2;
const NFTA_DATA_VALUE = 1;
const NFTA_DATA_VERDICT = 2;
const NFTA_VERDICT_CODE = 1;
const NFTA_VERDICT_CHAIN = 2;

/** The first of the registers of 16 bytes, and the first of those of 4 bytes: both begin at the same place. */
export const REGISTER = 1;
const REGISTER32 = 8;
const VERDICT_REGISTER = 0;

export const BASE = { network: 1, transport: 2 } as const;
export const COMPARE = { equal: 0, notEqual: 1, atMost: 3, atLeast: 5 } as const;
/** NFT_META_*. */
export const META = { mark: 3, inputName: 6, outputName: 7, l4protocol: 16 } as const;
/** NFT_CT_*. */
export const CT = { state: 0, mark: 3, destination4: 20, destination6: 22 } as const;
export const VERDICT = { drop: 0, accept: 1, return: -5 } as const;
const NFT_JUMP = -3;

const REJECT = { unreachable: 0, reset: 1 } as const;
const NFT_FIB_RESULT_ADDRTYPE = 3;
const FIB = { source: 1, destination: 2 } as const;
const NFT_EXTHDR_OP_TCPOPT = 1;
const TCPOPT_MAXSEG = 2;
const NF_NAT_RANGE_PROTO_SPECIFIED = 1 << 1;
const NF_NAT_RANGE_PROTO_RANDOM_FULLY = 16;
const NFT_NAT_SNAT = 0;
const NFT_LOOKUP_F_INV = 1;

/** One expression: its name, and what writes its attributes. */
export interface Expression {
  readonly name: string;
  readonly write: (w: MessageWriter) => void;
}

/** Bytes of expressions, as {@linkcode encoded} gives them, stand for themselves. */
export function writeExpressions(
  w: MessageWriter,
  type: number,
  expressions: readonly (Expression | Uint8Array)[],
): void {
  const all = w.open(type);
  for (const one of expressions) {
    if (one instanceof Uint8Array) w.rawBytes(one);
    else writeExpression(w, one);
  }
  w.close(all);
}

function writeExpression(w: MessageWriter, { name, write }: Expression): void {
  const one = w.open(NFTA_LIST_ELEM);
  w.string(NFTA_EXPR_NAME, name);
  const data = w.open(NFTA_EXPR_DATA);
  write(w);
  w.close(data);
  w.close(one);
}

/** Larger than what any match or target becomes. */
const scratch = new MessageWriter(4096);

/** The bytes of expressions in a row. @throws {RangeError} where one holds what cannot be encoded */
export function encoded(expressions: readonly Expression[]): Uint8Array {
  scratch.reset();
  for (const one of expressions) writeExpression(scratch, one);
  if (scratch.overflow || scratch.error !== undefined) {
    throw new RangeError(scratch.error ?? "an expression is too long");
  }
  return scratch.bytes.slice(0, scratch.position);
}

/** The register of 4 bytes that lies so many bytes behind the start of {@linkcode REGISTER}. */
export function registerAt(bytes: number): number {
  return bytes === 0 ? REGISTER : REGISTER32 + bytes / 4;
}

function value(w: MessageWriter, type: number, bytes: Uint8Array): void {
  const start = w.open(type);
  w.data(NFTA_DATA_VALUE, bytes);
  w.close(start);
}

export function payload(
  base: number,
  offset: number,
  length: number,
  register = REGISTER,
): Expression {
  return {
    name: "payload",
    write(w) {
      w.u32be(1, register);
      w.u32be(2, base);
      w.u32be(3, offset);
      w.u32be(4, length);
    },
  };
}

export function meta(key: number, register = REGISTER): Expression {
  return {
    name: "meta",
    write(w) {
      w.u32be(2, key);
      w.u32be(1, register);
    },
  };
}

export function setMeta(key: number): Expression {
  return {
    name: "meta",
    write(w) {
      w.u32be(2, key);
      w.u32be(3, REGISTER);
    },
  };
}

/** @param direction 0: as the first packet went; absent: of the connection as a whole */
export function ct(key: number, direction?: 0): Expression {
  return {
    name: "ct",
    write(w) {
      w.u32be(2, key);
      w.u32be(1, REGISTER);
      if (direction !== undefined) w.u8(3, direction);
    },
  };
}

export function bitwise(mask: Uint8Array, xor: Uint8Array): Expression {
  return {
    name: "bitwise",
    write(w) {
      w.u32be(1, REGISTER);
      w.u32be(2, REGISTER);
      w.u32be(3, mask.length);
      value(w, 4, mask);
      value(w, 5, xor);
    },
  };
}

export function compare(operator: number, bytes: Uint8Array): Expression {
  return {
    name: "cmp",
    write(w) {
      w.u32be(1, REGISTER);
      w.u32be(2, operator);
      value(w, 3, bytes);
    },
  };
}

export function lookup(set: string, negate: boolean): Expression {
  return {
    name: "lookup",
    write(w) {
      w.string(1, set);
      w.u32be(2, REGISTER);
      if (negate) w.u32be(5, NFT_LOOKUP_F_INV);
    },
  };
}

/** Looks the register up in a map of verdicts, and does what that says. @param id of the map in this batch */
export function lookupVerdict(map: string, id: number): Expression {
  return {
    name: "lookup",
    write(w) {
      w.string(1, map);
      w.u32be(2, REGISTER);
      w.u32be(3, VERDICT_REGISTER);
      w.u32be(4, id);
    },
  };
}

/** What an element of such a map says: jump there. */
export function writeJump(w: MessageWriter, type: number, chain: string): void {
  const data = w.open(type);
  const inner = w.open(NFTA_DATA_VERDICT);
  w.u32be(NFTA_VERDICT_CODE, NFT_JUMP >>> 0);
  w.string(NFTA_VERDICT_CHAIN, chain);
  w.close(inner);
  w.close(data);
}

/** The type of an address of the packet, as the routes have it (RTN_LOCAL and its like). */
export function fibType(side: "source" | "destination"): Expression {
  return {
    name: "fib",
    write(w) {
      w.u32be(3, FIB[side]);
      w.u32be(2, NFT_FIB_RESULT_ADDRTYPE);
      w.u32be(1, REGISTER);
    },
  };
}

export function limit(perMinute: number, burst: number): Expression {
  return {
    name: "limit",
    write(w) {
      w.u64(1, BigInt(perMinute), true);
      w.u64(2, 60n, true);
      w.u32be(3, burst);
      w.u32be(4, 0);
      w.u32be(5, 0);
    },
  };
}

/** Counts from zero. */
export const counter: Expression = { name: "counter", write: () => {} };

export function immediate(bytes: Uint8Array): Expression {
  return {
    name: "immediate",
    write(w) {
      w.u32be(1, REGISTER);
      value(w, 2, bytes);
    },
  };
}

export function verdict(code: number, chain?: string): Expression {
  return {
    name: "immediate",
    write(w) {
      w.u32be(1, VERDICT_REGISTER);
      const data = w.open(2);
      const inner = w.open(NFTA_DATA_VERDICT);
      w.u32be(NFTA_VERDICT_CODE, code >>> 0);
      if (chain !== undefined) w.string(NFTA_VERDICT_CHAIN, chain);
      w.close(inner);
      w.close(data);
    },
  };
}

export function jumpTo(chain: string): Expression {
  return verdict(NFT_JUMP, chain);
}

export function reject(icmpCode: number | "reset"): Expression {
  return {
    name: "reject",
    write(w) {
      w.u32be(1, icmpCode === "reset" ? REJECT.reset : REJECT.unreachable);
      w.u8(2, icmpCode === "reset" ? 0 : icmpCode);
    },
  };
}

export function log(group: number, prefix: string): Expression {
  return {
    name: "log",
    write(w) {
      w.u16be(1, group);
      if (prefix !== "") w.string(2, prefix);
    },
  };
}

export function masquerade(fullyRandom: boolean): Expression {
  return {
    name: "masq",
    write(w) {
      if (fullyRandom) w.u32be(1, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
    },
  };
}

/** To the port of this host that is in the register. */
export const redirect: Expression = {
  name: "redir",
  write(w) {
    w.u32be(1, REGISTER);
    w.u32be(3, NF_NAT_RANGE_PROTO_SPECIFIED);
  },
};

/** The address is in the register. @param protocolFamily AF_INET or AF_INET6 */
export function snat(protocolFamily: number, fullyRandom: boolean): Expression {
  return {
    name: "nat",
    write(w) {
      w.u32be(1, NFT_NAT_SNAT);
      w.u32be(2, protocolFamily);
      w.u32be(3, REGISTER);
      if (fullyRandom) w.u32be(7, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
    },
  };
}

/** Writes the register into the MSS option of TCP; Linux never raises one. */
export const setMss: Expression = {
  name: "exthdr",
  write(w) {
    w.u32be(7, REGISTER);
    w.u8(2, TCPOPT_MAXSEG);
    w.u32be(3, 2);
    w.u32be(4, 2);
    w.u32be(6, NFT_EXTHDR_OP_TCPOPT);
  },
};

/** A match of xtables by its module: for what nf_tables cannot ask itself. */
export function xtMatch(name: string, revision: number, info: Uint8Array): Expression {
  return {
    name: "match",
    write(w) {
      w.string(1, name);
      w.u32be(2, revision);
      w.data(3, info);
    },
  };
}

/** The bytes of an address, or undefined where it is none of 4 (16) bytes. */
export function addressBytes(text: string, length: 4 | 16): Uint8Array | undefined {
  const bytes = new Uint8Array(length);
  return writeAddress(bytes, 0, text) === length ? bytes : undefined;
}

/** A number as Linux has it in a register: in the machine's order, which is little-endian. */
export function hostOrder(number: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number >>> 0, true);
  return bytes;
}

export function networkOrder16(number: number): Uint8Array {
  return new Uint8Array([number >> 8 & 0xff, number & 0xff]);
}
