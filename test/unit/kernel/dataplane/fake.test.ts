import { describe, expect, test } from "bun:test";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import type { Drift, Op } from "../../../../src/kernel/dataplane/resource.ts";
import { ipvsServiceId } from "../../../../src/kernel/dataplane/resources/ipvs.ts";
import {
  type Address,
  type Chain,
  type IpvsDestination,
  type Route,
  tables,
} from "../../../../src/kernel/dataplane/resources/mod.ts";

const owner = { name: "proxy", protocol: 201 };
const dummy = { name: "kube-dummy-if", type: "dummy", up: true } as const;
const vip: Address = { family: 4, address: "10.96.0.1", prefix: 32, link: dummy.name };
const vip6: Address = { family: 6, address: "fd00::1", prefix: 128, link: dummy.name };
const create = <T>(item: T): Op<T> => ({ verb: "create", item });
const remove = <T>(item: T): Op<T> => ({ verb: "delete", item });

function localRoute(of: Address, source?: string): Route {
  return {
    family: of.family,
    table: 255,
    type: "local",
    destination: `${of.address}/${of.prefix}`,
    metric: of.family === 4 ? 0 : 1024,
    nextHops: [{ link: of.link }],
    ...(source === undefined ? {} : { source }),
  };
}

async function withLink() {
  const fake = fakeDataplane();
  const table = {
    links: fake.open(tables.links, owner),
    addresses: fake.open(tables.addresses, owner),
    routes: fake.open(tables.routes, owner),
  };
  await table.links.apply([create(dummy)]);
  return { fake, ...table };
}

describe("FakeDataplane refuses as Linux does", () => {
  test("a second create of one key is EEXIST and an update of nothing is ENOENT", async () => {
    const { links } = await withLink();
    const other = { ...dummy, name: "other" };
    const outcomes = await links.apply([
      create(dummy),
      { verb: "update", item: other, have: other },
    ]);
    expect(outcomes.map((o) => o.error?.code)).toEqual(["EEXIST", "ENOENT"]);
  });

  test("a delete of what is gone succeeds and says so", async () => {
    const { addresses } = await withLink();
    const [outcome] = await addresses.apply([remove(vip)]);
    expect(outcome?.error).toBeUndefined();
    expect(outcome?.note).toBe("was gone already");
  });

  test("children need their parents", async () => {
    const fake = fakeDataplane();
    const service = ipvsServiceId(4, "tcp", "10.0.0.1", 80);
    const destination: IpvsDestination = {
      service,
      address: "10.1.0.1",
      port: 80,
      weight: 1,
      method: "masq",
    };
    const codes = [
      await fake.open(tables.addresses, owner).apply([create(vip)]),
      await fake.open(tables.routes, owner).apply([create(localRoute(vip))]),
      await fake.open(tables.ipvsDestinations, owner).apply([create(destination)]),
      await fake.open(tables.ipsetMembers, owner).apply([create({ set: "s", entry: "10.0.0.1" })]),
    ].map(([outcome]) => outcome?.error?.code);
    expect(codes).toEqual(["ENODEV", "ENODEV", "ESRCH", "ENOENT"]);
  });

  test("a set that a chain names is busy", async () => {
    const fake = fakeDataplane();
    const sets = fake.open(tables.ipsets, owner);
    const chains = fake.open(tables.chains, owner);
    const set = { name: "kube-router-svip", type: "hash:ip", family: 4 } as const;
    const chain: Chain = {
      family: 4,
      table: "filter",
      name: "KUBE-ROUTER-SERVICES",
      rules: [{
        matches: [{ kind: "set", set: set.name, directions: ["dst"] }],
        target: { kind: "accept" },
      }],
    };
    expect((await chains.apply([create(chain)]))[0]?.error?.code).toBe("ENOENT");
    await sets.apply([create(set)]);
    await chains.apply([create(chain)]);
    expect((await sets.apply([remove(set)]))[0]?.error?.code).toBe("EBUSY");
    await chains.apply([remove(chain)]);
    expect((await sets.apply([remove(set)]))[0]?.error).toBeUndefined();
    expect(fake.dump()).toBe("");
  });

  test("chains of one transaction may name each other in any order", async () => {
    const chains = fakeDataplane().open(tables.chains, owner);
    const b: Chain = { family: 4, table: "filter", name: "B", rules: [] };
    const a: Chain = {
      ...b,
      name: "A",
      rules: [{ matches: [], target: { kind: "jump", chain: "B" } }],
    };
    const made = await chains.apply([create(a), create(b)]);
    expect(made.map((o) => o.error)).toEqual([undefined, undefined]);
    const gone = await chains.apply([remove(b), remove(a)]);
    expect(gone.map((o) => o.error)).toEqual([undefined, undefined]);
  });

  test("a foreign object is listed as such, keeps its key and cannot be deleted", async () => {
    const fake = fakeDataplane();
    const routes = fake.open(tables.routes, owner);
    const foreign = { ...localRoute(vip), nextHops: [{ link: "lo" }] };
    fake.seed("route", foreign);
    expect(await routes.list()).toEqual([{ item: foreign, owned: false }]);
    const outcomes = await routes.apply([create(foreign), remove(foreign)]);
    expect(outcomes.map((o) => o.error?.code)).toEqual(["EEXIST", "EPERM"]);
    expect(fake.dump()).toEndWith("(foreign)\n");
  });

  test("addresses of links that are not the owner's are not listed", async () => {
    const fake = fakeDataplane();
    fake.seed("link", { ...dummy, name: "eth0" });
    fake.seed("address", { ...vip, link: "eth0" });
    const addresses = fake.open(tables.addresses, owner);
    expect(await addresses.list()).toEqual([]);
  });
});

describe("FakeDataplane does what Linux does by itself", () => {
  test("a link takes its addresses and routes with it", async () => {
    const { fake, links, addresses, routes } = await withLink();
    await addresses.apply([create(vip), create(vip6)]);
    await routes.apply([create(localRoute(vip, "192.0.2.1"))]);
    await links.apply([remove(dummy)]);
    expect(fake.dump()).toBe("");
  });

  test("an address brings a local route, which is not listed until ours stands beside it", async () => {
    const { fake, addresses, routes } = await withLink();
    await addresses.apply([create(vip), create(vip6)]);
    expect(await routes.list()).toEqual([]);
    expect(fake.dump()).toContain("route local fd00::1/128 dev kube-dummy-if table 255 (linux)");
    await addresses.apply([remove(vip), remove(vip6)]);
    expect(fake.dump()).toBe("link kube-dummy-if type dummy up\n");
  });

  test("our local route replaces the IPv4 one and drives out the IPv6 one", async () => {
    const { fake, addresses, routes } = await withLink();
    await addresses.apply([create(vip), create(vip6)]);
    const wanted = [localRoute(vip, "192.0.2.1"), localRoute(vip6, "fd01::1")];
    const outcomes = await routes.apply(wanted.map(create));
    expect(outcomes.map((o) => o.error)).toEqual([undefined, undefined]);
    expect((await routes.list()).map((a) => a.item)).toEqual(wanted);
    expect(fake.dump()).not.toContain("(linux)");
  });
});

describe("FakeDataplane obeys the test", () => {
  test("failNext fails the next ops of a verb, failList the next list", async () => {
    const fake = fakeDataplane();
    const links = fake.open(tables.links, owner);
    fake.failNext("link", "create", "EPERM", 2);
    fake.failList("link", "ENOBUFS");
    const codes = [];
    for (let i = 0; i < 3; i++) codes.push((await links.apply([create(dummy)]))[0]?.error?.code);
    expect(codes).toEqual(["EPERM", "EPERM", undefined]);
    expect(links.list()).rejects.toThrow("Cannot list link: ENOBUFS");
    expect(await links.list()).toHaveLength(1);
    expect([fake.count("link"), fake.count("link", "create"), fake.count("link", "list")])
      .toEqual([1, 1, 1]);
  });

  test("drift tells the watchers what stands at the key now", async () => {
    const { fake, addresses } = await withLink();
    await addresses.apply([create(vip)]);
    const seen: (readonly Drift<Address>[] | "unknown")[] = [];
    const key = tables.addresses.resource.key(vip);
    const stop = addresses.watch?.({
      actual: new Map([[key, { item: vip, owned: true }]]),
      drift: (changes) => seen.push(changes),
    });
    fake.drift("address", key, undefined);
    fake.drift("address", key, vip);
    fake.loseEvents("address");
    stop?.();
    fake.drift("address", key, undefined);
    expect(seen).toEqual([[{ key }], [{ key, actual: { item: vip, owned: true } }], "unknown"]);
  });
});
