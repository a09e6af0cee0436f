import { describe, expect, test } from "bun:test";
import { parseCidr } from "../../../../src/kernel/ip.ts";
import type { FilterRule, HostAddress } from "../../../../src/kernel/plugin.ts";
import { service } from "../../../support/objects.ts";
import {
  firewallRules,
  firewallSets,
  isLarge,
  localIps,
  othersMembers,
  rangeMembers,
} from "../../../../src/plugins/proxy/service-firewall.ts";

const four = { family: 4, address: "192.168.1.10", podCIDRs: [] } as const;
const six = { family: 6, address: "fd00::10", podCIDRs: [] } as const;

describe("sets", () => {
  test("are kube-router's, so that it can go on with them, and ours", () => {
    expect(firewallSets([six], false).slice(0, 3)).toEqual([
      { name: "inet6:kube-router-local-ips", type: "hash:ip", family: 6, timeout: 0 },
      { name: "inet6:kube-router-svip", type: "hash:ip", family: 6, timeout: 0 },
      { name: "inet6:kube-router-svip-prt", type: "hash:ip,port", family: 6, timeout: 0 },
    ]);
    expect(firewallSets([four, six], false).every(({ name }) => name.length <= 31)).toBe(true);
    expect(firewallSets([], false)).toEqual([]);
  });

  test("are larger than Linux makes them only in a large cluster", () => {
    expect([isLarge(8_000), isLarge(8_001)]).toEqual([false, true]);
    const sizes = firewallSets([four], true).map(({ maxElements }) => maxElements);
    expect(sizes).toEqual([undefined, ...Array(7).fill(1_048_576), undefined]);
  });
});

describe("local addresses", () => {
  const host: readonly HostAddress[] = [
    { link: "lo", family: 4, address: "127.0.0.1" },
    { link: "eth0", family: 4, address: "192.168.1.10" },
    { link: "eth0", family: 6, address: "fe80::1" },
    { link: "kube-dummy-if", family: 4, address: "10.96.0.1" },
    { link: "kube-bridge", family: 4, address: "10.244.1.1" },
    { link: "docker0", family: 4, address: "172.17.0.1" },
  ];
  const entries = (...given: Parameters<typeof localIps>) =>
    localIps(...given).map(({ set, entry }) => `${set} ${entry}`);

  test("are those of the host's links, loopback and link-local ones too, but of links that carry VIPs or pods", () => {
    expect(entries(host, [four, six])).toEqual([
      "kube-router-local-ips 127.0.0.1",
      "kube-router-local-ips 192.168.1.10",
      "inet6:kube-router-local-ips fd00::10",
      "inet6:kube-router-local-ips fe80::1",
    ]);
  });

  test("always hold the node's own address, whatever its link is called", () => {
    expect(entries([{ link: "kube-uplink", family: 4, address: "192.168.1.10" }], [four]))
      .toEqual(["kube-router-local-ips 192.168.1.10"]);
    expect(entries([], [four])).toEqual(["kube-router-local-ips 192.168.1.10"]);
  });
});

describe("a range that is bound as one route", () => {
  const routed = ["10.96.0.0/16", "fd00:96::/112"].flatMap((text) => parseCidr(text) ?? []);
  const lines = (members: ReturnType<typeof rangeMembers>) =>
    members.map((m) => `${m.set} ${m.entry}${m.nomatch === true ? " nomatch" : ""}`);

  test("is one member, of each family that the node has", () => {
    expect(lines(rangeMembers(routed, [four, six]))).toEqual([
      "kube-router-svip-range 10.96.0.0/16",
      "inet6:kube-router-svip-range fd00:96::/112",
    ]);
    expect(lines(rangeMembers(routed, [six]))).toEqual([
      "inet6:kube-router-svip-range fd00:96::/112",
    ]);
  });

  test("leaves out the addresses that another proxy serves", () => {
    const other = service("default/other", {
      clusterIPs: ["10.96.1.1", "fd00:96::1", "None"],
      externalIPs: ["203.0.113.1"],
    });
    expect(lines(othersMembers(other, routed))).toEqual([
      "kube-router-svip-range 10.96.1.1 nomatch",
      "inet6:kube-router-svip-range fd00:96::1 nomatch",
    ]);
  });

  test("is asked for by the chain, where a jump could ask for one set alone", () => {
    const { chains, jumps } = firewallRules(four, true, true);
    const judging = jumps.filter(({ table }) => table !== "nat");
    expect(judging.map(({ matches }) => matches)).toEqual([
      [],
      [{ kind: "state", states: ["new"] }],
    ]);
    const [first] = chains.find(({ name }) => name === "KUBE-ROUTER-SERVICES")?.rules ?? [];
    expect(first?.target).toEqual({ kind: "return" });
    expect(first?.matches).toEqual(
      ["kube-router-svip", "kube-router-svip-range"].map((set) => ({
        kind: "set",
        set,
        directions: ["dst"],
        negate: true,
      })),
    );
  });
});

describe("rules", () => {
  const rulesOf = (chain: string, ...given: Parameters<typeof firewallRules>) =>
    firewallRules(...given).chains.find(({ name }) => name === chain)?.rules ?? [];
  const words = ({ target, comment }: FilterRule) => `${target.kind} ${comment ?? ""}`.trim();

  test("accept ICMP, judge new connections, accept what is served and reject the rest, in this order", () => {
    expect(rulesOf("KUBE-ROUTER-SERVICES", four, true).map(words)).toEqual([
      "accept allow icmp echo requests",
      "accept allow icmp destination unreachable messages",
      "accept allow icmp time exceeded messages",
      "jump",
      "accept allow input traffic to ipvs services",
      "return connections that were let in may finish",
      "reject reject all unexpected traffic to service IPs",
      "reject reject all unexpected traffic to service IPs",
    ]);
    expect(rulesOf("KUBE-ROUTER-SERVICES", six, true).map(words).slice(3, 7)).toEqual([
      "accept allow icmp neighbor solicitation messages",
      "accept allow icmp neighbor advertisement messages",
      "accept allow icmp echo reply messages",
      "accept allow icmp packet too big messages",
    ]);
  });

  test("are few, whatever the number of Services, and alike for both families", () => {
    for (const family of [four, six]) {
      const { chains } = firewallRules(family, true);
      expect(chains.flatMap(({ rules }) => rules).length).toBeLessThan(20);
    }
  });

  test("of verdicts hold without --ipvs-permit-all, and nothing else does", () => {
    const { chains, jumps } = firewallRules(four, false);
    expect(chains.map(({ name, rules }) => [name, rules.length > 0])).toEqual([
      ["KUBE-ROUTER-SVC-VERDICT", true],
      ["KUBE-ROUTER-SERVICES", false],
      ["KUBE-ROUTER-SVC-OUT", true],
      ["KUBE-ROUTER-SVC-REFUSE", true],
    ]);
    expect(jumps.map(({ table, from, to }) => `${table} ${from} ${to}`)).toEqual([
      "filter INPUT KUBE-ROUTER-SVC-VERDICT",
      "mangle OUTPUT KUBE-ROUTER-SVC-OUT",
      "nat OUTPUT KUBE-ROUTER-SVC-REFUSE",
    ]);
  });

  test("hand what no ICMP error refuses at once to a port that nobody can have: the node's own, and SCTP over IPv6", () => {
    for (const family of [four, six]) {
      const { chains, jumps } = firewallRules(family, true);
      const chain = chains.find(({ name }) => name === "KUBE-ROUTER-SVC-REFUSE");
      expect<unknown>(chain?.rules.map(({ matches, target }) => [matches, target])).toEqual(
        ["tcp", "sctp"].map((protocol) => [
          [{ kind: "protocol", protocol }],
          { kind: "redirect", port: 0 },
        ]),
      );
      const prefix = family.family === 6 ? "inet6:" : "";
      const reject = {
        kind: "set",
        set: `${prefix}kube-router-svip-reject`,
        directions: ["dst", "dst"],
      };
      expect<unknown>(
        jumps.filter(({ to }) => to === "KUBE-ROUTER-SVC-REFUSE").map((jump) => [
          `${jump.table} ${jump.from}`,
          jump.matches,
        ]),
      ).toEqual([
        ["nat OUTPUT", [reject]],
        ...(family.family === 4
          ? []
          : [["nat PREROUTING", [{ kind: "protocol", protocol: "sctp" }, reject]]]),
      ]);
    }
  });

  test("judge new connections only: those that stand may finish", () => {
    for (const permitAll of [true, false]) {
      const { chains, jumps } = firewallRules(four, permitAll);
      // nat sees new connections alone.
      const judging = jumps.filter(({ table }) => table !== "nat");
      const ways = [...judging, ...chains.flatMap(({ rules }) => rules)].filter((way) =>
        ("to" in way ? way.to : way.target.kind === "jump" ? way.target.chain : "")
          .startsWith("KUBE-ROUTER-SVC-")
      );
      expect(ways.length).toBe(2);
      for (const { matches } of ways) {
        expect(matches).toContainEqual({ kind: "state", states: ["new"] });
      }
    }
  });
});
