import { describe, expect, test } from "bun:test";
import {
  type FilterRule,
  ruleHash,
  ruleText,
} from "../../../../src/kernel/dataplane/resources/filter.ts";

const rule: FilterRule = {
  matches: [
    { kind: "set", set: "KUBE-DST-A", directions: ["dst", "dst"] },
    { mask: 0x10000, kind: "mark", mark: 0x10000 },
  ],
  target: { set: 1, kind: "mark", mask: 0xffff },
  comment: 'ns/"quoted" é\\',
};

describe("the text of a rule", () => {
  test("is JSON, with fields by name and without those that are absent", () => {
    const by = (value: object) =>
      Object.entries(value).filter(([, field]) => field !== undefined).toSorted();
    expect(ruleText(rule)).toBe(
      JSON.stringify([rule.matches.map(by), by(rule.target), rule.comment]),
    );
    expect(ruleText({ matches: [] })).toBe(JSON.stringify([[], null, null]));
  });

  test("is hashed as by every version so far, or an upgrade would write all rules anew", () => {
    expect(ruleHash(rule)).toBe("1a81fe682d38f9");
  });
});
