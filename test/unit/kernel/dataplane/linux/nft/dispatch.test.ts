import { expect, test } from "bun:test";
import {
  dispatched,
  entryMark,
  hashesOf,
  isDispatch,
  mapComment,
  mapHash,
} from "../../../../../../src/kernel/dataplane/linux/nft/dispatch.ts";
import { addressBytes } from "../../../../../../src/kernel/dataplane/linux/nft/expressions.ts";
import {
  type FilterRule,
  ruleHash,
} from "../../../../../../src/kernel/dataplane/resources/filter.ts";
import { random, seeds } from "../../../../../support/random.ts";

const to = (prefix: string, chain: string): FilterRule => ({
  matches: [{ kind: "destination", prefix }],
  target: { kind: "jump", chain },
  comment: `${chain} in`,
});
const from = (prefix: string, chain: string): FilterRule => ({
  matches: [{ kind: "source", prefix }],
  target: { kind: "jump", chain },
});
const three = (make: typeof to): readonly FilterRule[] =>
  ["10.0.0.1", "10.0.0.2/32", "10.0.0.3"].map((prefix, i) => make(prefix, `P${i}`));

/** What a row of rules becomes: "3" for a lookup of three, "." for a rule. */
const shape = (rules: readonly FilterRule[], family: 4 | 6 = 4): string =>
  dispatched(family, rules).map((one) => isDispatch(one) ? one.entries.length : ".").join(" ");

test("jumps in a row by one side's address become one lookup, those of the other side another", () => {
  const mark: FilterRule = { matches: [], target: { kind: "accept" } };
  expect(shape([mark, ...three(to), ...three(from), mark])).toBe(". 3 3 .");
  expect(shape(["fd00::1", "fd00::2/128", "fd00::3"].map((prefix) => to(prefix, "P")), 6)).toBe(
    "3",
  );
});

test("few jumps, networks, what is negated or asks more, and other targets stay rules", () => {
  const [a, b, c] = three(to);
  if (a === undefined || b === undefined || c === undefined) throw new Error("three");
  expect(shape([a, b])).toBe(". .");
  expect(shape([a, b, to("10.0.0.0/24", "N"), c])).toBe(". . . .");
  expect(shape([a, b, { ...c, target: { kind: "accept" } }])).toBe(". . .");
  const [match] = c.matches;
  if (match?.kind !== "destination") throw new Error("match");
  expect(shape([a, b, { ...c, matches: [{ ...match, negate: true }] }])).toBe(". . .");
  const tcp = { kind: "protocol", protocol: "tcp" } as const;
  expect(shape([a, b, { ...c, matches: [match, tcp] }])).toBe(". . .");
  expect(shape(three(to), 6)).toBe(". . .");
});

test("an address that comes again begins another lookup", () => {
  expect(shape([...three(to), ...three(to)])).toBe("3 3");
  expect(shape([...three(to), to("10.0.0.1", "Q"), to("10.0.0.9", "Q")])).toBe("3 . .");
});

test("a chain that asks a set stays as it is", () => {
  const asks: FilterRule = {
    matches: [{ kind: "set", set: "s", directions: ["src"] }],
    target: { kind: "accept" },
  };
  expect(shape([...three(to), asks])).toBe(". . . .");
});

test("a list gives the hashes of the rules back, in their order", () => {
  const [found] = dispatched(4, three(to));
  if (found === undefined || !isDispatch(found)) throw new Error("no lookup");
  const marks = found.entries.map((entry, place) => entryMark(place, entry));
  expect(hashesOf(marks.toReversed())).toEqual(three(to).map(ruleHash));
  expect(hashesOf([...marks.slice(1)])).toBeUndefined();
  expect(hashesOf([undefined])).toBeUndefined();
  expect(mapHash(mapComment(found))).toBe(found.hash);
  expect(mapHash("ipset X hash:ip maxelem 9")).toBeUndefined();
  const [other] = dispatched(4, three(to).toReversed());
  expect(other !== undefined && isDispatch(other) && other.hash).not.toBe(found.hash);
});

interface Packet {
  readonly source: string;
  readonly destination: string;
}

/** The chains that a packet is led to, where each returns. */
function way(rules: readonly FilterRule[], packet: Packet): readonly string[] {
  return rules.flatMap(({ matches: [match], target }) => {
    if (match?.kind !== "source" && match?.kind !== "destination") return [];
    const met = match.prefix.replace("/32", "") === packet[match.kind];
    return met && target.kind === "jump" ? [target.chain] : [];
  });
}

function wayByMaps(rules: readonly FilterRule[], packet: Packet): readonly string[] {
  return dispatched(4, rules).flatMap((one) => {
    if (!isDispatch(one)) return way([one], packet);
    const key = addressBytes(packet[one.side], 4)?.toHex();
    const found = one.entries.filter(({ address }) => address.toHex() === key);
    expect(found.length).toBeLessThan(2);
    return found.map(({ chain }) => chain);
  });
}

test("whatever the rules, a packet goes the same way", () => {
  let maps = 0;
  for (const seed of seeds(300)) {
    const dice = random(seed);
    const address = () => `10.0.0.${dice.below(6)}`;
    const rules = Array.from({ length: dice.below(14) }, (_, i): FilterRule => {
      const make = dice.below(2) === 0 ? to : from;
      const rule = make(`${address()}${dice.below(2) === 0 ? "" : "/32"}`, `C${i}`);
      return dice.below(8) === 0 ? { matches: [], target: { kind: "return" } } : rule;
    });
    maps += dispatched(4, rules).filter(isDispatch).length;
    for (let i = 0; i < 10; i++) {
      const packet = { source: address(), destination: address() };
      expect(wayByMaps(rules, packet)).toEqual(way(rules, packet));
    }
  }
  expect(maps).toBeGreaterThan(50);
});
