import { describe, expect, test } from "bun:test";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import { creationOrder } from "../../../../src/kernel/dataplane/resources/mod.ts";
import { cleanup, leftovers } from "../../../../src/kernel/runtime/cleanup.ts";
import { running } from "../../../support/runtime.ts";
import {
  foreignLines,
  proxyOptions,
  proxyPlugin,
  seedForeign,
  smallCluster,
} from "../../../support/service-world.ts";

const owners = [{ name: "proxy", protocol: 201 }];

/** A Linux that the proxy has written to and then left. */
async function left() {
  const linux = fakeDataplane();
  const foreign = seedForeign(linux);
  const made = await running([proxyPlugin], {
    linux,
    cluster: smallCluster(),
    options: proxyOptions({ serviceTcpTimeout: 900_000 }),
  });
  const owned = Object.values(made.status().owned).reduce((sum, count) => sum + count, 0);
  await made.runtime.stop();
  return { linux, foreign, owned };
}

describe("cleanup()", () => {
  test("removes all that an owner has, and nothing else, without its plugin", async () => {
    const { linux, foreign, owned } = await left();
    const { removed, failed } = await cleanup(linux, owners);
    expect(failed).toEqual([]);
    expect(removed).toHaveLength(owned);
    expect(linux.dump().trim().split("\n")).toEqual([...foreign]);
    expect(await cleanup(linux, owners)).toEqual({ removed: [], failed: [] });
  });

  test("of another owner removes nothing", async () => {
    const { linux } = await left();
    const before = linux.dump();
    expect(await cleanup(linux, [{ name: "firewall", protocol: 203 }]))
      .toEqual({ removed: [], failed: [] });
    expect(linux.dump()).toBe(before);
  });

  test.each([...creationOrder])("goes on when %s cannot be read, and says so", async (kind) => {
    const { linux } = await left();
    linux.failList(kind, "EPERM");
    const { failed } = await cleanup(linux, owners);
    expect(failed).toContain(`Cannot list ${kind}: EPERM`);
    expect((await cleanup(linux, owners)).failed).toEqual([]);
    expect(linux.dump().trim().split("\n")).toEqual([...foreignLines(linux)]);
  });

  test("takes a kind that Linux does not know for empty", async () => {
    const { linux } = await left();
    linux.failList("ipset", "ENOSUPPORT");
    expect((await cleanup(linux, owners)).failed).toEqual([]);
  });

  test("names what Linux refuses to remove", async () => {
    const { linux } = await left();
    linux.failNext("link", "delete", "EBUSY");
    expect((await cleanup(linux, owners)).failed)
      .toEqual(['Cannot delete link "kube-dummy-if": EBUSY']);
  });
});

describe("leftovers()", () => {
  test("counts what an owner has, and says nothing of owners without any", async () => {
    const { linux, owned } = await left();
    const all = [...owners, { name: "firewall", protocol: 203 }];
    expect(await leftovers(linux, all)).toEqual([{ owner: "proxy", items: owned }]);
    await cleanup(linux, owners);
    expect(await leftovers(linux, all)).toEqual([]);
  });

  test("counts the other kinds where one cannot be read", async () => {
    const { linux, owned } = await left();
    linux.failList("ipvs.service", "ENOSUPPORT");
    const [found] = await leftovers(linux, owners);
    expect(found?.items).toBeGreaterThan(0);
    expect(found?.items).toBeLessThan(owned);
  });
});
