/**
 * A small feed into a core that is thrown away, so that the engine has compiled the receive path when a peer sends a full table:
 * of a cold process half of the first 100,000 prefixes' time is waiting for that. What is compiled belongs to the code, not to
 * the core, so it serves the real one.
 */

import type { Family } from "../../../kernel/ip.ts";
import { Core } from "./core.ts";
import type { CoreOutput } from "./output.ts";
import { putU16, putU32 } from "./wire/bytes.ts";
import { HEADER_LENGTH, MessageType } from "./wire/constants.ts";
import { frame } from "./wire/framer.ts";
import { KEEPALIVE } from "./wire/messages.ts";

/** Of documentation (RFC 5737, RFC 5398): none of it leaves the process. */
const US = "192.0.2.1";
const THEM = "192.0.2.2";
const AS = 64496;
const THEIR_AS = 64497;
/** Of each feed. By then nearly all of it is in the second-last tier of the compiler; after half as many it is not. */
const MESSAGES = 1200;
/** Of one step, a millisecond or two: what else happens in the process does not wait. */
const MESSAGES_A_STEP = 100;
/** In which they come: what is called often is compiled sooner than what loops. */
const PIECES = 10;
const PREFIXES = 5;
/** How many messages share a set of attributes. */
const SHARING = 1.5;

const NOTHING: CoreOutput = {
  dial() {},
  send() {},
  close() {},
  best() {},
  settled() {},
  event() {},
  bfd() {},
  random: () => 0,
};

/** Each call of `next` is a step of a millisecond or two. Returns how many prefixes were taken. */
export function* rehearsal(family: Family): Generator<void, number, undefined> {
  // What is compiled for one core alone is thrown away when it meets another, which is to be the second of these.
  return (yield* feed(family)) + (yield* feed(family));
}

function* feed(family: Family): Generator<void, number, undefined> {
  const core = new Core({ asn: AS, routerId: US, listen: [] }, NOTHING);
  core.start(0);
  core.setLocalRoutes([], 0);
  const peer = { address: THEM, asn: THEIR_AS, families: [family], passive: true, holdSeconds: 90 };
  core.setPeers([peer], 0);
  const ends = { localAddress: US, localPort: 179, remotePort: 1024 };
  const connection = core.accepted(THEM, ends, 0);
  if (typeof connection !== "number") return 0;
  core.data(connection, open(family), 0);
  core.data(connection, KEEPALIVE, 0);
  core.flush(0);
  const some = family === 4 ? some4() : some6();
  for (let done = 0; done < MESSAGES; done += MESSAGES_A_STEP) {
    yield;
    const bytes = some(done);
    // Not where messages end.
    const piece = Math.floor(bytes.length / PIECES) + 7;
    for (let at = 0; at < bytes.length; at += piece) {
      core.data(connection, bytes.subarray(at, at + piece), 0);
    }
    core.flush(0);
  }
  return core.peers.get(THEM)?.held[family] ?? 0;
}

/** With one family and an AS number of four octets. */
function open(family: Family): Uint8Array {
  const capabilities = [
    1,
    4,
    0,
    family === 4 ? 1 : 2,
    0,
    1,
    65,
    4,
    0,
    0,
    THEIR_AS >> 8,
    THEIR_AS & 255,
  ];
  return frame(
    MessageType.Open,
    Uint8Array.from([
      ...[4, THEIR_AS >> 8, THEIR_AS & 255, 0, 90, 192, 0, 2, 2],
      ...[capabilities.length + 2, 2, capabilities.length, ...capabilities],
    ]),
  );
}

/** Attributes but the next hop, and where in them the AS number lies that makes another set of them. */
const ATTRIBUTES = [
  ...[0x40, 1, 1, 0],
  ...[0x40, 2, 18, 2, 4, 0, 0, THEIR_AS >> 8, THEIR_AS & 255],
  ...[0, 0, 0xfb, 0xf2, 0, 0, 0xfb, 0xf3, 0, 1, 0, 0],
  ...[0xc0, 8, 8, 0xfb, 0xf1, 0, 1, 0xfb, 0xf1, 0, 2],
];
const LAST_AS = 4 + 5 + 12;
const NEXT_HOP = [0x40, 3, 4, 192, 0, 2, 2];
/** A global one of documentation (RFC 3849), and the link-local one beside it. */
const HOPS6 = [
  ...[0x20, 1, 0x0d, 0xb8, ...Array<number>(11).fill(0), 2],
  ...[0xfe, 0x80, ...Array<number>(13).fill(0), 2],
];

function update(attributes: readonly number[], nlri: number): Uint8Array {
  const body = new Uint8Array(4 + attributes.length + nlri);
  putU16(body, 2, attributes.length);
  body.set(attributes, 4);
  return frame(MessageType.Update, body);
}

type Some = (first: number) => Uint8Array;

/** Messages from number `first` on: copies of one, of which the AS number and the prefixes are written anew. */
function copies(
  message: Uint8Array,
  asn: number,
  prefix: (bytes: Uint8Array, at: number, j: number, n: number) => void,
): Some {
  const { length } = message;
  return (first) => {
    const bytes = new Uint8Array(MESSAGES_A_STEP * length);
    for (let i = 0; i < MESSAGES_A_STEP; i++) {
      const at = i * length;
      bytes.set(message, at);
      putU32(bytes, at + asn, 65_536 + Math.floor((first + i) / SHARING));
      for (let j = 0; j < PREFIXES; j++) prefix(bytes, at, j, (first + i) * PREFIXES + j);
    }
    return bytes;
  };
}

/** /24s from 1.0.0.0 on. */
function some4(): Some {
  const message = update([...ATTRIBUTES, ...NEXT_HOP], 4 * PREFIXES);
  const from = message.length - 4 * PREFIXES;
  return copies(message, HEADER_LENGTH + 4 + LAST_AS, (bytes, at, j, n) => {
    putU32(bytes, at + from + 4 * j, 0x1801_0000 + n);
  });
}

/** /48s from 2001:db8:: on. */
function some6(): Some {
  const prefixes = Array.from({ length: PREFIXES }, () => [48, 0x20, 1, 0x0d, 0xb8, 0, 0]).flat();
  const value = [0, 2, 1, HOPS6.length, ...HOPS6, 0, ...prefixes];
  const reach = [0x80, 14, value.length, ...value];
  const from = HEADER_LENGTH + 4 + reach.length - prefixes.length;
  const asn = HEADER_LENGTH + 4 + reach.length + LAST_AS;
  return copies(update([...reach, ...ATTRIBUTES], 0), asn, (bytes, at, j, n) => {
    putU16(bytes, at + from + 7 * j + 5, n);
  });
}
