import { describe, expect, test } from "bun:test";
import { MessageWriter } from "../../../../../../src/kernel/dataplane/linux/message.ts";
import { RuleEncoder } from "../../../../../../src/kernel/dataplane/linux/nft/encode.ts";
import {
  type Expression,
  writeExpressions,
} from "../../../../../../src/kernel/dataplane/linux/nft/expressions.ts";
import { renderRule, Unsayable } from "../../../../../../src/kernel/dataplane/linux/nft/rules.ts";
import type {
  FilterRule,
  Match,
  Target,
} from "../../../../../../src/kernel/dataplane/resources/filter.ts";
import { random } from "../../../../../support/random.ts";

const MATCHES: readonly Match[] = [
  { kind: "source", prefix: "10.0.0.0/8" },
  { kind: "source", prefix: "10.0.0.0/8", negate: true },
  { kind: "destination", prefix: "10.0.0.0/8" },
  { kind: "destination", prefix: "10.0.0.1/32" },
  { kind: "protocol", protocol: "tcp" },
  { kind: "protocol", protocol: "udp" },
  { kind: "ports", side: "destination", ports: "80" },
  { kind: "ports", side: "source", ports: "80" },
  { kind: "ports", side: "destination", ports: "80-90" },
  { kind: "ports", side: "destination", ports: "80,90-100" },
  { kind: "set", set: "A", directions: ["src"] },
  { kind: "set", set: "A", directions: ["dst"] },
  { kind: "set", set: "A", directions: ["dst", "dst"] },
  { kind: "set", set: "A", directions: ["src", "src"] },
  { kind: "set", set: "A", directions: ["dst", "src"] },
  { kind: "set", set: "A", directions: ["src", "dst"] },
  { kind: "set", set: "A", directions: ["dst", "dst", "src"] },
  { kind: "set", set: "A", directions: ["dst"], negate: true },
  { kind: "set", set: "B", directions: ["dst"] },
  { kind: "mark", mark: 1 },
  { kind: "mark", mark: 1, mask: 1 },
  { kind: "mark", mark: 0, mask: 1 },
  { kind: "connectionMark", mark: 1, mask: 1 },
  { kind: "limit", perMinute: 10, burst: 5 },
  { kind: "state", states: ["new"] },
  { kind: "local", side: "source" },
  { kind: "tcpFlags", mask: "SYN,RST", set: "SYN" },
];
const TARGETS: readonly Target[] = [
  { kind: "accept" },
  { kind: "return" },
  { kind: "reject" },
  { kind: "reject", with: "tcp-reset" },
  { kind: "jump", chain: "A" },
  { kind: "jump", chain: "B" },
  { kind: "mark", set: 1 },
  { kind: "mark", set: 1, mask: 1 },
  { kind: "mark", set: 0, mask: 1 },
  { kind: "mark", set: 0, mask: 0 },
  { kind: "log", group: 100, prefix: "a/b" },
  { kind: "log", group: 100 },
  { kind: "log", group: 10, prefix: "0/b" },
];

function bytes(expressions: readonly (Expression | Uint8Array)[]): string {
  const w = new MessageWriter();
  writeExpressions(w, 4, expressions);
  return w.bytes.subarray(0, w.position).toHex();
}

describe("the bytes of rules", () => {
  test("are those of their expressions, whatever was rendered before", () => {
    const dice = random(7);
    const encoders = { 4: new RuleEncoder(4), 6: new RuleEncoder(6) };
    for (let i = 0; i < 3000; i++) {
      const family = dice.pick([4, 6] as const);
      const matches = Array.from({ length: dice.below(4) }, () => dice.pick(MATCHES))
        .filter((match) => family === 4 || !("prefix" in match));
      const rule: FilterRule = { matches, target: dice.pick(TARGETS) };
      const table = dice.pick(["", "nat/"]);
      const name = (chain: string) => `${table}${chain}`;
      expect(encoders[family].encode(rule, name).map(bytes))
        .toEqual(renderRule(family, rule, name).map(bytes));
    }
  });

  test("are not there for what cannot be said", () => {
    const encoder = new RuleEncoder(4);
    const rule = (target: Target, ...matches: readonly Match[]): FilterRule => ({
      matches,
      target,
    });
    const encode = (one: FilterRule) => () => encoder.encode(one, (name) => name);
    expect(encode(rule({ kind: "drop" }, { kind: "source", prefix: "fd00::/8" })))
      .toThrow(new Unsayable('"fd00::/8" is no IPv4 prefix'));
    expect(encode(rule({ kind: "jump", chain: "x".repeat(5000) })))
      .toThrow(new Unsayable("an expression is too long"));
  });
});
