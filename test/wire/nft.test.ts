/** Our nf_tables messages against those of nft 1.0.6, captured by `nft-capture`. */

import { describe, expect, test } from "bun:test";
import type { AttributeReader } from "../../src/kernel/dataplane/linux/attribute.ts";
import {
  MessageReader,
  MessageWriter,
  NLM_F_ACK,
} from "../../src/kernel/dataplane/linux/message.ts";
import { keyType, parseEntry } from "../../src/kernel/dataplane/linux/nft/elements.ts";
import { rangesOf } from "../../src/kernel/dataplane/linux/nft/intervals.ts";
import * as messages from "../../src/kernel/dataplane/linux/nft/messages.ts";
import { renderDispatch, renderRule } from "../../src/kernel/dataplane/linux/nft/rules.ts";
import type { Match, Target } from "../../src/kernel/dataplane/resources/filter.ts";
import type { IpSet } from "../../src/kernel/dataplane/resources/ipset.ts";
import captured from "./nft.json" with { type: "json" };
import { written } from "./meaning.ts";

type Tree = { [name: string]: string | Tree };

const LISTS: readonly string[] = [".3", ".4", ".9.2"];

/** What a message says, by the types of its attributes; in lists by their place. */
function tree(a: AttributeReader, nested: (path: string) => boolean, path = ""): Tree {
  const result: Tree = {};
  for (let n = 0; a.next(); n++) {
    const here = `${path}.${a.type}`;
    // In lists the types mean nothing: nft numbers the elements of a set, and calls all expressions 1.
    const name = LISTS.includes(path) ? `at ${n}` : `${a.type}`;
    if (nested(here)) a.nested((inner) => result[name] = tree(inner, nested, here));
    else result[name] = a.data().toHex();
  }
  if (a.error !== undefined) throw new Error(a.error);
  return result;
}

/** Attributes that hold others: nft leaves out the flag that says so. */
const NESTED: Readonly<Record<number, RegExp>> = {
  [messages.MSG.newChain]: /^\.4$/,
  [messages.MSG.newRule]: /^\.4$|^\.4\.1$|^\.4\.1\.2$/,
  [messages.MSG.newSet]: /^\.9$|^\.9\.2$|^\.9\.2\.1$/,
  [messages.MSG.newElement]: /^\.3$|^\.3\.\d+$|^\.3\.\d+\.(1|10)$/,
  [messages.MSG.delElement]: /^\.3$|^\.3\.\d+$|^\.3\.\d+\.(1|10)$/,
};

function said(message: MessageReader): Tree {
  const kind = message.type & 0xff;
  return {
    type: `${kind}`,
    flags: (message.flags & ~NLM_F_ACK).toString(16),
    head: message.bytes.slice(message.start, message.start + 4).toHex(),
    ...tree(message.attributes(4), (path) => NESTED[kind]?.test(path) === true),
  };
}

/** All messages but the brackets of the transaction. */
function all(bytes: Uint8Array): readonly Tree[] {
  const message = new MessageReader(bytes);
  message.load(bytes.length);
  const trees: Tree[] = [];
  while (message.next()) if (message.type >> 8 === 10) trees.push(said(message));
  return trees;
}

/** What nft sent: the last message of the transaction, where an earlier one is not meant. */
function nft(command: string): Tree {
  const found = captured.find((each) => each.command === command);
  if (found === undefined) throw new Error(`"${command}" is not in the capture`);
  const [one] = all(Uint8Array.fromHex(found.hex));
  if (one === undefined) throw new Error(`"${command}" sent nothing`);
  return one;
}

function ours(write: (w: MessageWriter) => void): Tree {
  const [one] = all(written(write));
  if (one === undefined) throw new Error("Nothing was written");
  return one;
}

/**
 * Known differences: nft writes the operation of a bitwise expression (6) where it is the default, names a set by its number in
 * the transaction too (4), and calls the register of 4 bytes behind the first of 16 by that of 16 bytes which begins there.
 */
function plain(rule: Tree): Tree {
  const expressions = rule["4"] as Tree;
  for (const one of Object.values(expressions)) {
    const { 1: name = "", 2: said } = one as Tree;
    const words = said as Tree;
    const kind = Buffer.from(`${name as string}`, "hex").toString().replace("\0", "");
    if (kind === "bitwise") delete words["6"];
    if (kind === "lookup") delete words["4"];
    if (kind === "meta" && words["1"] === "00000002") words["1"] = "0000000c";
  }
  return rule;
}

const ACCEPT = { kind: "accept" } as const;

/** Rules: by nft's words, with what we say for it. The counter that each of ours has is left out. */
const RULES: readonly (readonly [
  words: string,
  matches: readonly Match[],
  target: Target,
])[] = [
  ["ip saddr 10.0.0.0/8 accept", [{ kind: "source", prefix: "10.0.0.0/8" }], ACCEPT],
  ["ip daddr 10.32.0.0/11 drop", [{ kind: "destination", prefix: "10.32.0.0/11" }], {
    kind: "drop",
  }],
  ["ip daddr != 10.1.2.3 return", [{
    kind: "destination",
    prefix: "10.1.2.3/32",
    negate: true,
  }], { kind: "return" }],
  ["ip6 saddr fd00:1::/64 accept", [{ kind: "source", prefix: "fd00:1::/64" }], ACCEPT],
  ["ip6 daddr fd00::1 accept", [{ kind: "destination", prefix: "fd00::1/128" }], ACCEPT],
  ['iifname "kube-bridge" accept', [{ kind: "input", link: "kube-bridge" }], ACCEPT],
  ['oifname != "eth0" accept', [{ kind: "output", link: "eth0", negate: true }], ACCEPT],
  ['iifname "veth*" accept', [{ kind: "input", link: "veth+" }], ACCEPT],
  ["meta l4proto sctp accept", [{ kind: "protocol", protocol: "sctp" }], ACCEPT],
  ["meta l4proto tcp tcp dport 80 accept", [
    { kind: "ports", side: "destination", ports: "80" },
    { kind: "protocol", protocol: "tcp" },
  ], ACCEPT],
  ["meta l4proto udp udp sport 53 accept", [
    { kind: "protocol", protocol: "udp" },
    { kind: "ports", side: "source", ports: "53" },
  ], ACCEPT],
  ["meta l4proto tcp tcp flags & (syn|rst) == syn accept", [
    { kind: "protocol", protocol: "tcp" },
    { kind: "tcpFlags", mask: "SYN,RST", set: "SYN" },
  ], ACCEPT],
  ["meta l4proto icmp icmp type echo-request accept", [
    { kind: "protocol", protocol: "icmp" },
    { kind: "icmp", type: "echo-request" },
  ], ACCEPT],
  ["meta l4proto ipv6-icmp icmpv6 type nd-neighbor-solicit accept", [
    { kind: "protocol", protocol: "icmpv6" },
    { kind: "icmp", type: "neighbor-solicitation" },
  ], ACCEPT],
  ["ct state established,related accept", [
    { kind: "state", states: ["related", "established"] },
  ], ACCEPT],
  ["ct state invalid drop", [{ kind: "state", states: ["invalid"] }], { kind: "drop" }],
  ["ct original ip daddr 10.96.0.1 accept", [
    { kind: "originalDestination", prefix: "10.96.0.1/32" },
  ], ACCEPT],
  ["ct original ip6 daddr fd00:96::/112 accept", [
    { kind: "originalDestination", prefix: "fd00:96::/112" },
  ], ACCEPT],
  ["ip saddr @ips accept", [{ kind: "set", set: "ips", directions: ["src"] }], ACCEPT],
  ["ip daddr != @ips accept", [
    { kind: "set", set: "ips", directions: ["dst"], negate: true },
  ], ACCEPT],
  ["ip daddr . meta l4proto . th dport @prt accept", [
    { kind: "set", set: "prt", directions: ["dst", "dst"] },
  ], ACCEPT],
  ["ip daddr . meta l4proto . th dport . ip saddr != @src drop", [
    { kind: "set", set: "src", directions: ["dst", "dst", "src"], negate: true },
  ], { kind: "drop" }],
  ["ip6 daddr . meta l4proto . th dport @prt accept", [
    { kind: "set", set: "inet6:prt", directions: ["dst", "dst"] },
  ], ACCEPT],
  ["meta mark 0x3eb3 accept", [{ kind: "mark", mark: 0x3eb3 }], ACCEPT],
  ["meta mark & 0x10000 == 0x10000 accept", [
    { kind: "mark", mark: 0x10000, mask: 0x10000 },
  ], ACCEPT],
  ["ct mark & 0x100000 == 0x100000 accept", [
    { kind: "connectionMark", mark: 0x100000, mask: 0x100000 },
  ], ACCEPT],
  ["fib daddr type local accept", [{ kind: "local", side: "destination" }], ACCEPT],
  ["fib saddr type != local accept", [
    { kind: "local", side: "source", negate: true },
  ], ACCEPT],
  ["limit rate 10/minute burst 10 packets accept", [
    { kind: "limit", perMinute: 10, burst: 10 },
  ], ACCEPT],
  ["jump TO", [], { kind: "jump", chain: "TO" }],
  ["reject with icmp port-unreachable", [], { kind: "reject" }],
  ["reject with icmp prot-unreachable", [], { kind: "reject", with: "icmp-proto-unreachable" }],
  ["reject with icmpv6 port-unreachable", [], { kind: "reject" }],
  ["snat to 192.0.2.1", [], { kind: "snat", to: "192.0.2.1" }],
  ["snat to 192.0.2.1 fully-random", [], { kind: "snat", to: "192.0.2.1", fullyRandom: true }],
  ["snat to fd00::1 fully-random", [], { kind: "snat", to: "fd00::1", fullyRandom: true }],
  ["masquerade", [], { kind: "masquerade" }],
  ["masquerade fully-random", [], { kind: "masquerade", fullyRandom: true }],
  ["meta l4proto tcp redirect to :0", [{ kind: "protocol", protocol: "tcp" }], {
    kind: "redirect",
    port: 0,
  }],
  ['log prefix "a/b" group 100', [], { kind: "log", group: 100, prefix: "a/b" }],
  ["tcp option maxseg size set 1400", [], { kind: "tcpmss", mss: 1400 }],
  ["meta mark set 0x3eb3", [], { kind: "mark", set: 0x3eb3 }],
  ["meta mark set meta mark & 0xfffeffff | 0x10000", [], {
    kind: "mark",
    set: 0x10000,
    mask: 0x10000,
  }],
];

describe("rules are what nft makes of its words", () => {
  for (const [words, matches, target] of RULES) {
    test(words, () => {
      const there = captured.find(({ command }) => command.endsWith(`KUBE-X ${words}`));
      const family = there?.command.includes("ip6 routelet") === true ? 6 : 4;
      const wanted = nft(there?.command ?? words);
      const [expressions = []] = renderRule(family, { matches, target }, (name) => name);
      const got = ours((w) =>
        messages.writeRule(w, {
          family,
          chain: "KUBE-X",
          expressions: expressions.filter(({ name }) => name !== "counter"),
          data: new Uint8Array(),
        })
      );
      expect(plain(got)).toEqual(plain(wanted));
    });
  }
});

test("jumps by address are the map and the rule that nft makes of them, our marks beside it", () => {
  const command =
    "add rule ip routelet KUBE-X ip daddr vmap { 10.0.0.1 : jump TO, 10.0.0.2 : jump TO }";
  const hex = captured.find((each) => each.command === command)?.hex ?? "";
  const [set, elements, rule] = all(Uint8Array.fromHex(hex));
  const map: messages.MapToWrite = {
    family: 4,
    key: keyType({ type: "hash:ip", family: 4 }),
    comment: "said",
    entries: [1, 2].map((i) => ({
      key: new Uint8Array([10, 0, 0, i]),
      chain: "TO",
      comment: "hello",
      mark: "mark",
    })),
  };
  // The id is any number that the three share.
  const id = Number(`0x${set?.["10"] as string}`);
  const ourSet = ours((w) => messages.writeMap(w, map, id));
  expect(ourSet["13"]).toStartWith("0705");
  const { 13: _comment, ...plainSet } = ourSet;
  const { 13: _data, ...nftSet } = set ?? {};
  expect(plainSet).toEqual(nftSet);
  const ourElements = ours((w) => messages.writeMapEntries(w, map, id, 0, 2));
  for (const one of Object.values(ourElements["3"] as Tree) as Tree[]) {
    expect(one["6"]).toStartWith("0006");
    delete one["6"];
  }
  expect(ourElements).toEqual(elements ?? {});
  const expressions = renderDispatch(4, "destination", id).filter(({ name }) => name !== "counter");
  const ourRule = ours((w) =>
    messages.writeRule(w, { family: 4, chain: "KUBE-X", expressions, data: { mark: "x" } })
  );
  expect(ourRule["4"]).toEqual(rule?.["4"] ?? "");
});

test("a rule's comment is where nft has it, and our mark beside it", () => {
  const wanted = nft('add rule ip routelet KUBE-X counter accept comment "hello"')["7"] as string;
  const [expressions = []] = renderRule(4, { matches: [], target: ACCEPT }, (name) => name);
  const got = ours((w) =>
    messages.writeRule(w, {
      family: 4,
      chain: "KUBE-X",
      expressions,
      data: { comment: "hello", mark: "proxy:0123456789abcd" },
    })
  );
  expect(got["4"]).toEqual(
    nft('add rule ip routelet KUBE-X counter accept comment "hello"')["4"] as Tree,
  );
  expect(got["7"]).toStartWith(wanted);
});

const set = (type: IpSet["type"], family: 4 | 6): IpSet => ({ name: "x", type, family });

function setMessage(name: string, type: IpSet["type"], family: 4 | 6): Tree {
  const key = keyType(set(type, family));
  return ours((w) => messages.writeSet(w, { family, name, key, comment: "said" }, 1));
}

function key(type: IpSet["type"], family: 4 | 6, entry: string): Uint8Array {
  return parseEntry(set(type, family), entry)?.key ?? new Uint8Array();
}

describe("tables, chains, sets and elements are what nft makes of its words", () => {
  const cases:
    readonly (readonly [command: string, got: () => Tree, without?: readonly string[]])[] = [
      // nft gives a table a comment only where it is told one.
      ["add table ip routelet", () => ours((w) => messages.writeTable(w, 4)), [
        "6",
        "flags",
      ]],
      [
        "add chain ip routelet INPUT { type filter hook input priority -1; policy accept; }",
        () => ours((w) => messages.writeChain(w, 4, "INPUT")),
      ],
      [
        "add chain ip6 routelet nat/POSTROUTING-late { type nat hook postrouting priority 101; policy accept; }",
        () => ours((w) => messages.writeChain(w, 6, "nat/POSTROUTING-late")),
      ],
      [
        "add chain ip routelet mangle/OUTPUT { type route hook output priority -151; policy accept; }",
        () => ours((w) => messages.writeChain(w, 4, "mangle/OUTPUT")),
      ],
      ["add chain ip routelet KUBE-Y", () => ours((w) => messages.writeChain(w, 4, "KUBE-Y"))],
      // Of sets: the number in the transaction, and what nft notes for itself in user data. We ask that there was none.
      [
        'add set ip routelet a { type ipv4_addr; comment "said"; }',
        () => setMessage("a", "hash:ip", 4),
        ["10", "13", "flags"],
      ],
      [
        "add set ip6 routelet b { type ipv6_addr . inet_proto . inet_service; }",
        () => setMessage("b", "hash:ip,port", 6),
        ["9", "10", "13", "flags"],
      ],
      [
        "add set ip routelet n { type ipv4_addr; flags interval; }",
        () => setMessage("n", "hash:net", 4),
        ["10", "13", "flags"],
      ],
      [
        "add set ip routelet r { type ipv4_addr . inet_proto . inet_service . ipv4_addr; flags interval; }",
        () => setMessage("r", "hash:ip,port,net", 4),
        ["10", "13", "flags"],
      ],
      [
        "add element ip routelet a { 10.0.0.1, 10.0.0.2 }",
        () =>
          ours((w) =>
            messages.writeElements(w, "add", { family: 4, name: "a" }, [
              key("hash:ip", 4, "10.0.0.1"),
              key("hash:ip", 4, "10.0.0.2"),
            ])
          ),
        ["4"],
      ],
      [
        "delete element ip routelet a { 10.0.0.2 }",
        () =>
          ours((w) =>
            messages.writeElements(w, "remove", { family: 4, name: "a" }, [
              key("hash:ip", 4, "10.0.0.2"),
            ])
          ),
        ["4"],
      ],
      [
        "add element ip6 routelet b { fd00::1 . sctp . 80 }",
        () =>
          ours((w) =>
            messages.writeElements(w, "add", { family: 6, name: "b" }, [
              key("hash:ip,port", 6, "fd00::1,sctp:80"),
            ])
          ),
        ["4"],
      ],
      ["add element ip routelet r { 10.0.0.1 . tcp . 80 . 10.0.0.0/8 }", () => {
        const network = {
          key: key("hash:ip,port,net", 4, "10.0.0.1,tcp:80,10.0.0.0/8"),
          prefix: 8,
          nomatch: false,
        };
        const ranges = rangesOf([network], 4);
        return ours((w) =>
          messages.writeElements(w, "add", { family: 4, name: "r" }, ranges, "ends")
        );
      }, ["4"]],
      ["flush set ip routelet n", () => ours((w) => messages.writeFlushSet(w, 4, "n"))],
      [
        "flush chain ip routelet KUBE-X",
        () => ours((w) => messages.writeDeleteRule(w, 4, "KUBE-X")),
      ],
      [
        "delete chain ip routelet KUBE-Y",
        () => ours((w) => messages.writeDeleteChain(w, 4, "KUBE-Y")),
      ],
      ["delete set ip routelet a", () => ours((w) => messages.writeDeleteSet(w, 4, "a"))],
      ["delete table ip6 routelet", () => ours((w) => messages.writeDeleteTable(w, 6))],
    ];
  for (const [command, got, without = []] of cases) {
    test(command, () => {
      const meant = (message: Tree): Tree =>
        Object.fromEntries(Object.entries(message).filter(([name]) => !without.includes(name)));
      expect(meant(got())).toEqual(meant(nft(command)));
    });
  }

  test("a network is the first address in it and the first behind it", () => {
    const wanted = nft("add element ip routelet n { 10.0.0.0/8 }")["3"] as Tree;
    const ranges = rangesOf(
      [{ key: key("hash:net", 4, "10.0.0.0/8"), prefix: 8, nomatch: false }],
      4,
    );
    const got = ours((w) =>
      messages.writeElements(w, "add", { family: 4, name: "n" }, ranges, "pairs")
    );
    // nft also says where the addresses before the first range end.
    for (const element of Object.values(got["3"] as Tree)) {
      expect(Object.values(wanted)).toContainEqual(element);
    }
  });
});
