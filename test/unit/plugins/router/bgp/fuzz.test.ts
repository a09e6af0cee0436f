/**
 * Mutated messages against the decoders and against a whole speaker. `FUZZ=1000000` for a long run; a failure names its seed.
 */
import { describe, expect, test } from "bun:test";
import { AttributeTable } from "../../../../../src/plugins/router/bgp/rib/attributes.ts";
import { BgpError } from "../../../../../src/plugins/router/bgp/wire/error.ts";
import { Framer } from "../../../../../src/plugins/router/bgp/wire/framer.ts";
import { decodeNotification } from "../../../../../src/plugins/router/bgp/wire/messages.ts";
import { decodeOpen } from "../../../../../src/plugins/router/bgp/wire/open.ts";
import { UpdateDecoder } from "../../../../../src/plugins/router/bgp/wire/update.ts";
import { mesh, Network, type Node, peer, prefixes, state } from "../../../../support/bgp.ts";
import { ribView } from "../../../../../src/plugins/router/bgp/views.ts";
import { bytes as bytesOf } from "../../../../support/bgp-wire.ts";
import { type Random, random } from "../../../../support/random.ts";
import captured from "../../../../wire/bgp.json" with { type: "json" };

const ROUNDS = Number(process.env["FUZZ"] ?? 30_000);

/** Messages that two speakers of ours sent each other, with all that they know to say; and what others said. */
const corpus: readonly Uint8Array[] = (() => {
  const network = new Network();
  const [a, b] = mesh(network, [65001, 4_200_000_002], {
    gracefulRestart: { restartSeconds: 9, deferralSeconds: 9 },
    hostname: "node",
  }, { families: [4, 6], nextHop: { 6: "fd00::1" } }) as [Node, Node];
  for (const node of [a, b]) {
    node.core.setLocalRoutes([
      ...Array.from({ length: 20 }, (_, i) => ({ prefix: `10.${i}.0.0/${9 + i}`, med: i & 3 })),
      ...Array.from({ length: 20 }, (_, i) => ({
        prefix: `fd00:${i + 1}::/${32 + i}`,
        communities: ["1:2", "65000:1"],
        largeCommunities: ["1:2:3"],
      })),
    ], network.now);
  }
  network.run(10_000);
  a.core.setLocalRoutes([], network.now);
  a.core.reset("10.0.0.2", true, undefined, network.now);
  network.run(1000);
  a.core.stop(false, "bye", network.now);
  network.run(1000);
  const ours = network.wire.flatMap(({ bytes }) =>
    [...new Framer().feed(bytes)].map(({ bytes, start, end }) => bytes.slice(start - 19, end))
  );
  return [...ours, ...captured.flatMap(({ messages }) => messages.map(bytesOf))];
})();

/** A few octets changed, cut, doubled or moved; the length in the header made right, most times. */
function mutate(dice: Random): Uint8Array {
  let bytes = Uint8Array.from(dice.pick(corpus));
  for (let n = 1 + dice.below(4); n > 0; n--) {
    const at = 18 + dice.below(Math.max(1, bytes.length - 18));
    switch (dice.below(5)) {
      case 0:
        bytes[at] = dice.below(256);
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.below(8));
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      case 3:
        bytes = Uint8Array.from([...bytes.slice(0, at), ...bytes.slice(at - dice.below(8))]);
        break;
      default:
        bytes[at] = dice.pick([0, 1, 127, 128, 255]);
    }
  }
  if (bytes.length < 19) bytes = Uint8Array.from([...bytes, ...new Uint8Array(19 - bytes.length)]);
  if (dice.below(20) > 0) {
    bytes[16] = bytes.length >> 8;
    bytes[17] = bytes.length & 255;
  }
  return bytes;
}

test("the corpus has every kind of message", () => {
  expect(new Set(corpus.map((bytes) => bytes[18]))).toEqual(new Set([1, 2, 3, 4, 5]));
});

describe("mutated messages", () => {
  test("make decoders throw nothing but a BgpError", () => {
    const dice = random(1);
    const table = new AttributeTable();
    const decoders = [true, false].flatMap((fourOctetAs) =>
      [true, false].map((external) =>
        new UpdateDecoder({ fourOctetAs, external, extendedNextHop: true, families: [4, 6] }, table)
      )
    );
    let refused = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = mutate(dice);
      try {
        for (const frame of new Framer().feed(bytes)) {
          if (frame.type === 1) decodeOpen(frame);
          else if (frame.type === 3) decodeNotification(frame);
          else if (frame.type === 2) {
            for (const { attributes } of dice.pick(decoders).decode(frame).announced) {
              table.drop(attributes);
            }
          }
        }
      } catch (error) {
        if (!(error instanceof BgpError)) throw new Error(`Round ${round}: ${error}`);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(ROUNDS / 100);
    // Nothing is kept of messages that nobody holds.
    expect(table.size).toBe(0);
  });

  test("neither stop a speaker, nor touch another session, nor stay behind", () => {
    const network = new Network();
    const [a, b, c] = mesh(network, [65001, 65002, 65003]) as [Node, Node, Node];
    network.run(10_000);
    const dice = random(2);
    let falls = 0;
    for (let round = 0; round < ROUNDS / 10; round++) {
      const connection = [...a.ends].find(([, end]) => end.to?.node === b)?.[0];
      if (connection === undefined || state(a, "10.0.0.2") !== "Established") {
        falls++;
        network.run(70_000);
        continue;
      }
      a.core.data(connection, mutate(dice), network.now);
      if (a.core.flushable) a.core.flush(network.now);
    }
    expect(falls).toBeGreaterThan(0);
    expect(a.core.peers.get("10.0.0.3")?.session.establishedCount).toBe(1);
    expect(c.core.peers.get("10.0.0.1")?.flaps).toBe(0);
    a.core.setPeers([peer("10.0.0.3", 65003)], network.now);
    network.run(100_000);
    expect(prefixes(a, "in")).toEqual(["10.1.2.0/24", "10.1.3.0/24"].slice(1));
    expect(a.core.ribs[4].prefixes.count).toBe(2);
    expect(a.core.attributes.size).toBe(2);
  });

  test.each([
    ["an external", 4_200_000_002],
    ["an internal", 65001],
  ])("of %s peer do the same whether they are read at a glance or one by one", (_what, asn) => {
    const world = (atAGlance: boolean) => {
      const network = new Network();
      const [a, b] = mesh(network, [65001, asn], {}, { families: [4, 6] }) as [
        Node,
        Node,
      ];
      return { network, a, b, atAGlance };
    };
    const worlds = [world(true), world(false)];
    const dice = random(3);
    let taken = 0;
    for (let round = 0; round < ROUNDS / 50; round++) {
      // Whole ones beside mutated ones, so that there is something to be replaced.
      const bytes = dice.below(3) === 0 ? dice.pick(corpus) : mutate(dice);
      const seen = worlds.map(({ network, a, b, atAGlance }) => {
        if (state(a, "10.0.0.2") !== "Established") network.run(100_000);
        const connection = [...a.ends].find(([, end]) => end.to?.node === b)?.[0];
        const peer = a.core.peers.get("10.0.0.2");
        if (connection === undefined || peer === undefined) return "down";
        if (!atAGlance) peer.glance = undefined;
        a.core.data(connection, Uint8Array.from(bytes), network.now);
        while (a.core.flushable) a.core.flush(network.now);
        if (atAGlance) taken += a.core.ribs[4].pathCount > 1 ? 1 : 0;
        return {
          rib: [...ribView(a.core, "in", undefined)].map((path) => ({ ...path, since: 0 }))
            .toSorted((one, other) => one.prefix < other.prefix ? -1 : 1),
          received: peer.session.received,
          state: peer.session.state,
          held: peer.held,
        };
      });
      expect(seen[0]).toEqual(seen[1] as never);
    }
    expect(taken).toBeGreaterThan(ROUNDS / 500);
    for (const { a, network } of worlds) {
      a.core.setPeers([], network.now);
      while (a.core.flushable) a.core.flush(network.now);
      expect(a.core.attributes.size).toBe(1);
    }
  });
});

/** Flags, type and value of attributes that are as they should be; what MP_REACH_NLRI carries is another matter. */
const ATTRIBUTES: readonly (readonly [flags: number, type: number, value: string])[] = [
  [0x40, 1, "00"],
  [0x40, 2, "0201fa56ea02"],
  [0x40, 3, "0a000002"],
  [0x80, 4, "00000007"],
  [0x40, 5, "00000064"],
  [0x40, 6, ""],
  [0xc0, 7, "0000fde90a000002"],
  [0xc0, 8, "fde90005fde90006"],
  [0x80, 9, "0a000009"],
  [0x80, 10, "0a0000090a00000a"],
  [0xc0, 16, "0002fde900000008"],
  [0xc0, 17, "02010000fde9"],
  [0xc0, 18, "0000fde90a000002"],
  [0xc0, 32, "0000fde90000000600000007"],
  [0xc0, 250, "beef"],
];
/** RFC 4271 section 5: of all attributes these have to be there. */
const MANDATORY = 3;

/** An UPDATE for one prefix with mistakes of which RFC 7606 sections 3, 4 and 7 say that they cost no session. */
function mistaken(dice: Random): Uint8Array {
  const out: number[] = [];
  const list = ATTRIBUTES.filter((_, i) => i < MANDATORY || dice.below(3) === 0);
  const victim = dice.below(list.length);
  for (const [i, [flags, type, text]] of list.entries()) {
    let value = [...bytesOf(text)];
    let bits = flags;
    let times = 1;
    if (i === victim || dice.below(6) === 0) {
      switch (dice.below(5)) {
        case 0:
          value = value.map(() => dice.below(256));
          break;
        case 1:
          value = Array.from({ length: dice.below(40) }, () => dice.below(256));
          break;
        case 2:
          // Of one that nobody knows the Optional bit stays: without it it is a well-known one that we ought to know.
          bits = (dice.below(256) & ~0x10) | (type === 250 ? 0x80 : 0);
          break;
        case 3:
          times = 0;
          break;
        default:
          times = 2;
      }
    }
    for (; times > 0; times--) out.push(bits, type, value.length, ...value);
  }
  // The last one says that it is longer than the block (section 4).
  if (dice.below(10) === 0) out.push(0xc0, 8, 4 + dice.below(200), 0);
  const size = 23 + out.length + 4;
  return Uint8Array.from([
    ...new Uint8Array(16).fill(255),
    ...[size >> 8, size & 255, 2, 0, 0, out.length >> 8, out.length & 255],
    ...out,
    ...[24, 10, 9, 0],
  ]);
}

test.each([["an external", 4_200_000_002], ["an internal", 65001]])(
  "mistakes in attributes of %s peer cost no session, nor any route but the one they come with (RFC 7606)",
  (_what, asn) => {
    const network = new Network();
    const [a, b] = mesh(network, [65001, asn], {}, { families: [4, 6] }) as [Node, Node];
    network.run(10_000);
    const connection = [...a.ends].find(([, end]) => end.to?.node === b)?.[0] ?? 0;
    const dice = random(5);
    let withdrawn = 0;
    for (let round = 0; round < ROUNDS / 10; round++) {
      const message = mistaken(dice);
      a.core.data(connection, message, network.now);
      while (a.core.flushable) a.core.flush(network.now);
      if (state(a, "10.0.0.2") !== "Established") {
        const why = a.core.peers.get("10.0.0.2")?.session.lastError;
        throw new Error(`Round ${round}: ${why}: ${Buffer.from(message).toString("hex")}`);
      }
      const held = a.core.peers.get("10.0.0.2")?.held[4];
      if (held === 1) withdrawn++;
    }
    expect(prefixes(a, "in", "10.0.0.2")).toContain("10.1.2.0/24");
    // Mistakes of both costs came: those that cost the route, and those that cost the attribute alone.
    expect(withdrawn).toBeGreaterThan(ROUNDS / 100);
    expect(withdrawn).toBeLessThan(ROUNDS / 10);
    expect(a.core.peers.get("10.0.0.2")?.flaps).toBe(0);
  },
);

test("messages are the same however the stream is cut", () => {
  const dice = random(4);
  const stream = Uint8Array.from(corpus.flatMap((bytes) => [...bytes]));
  const framer = new Framer();
  const seen: Uint8Array[] = [];
  for (let at = 0; at < stream.length;) {
    const next = Math.min(stream.length, at + dice.pick([1, 2, 7, 18, 19, 40, 300, 5000]));
    for (const { bytes, start, end } of framer.feed(stream.slice(at, next))) {
      seen.push(bytes.slice(start - 19, end));
    }
    at = next;
  }
  expect(seen).toEqual(corpus as Uint8Array[]);
});
