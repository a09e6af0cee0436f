/** What only nf_tables does: sets that cannot be changed, ranges that must not overlap, tables of others beside ours. */

import { afterEach, beforeEach, expect, test } from "bun:test";
import type { Actual, Op, Table, TableRef } from "../../src/kernel/dataplane/resource.ts";
import {
  type Chain,
  type IpSet,
  type IpSetMember,
  type Jump,
  tables,
} from "../../src/kernel/dataplane/resources/mod.ts";
import { type LinuxWorld, nftWorld } from "./world.ts";

const owner = { name: "proxy", protocol: 201 };
const firewall = { name: "firewall", protocol: 203 };
const create = <T>(item: T): Op<T> => ({ verb: "create", item });
const remove = <T>(item: T): Op<T> => ({ verb: "delete", item });

type FilterRule = Chain["rules"][number];

let world: LinuxWorld;
const lacking = nftWorld.lacks("chain");
const check = (name: string, body: () => Promise<void>) =>
  test.skipIf(lacking !== undefined)(
    lacking === undefined ? name : `${name} (left out: ${lacking})`,
    body,
  );
beforeEach(() => {
  if (lacking === undefined) world = nftWorld.open();
});
afterEach(async () => {
  if (lacking === undefined) await world.close();
});

const open = <T>(ref: TableRef<T>, by = owner): Table<T> => world.dataplane.open(ref, by);
const nft = (...words: readonly string[]): string => world.run("nft", ...words);

async function done<T>(table: Table<T>, ...ops: readonly Op<T>[]): Promise<void> {
  const outcomes = await table.apply(ops);
  expect(outcomes.map((outcome) => outcome.error?.message)).toEqual(ops.map(() => undefined));
}

async function listed<T>(table: Table<T>): Promise<readonly T[]> {
  return (await table.list()).filter(({ owned }) => owned).map(({ item }) => item);
}

function chainOf(
  name: string,
  rules: readonly FilterRule[] = [],
  more: Partial<Chain> = {},
): Chain {
  return { family: 4, table: "filter", name, rules, ...more };
}

const asks = (set: string): FilterRule => ({
  matches: [{ kind: "set", set, directions: ["dst"] }],
  target: { kind: "accept" },
  comment: `asks ${set}`,
});
const nets: IpSet = { name: "kube-router-nets", type: "hash:net", family: 4 };
const nets6: IpSet = { name: "inet6:kube-router-nets", type: "hash:net", family: 6 };
const ips: IpSet = { name: "kube-router-ips", type: "hash:ip", family: 4, timeout: 0 };
const members = (set: IpSet, ...entries: readonly string[]): readonly IpSetMember[] =>
  entries.map((text) => ({
    set: set.name,
    entry: text.replace("!", ""),
    ...(text.startsWith("!") ? { nomatch: true } : {}),
  }));

/** Which of some addresses a set of networks holds, as nft says. */
function held(set: IpSet, ...addresses: readonly string[]): readonly string[] {
  const family = set.family === 4 ? "ip" : "ip6";
  return addresses.filter((address) => {
    try {
      nft("get", "element", family, "routelet", set.name.replace("inet6:", ""), `{ ${address} }`);
      return true;
    } catch {
      return false;
    }
  });
}

check("networks may overlap and except each other, and are listed as they were given", async () => {
  const sets = open(tables.ipsets);
  const table = open(tables.ipsetMembers);
  await done(sets, create(nets), create(nets6));
  const given = members(
    nets,
    "10.0.0.0/8",
    "!10.1.0.0/16",
    "10.1.2.0/24",
    "!10.1.2.3",
    "10.2.0.0/16",
  );
  const given6 = members(nets6, "::/1", "8000::/1", "!fd00::/8", "fd00:1::/64");
  await done(table, ...[...given, ...given6].map(create));
  const asked = [
    "9.255.255.255",
    "10.0.0.1",
    "10.1.0.1",
    "10.1.2.2",
    "10.1.2.3",
    "10.2.9.9",
    "11.0.0.0",
  ];
  expect(held(nets, ...asked)).toEqual(["10.0.0.1", "10.1.2.2", "10.2.9.9"]);
  expect(held(nets6, "::1", "ffff::1", "fd00::1", "fd00:1::1")).toEqual([
    "::1",
    "ffff::1",
    "fd00:1::1",
  ]);
  const key = ({ set, entry, nomatch }: IpSetMember) => `${set} ${entry} ${nomatch ?? false}`;
  const again = world.reopen().open(tables.ipsetMembers, owner);
  expect((await listed(again)).map(key).toSorted()).toEqual(
    [...given, ...given6].map(key).toSorted(),
  );
  await done(table, ...members(nets, "!10.1.0.0/16", "10.0.0.0/8").map(remove));
  expect(held(nets, ...asked)).toEqual(["10.1.2.2", "10.2.9.9"]);
  await done(table, ...members(nets, "10.1.2.0/24", "!10.1.2.3", "10.2.0.0/16").map(remove));
  expect(nft("list", "set", "ip", "routelet", nets.name)).not.toContain("elements");
  // What is gone already is no error, with others that are there.
  await done(
    table,
    ...members(nets, "10.1.2.0/24").map(remove),
    ...members(nets, "10.3.0.0/16").map(create),
  );
  expect(held(nets, "10.3.0.1")).toEqual(["10.3.0.1"]);
});

check("sources that hold each other are one range for each address and port", async () => {
  const set: IpSet = { name: "kube-router-src", type: "hash:ip,port,net", family: 4 };
  const table = open(tables.ipsetMembers);
  await done(open(tables.ipsets), create(set));
  const all = members(
    set,
    "10.0.0.1,tcp:80,10.0.0.0/8",
    "10.0.0.1,tcp:80,10.1.0.0/16",
    "10.0.0.1,udp:80,10.1.0.0/16",
    "10.0.0.1,tcp:80,192.168.0.7",
  );
  await done(table, ...all.map(create));
  expect((await listed(table)).map(({ entry }) => entry).toSorted()).toEqual(
    all.map(({ entry }) => entry).toSorted(),
  );
  const asked = [
    "tcp . 80 . 10.1.2.3",
    "tcp . 80 . 10.2.2.3",
    "udp . 80 . 10.2.2.3",
    "tcp . 80 . 192.168.0.7",
  ]
    .map((rest) => `10.0.0.1 . ${rest}`);
  expect(held(set, ...asked)).toEqual([0, 1, 3].map((i) => asked[i] ?? ""));
  await done(table, ...all.slice(0, 1).map(remove));
  expect(held(set, ...asked)).toEqual([0, 3].map((i) => asked[i] ?? ""));
});

check(
  "a set gets other options while rules ask it, and keeps its members and their rules",
  async () => {
    const sets = open(tables.ipsets);
    const chain = chainOf("KUBE-ROUTER-A", [asks(ips.name), asks(nets.name)]);
    const jump: Jump = {
      family: 4,
      table: "filter",
      from: "INPUT",
      to: chain.name,
      matches: asks(ips.name).matches,
      first: true,
    };
    await done(sets, create(ips), create(nets));
    await done(open(tables.ipsetMembers), ...members(ips, "10.0.0.1", "10.0.0.2").map(create));
    await done(open(tables.chains), create(chain), create(chainOf("KUBE-ROUTER-B")));
    await done(open(tables.jumps), create(jump));
    const rules = (text: string) => text.split("\n").filter((line) => /counter/.test(line));
    const before = rules(nft("list", "table", "ip", "routelet"));
    expect(before).toHaveLength(3);
    const large = { ...ips, maxElements: 1_000_000 };
    await done(sets, { verb: "update", item: large, have: ips });
    expect(await listed(sets)).toContainEqual(large);
    expect(rules(nft("list", "table", "ip", "routelet"))).toEqual(before);
    expect((await listed(open(tables.ipsetMembers))).map(({ entry }) => entry).toSorted()).toEqual([
      "10.0.0.1",
      "10.0.0.2",
    ]);
    expect(
      (await listed(open(tables.chains))).map((have) => tables.chains.resource.equal(chain, have)),
    ).toContain(true);
    const [have] = await listed(open(tables.jumps));
    expect(have !== undefined && tables.jumps.resource.equal(jump, have)).toBe(true);
  },
);

check(
  "a chain that names a missing set, or says what nf_tables cannot, fails alone, and is there without rules",
  async () => {
    const table = open(tables.chains);
    const cannot: FilterRule = {
      matches: [{ kind: "source", prefix: "fd00::/8" }],
      target: { kind: "accept" },
    };
    const to = (chain: string): FilterRule => ({ matches: [], target: { kind: "jump", chain } });
    const wanted = [
      chainOf("KUBE-ROUTER-A", [to("KUBE-ROUTER-B"), to("KUBE-ROUTER-C")]),
      chainOf("KUBE-ROUTER-B", [asks("kube-router-nope")]),
      chainOf("KUBE-ROUTER-C", [cannot]),
      chainOf("KUBE-ROUTER-D", [to("KUBE-ROUTER-A")]),
    ];
    const outcomes = await table.apply(wanted.map(create));
    expect(outcomes.map(({ error }) => error?.code)).toEqual([
      undefined,
      "ENOENT",
      "EINVAL",
      undefined,
    ]);
    expect(outcomes.map(({ made }) => made?.rules)).toEqual([undefined, [], [], undefined]);
    expect(outcomes[2]?.error?.message).toContain('"fd00::/8" is no IPv4 prefix');
    const rules = new Map((await listed(table)).map((chain) => [chain.name, chain.rules.length]));
    expect(wanted.map(({ name }) => rules.get(name))).toEqual([2, 0, 0, 1]);
  },
);

check(
  "among many chains that fail each costs itself, and those that jump to them stand",
  async () => {
    const table = open(tables.chains);
    const wanted = Array.from({ length: 40 }, (_, i) => {
      const next: FilterRule = {
        matches: [],
        target: { kind: "jump", chain: `KUBE-ROUTER-${i + 1}` },
      };
      return chainOf(
        `KUBE-ROUTER-${i}`,
        [...(i < 39 ? [next] : []), ...(i % 2 === 1 ? [asks(`kube-router-nope-${i}`)] : [])],
      );
    });
    const outcomes = await table.apply(wanted.map(create));
    expect(outcomes.map(({ error }) => error?.code)).toEqual(
      wanted.map((_, i) => i % 2 === 1 ? "ENOENT" : undefined),
    );
    const rules = new Map((await listed(table)).map((chain) => [chain.name, chain.rules.length]));
    expect(wanted.map(({ name }) => rules.get(name))).toEqual(
      wanted.map((_, i) => i % 2 === 1 ? 0 : 1),
    );
  },
);

check("a member that fits no set is refused, and of 1,000 it alone", async () => {
  await done(open(tables.ipsets), create(ips));
  const all = members(
    ips,
    ...Array.from({ length: 1000 }, (_, i) => i === 500 ? "fd00::1" : `10.9.${i >> 8}.${i & 255}`),
  );
  const outcomes = await open(tables.ipsetMembers).apply(all.map(create));
  expect(outcomes.flatMap(({ error }) => error === undefined ? [] : [error.message])).toEqual([
    `Cannot create ipset.member "${ips.name} fd00::1": EINVAL (the member does not fit the type and family of the set)`,
  ]);
  expect(await listed(open(tables.ipsetMembers))).toHaveLength(999);
});

for (
  const [set, entries] of [
    [{ ...ips, maxElements: 3 }, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]],
    [{ ...nets, maxElements: 3 }, ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.2.0.0/16"]],
  ] as const
) {
  check(`a full set of ${set.type} refuses one more, which costs itself`, async () => {
    const other: IpSet = { name: "kube-router-other", type: "hash:ip", family: 4 };
    await done(open(tables.ipsets), create(set), create(other));
    const [first, ...rest] = members(set, ...entries);
    const table = open(tables.ipsetMembers);
    const full = async (on: Table<IpSetMember>, ...ops: readonly Op<IpSetMember>[]) =>
      (await on.apply(ops)).map(({ error }) => error?.message);
    const message = `Cannot create ipset.member "${set.name} ${
      entries[3]
    }": ENOSPC (the set is full); ask for a set with more maxElements`;
    expect(
      await full(
        table,
        ...[first, ...rest].flatMap((item) => item ?? []).map(create),
        ...members(other, "10.9.9.9").map(create),
      ),
    ).toEqual([undefined, undefined, undefined, message, undefined]);
    // A restarted agent knows as well; what is there already takes no room.
    const again = world.reopen().open(tables.ipsetMembers, owner);
    expect(await full(again, ...rest.map(create))).toEqual([undefined, undefined, message]);
    expect((await listed(again)).map(({ entry }) => entry).toSorted()).toEqual(
      [...entries.slice(0, 3), "10.9.9.9"].toSorted(),
    );
    // One that goes makes room, in the same breath too.
    const [, , , last] = members(set, ...entries);
    await done(
      again,
      ...(first === undefined ? [] : [remove(first)]),
      ...(last === undefined ? [] : [create(last)]),
    );
    expect((await listed(table)).map(({ entry }) => entry).toSorted()).toEqual(
      [...entries.slice(1), "10.9.9.9"].toSorted(),
    );
  });
}

for (const family of [4, 6] as const) {
  check(
    `jumps by address are one lookup in IPv${family}, and are listed as they were given`,
    async () => {
      const table = open(tables.chains, firewall);
      const address = (i: number) =>
        family === 4 ? `10.1.${i >> 8}.${i & 255}` : `fd00::${i.toString(16)}`;
      const pod = (i: number) => chainOf(`KUBE-POD-FW-${i}`, [], { family });
      const jump = (kind: "source" | "destination", i: number): FilterRule => ({
        matches: [{ kind, prefix: address(i) }],
        target: { kind: "jump", chain: pod(i).name },
        comment: `a/web-${i} ${kind}`,
      });
      const numbers = Array.from({ length: 400 }, (_, i) => i + 1);
      const top = (of: readonly number[]): Chain =>
        chainOf("KUBE-ROUTER-FORWARD", [
          { matches: [], target: { kind: "mark", set: 0, mask: 1 }, comment: "before" },
          ...of.map((i) => jump("destination", i)),
          ...of.map((i) => jump("source", i)),
          { matches: [], target: { kind: "accept" }, comment: "behind" },
        ], { family });
      const said = () =>
        nft("list", "chain", family === 4 ? "ip" : "ip6", "routelet", "KUBE-ROUTER-FORWARD");
      const same = async (want: Chain, on = table) => {
        const have = (await listed(on)).find(({ name }) => name === want.name);
        return have !== undefined && tables.chains.resource.equal(want, have);
      };
      await done(table, ...[...numbers.map(pod), top(numbers)].map(create));
      expect(said().match(/ vmap /g)).toHaveLength(2);
      expect(said().match(/ jump /g)).toHaveLength(800);
      expect(said()).toContain(`${address(7)} comment "a/web-7 destination" : jump KUBE-POD-FW-7`);
      expect(said()).toMatch(/before[^]*daddr[^]*saddr[^]*behind/);
      expect(await same(top(numbers))).toBe(true);
      expect(await same(top(numbers), world.reopen().open(tables.chains, firewall))).toBe(true);
      expect(await same(top(numbers.toReversed()))).toBe(false);
      // A pod goes, another comes; its chain goes afterwards.
      const next = [...numbers.slice(1), 401];
      await done(table, create(pod(401)), { verb: "update", item: top(next), have: top(numbers) });
      expect(await same(top(next))).toBe(true);
      await done(table, remove(pod(1)));
      expect((await listed(table)).map(({ name }) => name)).not.toContain("KUBE-POD-FW-1");
      // A map whose chain is missing costs its chain alone.
      const outcomes = await table.apply([
        chainOf("KUBE-NWPLCY-A"),
        { ...top([...next, 999]), name: "KUBE-ROUTER-OUTPUT" },
      ].map(create));
      expect(outcomes.map(({ error }) => error?.code)).toEqual([undefined, "ENOENT"]);
      await done(table, ...(await listed(table)).map(remove));
      expect(nft("list", "tables")).not.toContain("routelet");
    },
  );
}

check("a rule that asks IPVS is taken, or costs its chain alone and says what helps", async () => {
  const table = open(tables.chains);
  const rule: FilterRule = { matches: [{ kind: "ipvs" }], target: { kind: "accept" } };
  const outcomes = await table.apply([
    chainOf("KUBE-ROUTER-A"),
    chainOf("KUBE-ROUTER-B", [rule]),
    chainOf("KUBE-ROUTER-C"),
  ].map(create));
  const lacks = outcomes[1]?.error;
  const rules = new Map((await listed(table)).map((chain) => [chain.name, chain.rules.length]));
  expect(["A", "B", "C"].map((letter) => rules.get(`KUBE-ROUTER-${letter}`))).toEqual([
    0,
    lacks === undefined ? 1 : 0,
    0,
  ]);
  expect(lacks?.message ?? "").toMatch(
    lacks === undefined
      ? /^$/
      : /^Cannot create chain "ipv4 filter KUBE-ROUTER-B": ENOENT .*; its rules ask IPVS, .*"modprobe -a nft_compat xt_ipvs"$/,
  );
});

check("a transaction of megabytes is one", async () => {
  const table = open(tables.chains);
  await done(open(tables.ipsets), create(ips));
  const rule = (i: number): FilterRule => ({
    ...asks(ips.name),
    comment: `rule ${i} ${"x".repeat(90)}`,
  });
  const large = Array.from(
    { length: 100 },
    (_, n) => chainOf(`KUBE-ROUTER-${n}`, Array.from({ length: 100 }, (_, i) => rule(i))),
  );
  await done(table, ...large.map(create));
  const found = await listed(table);
  expect(found).toHaveLength(100);
  const equal = tables.chains.resource;
  const byKey = new Map(found.map((have) => [equal.key(have), have]));
  expect(large.every((want) => equal.equal(want, byKey.get(equal.key(want)) ?? want))).toBe(true);
  const many = members(
    ips,
    ...Array.from({ length: 20_000 }, (_, i) => `10.${i >> 16}.${i >> 8 & 255}.${i & 255}`),
  );
  await done(open(tables.ipsetMembers), ...many.map(create));
  expect(await listed(open(tables.ipsetMembers))).toHaveLength(20_000);
});

check("a list of ports is one rule of ours, however many it becomes", async () => {
  const table = open(tables.chains);
  const ports: FilterRule = {
    matches: [{ kind: "protocol", protocol: "tcp" }, {
      kind: "ports",
      side: "destination",
      ports: "80,443,1000-2000",
    }],
    target: { kind: "drop" },
  };
  const chain = chainOf("KUBE-ROUTER-A", [ports, asks(ips.name), ports]);
  await done(open(tables.ipsets), create(ips));
  await done(table, create(chain));
  const same = async () =>
    tables.chains.resource.equal(chain, (await listed(table))[0] ?? chainOf("none"));
  expect(await same()).toBe(true);
  const text = nft("-a", "list", "chain", "ip", "routelet", chain.name);
  expect(text.match(/tcp dport/g)).toHaveLength(6);
  const handle = /443 .*# handle (\d+)/.exec(text)?.[1] ?? "";
  nft("delete", "rule", "ip", "routelet", chain.name, "handle", handle);
  expect(await same()).toBe(false);
});

check("the firewall's jumps come before all others of ours, whoever comes first", async () => {
  const jumpOf = (to: string): Jump => ({
    family: 4,
    table: "filter",
    from: "FORWARD",
    to,
    matches: [],
    first: true,
  });
  const ours = chainOf("KUBE-ROUTER-A");
  const theirs = chainOf("KUBE-ROUTER-FORWARD");
  await done(open(tables.chains), create(ours));
  await done(open(tables.chains, firewall), create(theirs));
  await done(open(tables.jumps), create(jumpOf(ours.name)));
  await done(open(tables.jumps, firewall), create(jumpOf(theirs.name)));
  const order = () => nft("list", "chain", "ip", "routelet", "FORWARD").match(/jump \S+/g) ?? [];
  expect(order()).toEqual(["jump KUBE-ROUTER-FORWARD", "jump KUBE-ROUTER-A"]);
  await done(open(tables.jumps), {
    verb: "update",
    item: jumpOf(ours.name),
    have: jumpOf(ours.name),
  });
  expect(order()).toEqual(["jump KUBE-ROUTER-FORWARD", "jump KUBE-ROUTER-A"]);
  const [have] = await listed(open(tables.jumps));
  expect(have?.first).toBe(true);
  nft("insert", "rule", "ip", "routelet", "FORWARD", "accept");
  const [after] = await listed(open(tables.jumps));
  expect(after?.first ?? false).toBe(false);
});

check("tables of others stay, and of ours nothing is left when all is removed", async () => {
  nft(
    "add table inet admins; add chain inet admins input { type filter hook input priority 0; }; add rule inet admins input ip saddr 192.0.2.7 drop",
  );
  const before = nft("list", "ruleset");
  const chain = chainOf("KUBE-ROUTER-A", [asks(nets.name)], { table: "nat" });
  const jump: Jump = { family: 4, table: "nat", from: "POSTROUTING", to: chain.name, matches: [] };
  await done(open(tables.ipsets), create(nets), create(nets6));
  await done(open(tables.chains), create(chain));
  await done(open(tables.jumps), create(jump));
  expect(nft("list", "chain", "ip", "routelet", "nat/POSTROUTING-late")).toContain(
    "type nat hook postrouting priority srcnat + 1",
  );
  await done(open(tables.jumps), remove(jump));
  await done(open(tables.chains), remove(chain));
  await done(open(tables.ipsets), remove(nets), remove(nets6));
  expect(nft("list", "ruleset")).toBe(before);
});

check("a table of our name that others made is left alone, and named", async () => {
  nft("add table ip routelet; add chain ip routelet theirs");
  const error = await open(tables.chains).list().catch((reason: unknown) => reason);
  expect(String(error)).toContain(
    'Cannot use nftables table "ip routelet": EEXIST (it is not ours); rename or delete it',
  );
  const [outcome] = await open(tables.chains).apply([create(chainOf("KUBE-ROUTER-A"))]);
  expect(outcome?.error?.code).toBe("EEXIST");
  expect(nft("list", "table", "ip", "routelet")).not.toContain("KUBE");
});

check("a flush of everything is told of each kind", async () => {
  const chain = chainOf("KUBE-ROUTER-A", [asks(ips.name)]);
  const jump: Jump = {
    family: 4,
    table: "filter",
    from: "INPUT",
    to: chain.name,
    matches: [],
    first: true,
  };
  const [member] = members(ips, "10.0.0.1");
  if (member === undefined) throw new Error("No member");
  const gone = new Set<string>();
  const watch = async <T>(ref: TableRef<T>, item: T): Promise<void> => {
    const table = open(ref);
    const actual = new Map<string, Actual<T>>();
    table.watch?.({
      actual,
      drift(changes) {
        if (changes === "unknown") return;
        for (const change of changes) {
          if (change.actual === undefined) gone.add(table.resource.kind);
        }
      },
    });
    await done(table, create(item));
    for (const have of await table.list()) actual.set(table.resource.key(have.item), have);
  };
  await watch(tables.ipsets, ips);
  await watch(tables.ipsetMembers, member);
  await watch(tables.chains, chain);
  await watch(tables.jumps, jump);
  nft("flush", "ruleset");
  while (gone.size < 4) await Bun.sleep(5);
  expect([...gone].toSorted()).toEqual(["chain", "ipset", "ipset.member", "jump"]);
});

check("a set of networks without its book is made anew, with rules that ask it", async () => {
  const sets = open(tables.ipsets);
  const chain = chainOf("KUBE-ROUTER-A", [asks(nets.name)]);
  await done(sets, create(nets));
  await done(open(tables.ipsetMembers), ...members(nets, "10.0.0.0/8").map(create));
  await done(open(tables.chains), create(chain));
  nft("delete", "set", "ip", "routelet", `${nets.name}.members`);
  const [have] = await listed(sets);
  if (have === undefined) throw new Error("It is listed");
  expect(tables.ipsets.resource.equal(nets, have)).toBe(false);
  await done(sets, { verb: "update", item: nets, have });
  expect((await listed(sets)).map((set) => tables.ipsets.resource.equal(nets, set))).toEqual([
    true,
  ]);
  await done(open(tables.ipsetMembers), ...members(nets, "10.0.0.0/8").map(create));
  expect(held(nets, "10.0.0.1")).toEqual(["10.0.0.1"]);
  expect(nft("list", "chain", "ip", "routelet", chain.name)).toContain("asks kube-router-nets");
});
