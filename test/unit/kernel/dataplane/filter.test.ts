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

  test("has the hash of its text, whatever is in it", () => {
    /** cyrb53 of the whole text at once. */
    const hashOf = (text: string): string => {
      let a = 0xdeadbeef;
      let b = 0x41c6ce57;
      for (let i = 0; i < text.length; i++) {
        a = Math.imul(a ^ text.charCodeAt(i), 2654435761);
        b = Math.imul(b ^ text.charCodeAt(i), 1597334677);
      }
      a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
      b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
      return (4294967296 * (2097151 & b) + (a >>> 0)).toString(16).padStart(14, "0");
    };
    const texts = ["", "plain words/x", 'a "quoted" \\ one', "é €", "tab\t and \u007f", "😀"];
    for (let i = 0; i < 200; i++) {
      const text = `${texts[i % texts.length]}${i}`;
      const one: FilterRule = {
        matches: [
          { kind: "set", set: text, directions: i % 2 === 0 ? ["src"] : ["dst", "dst"] },
          { kind: "state", states: ["new", "invalid"] },
          { kind: "local", side: "source", negate: i % 3 === 0 },
        ],
        target: i % 2 === 0 ? { kind: "mark", set: i * 7919 } : { kind: "jump", chain: text },
        ...(i % 5 === 0 ? {} : { comment: text }),
      };
      const by = (value: object) =>
        Object.entries(value).filter(([, field]) => field !== undefined).toSorted();
      expect(ruleText(one)).toBe(
        JSON.stringify([one.matches.map(by), by(one.target), one.comment ?? null]),
      );
      expect(ruleHash(one)).toBe(hashOf(ruleText(one)));
    }
  });
});
