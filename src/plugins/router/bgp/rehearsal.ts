/**
 * A small feed into a core that is thrown away, so that the engine has compiled the receive path when a peer sends a full table:
 * of a cold process half of the first 100,000 prefixes' time is waiting for that. What is compiled belongs to the code, not to
 * the core, so it serves the real one.
 */

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
/** By then the loops are in the second-last tier of the compiler; twice as many are hardly faster. */
const MESSAGES = 2000;
/** Of one step, a millisecond or two: what else happens in the process does not wait. */
const MESSAGES_A_STEP = 100;
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
export function* rehearsal(): Generator<void, number, undefined> {
  const core = new Core({ asn: AS, routerId: US, listen: [] }, NOTHING);
  core.start(0);
  core.setLocalRoutes([], 0);
  core.setPeers([{ address: THEM, asn: THEIR_AS, passive: true, holdSeconds: 90 }], 0);
  const ends = { localAddress: US, localPort: 179, remotePort: 1024 };
  const connection = core.accepted(THEM, ends, 0);
  if (typeof connection !== "number") return 0;
  core.data(connection, open(), 0);
  core.data(connection, KEEPALIVE, 0);
  core.flush(0);
  const message = update();
  for (let done = 0; done < MESSAGES; done += MESSAGES_A_STEP) {
    yield;
    core.data(connection, some(message, done), 0);
    core.flush(0);
  }
  return core.peers.get(THEM)?.held[4] ?? 0;
}

/** With IPv4 unicast and an AS number of four octets. */
function open(): Uint8Array {
  const capabilities = [1, 4, 0, 1, 0, 1, 65, 4, 0, 0, THEIR_AS >> 8, THEIR_AS & 255];
  return frame(
    MessageType.Open,
    Uint8Array.from([
      ...[4, THEIR_AS >> 8, THEIR_AS & 255, 0, 90, 192, 0, 2, 2],
      ...[capabilities.length + 2, 2, capabilities.length, ...capabilities],
    ]),
  );
}

/** Where in `update` the number lies that makes a set of attributes another one. */
const LAST_AS = HEADER_LENGTH + 4 + 4 + 5 + 12;

function update(): Uint8Array {
  const attributes = [
    ...[0x40, 1, 1, 0],
    ...[0x40, 2, 18, 2, 4, 0, 0, THEIR_AS >> 8, THEIR_AS & 255],
    ...[0, 0, 0xfb, 0xf2, 0, 0, 0xfb, 0xf3, 0, 1, 0, 0],
    ...[0x40, 3, 4, 192, 0, 2, 2],
    ...[0xc0, 8, 8, 0xfb, 0xf1, 0, 1, 0xfb, 0xf1, 0, 2],
  ];
  const body = new Uint8Array(4 + attributes.length + 4 * PREFIXES);
  putU16(body, 2, attributes.length);
  body.set(attributes, 4);
  return frame(MessageType.Update, body);
}

/** Some messages, from number `first` on. */
function some(message: Uint8Array, first: number): Uint8Array {
  const { length } = message;
  const bytes = new Uint8Array(MESSAGES_A_STEP * length);
  for (let i = 0; i < MESSAGES_A_STEP; i++) {
    const at = i * length;
    bytes.set(message, at);
    putU32(bytes, at + LAST_AS, 65_536 + Math.floor((first + i) / SHARING));
    for (let j = 0; j < PREFIXES; j++) {
      const prefix = at + length - 4 * (PREFIXES - j);
      putU32(bytes, prefix, 0x1801_0000 + (first + i) * PREFIXES + j);
    }
  }
  return bytes;
}
