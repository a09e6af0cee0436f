import { describe, expect, test } from "bun:test";
import { BfdSession } from "../../../../../src/plugins/router/bfd/session.ts";
import {
  type ControlPacket,
  decodeControl,
  Diagnostic,
  encodeControl,
  State,
} from "../../../../../src/plugins/router/bfd/wire.ts";
import { random } from "../../../../support/random.ts";

const PACKET: ControlPacket = {
  diagnostic: Diagnostic.None,
  state: State.Down,
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  detectMultiplier: 3,
  myDiscriminator: 7,
  yourDiscriminator: 0,
  desiredMinTx: 50_000,
  requiredMinRx: 50_000,
  requiredMinEchoRx: 0,
};

const { AdminDown, Down, Init, Up } = State;
const STATES = ["AdminDown", "Down", "Init", "Up"];

/** A session in this state, and what it sends and says. */
function session(state: State = Down) {
  const sent: ControlPacket[] = [];
  const changes: [State, number][] = [];
  const bfd = new BfdSession(
    { discriminator: 1, detectMultiplier: 3, desiredMinTx: 50_000, requiredMinRx: 50_000 },
    {
      send: (packet) => sent.push(packet),
      changed: (to, diagnostic) => changes.push([to, diagnostic]),
      random: () => 0.5,
    },
    0,
  );
  bfd.tick(0);
  if (state === Init || state === Up) bfd.receive({ ...PACKET, state: Down }, 0);
  if (state === Up) bfd.receive({ ...PACKET, state: Up, yourDiscriminator: 1 }, 0);
  sent.length = changes.length = 0;
  return { bfd, sent, changes };
}

describe("BFD control packets (RFC 5880 section 4.1)", () => {
  test("come back as they went out", () => {
    for (const state of [AdminDown, Down, Init, Up]) {
      const packet = {
        ...PACKET,
        state,
        yourDiscriminator: 4_294_967_295,
        poll: true,
        demand: true,
      };
      expect(decodeControl(encodeControl(packet))).toEqual(packet);
      const final = { ...packet, poll: false, final: true, controlPlaneIndependent: true };
      expect(decodeControl(encodeControl(final))).toEqual(final);
    }
  });

  const change = (at: number, value: number) => {
    const bytes = encodeControl({ ...PACKET, state: Up, yourDiscriminator: 1 });
    bytes[at] = value;
    return bytes;
  };
  test.each([
    ["23 octets", encodeControl(PACKET).slice(0, 23), "it has 23 octets"],
    ["version 2", change(0, 0x40), "it has version 2"],
    ["a length of 23", change(3, 23), "it says length 23"],
    ["a length beyond the datagram", change(3, 25), "it says length 25"],
    ["authentication", change(1, 0xc4), "it is authenticated, and we have no key"],
    ["multipoint", change(1, 0xc1), "it is multipoint"],
    ["multiplier 0", change(2, 0), "its detection multiplier is 0"],
    ["no discriminator", change(7, 0), "its discriminator is 0"],
    [
      "Up without a session",
      encodeControl({ ...PACKET, state: Up }),
      "it names no session, and is not Down",
    ],
  ])("with %s are discarded", (_what, bytes, reason) => {
    expect(decodeControl(bytes)).toBe(reason);
  });

  test("of random bytes are discarded or read, never more", () => {
    const dice = random(1);
    for (let round = 0; round < 20_000; round++) {
      const bytes = Uint8Array.from({ length: dice.below(40) }, () => dice.below(256));
      if (bytes.length > 3 && dice.below(2) === 0) {
        bytes[0] = 0x20;
        bytes[3] = 24;
      }
      expect(["string", "object"]).toContain(typeof decodeControl(bytes));
    }
  });
});

describe("the state machine (RFC 5880 section 6.8.6)", () => {
  test.each([
    [Down, AdminDown, Down],
    [Down, Down, Init],
    [Down, Init, Up],
    [Down, Up, Down],
    [Init, AdminDown, Down],
    [Init, Down, Init],
    [Init, Init, Up],
    [Init, Up, Up],
    [Up, AdminDown, Down],
    [Up, Down, Down],
    [Up, Init, Up],
    [Up, Up, Up],
  ])("%i hears %i and is %i", (local, heard, expected) => {
    const { bfd, changes } = session(local);
    bfd.receive({ ...PACKET, state: heard, yourDiscriminator: 1 }, 10);
    expect(STATES[bfd.state]).toBe(STATES[expected]);
    expect(changes.length).toBe(local === expected ? 0 : 1);
    if (local !== Down && expected === Down) {
      expect(bfd.diagnostic).toBe(Diagnostic.NeighborSignalledDown);
    }
  });
});

describe("timers", () => {
  test("until it is Up a session sends once a second, then as fast as both want, with jitter", () => {
    const { bfd, sent } = session();
    const times: number[] = [];
    const run = (from: number, to: number) => {
      for (let now = from; now < to; now++) {
        const before = sent.length;
        if (bfd.deadline <= now) bfd.tick(now);
        if (sent.length > before) times.push(now);
      }
    };
    run(0, 5000);
    expect(times.length).toBeWithin(5, 8);
    expect(sent.every(({ desiredMinTx }) => desiredMinTx === 1_000_000)).toBe(true);
    bfd.receive({ ...PACKET, state: Init, yourDiscriminator: 1 }, 5000);
    expect(bfd.state).toBe(Up);
    times.length = 0;
    run(5000, 5149);
    expect(times.length).toBe(3);
    expect(sent.at(-1)).toMatchObject({ state: Up, desiredMinTx: 50_000, yourDiscriminator: 7 });
  });

  test("silence for the detection time is Down, with its diagnostic, and forgets the peer's discriminator", () => {
    const { bfd, sent, changes } = session(Up);
    expect(bfd.detectionMs).toBe(150);
    bfd.receive({ ...PACKET, state: Up, yourDiscriminator: 1, desiredMinTx: 100_000 }, 0);
    expect(bfd.detectionMs).toBe(300);
    bfd.tick(299);
    expect(bfd.state).toBe(Up);
    bfd.tick(300);
    expect(changes).toEqual([[Down, Diagnostic.DetectionTimeExpired]]);
    expect(sent.at(-1)).toMatchObject({ state: Down, yourDiscriminator: 0 });
  });

  test("a poll is answered at once with a final, and our own ends with one", () => {
    const { bfd, sent } = session(Up);
    bfd.receive({ ...PACKET, state: Up, yourDiscriminator: 1, poll: true }, 1);
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatchObject({ final: true, poll: false });
    bfd.tick(100);
    expect(sent.at(-1)?.poll).toBe(true);
    bfd.receive({ ...PACKET, state: Up, yourDiscriminator: 1, final: true }, 101);
    bfd.tick(160);
    expect(sent.at(-1)?.poll).toBe(false);
  });

  test("a peer that wants to receive nothing is sent nothing, until it wants again", () => {
    const { bfd, sent } = session(Up);
    bfd.receive({ ...PACKET, state: Up, yourDiscriminator: 1, requiredMinRx: 0 }, 1);
    bfd.tick(100);
    sent.length = 0;
    for (let now = 2; now < 140; now++) bfd.tick(now);
    expect(sent).toEqual([]);
    bfd.receive({ ...PACKET, state: Up, yourDiscriminator: 1 }, 140);
    bfd.tick(200);
    expect(sent).toHaveLength(1);
  });

  test("two sessions find each other, and both see the other go", () => {
    const queue: { to: number; packet: ControlPacket }[] = [];
    const dice = random(4);
    const ends = [0, 1].map((me) =>
      new BfdSession(
        { discriminator: me + 1, detectMultiplier: 3, desiredMinTx: 20_000, requiredMinRx: 30_000 },
        {
          send: (packet) => queue.push({ to: 1 - me, packet }),
          changed: () => {},
          random: () => dice.below(1000) / 1000,
        },
        0,
      )
    );
    const run = (from: number, to: number, deaf?: number) => {
      for (let now = from; now < to; now++) {
        for (const end of ends) if (end.deadline <= now) end.tick(now);
        for (const { to, packet } of queue.splice(0)) {
          if (to !== deaf) ends[to]?.receive(packet, now);
        }
      }
    };
    run(0, 3000);
    expect(ends.map(({ state }) => state)).toEqual([Up, Up]);
    run(3000, 9000);
    expect(ends.map(({ state }) => state)).toEqual([Up, Up]);
    run(9000, 9100, 0);
    expect(ends.map(({ state }) => state)).toEqual([Down, Down]);
    run(9100, 12_000);
    expect(ends.map(({ state }) => state)).toEqual([Up, Up]);
    ends[0]?.close();
    for (const { packet } of queue.splice(0)) ends[1]?.receive(packet, 12_000);
    expect([ends[1]?.state, ends[1]?.remoteState]).toEqual([Down, AdminDown]);
  });
});
