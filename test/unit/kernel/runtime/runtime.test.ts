import { describe, expect, test } from "bun:test";
import type { Plugin } from "../../../../src/kernel/plugin.ts";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import { served, wants } from "../../../support/items.ts";
import { node, service } from "../../../support/objects.ts";
import { bench, running } from "../../../support/runtime.ts";
import { type ToyOptions, toyPlugin } from "../../../support/toy.ts";

const AT = "10.96.0.1:80";
const A = "10.1.0.1:8080";

/** A toy that serves `AT`, and the plugin under test beside it. */
async function beside(other: Plugin<never>, given: Parameters<typeof running>[1] = {}) {
  const good = toyPlugin({ name: "good" });
  good.set("web", ...served(AT, A));
  const made = bench([other, good.plugin], given);
  const started = made.runtime.start();
  await made.settle();
  return { good, started, ...made };
}

function changed(toy: ToyOptions, changes: Partial<Plugin<never>>): Plugin<never> {
  return { ...toyPlugin(toy).plugin, ...changes };
}

describe("a plugin that cannot be hosted is named and degraded, while the others go on", () => {
  const cases: readonly (readonly [string, Plugin<never>, string])[] = [
    [
      "its setup throws",
      changed({ name: "bad" }, {
        setup: () => {
          throw new Error("no module ip_vs");
        },
      }),
      "no module ip_vs",
    ],
    [
      "its setup rejects",
      changed({ name: "bad" }, { setup: () => Promise.reject(new Error("no such file")) }),
      "no such file",
    ],
    [
      "its setup throws something that is no error",
      changed({ name: "bad" }, { setup: () => Promise.reject("text") }),
      "text",
    ],
    [
      "its configuration is wrong",
      changed({ name: "bad" }, {
        parse: () => {
          throw new Error('Option "x" is "y"; allowed is "z"');
        },
      }),
      'Option "x" is "y"; allowed is "z"',
    ],
    [
      "it was made for another contract",
      changed({ name: "bad" }, { api: 7 as never }),
      "it was made for plugin API 7, this agent speaks 1; take a release that fits",
    ],
    [
      "its name is no name",
      changed({ name: "Bad One" }, {}),
      'its name "Bad One" is not lower-case letters, digits and dashes; rename it',
    ],
    [
      "it names a kind of Linux state that there is not",
      changed({ name: "bad" }, { tables: ["routs" as never] }),
      'its field "tables" names "routs"; allowed are fouPorts, links, bridges, sysctls, addresses, routes, ' +
      "rules, bridgeHairpins, podLinks, " +
      "podAddresses, ipsets, ipsetMembers, chains, jumps, ipvsServices, ipvsDestinations, ipvsTimeouts, cniConfs, healthChecks, " +
      "advertisements",
    ],
    [
      "it waits for itself",
      changed({ name: "bad", after: ["bad"] }, {}),
      "it waits for itself: bad after bad",
    ],
    [
      "it reads a store that it does not name",
      toyPlugin({ name: "bad", setup: ({ stores }) => void stores.services.size }).plugin,
      'Plugin "bad" reads the store "services", which its field "watches" does not name; add it there',
    ],
  ];
  for (const [name, plugin, reason] of cases) {
    test(`when ${name}`, async () => {
      const { linux, runtime, started, status, log } = await beside(plugin);
      await started;
      expect(status(plugin.name)).toMatchObject({ phase: "degraded", reason });
      expect(status("good").phase).toBe("ready");
      expect(linux.dump()).toContain(AT);
      expect(runtime.ready).toBe(false);
      expect(runtime.waitingFor()).toEqual([`plugin ${plugin.name} is degraded: ${reason}`]);
      expect(log.lines.filter(({ level }) => level === "error")).toMatchObject([
        { message: "Plugin not started", fields: { plugin: plugin.name, reason } },
      ]);
      await runtime.stop();
    });
  }

  test("when its setup never ends, and it holds up nobody", async () => {
    const { linux, runtime, started, status } = await beside(
      toyPlugin({ name: "slow", setup: () => new Promise<void>(() => {}) }).plugin,
      { setupTimeout: 20 },
    );
    expect(status("good").phase).toBe("ready");
    expect(linux.dump()).toContain(AT);
    await started;
    expect(status("slow").reason).toBe(
      "its setup did not end within 20 ms; perhaps it awaits something that never comes",
    );
    await runtime.stop();
  });

  test("when its setup failed, nothing that it declared before or declares later reaches Linux", async () => {
    let later: (() => void) | undefined;
    const bad = toyPlugin({
      name: "bad",
      setup: (context) => {
        later = () =>
          context.reconcile({
            name: "late",
            inputs: [],
            units: () => [""],
            desired: (_unit, { want }) => want(context.tables.links, wants.link().item as never),
          });
        throw new Error("too late");
      },
    });
    bad.set("web", ...served("10.96.0.9:80", A));
    const { linux, settle, started } = await beside(bad.plugin);
    await started;
    later?.();
    bad.wake("all");
    await settle();
    expect(linux.dump()).not.toContain("10.96.0.9");
    expect(linux.dump()).not.toContain("link");
  });

  test("when another one has its name: the first of them is hosted", async () => {
    const [one, two] = [toyPlugin(), toyPlugin()];
    one.set("web", ...served(AT, A));
    two.set("web", ...served("10.96.0.2:80", A));
    const { linux, runtime } = await running([one.plugin, two.plugin]);
    expect(linux.dump()).toContain(AT);
    expect(linux.dump()).not.toContain("10.96.0.2");
    expect(runtime.status().plugins.map(({ reason }) => reason)).toEqual([
      undefined,
      'another plugin is called "toy" as well; rename one of them',
    ]);
  });
});

describe("order", () => {
  test("a plugin is set up behind those that it names, even where they take their time", async () => {
    const order: string[] = [];
    const plugin = (name: string, after: readonly string[], wait = false) =>
      toyPlugin({
        name,
        after,
        setup: async () => {
          if (wait) await Promise.resolve();
          order.push(name);
        },
      }).plugin;
    await running([plugin("c", ["b"]), plugin("b", ["a", "unknown"], true), plugin("a", [], true)]);
    expect(order).toEqual(["a", "b", "c"]);
  });

  test("plugins that wait for each other are all refused, and those behind them are not", async () => {
    const plugin = (name: string, after: readonly string[]) => toyPlugin({ name, after }).plugin;
    const { runtime } = await running([
      plugin("a", ["b"]),
      plugin("b", ["c"]),
      plugin("c", ["a"]),
      plugin("d", ["c"]),
    ]);
    expect(runtime.status().plugins.map(({ name, reason }) => `${name}: ${reason}`)).toEqual([
      "a: it waits for itself: a after b after c after a",
      "b: it waits for itself: b after c after a after b",
      "c: it waits for itself: c after a after b after c",
      "d: undefined",
    ]);
  });

  test("an agent is not ready before every plugin is set up, nor says that anything is applied", async () => {
    let go: (() => void) | undefined;
    const slow = toyPlugin({
      name: "slow",
      setup: () => new Promise<void>((resolve) => void (go = resolve)),
    });
    const { runtime, cluster, started, settle } = await beside(slow.plugin);
    cluster.sync();
    expect(runtime.ready).toBe(false);
    expect(runtime.waitingFor()).toEqual(["plugin slow is being set up"]);
    expect(runtime.status().applied).toEqual({});
    go?.();
    await started;
    await settle();
    expect(runtime.ready).toBe(true);
  });

  test("a plugin whose setup ends after the agent stopped is not started", async () => {
    let go: (() => void) | undefined;
    const slow = toyPlugin({
      name: "slow",
      setup: () => new Promise<void>((resolve) => void (go = resolve)),
    });
    slow.set("web", ...served("10.96.0.9:80", A));
    const { runtime, linux, settle, started } = await beside(slow.plugin);
    await runtime.stop();
    go?.();
    await started;
    await settle();
    expect(linux.dump()).not.toContain("10.96.0.9");
  });
});

describe("two plugins", () => {
  test("want one key: the first has it, the other is told, and follows when the first lets go", async () => {
    const [one, two] = [toyPlugin({ name: "one" }), toyPlugin({ name: "two" })];
    one.set("web", ...served(AT, A));
    const { linux, settle, status } = await running([one.plugin, two.plugin]);
    two.set("mine", ...served(AT, A));
    await settle();
    const refused = `plugin "one" holds it; let only one of them want it`;
    expect(status("two").problems.map(({ reason }) => reason)).toEqual([
      `Refused ipvs service tcp ${AT} rr: ${refused}`,
      `Refused ipvs destination tcp ${AT} -> ${A} masq weight 1: ${refused}`,
    ]);
    expect(status("one").problems).toEqual([]);
    one.set("web");
    await settle();
    expect(status("two").problems).toEqual([]);
    expect(status("two").owned).toMatchObject({ "ipvs.service": 1, "ipvs.destination": 1 });
    expect(linux.dump()).toContain(A);
  });

  test("may want the same value of what both need", async () => {
    const both = ["one", "two"].map((name) => toyPlugin({ name, tables: ["sysctls"] }));
    for (const toy of both) toy.set("node", wants.sysctl("net/ipv4/ip_forward", "1"));
    const { linux, settle, status } = await running(both.map(({ plugin }) => plugin));
    expect(linux.dump()).toContain("ip_forward = 1");
    expect([...status("one").problems, ...status("two").problems]).toEqual([]);
    // Both hold it: if one had to let go, it would be changed for a moment.
    expect([status("one").owned, status("two").owned]).toEqual([{ sysctl: 1 }, { sysctl: 1 }]);
    both[0]?.set("node");
    await settle();
    expect(linux.dump()).toContain("ip_forward = 1");
    both[1]?.set("node", wants.sysctl("net/ipv4/ip_forward", "0"));
    both[0]?.set("node", wants.sysctl("net/ipv4/ip_forward", "1"));
    await settle();
    expect(status("one").problems.map(({ reason }) => reason)).toEqual([
      'Refused sysctl net/ipv4/ip_forward = 1: plugin "two" holds it; let only one of them want it',
    ]);
  });

  test("of which one's Linux cannot be read do not hold each other up", async () => {
    const linux = fakeDataplane();
    linux.failList("sysctl", "EPERM", 1_000);
    const [one, two] = [
      toyPlugin({ name: "one", tables: ["sysctls"] }),
      toyPlugin({ name: "two" }),
    ];
    two.set("web", ...served(AT, A));
    const { runtime, status } = await running([one.plugin, two.plugin], { linux });
    expect(status("one").phase).toBe("degraded");
    expect(runtime.unhealthy().join()).toContain("plugin one is degraded");
    expect(runtime.unhealthy("two")).toEqual([]);
    expect(status("two").phase).toBe("ready");
    expect(linux.dump()).toContain(A);
  });
});

/** A plugin with one unit a Service, which wants a VIP for its first cluster IP. */
function vips(units: (name: string) => string = (name) => name): Plugin<never> {
  const plugin: Plugin<unknown> = {
    name: "vips",
    api: 1,
    watches: [{ kind: "services" }],
    tables: ["ipvsServices"],
    parse: (raw) => raw,
    setup({ input, reconcile, stores }) {
      reconcile({
        name: "service",
        inputs: [input(stores.services, ({ metadata }) => [units(metadata.name)])],
        units: () => [...stores.services.values()].map(({ metadata }) => metadata.name),
        desired(unit, { want }) {
          const found = stores.services.get(`default/${unit}`);
          if (found === undefined) return;
          const { table, item } = served(`${found.spec.clusterIPs[0]}:80`)[0] ?? {};
          if (table !== undefined) want(table, item);
        },
      });
    },
  };
  return plugin as unknown as Plugin<never>;
}

describe("stores", () => {
  test("what is applied is the version that the stores had when all was carried out", async () => {
    const { runtime, cluster, clock, settle, linux } = await running([vips()]);
    expect(runtime.status().applied).toEqual({});
    expect(runtime.waitingFor()).toEqual(["no list of services yet"]);
    cluster.put("services", service("default/a"));
    cluster.sync();
    const first = cluster.version;
    expect(runtime.status().applied).toEqual({});
    await settle();
    expect(runtime.status().applied).toEqual({ services: first });
    cluster.put("services", service("default/a", { clusterIPs: ["10.96.0.9"] }));
    await clock.advance(0);
    cluster.put("services", service("default/a", { clusterIPs: ["10.96.0.8"] }));
    expect(runtime.status().applied).not.toEqual({ services: cluster.version });
    await settle();
    expect(runtime.status().applied).toEqual({ services: cluster.version });
    expect(linux.dump()).toBe("ipvs service tcp 10.96.0.8:80 rr\n");
  });

  test("a version that moves although nothing changed is applied at once", async () => {
    const { runtime, cluster, settle } = await running([vips()]);
    cluster.sync();
    await settle();
    cluster.put("nodes", node("node1"));
    const old = cluster.stores.services.resourceVersion;
    expect(runtime.status().applied).toEqual({ services: old });
  });

  test("what an object said before its change is woken as well", async () => {
    const { cluster, settle, linux } = await running([vips()]);
    cluster.put("services", service("default/a"));
    cluster.sync();
    await settle();
    cluster.remove("services", "default/a");
    await settle();
    expect(linux.dump()).toBe("");
  });

  test("a plugin whose mapping of objects throws looks at all its units, and is heard of", async () => {
    const { cluster, settle, linux, log } = await running([
      vips((name) => {
        if (name === "odd") throw new Error("odd name");
        return name;
      }),
    ]);
    cluster.sync();
    cluster.put("services", service("default/odd"));
    await settle();
    expect(linux.dump()).toBe("ipvs service tcp 10.96.0.1:80 rr\n");
    expect(log.lines.find(({ level }) => level === "error")?.fields).toMatchObject({
      plugin: "vips",
      reason: "odd name",
    });
  });

  test("that lack what could not be read since the start leave what an earlier run made of it", async () => {
    const { runtime, cluster, linux, settle } = bench([vips()]);
    const [item] = served("10.96.0.7:80");
    linux.seed("ipvs.service", item?.item, { owner: "vips" });
    cluster.put(
      "services",
      service("default/a"),
      service("default/b", { clusterIPs: ["10.96.0.6"] }),
    );
    cluster.sync();
    cluster.unreadable("c.yaml:3: odd");
    await runtime.setup();
    const planned = async () =>
      (await runtime.preview()).flatMap(({ tables: plans }) =>
        plans.flatMap(({ deletes }) => deletes)
      );
    expect(await planned()).toEqual([]);
    await runtime.start();
    await settle();
    expect(runtime.waitingFor()).toEqual([
      "c.yaml:3: odd; it was never read since the start, and what an earlier run made of it stays in Linux",
    ]);
    expect(linux.dump()).toContain("10.96.0.7:80");
    // What this run has made goes as ever.
    cluster.remove("services", "default/b");
    await settle();
    expect(linux.dump()).not.toContain("10.96.0.6:80");
    expect(runtime.status().pending).toBe(0);
    cluster.unreadable();
    await settle();
    expect(linux.dump()).not.toContain("10.96.0.7:80");
    expect(runtime.ready).toBe(true);
  });

  test("preview says what a round would do, writes nothing, and is empty after the round", async () => {
    const { runtime, cluster, linux } = bench([vips()]);
    linux.seed("ipvs.service", served("10.96.0.7:80")[0]?.item, { owner: "vips" });
    linux.seed("ipvs.service", served("10.96.0.6:80")[0]?.item);
    await runtime.setup();
    cluster.put(
      "services",
      service("default/a"),
      service("default/b", { clusterIPs: ["10.96.0.6"] }),
    );
    cluster.sync();
    const before = linux.dump();
    const [preview] = await runtime.preview();
    expect(
      preview?.tables.map(({ upserts, deletes, conflicts, resource }) => ({
        upserts: upserts.map(({ item }) => resource.key(item)),
        deletes: deletes.map(({ item }) => resource.key(item)),
        conflicts: conflicts.map(({ key }) => key),
      })),
    ).toEqual([{
      upserts: ["tcp 10.96.0.1:80"],
      deletes: ["tcp 10.96.0.7:80"],
      conflicts: ["tcp 10.96.0.6:80"],
    }]);
    expect(linux.dump()).toBe(before);
    const after = await running([vips()], { linux, cluster });
    const [second] = await after.runtime.preview();
    expect(second?.tables.flatMap(({ upserts, deletes }) => [...upserts, ...deletes])).toEqual([]);
  });
});

test("an observer is told of rounds and ops", async () => {
  const told: string[] = [];
  const toy = toyPlugin();
  toy.set("web", ...served(AT, A));
  const { linux } = bench([]);
  linux.failNext("ipvs.destination", "create", "EBUSY");
  await running([toy.plugin], {
    linux,
    observer: (plugin) => ({
      begin: () => void told.push(`${plugin} begins`),
      round: ({ ok }) => void told.push(`${plugin} round ${ok}`),
      ops: (kind, verb, ok, count) => void told.push(`${kind} ${verb} ${ok} ${count}`),
    }),
  });
  expect(told).toEqual([
    "toy begins",
    "ipvs.service create true 1",
    "ipvs.destination create false 1",
    "toy round true",
    "ipvs.destination create true 1",
    "toy round true",
  ]);
});
