/** What is read in one loop over the bytes, beside what the decoder makes of the same messages. */
import { describe, expect, test } from "bun:test";
import { rehearsal } from "../../../../../src/plugins/router/bgp/rehearsal.ts";
import { ribView } from "../../../../../src/plugins/router/bgp/views.ts";
import { frame } from "../../../../../src/plugins/router/bgp/wire/framer.ts";
import { mesh, Network, type Node, state } from "../../../../support/bgp.ts";
import { type Random, random, seeds } from "../../../../support/random.ts";

/** With a prefix and ORIGIN, AS_PATH of the peer. */
const ORIGIN = [0x40, 1, 1, 0];
const PATH = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
const GLOBAL = [0x20, 1, 0xd, 0xb8, ...Array<number>(11).fill(0), 9];
const LINK_LOCAL = [0xfe, 0x80, ...Array<number>(13).fill(0), 1];
const PREFIX6 = [48, 0x20, 1, 0xd, 0xb8, 0, 1];

function update(withdrawn: readonly number[], attributes: readonly number[], nlri: number[] = []) {
  return frame(
    2,
    Uint8Array.from([
      ...[withdrawn.length >> 8, withdrawn.length & 255, ...withdrawn],
      ...[attributes.length >> 8, attributes.length & 255, ...attributes],
      ...nlri,
    ]),
  );
}

function reach(hop: readonly number[], prefixes: readonly number[], flags = 0x80): number[] {
  const value = [0, 2, 1, hop.length, ...hop, 0, ...prefixes];
  return [flags | 0x10, 14, value.length >> 8, value.length & 255, ...value];
}

function unreach(prefixes: readonly number[], flags = 0x80): number[] {
  return [flags, 15, 3 + prefixes.length, 0, 2, 1, ...prefixes];
}

interface World {
  readonly a: Node;
  readonly network: Network;
  take(bytes: Uint8Array): void;
  seen(): unknown;
}

/** AS 65001 and its peer in 65002, that both have both families; `how` is what is taken from the former. */
function world(how: "glance" | "decoder" | undefined): World {
  const network = new Network();
  const [a, b] = mesh(network, [65001, 65002], {}, { families: [4, 6] }) as [Node, Node];
  network.run(10_000);
  return {
    a,
    network,
    take(bytes) {
      if (state(a, "10.0.0.2") !== "Established") network.run(400_000);
      const connection = [...a.ends].find(([, end]) => end.to?.node === b)?.[0];
      const peer = a.core.peers.get("10.0.0.2");
      if (connection === undefined || peer === undefined) throw new Error("There is no session");
      if (how !== undefined) peer[how] = undefined;
      a.core.data(connection, Uint8Array.from(bytes), network.now);
      while (a.core.flushable) a.core.flush(network.now);
    },
    seen: () => ({
      paths: [...ribView(a.core, "in", undefined)].map((path) => ({ ...path, since: 0 }))
        .toSorted((one, other) => one.prefix < other.prefix ? -1 : 1),
      state: state(a, "10.0.0.2"),
      held: a.core.peers.get("10.0.0.2")?.held,
    }),
  };
}

describe("without the decoder", () => {
  test.each([
    ["with a next hop", GLOBAL],
    ["with a link-local next hop as well", [...GLOBAL, ...LINK_LOCAL]],
    ["with a link-local next hop alone, as BIRD writes it", [
      ...Array<number>(16).fill(0),
      ...LINK_LOCAL,
    ]],
  ])("IPv6 prefixes %s come and go, wherever the attribute stands", (_what, hop) => {
    const { a, take } = world("decoder");
    take(update([], [...reach(hop, PREFIX6), ...ORIGIN, ...PATH]));
    take(update([], [...ORIGIN, ...reach(hop, [32, 0xfd, 0, 0, 7]), ...PATH]));
    const mine = () => [...ribView(a.core, "in", undefined)].map(({ prefix }) => prefix).toSorted();
    expect(mine()).toContain("2001:db8:1::/48");
    expect(mine()).toContain("fd00:7::/32");
    // The same attributes are one set.
    expect(a.core.ribs[6].pathCount).toBe(2);
    const sets = a.core.attributes.size;
    take(update([], unreach(PREFIX6)));
    expect(mine()).not.toContain("2001:db8:1::/48");
    expect(a.core.attributes.size).toBe(sets);
    take(update([], unreach([32, 0xfd, 0, 0, 7])));
    expect(a.core.attributes.size).toBe(sets - 1);
    expect(a.core.peers.get("10.0.0.2")?.held[6]).toBe(0);
  });

  test("IPv4 prefixes are withdrawn", () => {
    const { a, take } = world("decoder");
    const before = a.core.ribs[4].pathCount;
    take(update([], [...ORIGIN, ...PATH, 0x40, 3, 4, 10, 0, 0, 2], [24, 10, 7, 7, 16, 10, 8]));
    expect(a.core.ribs[4].pathCount).toBe(before + 2);
    take(update([16, 10, 8, 24, 10, 7, 7, 24, 10, 7, 6], []));
    expect(a.core.ribs[4].pathCount).toBe(before);
  });
});

test("what follows a message that came in pieces is read in the loop as well", () => {
  const { a, take } = world("decoder");
  const before = a.core.ribs[4].pathCount;
  const next = [0x40, 3, 4, 10, 0, 0, 2];
  const stream = Uint8Array.from(
    Array.from(
      { length: 30 },
      (_, i) => [...update([], [...ORIGIN, ...PATH, ...next], [24, 10, 9, i])],
    ).flat(),
  );
  for (let at = 0; at < stream.length; at += 401) take(stream.slice(at, at + 401));
  expect(a.core.ribs[4].pathCount).toBe(before + 30);
});

/** Messages that are nearly all as they should be, and every way in which they may not be. */
function message(dice: Random): Uint8Array {
  const prefix6 = (): number[] => {
    const octets = dice.below(9);
    return [
      8 * octets,
      ...[dice.pick([0x20, 0xfd, 0xfd, 0xfe, 0xff]), 1, dice.below(2)],
      ...Array<
        number
      >(6).fill(dice.below(3)),
    ].slice(0, 1 + octets);
  };
  const prefix4 = (): number[] => [24, dice.pick([10, 11, 224]), dice.below(3), dice.below(3)];
  const list = (one: () => number[]): number[] =>
    Array.from({ length: 1 + dice.below(4) }, one).flat();
  const hop = dice.pick([
    GLOBAL,
    [...GLOBAL, ...LINK_LOCAL],
    GLOBAL,
    [...GLOBAL, ...LINK_LOCAL],
    Array<number>(16).fill(0),
    [...Array<number>(15).fill(0), 1],
    [...Array<number>(16).fill(0), ...LINK_LOCAL],
    [0xff, 2, ...Array<number>(14).fill(0)],
    LINK_LOCAL,
    [10, 0, 0, 2],
    [...GLOBAL, 0],
  ]);
  const flags = dice.pick([0x80, 0x80, 0x80, 0x80, 0xc0, 0x40]);
  const others = [
    ORIGIN,
    dice.pick([PATH, PATH, [...PATH.slice(0, -1), 0xe9], [0x40, 2, 0]]),
    ...dice.pick([[], [[0x80, 4, 4, 0, 0, 0, dice.below(3)]], [[0xc0, 8, 4, 0, 1, 0, 2]], [[
      0x80,
      4,
      3,
      0,
      0,
      0,
    ]]]),
  ];
  const next = [0x40, 3, 4, 10, 0, 0, 2];
  switch (dice.below(7)) {
    case 0:
      return update(list(prefix4), []);
    case 1:
      return update([], unreach(list(prefix6), flags));
    case 2:
      return update([], [...others.flat(), ...next], list(prefix4));
    case 3:
      return update([], [...unreach(list(prefix6)), ...others.flat()]);
    case 4:
      return update(dice.pick([[], list(prefix4)]), [
        ...others.flat(),
        ...reach(hop, dice.pick([[], list(prefix6)]), flags),
        ...dice.pick([[], next, unreach(list(prefix6))]),
      ], dice.pick([[], list(prefix4)]));
    case 5: {
      const mixed = [...others, reach(hop, list(prefix6), flags)];
      return update([], mixed.toSorted(() => dice.below(3) - 1).flat());
    }
    default:
      return update([], [...reach(hop, list(prefix6), flags), ...others.flat()]);
  }
}

test.each(seeds(4))("the loop does what the decoder does (seed %i)", (seed) => {
  const dice = random(seed);
  const worlds = [world(undefined), world("glance")];
  let announced = 0;
  for (let round = 0; round < 400; round++) {
    const bytes = message(dice);
    for (const { take } of worlds) take(bytes);
    const [fast, slow] = worlds.map(({ seen }) => seen());
    expect({ round, bytes: [...bytes], ...fast as object }).toEqual(
      { round, bytes: [...bytes], ...slow as object },
    );
    announced = Math.max(announced, worlds[0]?.a.core.ribs[6].pathCount ?? 0);
  }
  expect(announced).toBeGreaterThan(3);
  for (const { a, network } of worlds) {
    a.core.setPeers([], network.now);
    while (a.core.flushable) a.core.flush(network.now);
    expect(a.core.attributes.size).toBe(1);
  }
});

test.each([4, 6] as const)("a rehearsal of IPv%i takes what it makes, in many steps", (family) => {
  const steps = rehearsal(family);
  let count = 0;
  let step = steps.next();
  for (; step.done !== true; step = steps.next()) count++;
  expect([count, step.value]).toEqual([24, 12_000]);
});
