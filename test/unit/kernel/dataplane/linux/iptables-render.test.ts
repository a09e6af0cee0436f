import { describe, expect, test } from "bun:test";
import {
  renderJump,
  renderRules,
  unsafe,
} from "../../../../../src/kernel/dataplane/linux/iptables-render.ts";
import {
  type FilterRule,
  type Match,
  ruleHash,
  type Target,
} from "../../../../../src/kernel/dataplane/resources/filter.ts";

const owner = { name: "proxy", protocol: 201 };
const modern = { randomFully: true };

/** One rule as it stands in a chain, without the chain and the mark. */
function rendered(rule: FilterRule, features = modern): string {
  const chain = { family: 4, table: "filter", name: "C", rules: [rule] } as const;
  const [line = ""] = renderRules(chain, owner, features);
  const mark = ` -m comment --comment "routelet:proxy:${ruleHash(rule)}"`;
  expect(line).toContain(mark);
  return line.replace(mark, "").replace("-A C ", "");
}

const accept: Target = { kind: "accept" };

describe("a rule in the words of iptables-restore", () => {
  const matches: readonly (readonly [Match | readonly Match[], string])[] = [
    [{ kind: "source", prefix: "10.0.0.0/8" }, "-s 10.0.0.0/8"],
    [{ kind: "destination", prefix: "10.0.0.1/32", negate: true }, "! -d 10.0.0.1/32"],
    [{ kind: "input", link: "kube-bridge" }, "-i kube-bridge"],
    [{ kind: "output", link: "eth+", negate: true }, "! -o eth+"],
    [{ kind: "protocol", protocol: "icmpv6" }, "-p ipv6-icmp"],
    [
      [{ kind: "icmp", type: "echo-request" }, { kind: "protocol", protocol: "icmp" }],
      "-p icmp -m icmp --icmp-type echo-request",
    ],
    [
      [{ kind: "protocol", protocol: "icmpv6" }, { kind: "icmp", type: "packet-too-big" }],
      "-p ipv6-icmp -m icmp6 --icmpv6-type packet-too-big",
    ],
    [{ kind: "state", states: ["new"] }, "-m conntrack --ctstate NEW"],
    [
      { kind: "originalDestination", prefix: "10.96.0.0/12" },
      "-m conntrack --ctorigdst 10.96.0.0/12",
    ],
    [{ kind: "local", side: "source" }, "-m addrtype --src-type LOCAL"],
    [
      { kind: "local", side: "destination", negate: true },
      "-m addrtype ! --dst-type LOCAL",
    ],
    [
      { kind: "limit", perMinute: 10, burst: 20 },
      "-m limit --limit 10/minute --limit-burst 20",
    ],
    [
      { kind: "state", states: ["established", "related"] },
      "-m conntrack --ctstate ESTABLISHED,RELATED",
    ],
    [
      [{ kind: "ports", side: "destination", ports: "80" }, { kind: "protocol", protocol: "udp" }],
      "-p udp -m udp --dport 80",
    ],
    [
      [{ kind: "protocol", protocol: "tcp" }, { kind: "ports", side: "source", ports: "1-9,80" }],
      "-p tcp -m multiport --sports 1:9,80",
    ],
    [
      { kind: "set", set: "inet6:kube-router-svip", directions: ["dst", "dst"], negate: true },
      "-m set ! --match-set inet6:kube-router-svip dst,dst",
    ],
    [{ kind: "mark", mark: 0x10000, mask: 0x10000 }, "-m mark --mark 0x10000/0x10000"],
    [
      [{ kind: "tcpFlags", mask: "SYN,RST", set: "SYN" }, { kind: "protocol", protocol: "tcp" }],
      "-p tcp -m tcp --tcp-flags SYN,RST SYN",
    ],
    [{ kind: "mark", mark: 16051 }, "-m mark --mark 0x3eb3"],
    [
      { kind: "ipvs", direction: "original", method: "masq", vaddr: "10.0.0.1", vport: 80 },
      "-m ipvs --ipvs --vdir ORIGINAL --vmethod MASQ --vaddr 10.0.0.1 --vport 80",
    ],
    [{ kind: "ipvs", method: "tunnel" }, "-m ipvs --ipvs --vmethod IPIP"],
  ];
  for (const [match, words] of matches) {
    test(`matches ${words}`, () => {
      const list = Array.isArray(match) ? match as readonly Match[] : [match as Match];
      expect(rendered({ matches: list, target: accept })).toBe(`${words} -j ACCEPT`);
    });
  }

  const targets: readonly (readonly [Target, string])[] = [
    [{ kind: "drop" }, "-j DROP"],
    [{ kind: "return" }, "-j RETURN"],
    [
      { kind: "reject", with: "icmp-port-unreachable" },
      "-j REJECT --reject-with icmp-port-unreachable",
    ],
    [{ kind: "jump", chain: "KUBE-ROUTER-X" }, "-j KUBE-ROUTER-X"],
    [
      { kind: "snat", to: "192.0.2.1", fullyRandom: true },
      "-j SNAT --to-source 192.0.2.1 --random-fully",
    ],
    [{ kind: "masquerade" }, "-j MASQUERADE"],
    [{ kind: "redirect", port: 0 }, "-j REDIRECT --to-ports 0"],
    [{ kind: "tcpmss", mss: 1440 }, "-j TCPMSS --set-mss 1440"],
    [{ kind: "mark", set: 0x20000, mask: 0x20000 }, "-j MARK --set-xmark 0x20000/0x20000"],
    [{ kind: "log", group: 100 }, "-j NFLOG --nflog-group 100"],
    [
      { kind: "log", group: 100, prefix: 'a/"b"\n\\' },
      '-j NFLOG --nflog-group 100 --nflog-prefix "a/\\"b\\" \\\\"',
    ],
    [
      { kind: "log", group: 1, prefix: "ü".repeat(40) },
      `-j NFLOG --nflog-group 1 --nflog-prefix "${"ü".repeat(31)}"`,
    ],
  ];
  for (const [target, words] of targets) {
    test(`does ${words}`, () => expect(rendered({ matches: [], target })).toBe(words));
  }

  test("leaves --random-fully out where iptables is too old for it, with the same mark", () => {
    const rule: FilterRule = { matches: [], target: { kind: "masquerade", fullyRandom: true } };
    expect(rendered(rule, { randomFully: false })).toBe("-j MASQUERADE");
  });

  test("keeps the comment before the mark, quoted, on one line, short enough for Linux", () => {
    const comment = `say "hi" \\ to\n${"é".repeat(200)}`;
    const rule: FilterRule = { matches: [], target: accept, comment };
    const chain = { family: 4, table: "filter", name: "C", rules: [rule] } as const;
    const line = renderRules(chain, owner, modern)[0] ?? "";
    expect(line).toContain('--comment "say \\"hi\\" \\\\ to é');
    expect(line).not.toContain("\n");
    const text = /"(.*)"/.exec(line)?.[1] ?? "";
    expect(new TextEncoder().encode(text).length).toBeLessThan(256);
    expect(text).toEndWith(` routelet:proxy:${ruleHash(rule)}`);
  });

  test("puts a jump first only where that is asked for, and says so in the mark", () => {
    const jump = { family: 4, table: "nat", from: "OUTPUT", to: "C", matches: [] } as const;
    expect(renderJump(jump, owner)).toBe(
      `-A OUTPUT -m comment --comment "routelet:proxy:${ruleHash(jump)}" -j C`,
    );
    const first = { ...jump, first: true, comment: "hi" };
    expect(renderJump(first, owner)).toBe(
      `-I OUTPUT -m comment --comment "hi routelet:proxy:first:${ruleHash(first)}" -j C`,
    );
  });
});

describe("values that a line of iptables-restore cannot carry are refused", () => {
  const bad: readonly (readonly [string, Pick<FilterRule, "matches"> & { target?: Target }])[] = [
    ["a prefix with words", { matches: [{ kind: "source", prefix: "1.1.1.1 -j ACCEPT" }] }],
    ["a line feed in a link", { matches: [{ kind: "input", link: "eth0\nCOMMIT" }] }],
    ["an option as a set", { matches: [{ kind: "set", set: "-x", directions: ["src"] }] }],
    ["a quote in a chain", { matches: [], target: { kind: "jump", chain: 'A"B' } }],
    ["words in an address", { matches: [], target: { kind: "snat", to: "1.1.1.1 --x" } }],
  ];
  for (const [name, rule] of bad) test(name, () => expect(unsafe(rule)).toContain("cannot carry"));

  test("IPv6 prefixes, sets and addresses with colons are fine", () => {
    expect(unsafe({
      matches: [
        { kind: "source", prefix: "fd00::/8" },
        { kind: "set", set: "inet6:kube-router-svip", directions: ["dst"] },
        { kind: "ipvs", vaddr: "fd00::1" },
        { kind: "ports", side: "source", ports: "1:9" },
      ],
      target: { kind: "snat", to: "2001:db8::1" },
    })).toBeUndefined();
  });
});
