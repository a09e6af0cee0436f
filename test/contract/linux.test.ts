/** What only Linux does: its own routes beside ours, others' objects in our way, what goes without an event. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { isAlreadyExists } from "../../src/kernel/dataplane/errors.ts";
import type { Actual, Drift, Op, Table } from "../../src/kernel/dataplane/resource.ts";
import {
  type Address,
  type Chain,
  type IpSet,
  type IpSetMember,
  type Jump,
  type Link,
  type Route,
  tables,
} from "../../src/kernel/dataplane/resources/mod.ts";
import { type LinuxWorld, linuxWorld, NODE } from "./world.ts";

const owner = { name: "proxy", protocol: 201 };
const LINK = "kube-dummy-if";
const link: Link = { name: LINK, type: linuxWorld.link, up: true };
const vip: Address = { family: 4, address: "10.96.0.1", prefix: 32, link: LINK };
const vip6: Address = { family: 6, address: "fd00::1", prefix: 128, link: LINK };
const create = <T>(item: T): Op<T> => ({ verb: "create", item });
const remove = <T>(item: T): Op<T> => ({ verb: "delete", item });

function routeOf({ family, address, prefix }: Address): Route {
  return {
    family,
    table: 255,
    type: "local",
    destination: `${address}/${prefix}`,
    metric: family === 4 ? 0 : 1024,
    nextHops: [{ link: LINK }],
    source: NODE[family],
  };
}

async function done<T>(table: Table<T>, ...ops: readonly Op<T>[]): Promise<void> {
  const outcomes = await table.apply(ops);
  expect(outcomes.map((outcome) => outcome.error?.message)).toEqual(ops.map(() => undefined));
}

let world: LinuxWorld;
const lacks = linuxWorld.lacks("link");
const lacksTables = linuxWorld.lacks("chain");
const name = (text: string, lacking = lacks) =>
  lacking === undefined ? text : `${text} (left out: ${lacking})`;
const check = (text: string, body: () => Promise<void>) =>
  test.skipIf(lacks !== undefined)(name(text), body);
const checkTables = (text: string, body: () => Promise<void>) =>
  test.skipIf(lacksTables !== undefined)(name(text, lacksTables), body);

beforeEach(() => {
  if (lacks === undefined) world = linuxWorld.open();
});
afterEach(async () => {
  if (lacks === undefined) await world.close();
});

function opened() {
  return {
    links: world.dataplane.open(tables.links, owner),
    addresses: world.dataplane.open(tables.addresses, owner),
    routes: world.dataplane.open(tables.routes, owner),
  };
}

/** What is ours of a list. */
async function ours<T>(table: Table<T>): Promise<readonly T[]> {
  return (await table.list()).filter(({ owned }) => owned).map(({ item }) => item);
}

/** Both families' VIP with its route, and a watch on each table that believes all of it. */
async function programmed() {
  const t = opened();
  await done(t.links, create(link));
  await done(t.addresses, create(vip), create(vip6));
  await done(t.routes, create(routeOf(vip)), create(routeOf(vip6)));
  const reports: string[] = [];
  const watch = async <T>(table: Table<T>): Promise<void> => {
    const actual = new Map<string, Actual<T>>();
    table.watch?.({
      actual,
      drift(changes: readonly Drift<T>[] | "unknown") {
        if (changes === "unknown") reports.push(`${table.resource.kind} unknown`);
        else reports.push(...changes.map(({ key }) => `${table.resource.kind} ${key}`));
      },
    });
    for (const have of await table.list()) actual.set(table.resource.key(have.item), have);
  };
  await watch(t.links);
  await watch(t.addresses);
  await watch(t.routes);
  // As the runtime does with what is ours and unwanted: Linux's own route, made before the watch began.
  const wanted = [routeOf(vip), routeOf(vip6)].map((item) => t.routes.resource.key(item));
  const extra = (await ours(t.routes)).filter((item) =>
    !wanted.includes(t.routes.resource.key(item))
  );
  await done(t.routes, ...extra.map(remove));
  return { ...t, reports };
}

async function until(met: () => boolean): Promise<void> {
  while (!met()) await Bun.sleep(5);
}

describe("local routes", () => {
  check("ours are the only ones for a VIP, with the node's address as source", async () => {
    const { routes } = await programmed();
    const shown = () =>
      ["-4", "-6"].flatMap((family) =>
        world.run("ip", family, "route", "show", "table", "local").split("\n")
          .filter((line) => line.includes(LINK) && !/fe80|ff00/.test(line)).map((line) =>
            line.trim().replace(" pref medium", "")
          )
      );
    const wanted = [
      `local 10.96.0.1 dev ${LINK} proto 201 scope host src ${NODE[4]}`,
      `local fd00::1 dev ${LINK} proto 201 src ${NODE[6]} metric 1024`,
    ];
    await until(() => JSON.stringify(shown()) === JSON.stringify(wanted));
    expect(await ours(routes)).toEqual([routeOf(vip), routeOf(vip6)]);
  });

  check("Linux's own, back with an address that was added again, is driven out", async () => {
    const { reports } = await programmed();
    world.hand.remove("address", vip6);
    await until(() => reports.includes(`address fd00::1/128 dev ${LINK}`));
    world.hand.add("address", vip6);
    const shown = () => world.run("ip", "-6", "route", "show", "table", "local");
    await until(() => !/local fd00::1 dev \S+ proto kernel/.test(shown()));
    expect(shown()).toContain("local fd00::1 dev kube-dummy-if proto 201");
  });

  check("another's route at our key is a conflict and stays", async () => {
    const t = opened();
    await done(t.links, create(link));
    world.run("ip", "route", "add", "local", "10.96.0.1/32", "dev", "node0", "table", "local");
    const [outcome] = await t.routes.apply([create(routeOf(vip))]);
    expect(isAlreadyExists(outcome?.error)).toBe(true);
    expect(outcome?.error?.message).toContain("a route of protocol 3 is there");
    const key = t.routes.resource.key(routeOf(vip));
    const there = (await t.routes.list()).find(({ item }) => t.routes.resource.key(item) === key);
    expect(there?.owned).toBe(false);
    expect(world.run("ip", "route", "show", "table", "local")).toContain("10.96.0.1 dev node0");
  });

  check("the address of another link keeps its route", async () => {
    const t = opened();
    await done(t.links, create(link));
    const [outcome] = await t.routes.apply([
      create({ ...routeOf(vip), destination: `${NODE[4]}/32` }),
    ]);
    expect(isAlreadyExists(outcome?.error)).toBe(true);
    expect(world.run("ip", "route", "show", "table", "local")).toContain(
      `local ${NODE[4]} dev node0 proto kernel`,
    );
  });

  check("a source that is not the node's is refused with advice", async () => {
    const t = opened();
    await done(t.links, create(link));
    const [outcome] = await t.routes.apply([create({ ...routeOf(vip), source: "198.51.100.9" })]);
    expect(outcome?.error?.message).toEndWith(
      'check that "198.51.100.9" is an address of this node',
    );
  });
});

describe("another's route at our key", () => {
  check("is seen to go", async () => {
    const t = opened();
    await done(t.links, create(link));
    const theirs = ["local", "10.96.0.1/32", "dev", "node0", "table", "local"] as const;
    world.run("ip", "route", "add", ...theirs);
    const key = t.routes.resource.key(routeOf(vip));
    const actual = new Map<string, Actual<Route>>();
    const gone: string[] = [];
    t.routes.watch?.({
      actual,
      drift(changes) {
        if (changes === "unknown") return;
        gone.push(...changes.filter((c) => c.actual === undefined).map((c) => c.key));
      },
    });
    for (const have of await t.routes.list()) actual.set(t.routes.resource.key(have.item), have);
    expect(actual.get(key)?.owned).toBe(false);
    world.run("ip", "route", "del", ...theirs);
    await until(() => gone.includes(key));
  });
});

describe("what goes without an event of its own is noticed", () => {
  check("routes, when their link goes down", async () => {
    const { reports, routes } = await programmed();
    world.run("ip", "link", "set", LINK, "down");
    await until(() => reports.includes("route unknown") && reports.includes(`link ${LINK}`));
    // IPv4 routes of host scope outlive their link's fall.
    expect(await ours(routes)).toEqual([routeOf(vip)]);
  });

  check("routes, when the last IPv4 address of their link goes", async () => {
    const { reports, routes } = await programmed();
    world.hand.remove("address", vip);
    await until(() => reports.includes("route unknown"));
    expect(await ours(routes)).toEqual([routeOf(vip6)]);
  });

  check("routes, when the node's address that they name as source goes", async () => {
    const { reports, routes } = await programmed();
    const pods: Route = {
      ...routeOf(vip),
      table: 254,
      type: "unicast",
      destination: "10.244.0.0/16",
    };
    await done(routes, create(pods));
    world.run("ip", "addr", "del", `${NODE[4]}/24`, "dev", "node0");
    await until(() => reports.some((report) => report.startsWith("route ")));
    // Linux looks for such routes in the main table only.
    expect(await ours(routes)).toEqual([routeOf(vip), routeOf(vip6)]);
  });
});

describe("links and addresses", () => {
  check("no address is put on a link that is not ours", async () => {
    const { addresses } = opened();
    const item = { ...vip, link: "node0" };
    const [outcome] = await addresses.apply([create(item)]);
    expect(outcome?.error?.message).toContain('EPERM (link "node0" is not ours)');
  });

  check("a link of our name without our mark is neither changed nor deleted", async () => {
    world.run("ip", "link", "add", LINK, "type", linuxWorld.link);
    const { links } = opened();
    const outcomes = await links.apply([
      create(link),
      { verb: "update", item: link, have: link },
      remove(link),
    ]);
    expect(outcomes.map((o) => o.error?.code)).toEqual(["EEXIST", "EPERM", "EPERM"]);
    expect(world.run("ip", "link", "show", LINK)).toContain("state DOWN");
  });

  check("one bad address of a thousand fails alone", async () => {
    const { links, addresses } = opened();
    await done(links, create(link));
    const items = Array.from({ length: 1000 }, (_, i): Address => ({
      ...vip,
      address: i === 500 ? "10.96.999.1" : `10.97.${i >> 8}.${i & 255}`,
    }));
    const outcomes = await addresses.apply(items.map(create));
    expect(outcomes.flatMap((o) => o.error === undefined ? [] : [o.error.message])).toEqual([
      `Cannot create address "10.96.999.1/32 dev ${LINK}": EINVAL ` +
      '("10.96.999.1" is no IP address)',
    ]);
    expect(await addresses.list()).toHaveLength(999);
  });
});

describe("packet filter", () => {
  const chain: Chain = {
    family: 4,
    table: "filter",
    name: "KUBE-ROUTER-SERVICES",
    rules: [{ matches: [{ kind: "source", prefix: "10.0.0.0/8" }], target: { kind: "drop" } }],
  };
  const jump: Jump = {
    family: 4,
    table: "filter",
    from: "INPUT",
    to: chain.name,
    matches: [],
    first: true,
  };
  /** The variant that works here. */
  const iptables = (...words: readonly string[]): string => {
    try {
      return world.run("iptables", ...words);
    } catch {
      return world.run("iptables-legacy", ...words);
    }
  };

  checkTables("others' rules and counters stay, whatever we write", async () => {
    iptables("-A", "INPUT", "-c", "7", "420", "-s", "192.0.2.77", "-j", "ACCEPT");
    const chains = world.dataplane.open(tables.chains, owner);
    const jumps = world.dataplane.open(tables.jumps, owner);
    await done(chains, create(chain));
    await done(jumps, create(jump));
    await done(chains, { verb: "update", item: { ...chain, rules: [] }, have: chain });
    await done(jumps, remove(jump));
    await done(chains, remove(chain));
    expect(iptables("-S", "INPUT", "-v")).toContain(
      "-A INPUT -s 192.0.2.77/32 -c 7 420 -j ACCEPT",
    );
  });

  checkTables("a chain that names a missing set fails alone", async () => {
    const chains = world.dataplane.open(tables.chains, owner);
    const others = ["A", "B", "C"].map((letter): Chain => ({
      ...chain,
      name: `KUBE-ROUTER-${letter}`,
    }));
    const bad: Chain = {
      ...chain,
      rules: [{
        matches: [{ kind: "set", set: "kube-router-nope", directions: ["src"] }],
        target: { kind: "drop" },
      }],
    };
    const outcomes = await chains.apply(
      [...others.slice(0, 2), bad, ...others.slice(2)].map(create),
    );
    expect(outcomes.map((o) => o.error?.code)).toEqual([undefined, undefined, "ENOENT", undefined]);
    // It is there without rules: others may jump to it.
    const made = (await chains.list()).map(({ item }) => `${item.name} ${item.rules.length}`);
    expect(made.toSorted()).toEqual([...others.map((c) => `${c.name} 1`), `${bad.name} 0`]);
    expect(outcomes[2]?.made).toEqual({ ...bad, rules: [] });
  });

  checkTables("those that jump to a chain that Linux refuses stand all the same", async () => {
    const chains = world.dataplane.open(tables.chains, owner);
    const set = { kind: "set", set: "kube-router-nope", directions: ["src"] } as const;
    const bad: Chain = {
      ...chain,
      name: "KUBE-ROUTER-Z",
      rules: [{ matches: [set], target: { kind: "drop" } }],
    };
    const caller = (name: string, to: string): Chain => ({
      ...chain,
      name,
      rules: [{ matches: [], target: { kind: "jump", chain: to } }],
    });
    const all = [caller("KUBE-ROUTER-A", "KUBE-ROUTER-B"), caller("KUBE-ROUTER-B", bad.name), bad];
    const outcomes = await chains.apply(all.map(create));
    expect(outcomes.map(({ error }) => error?.code)).toEqual([undefined, undefined, "ENOENT"]);
    expect(iptables("-S").match(/-j KUBE-ROUTER-\w/g)?.toSorted()).toEqual([
      "-j KUBE-ROUTER-B",
      "-j KUBE-ROUTER-Z",
    ]);
  });

  for (const first of [true, false]) {
    checkTables(
      `all tables are written at once, and what fails in one costs no other and is written once, first ${first}`,
      async () => {
        const wanted: Jump = { ...jump, first };
        const chains = world.dataplane.open(tables.chains, owner);
        const jumps = world.dataplane.open(tables.jumps, owner);
        const nat: Chain = { ...chain, table: "nat", name: "KUBE-ROUTER-NAT", rules: [] };
        await done(chains, create(nat), create(chain));
        const toNat: Jump = { ...wanted, table: "nat", from: "OUTPUT", to: nat.name };
        const nowhere: Jump = { ...wanted, table: "mangle", to: "KUBE-ROUTER-GONE" };
        const outcomes = await jumps.apply([toNat, nowhere, wanted].map(create));
        expect(outcomes.map((o) => o.error === undefined)).toEqual([true, false, true]);
        const lines = (...words: readonly string[]) =>
          iptables(...words).split("\n").filter((line) => line.includes("-j KUBE-ROUTER-"));
        expect(lines("-t", "nat", "-S", "OUTPUT")).toHaveLength(1);
        expect(lines("-S", "INPUT")).toHaveLength(1);
        await done(jumps, remove(toNat), remove(wanted));
        await done(chains, remove(nat), remove(chain));
        expect(await chains.list()).toEqual([]);
      },
    );
  }

  checkTables(
    "the firewall's jump comes first, though another's is made at the same time",
    async () => {
      const firewall = { name: "firewall", protocol: 203 };
      const gate: Chain = { ...chain, name: "KUBE-ROUTER-INPUT" };
      const toGate: Jump = { ...jump, to: gate.name };
      await done(world.dataplane.open(tables.chains, owner), create(chain));
      await done(world.dataplane.open(tables.chains, firewall), create(gate));
      const others = world.dataplane.open(tables.jumps, owner);
      const ours = world.dataplane.open(tables.jumps, firewall);
      await Promise.all([done(others, create(jump)), done(ours, create(toGate))]);
      expect(iptables("-S", "INPUT").match(/-j \S+/g)).toEqual([
        `-j ${gate.name}`,
        `-j ${chain.name}`,
      ]);
    },
  );

  checkTables("a jump that must be first and is not any more differs from the wish", async () => {
    const chains = world.dataplane.open(tables.chains, owner);
    const jumps = world.dataplane.open(tables.jumps, owner);
    await done(chains, create(chain));
    await done(jumps, create(jump));
    iptables("-I", "INPUT", "-s", "192.0.2.77", "-j", "ACCEPT");
    // A read of the moment before is given out again for 50 ms.
    const again = world.reopen().open(tables.jumps, owner);
    const [have] = await again.list();
    expect(have !== undefined && again.resource.equal(jump, have.item)).toBe(false);
    await done(again, { verb: "update", item: jump, have: jump });
    expect(iptables("-S", "INPUT").split("\n")[1]).toContain(`-j ${chain.name}`);
  });
});

describe("ipsets", () => {
  checkTables(
    "a flush of many sets is told of at once, though the first report starts a repair, and again the next time",
    async () => {
      const sets = world.dataplane.open(tables.ipsets, owner);
      const members = world.dataplane.open(tables.ipsetMembers, owner);
      const names = ["a", "b", "c", "d"].map((letter) => `kube-router-${letter}`);
      await done(
        sets,
        ...names.map((name) => create<IpSet>({ name, family: 4, type: "hash:ip" })),
      );
      const all = names.map((set): IpSetMember => ({ set, entry: "192.0.2.1" }));
      await done(members, ...all.map(create));
      const keys = all.map((item) => members.resource.key(item));
      const actual = new Map(all.map((item, i) => [keys[i] ?? "", { item, owned: true }]));
      const reports: (readonly string[])[] = [];
      members.watch?.({
        actual,
        drift(changes) {
          if (changes === "unknown") return;
          reports.push(changes.map(({ key }) => key).toSorted());
          void members.apply(all.map(create));
        },
      });
      world.run("ipset", "flush");
      await until(() => reports.length === 1);
      // Looks that find nothing come in between.
      await Bun.sleep(1_500);
      world.run("ipset", "flush");
      await until(() => reports.length === 2);
      expect(reports).toEqual([keys, keys]);
    },
  );
});
