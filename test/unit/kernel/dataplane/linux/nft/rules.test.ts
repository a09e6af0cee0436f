import { describe, expect, test } from "bun:test";
import {
  hookName,
  hookPlace,
  parseChainName,
  parseHookName,
  setName,
} from "../../../../../../src/kernel/dataplane/linux/nft/names.ts";
import { ipvsInfo } from "../../../../../../src/kernel/dataplane/linux/nft/ipvs-match.ts";
import { renderRule, Unsayable } from "../../../../../../src/kernel/dataplane/linux/nft/rules.ts";
import type { Match, Target } from "../../../../../../src/kernel/dataplane/resources/filter.ts";

const names = (family: 4 | 6, matches: readonly Match[], target: Target = { kind: "drop" }) =>
  renderRule(family, { matches, target }, (name) => name).map((list) =>
    list.map(({ name }) => name).join(" ")
  );

describe("renderRule()", () => {
  test("asks the protocol before ports, and the limit last", () => {
    expect(names(4, [
      { kind: "limit", perMinute: 10, burst: 10 },
      { kind: "ports", side: "destination", ports: "80" },
      { kind: "protocol", protocol: "tcp" },
    ])).toEqual(["meta cmp payload cmp limit counter immediate"]);
  });

  test("makes a rule for each part of a list of ports", () => {
    expect(names(4, [{ kind: "ports", side: "source", ports: "80,1000-2000" }]))
      .toEqual(["payload cmp counter immediate", "payload cmp cmp counter immediate"]);
  });

  test("asks nothing where everything matches", () => {
    expect(names(6, [{ kind: "source", prefix: "::/0" }])).toEqual(["counter immediate"]);
    expect(names(6, [{ kind: "source", prefix: "::/0", negate: true }]))
      .toEqual(["payload bitwise cmp counter immediate"]);
  });

  test("only counts where a mark changes no bit", () => {
    expect(names(4, [], { kind: "mark", set: 0, mask: 0 })).toEqual(["counter"]);
  });

  const cannot: readonly (readonly [string, readonly Match[], Target?])[] = [
    ['"10.0.0.0/33" is no IPv4 prefix', [{ kind: "source", prefix: "10.0.0.0/33" }]],
    ['IPv4 has no ICMP type "packet-too-big"', [{ kind: "icmp", type: "packet-too-big" }]],
    ['"eth0123456789abc" is no name of a link', [{ kind: "input", link: "eth0123456789abc" }]],
    ['"80-x" are no ports', [{ kind: "ports", side: "source", ports: "80-x" }]],
    ['"FOO" is no TCP flag', [{ kind: "tcpFlags", mask: "SYN,FOO", set: "SYN" }]],
    ['IPv4 has no way to reject "icmp6-no-route"', [], { kind: "reject", with: "icmp6-no-route" }],
    ['"fd00::1" is no IPv4 address', [], { kind: "snat", to: "fd00::1" }],
  ];
  for (const [text, matches, target] of cannot) {
    test(`throws where ${text}`, () => {
      expect(() => names(4, matches, target)).toThrow(new Unsayable(text));
    });
  }
});

test("xt_ipvs is told what to compare by its bits", () => {
  const info = (match: Partial<Extract<Match, { kind: "ipvs" }>>, family: 4 | 6 = 4) =>
    ipvsInfo(family, { kind: "ipvs", ...match }).toHex();
  expect(info({})).toBe(`${"00".repeat(39)}01`);
  expect(info({ direction: "reply", method: "tunnel" })).toBe(`${"00".repeat(35)}0200001030`);
  expect(info({ vaddr: "10.0.0.1", vport: 80 }))
    .toBe(`0a000001${"00".repeat(12)}ffffffff${"00".repeat(12)}0050${"00".repeat(5)}0c`);
  expect(info({ vaddr: "fd00::1" }, 6))
    .toBe(`fd${"00".repeat(14)}01${"ff".repeat(16)}${"00".repeat(7)}04`);
});

test("hooks lie right before and right behind iptables' tables", () => {
  const place = (name: string) => {
    const hook = parseHookName(name);
    if (hook === undefined) throw new Error(name);
    expect(hookName(hook)).toBe(name);
    return hookPlace(hook);
  };
  expect(place("INPUT")).toEqual({ type: "filter", hook: 1, priority: -1 });
  expect(place("FORWARD-late")).toEqual({ type: "filter", hook: 2, priority: 1 });
  expect(place("nat/POSTROUTING-late")).toEqual({ type: "nat", hook: 4, priority: 101 });
  expect(place("nat/PREROUTING")).toEqual({ type: "nat", hook: 0, priority: -101 });
  expect(place("nat/OUTPUT")).toEqual({ type: "nat", hook: 3, priority: -101 });
  expect(place("nat/INPUT")).toEqual({ type: "nat", hook: 1, priority: 99 });
  expect(place("mangle/OUTPUT")).toEqual({ type: "route", hook: 3, priority: -151 });
  expect(place("raw/PREROUTING")).toEqual({ type: "filter", hook: 0, priority: -301 });
  expect(parseHookName("KUBE-ROUTER-INPUT")).toBeUndefined();
  expect(parseHookName("other/INPUT")).toBeUndefined();
  expect(parseChainName("nat/KUBE-ROUTER-X")).toEqual({ table: "nat", name: "KUBE-ROUTER-X" });
});

test("sets of IPv6 lose their prefix in a table of their own", () => {
  expect(setName("inet6:kube-router-svip", 6)).toBe("kube-router-svip");
  expect(setName("kube-router-svip", 4)).toBe("kube-router-svip");
});
