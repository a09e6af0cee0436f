import { describe, expect, test } from "bun:test";
import { pairsFrom } from "../../../../../../src/kernel/dataplane/linux/nft/pairs.ts";
import type { FilterRule, Match } from "../../../../../../src/kernel/dataplane/resources/filter.ts";
import { type Random, random } from "../../../../../support/random.ts";

const A = 0x10000;
const B = 0x20000;
const from = (i: number): Match => ({ kind: "source", prefix: `10.0.0.${i}/32` });
const marks = (
  set: number,
  mask: number | undefined,
  ...matches: readonly Match[]
): FilterRule => ({
  matches,
  target: mask === undefined ? { kind: "mark", set } : { kind: "mark", set, mask },
  comment: "allows",
});
const returns = (mark: number, mask = mark, ...more: readonly Match[]): FilterRule => ({
  matches: [{ kind: "mark", mark, mask }, ...more],
  target: { kind: "return" },
});

/** A packet of source 10.0.0.`i`: whether it was dropped, and its mark at the end. A pair of `together` is one rule. */
function walk(rules: readonly FilterRule[], pairs: number, i: number, mark: number) {
  const holds = ({ matches }: FilterRule) =>
    matches.every((match) =>
      match.kind === "mark"
        ? (mark & (match.mask ?? -1)) === match.mark
        : "prefix" in match && match.prefix === `10.0.0.${i}/32`
    );
  for (let at = 0; at < rules.length; at++) {
    const rule = rules[at] as FilterRule;
    const yes = holds(rule);
    if (yes && rule.target.kind === "mark") {
      mark = (mark & ~(rule.target.mask ?? -1)) ^ rule.target.set;
    }
    if (yes && rule.target.kind === "drop") return { dropped: true, mark };
    if (yes && rule.target.kind === "return") return { dropped: false, mark };
    if (at >= pairs) {
      if (yes) return { dropped: false, mark };
      at++;
    }
  }
  return { dropped: false, mark };
}

function randomRule(dice: Random): FilterRule {
  const source = from(dice.below(3));
  const mark = dice.pick([A, B, A | B, 0]);
  return dice.pick([
    marks(mark, dice.pick([A, B, A | B, 0, undefined]), source),
    marks(A, A, source),
    marks(A, A),
    returns(dice.pick([A, B])),
    returns(A),
    returns(A),
    { ...returns(A), comment: "said" },
    returns(A, A, source),
    { matches: [source], target: { kind: "drop" } },
  ]);
}

describe("rules that are one in nf_tables", () => {
  const pair = [marks(A, A, from(1)), returns(A)];

  test("are those that mark and send back, up to the end of a chain", () => {
    expect(pairsFrom([...pair, ...pair])).toBe(0);
    expect(pairsFrom([returns(B), ...pair])).toBe(1);
    expect(pairsFrom([...pair, returns(A)])).toBe(3);
    expect(pairsFrom([marks(B, B), returns(B), ...pair])).toBe(2);
    expect(pairsFrom([])).toBe(0);
    expect(pairsFrom([returns(A)])).toBe(1);
  });

  const apart: readonly (readonly [string, readonly FilterRule[]])[] = [
    ["that do more than send back", [marks(A, A), returns(A, A, from(1))]],
    ["of which the second says something", [marks(A, A), { ...returns(A), comment: "said" }]],
    ["with other marks", [marks(A, A), returns(B)]],
    ["that change other bits", [marks(A | B, A), returns(A)]],
    ["with a list of ports", [
      marks(A, A, { kind: "ports", side: "destination", ports: "80,90" }),
      returns(A),
    ]],
  ];
  for (const [words, rules] of apart) {
    test(`are not those ${words}`, () => expect(pairsFrom(rules)).toBe(2));
  }

  test("let every packet go as before, with whatever mark it comes", () => {
    const dice = random(11);
    let together = 0;
    for (let i = 0; i < 3000; i++) {
      const head = Array.from({ length: dice.below(4) }, () => randomRule(dice));
      const tail = Array.from({ length: dice.below(4) }, () => [
        dice.below(4) === 0 ? randomRule(dice) : marks(A, A, from(dice.below(3))),
        dice.below(8) === 0 ? randomRule(dice) : returns(A),
      ]).flat();
      const rules = [...head, ...tail];
      const pairs = pairsFrom(rules);
      together += rules.length - pairs;
      for (const mark of [0, A, B, A | B]) {
        for (let source = 0; source < 3; source++) {
          expect(walk(rules, pairs, source, mark)).toEqual(walk(rules, rules.length, source, mark));
        }
      }
    }
    expect(together).toBeGreaterThan(3000);
  });
});
