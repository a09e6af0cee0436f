import { describe, expect, test } from "bun:test";
import { AttributeTable } from "../../../../../../src/plugins/router/bgp/rib/attributes.ts";
import {
  type Candidate,
  decide,
  type Origin,
  whyLost,
} from "../../../../../../src/plugins/router/bgp/rib/decision.ts";
import { BitSet, PrefixTable } from "../../../../../../src/plugins/router/bgp/rib/prefixes.ts";
import { Rib } from "../../../../../../src/plugins/router/bgp/rib/rib.ts";
import {
  type Attributes,
  EMPTY,
} from "../../../../../../src/plugins/router/bgp/wire/attributes.ts";
import { parsePrefix } from "../../../../../../src/plugins/router/bgp/wire/prefix.ts";
import { random, seeds } from "../../../../../support/random.ts";

const EBGP: Origin = { source: "ebgp", routerId: 5, rank: "4a" };

function candidate(
  attributes: Partial<Attributes> & { path?: readonly number[] },
  origin: Partial<Origin> = {},
  row = 0,
): Candidate {
  const { path = [1], ...rest } = attributes;
  const table = new AttributeTable();
  const asPath = path.length === 0 ? [] : [{ type: 2, asns: path }];
  const nextHop = Uint8Array.of(10, 0, 0, row);
  return {
    row,
    set: table.add(String(row), { ...EMPTY, asPath, nextHop, ...rest }),
    origin: { ...EBGP, ...origin },
  };
}

describe("the decision process (RFC 4271 section 9.1.2)", () => {
  test.each(
    [
      ["lower LOCAL_PREF", candidate({ localPref: 200 }), candidate({ localPref: 100 })],
      ["lower LOCAL_PREF", candidate({}), candidate({ localPref: 99 })],
      [
        "learned, where the other is local",
        candidate({ path: [] }, { source: "local" }),
        candidate({ path: [] }, { source: "ibgp" }),
      ],
      ["longer AS_PATH", candidate({ path: [9] }), candidate({ path: [1, 2] })],
      [
        "longer AS_PATH",
        candidate({ asPath: [{ type: 1, asns: [1, 2, 3] }] }),
        candidate({ path: [1, 2] }),
      ],
      ["higher ORIGIN", candidate({ origin: 0 }), candidate({ origin: 2 })],
      ["higher MULTI_EXIT_DISC", candidate({ med: 1 }), candidate({ med: 2 })],
      ["higher MULTI_EXIT_DISC", candidate({}), candidate({ med: 2 })],
      [
        "internal, where the other is external",
        candidate({}),
        candidate({}, { source: "ibgp", routerId: 1 }),
      ],
      ["higher router identifier", candidate({}, { routerId: 4 }), candidate({})],
      [
        "higher router identifier",
        candidate({ originatorId: 1 }, { source: "ibgp", routerId: 9 }),
        candidate({}, { source: "ibgp", routerId: 2 }),
      ],
      [
        "longer CLUSTER_LIST",
        candidate({ clusterList: [1] }, { source: "ibgp" }),
        candidate({ clusterList: [1, 2] }, { source: "ibgp" }),
      ],
      ["higher peer address", candidate({}, { rank: "40a" }), candidate({}, { rank: "40b" })],
    ] as const,
  )("%s", (reason, winner, loser) => {
    const [a, b] = [{ ...winner, row: 1 }, { ...loser, row: 2 }];
    expect(decide([a, b], 1).map(({ row }) => row)).toEqual([1]);
    expect(decide([b, a], 1).map(({ row }) => row)).toEqual([1]);
    expect(whyLost(a, b)).toBe(reason);
  });

  test("MED counts only among paths of one neighbouring AS, whatever the order", () => {
    // The textbook case in which pairwise comparison depends on the order.
    const a = candidate({ path: [1], med: 10 }, { routerId: 1 }, 1);
    const b = candidate({ path: [2], med: 0 }, { routerId: 2 }, 2);
    const c = candidate({ path: [1], med: 5 }, { routerId: 3 }, 3);
    for (const order of [[a, b, c], [a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]]) {
      expect(decide(order, 1).map(({ row }) => row)).toEqual([2]);
    }
  });

  test("paths side by side differ in nothing but the ties, and have different next hops", () => {
    const paths = [
      candidate({}, { routerId: 1 }, 1),
      candidate({}, { routerId: 2 }, 2),
      candidate({ nextHop: Uint8Array.of(10, 0, 0, 1) }, { routerId: 3 }, 3),
      candidate({}, { source: "ibgp", routerId: 4 }, 4),
      candidate({ path: [1, 2] }, { routerId: 0 }, 5),
    ];
    expect(decide(paths, 8).map(({ row }) => row)).toEqual([1, 2]);
    expect(decide(paths, 1).map(({ row }) => row)).toEqual([1]);
    expect(decide([], 8)).toEqual([]);
  });
});

describe("prefixes as numbers", () => {
  test.each(seeds(10))("the table is a map, whatever is added and removed (seed %i)", (seed) => {
    const dice = random(seed);
    const family = seed % 2 === 0 ? 4 : 6;
    const table = new PrefixTable(family, 4);
    const model = new Map<string, number>();
    for (let step = 0; step < 4000; step++) {
      const length = dice.below(family === 4 ? 33 : 129);
      const text = family === 4
        ? `10.0.${dice.below(4)}.${dice.below(16)}/${length}`
        : `fd00::${dice.below(4)}:${dice.below(16)}/${length}`;
      const prefix = parsePrefix(text);
      if (prefix === undefined) throw new Error(text);
      const key = `${prefix.words.join(".")}/${length}`;
      const known = model.get(key);
      expect(table.find(prefix.words, 0, length)).toBe(known ?? -1);
      if (known !== undefined && dice.below(2) === 0) {
        table.remove(known);
        model.delete(key);
        table.lengths[known] = 255;
      } else {
        const id = table.add(prefix.words, 0, length);
        if (known === undefined) expect([...model.values()]).not.toContain(id);
        model.set(key, id);
      }
    }
    expect(table.count).toBe(model.size);
  });

  test("a set of numbers is a set", () => {
    const dice = random(3);
    const bits = new BitSet();
    const model = new Set<number>();
    for (let step = 0; step < 5000; step++) {
      const id = dice.below(2000);
      if (dice.below(2) === 0) {
        expect(bits.add(id)).toBe(!model.has(id));
        model.add(id);
      } else expect(bits.delete(id)).toBe(model.delete(id));
    }
    expect(bits.count).toBe(model.size);
  });
});

describe("the RIB", () => {
  test.each(seeds(10))("tells every change, and forgets what is gone (seed %i)", (seed) => {
    const dice = random(seed);
    const attributes = new AttributeTable();
    const origin = (peer: number): Origin => ({
      source: "ebgp",
      routerId: peer,
      rank: String(peer),
    });
    const family = seed % 2 === 0 ? 4 : 6;
    const rib = new Rib(family, attributes, origin, 1);
    /** Lower MED of one AS wins, then the lower peer: by prefix and peer. */
    const model = new Map<string, Map<number, number>>();
    const told = new Map<string, string>();
    const best = (text: string): string => {
      const paths = [...model.get(text) ?? []].toSorted((a, b) => a[1] - b[1] || a[0] - b[0]);
      return paths[0]?.join() ?? "";
    };
    for (let step = 0; step < 3000; step++) {
      const one = 1 + dice.below(20);
      const text = family === 4 ? `10.0.${one}.0/24` : `fd00:0:${one.toString(16)}::/48`;
      const prefix = parsePrefix(text);
      if (prefix === undefined) throw new Error(text);
      const written = family === 4
        ? Uint8Array.of(24, 10, 0, one)
        : Uint8Array.of(48, 0xfd, 0, 0, 0, 0, one);
      const peer = 1 + dice.below(5);
      const paths = model.get(text) ?? new Map<number, number>();
      model.set(text, paths);
      if (dice.below(3) > 0) {
        const med = dice.below(4);
        const key = `m${med}`;
        const set = attributes.get(key) ??
          attributes.add(key, { ...EMPTY, asPath: [{ type: 2, asns: [1] }], med });
        if (dice.below(2) === 0) {
          rib.put(rib.prefixId(prefix.words, 0, prefix.length), peer, set, set, 0);
        } else {
          const done = rib.putWritten(written, 0, written.length, peer, set.id, set.id, 0);
          expect(done).toBe(true);
        }
        paths.set(peer, med);
      } else {
        const had = paths.delete(peer);
        if (dice.below(2) === 0) {
          expect(rib.deleteWritten(written, 0, written.length, peer)).toBe(had ? 1 : 0);
        } else {
          const id = rib.prefixes.find(prefix.words, 0, prefix.length);
          expect(id >= 0 && rib.delete(id, peer)).toBe(had);
        }
      }
      if (dice.below(100) === 0) {
        rib.clear(peer);
        for (const paths of model.values()) paths.delete(peer);
      }
      if (dice.below(4) > 0) continue;
      const changed = new Set(Array.from(rib.decide(), (id) => rib.prefixes.text(id)));
      for (const known of model.keys()) {
        const now = best(known);
        if (now !== (told.get(known) ?? "")) expect(changed).toContain(known);
        else expect(changed).not.toContain(known);
        told.set(known, now);
      }
      if (dice.below(2) === 0) rib.sweep();
    }
    for (let peer = 1; peer <= 5; peer++) rib.clear(peer);
    rib.decide();
    rib.sweep();
    expect([rib.prefixes.count, rib.pathCount, attributes.size]).toEqual([0, 0, 0]);
  });

  test.each(
    [
      ["longer than an address", 4, [24, 10, 0, 1, 33, 10, 0, 2, 0, 0]],
      ["cut off", 4, [24, 10, 0, 1, 24, 10, 0]],
      ["longer than an address", 6, [8, 0xfd, 129, ...Array<number>(17).fill(1)]],
      ["cut off", 6, [8, 0xfd, 64, 0xfd]],
    ] as const,
  )("takes nothing of a list with a prefix that is %s (IPv%i)", (_what, family, list) => {
    const attributes = new AttributeTable();
    const rib = new Rib(family, attributes, () => EBGP, 1);
    const { id } = attributes.add("a", EMPTY);
    const written = Uint8Array.from(list);
    expect(rib.putWritten(written, 0, written.length, 1, id, id, 0)).toBe(false);
    expect(rib.deleteWritten(written, 0, written.length, 1)).toBe(-1);
    expect([rib.prefixes.count, rib.pathCount, rib.dirty]).toEqual([0, 0, false]);
  });

  test.each([4, 6] as const)("has room for more than it began with (IPv%i)", (family) => {
    const attributes = new AttributeTable();
    const rib = new Rib(family, attributes, () => EBGP, 1);
    const { id } = attributes.add("a", EMPTY);
    const count = 40_000;
    const size = family === 4 ? 4 : 5;
    const written = new Uint8Array(count * size);
    for (let i = 0; i < count; i++) {
      const first = family === 4 ? [24, 10] : [32, 0xfd, 0];
      written.set([...first, i >> 8, i & 255], i * size);
    }
    for (let at = 0; at < written.length; at += 500 * size) {
      expect(rib.putWritten(written, at, at + 500 * size, 1, id, id, 7)).toBe(true);
    }
    const texts = Array.from(rib.decide(), (each) => rib.prefixes.text(each));
    expect(new Set(texts).size).toBe(count);
    expect(rib.pathCount).toBe(count);
    const last = parsePrefix(texts[count - 1] ?? "");
    const row = rib.best(rib.prefixes.find(last?.words ?? [], 0, last?.length ?? 0));
    expect([rib.peerOf(row), rib.sinceOf(row), rib.usedId(row)]).toEqual([1, 7, id]);
    expect(rib.deleteWritten(written, 0, written.length, 1)).toBe(count);
    rib.decide();
    rib.sweep();
    expect([rib.prefixes.count, attributes.size]).toEqual([0, 0]);
  });
});
