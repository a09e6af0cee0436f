/** The rounds of the engine. 600 lines because they are the cases of one state machine, on one bench. */

import { describe, expect, test } from "bun:test";
import type { Dataplane } from "../../../../src/kernel/dataplane/dataplane.ts";
import { KernelError } from "../../../../src/kernel/dataplane/errors.ts";
import { type FakeDataplane, fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import type { Drift, Table } from "../../../../src/kernel/dataplane/resource.ts";
import { type IpvsService, tables } from "../../../../src/kernel/dataplane/resources/mod.ts";
import { destination, dummy, ipvs, served, vip, wants } from "../../../support/items.ts";
import { bench, FULL_INTERVAL, running } from "../../../support/runtime.ts";
import { toyPlugin, type Wish } from "../../../support/toy.ts";

const AT = "10.96.0.1:80";
const SERVICE = `tcp ${AT}`;
const A = "10.1.0.1:8080";
const B = "10.1.0.2:8080";

/** A running toy that serves `AT` from A and B. */
async function serving(given: Parameters<typeof running>[1] = {}) {
  const toy = toyPlugin();
  toy.set("web", ...served(AT, A, B));
  toy.set("node", wants.link(), wants.address("10.96.0.1"));
  const made = await running([toy.plugin], given);
  made.takeLog();
  made.linux.resetCounts();
  return { toy, ...made };
}

/** A dataplane whose tables pass through `change`. */
function around(
  linux: FakeDataplane,
  change: (table: Table<unknown>) => Partial<Table<unknown>>,
): Dataplane {
  return {
    open(ref, owner) {
      const table = linux.open(ref, owner) as Table<unknown>;
      return { ...table, ...change(table) } as ReturnType<typeof linux.open> as never;
    },
    close: () => linux.close(),
  };
}

describe("when rounds run", () => {
  test("Linux is neither read nor written before every input is synced", async () => {
    const toy = toyPlugin({ synced: false });
    toy.set("web", ...served(AT, A));
    const { linux, runtime, settle, status } = await running([toy.plugin]);
    expect([linux.count(), linux.count(undefined, "list")]).toEqual([0, 0]);
    expect(status().phase).toBe("waiting");
    expect(runtime.ready).toBe(false);
    toy.sync();
    await settle();
    expect(linux.count()).toBe(2);
    expect(status().phase).toBe("ready");
    expect(runtime.ready).toBe(true);
  });

  test("a plugin that is set up but not started leaves Linux alone, whatever wakes it", async () => {
    const toy = toyPlugin();
    const { runtime, linux, settle } = bench([toy.plugin]);
    await runtime.setup();
    toy.set("web", ...served(AT, A));
    await settle();
    expect([linux.count(), linux.count(undefined, "list")]).toEqual([0, 0]);
    const [preview] = await runtime.preview();
    expect(preview?.tables.flatMap(({ upserts }) => upserts)).toHaveLength(2);
    await settle();
    expect(linux.count()).toBe(0);
  });

  test("the first wake runs at once; those that follow are coalesced until the interval has passed", async () => {
    const { toy, clock, linux, status } = await serving();
    const { rounds } = status();
    toy.set("one", ...served("10.96.0.2:80"));
    await clock.advance(0);
    expect([linux.count(), status().rounds]).toEqual([1, rounds + 1]);
    for (let i = 0; i < 10; i++) {
      toy.set("one", ...served("10.96.0.2:80", `10.1.0.${i}:80`));
      await clock.advance(5);
    }
    expect(status().rounds).toBe(rounds + 1);
    await clock.advance(50);
    expect(status().rounds).toBe(rounds + 2);
    expect(linux.count()).toBe(2);
    expect(linux.dump()).toContain("-> 10.1.0.9:80");
  });

  test("an idle agent sets one timer, and reads Linux back only after the full interval", async () => {
    const { clock, linux, status } = await serving();
    const { rounds } = status();
    await clock.advance(FULL_INTERVAL - 10_000);
    expect([status().rounds, linux.count(undefined, "list"), clock.waiting]).toEqual([
      rounds,
      0,
      1,
    ]);
    await clock.advance(20_000);
    expect(status().rounds).toBe(rounds + 1);
    expect(linux.count(undefined, "list")).toBe(4);
    expect(linux.count()).toBe(0);
  });

  test("one changed unit is the only one that is evaluated", async () => {
    const { toy, settle } = await serving();
    toy.takeEvaluated();
    toy.set("web", ...served(AT, A));
    await settle();
    expect(toy.takeEvaluated()).toEqual(["web"]);
  });

  test("a wake during a round is not lost, and rounds never overlap", async () => {
    const linux = fakeDataplane();
    let running = 0;
    const held: (() => void)[] = [];
    const dataplane = around(linux, (table) => ({
      apply: async (ops) => {
        if (++running > 1) throw new Error("two rounds at once");
        await new Promise<void>((resolve) => held.push(resolve));
        running--;
        return table.apply(ops);
      },
    }));
    const toy = toyPlugin();
    toy.set("web", ...served(AT, A));
    const { runtime, clock, status } = bench([toy.plugin], { linux, dataplane });
    await runtime.start();
    await clock.advance(1_000);
    toy.set("web", ...served(AT, B));
    await clock.advance(1_000);
    for (let i = 0; i < 10; i++) {
      held.shift()?.();
      await clock.advance(1_000);
    }
    expect(linux.dump()).toContain(B);
    expect(linux.dump()).not.toContain(A);
    expect(status().pending).toBe(0);
  });

  test("a wake from within a round's own evaluation starts no second round beside it", async () => {
    const { toy, clock, settle, status } = await serving();
    toy.interfere(() => {
      toy.interfere(undefined);
      toy.wake("all");
    });
    const { rounds } = status();
    toy.wake(["web"]);
    await clock.advance(0);
    expect(status().rounds).toBe(rounds + 1);
    await settle();
    expect(status().rounds).toBe(rounds + 2);
  });

  test("stop ends timers and watches and leaves Linux as it is", async () => {
    const { runtime, toy, clock, linux, settle, status } = await serving();
    const before = linux.dump();
    await runtime.stop();
    toy.set("web");
    linux.drift("ipvs.service", SERVICE, undefined);
    linux.loseEvents("ipvs.service");
    await settle();
    expect(clock.waiting).toBe(0);
    expect([linux.count(), linux.count(undefined, "list")]).toEqual([0, 0]);
    expect(before.split("\n").filter((line) => !linux.dump().includes(line))).toHaveLength(3);
    expect(status().phase).toBe("stopped");
  });
});

test("stop waits for the round that runs, but not for one that hangs", async () => {
  const linux = fakeDataplane();
  const hung = around(linux, () => ({ apply: () => new Promise<never>(() => {}) }));
  const toy = toyPlugin();
  toy.set("web", ...served(AT, A));
  const { runtime, clock, takeLog } = await running([toy.plugin], { linux, dataplane: hung });
  let stopped = false;
  void runtime.stop().then(() => void (stopped = true));
  await clock.advance(4_999);
  expect(stopped).toBe(false);
  await clock.advance(1);
  expect(stopped).toBe(true);
  expect(takeLog()).toEqual(["warn Stopping in the middle of a round"]);
});

describe("what Linux refuses", () => {
  test("a failed op fails alone, is reported, and is retried with growing delays", async () => {
    const { toy, linux, clock, settle, status, takeLog } = await serving();
    linux.failNext("ipvs.destination", "create", "EBUSY", 4);
    toy.set("web", ...served(AT, A, B, "10.1.0.3:8080"));
    toy.set("other", ...served("10.96.0.2:80"));
    await clock.advance(0);
    expect(linux.dump()).toContain("ipvs service tcp 10.96.0.2:80");
    expect(status().problems).toEqual([{
      type: "failed",
      subject: `ipvs.destination ${SERVICE} -> 10.1.0.3:8080`,
      unit: "unit web",
      reason: `Cannot create ipvs.destination "${SERVICE} -> 10.1.0.3:8080": EBUSY`,
    }]);
    expect(status().phase).toBe("ready");
    await clock.advance(600);
    expect(linux.dump()).not.toContain("10.1.0.3");
    await settle();
    expect(linux.dump()).toContain("10.1.0.3");
    expect(status().problems).toEqual([]);
    expect(takeLog().filter((line) => line.startsWith("warn"))).toEqual([
      "warn Linux refused a change",
    ]);
  });

  test("what Linux holds in an item's stead carries what hangs below it, while the item is tried again", async () => {
    const linux = fakeDataplane();
    let lacks = true;
    // A Linux without scheduler "mh", which is served by "rr" meanwhile.
    const dataplane = around(linux, (table) => ({
      async apply(ops) {
        const item = ops[0]?.verb === "delete"
          ? undefined
          : ops[0]?.item as IpvsService | undefined;
        if (!lacks || item?.scheduler !== "mh") return await table.apply(ops);
        const made = { ...item, scheduler: "rr" };
        await table.apply(ops.map((op) => ({ ...op, item: made })));
        return ops.map((op) => ({ op, made, error: new KernelError("make", "ENOSUPPORT") }));
      },
    }));
    const toy = toyPlugin();
    const [service, ...others] = served(AT, A);
    toy.set("web", { ...service, item: ipvs(AT, { scheduler: "mh" }) } as Wish, ...others);
    const { clock, settle, status, takeLog } = await running([toy.plugin], { linux, dataplane });
    const lines = () => linux.dump().split("\n").filter((line) => line.includes("ipvs"));
    expect(lines()).toEqual([
      `ipvs service ${SERVICE} rr`,
      `ipvs destination ${SERVICE} -> ${A} masq weight 1`,
    ]);
    expect(status()).toMatchObject({
      phase: "ready",
      pending: 0,
      problems: [{ type: "failed", subject: `ipvs.service ${SERVICE}`, unit: "unit web" }],
    });
    await clock.advance(FULL_INTERVAL);
    expect(takeLog().filter((line) => line === "warn Linux refused a change")).toHaveLength(1);
    lacks = false;
    await settle();
    await clock.advance(FULL_INTERVAL);
    expect(lines()[0]).toBe(`ipvs service ${SERVICE} mh`);
    expect(status().problems).toEqual([]);
  });

  test("a wake does not make a failed op come sooner; a newer version of the item does", async () => {
    const { toy, linux, clock } = await serving();
    linux.failNext("ipvs.service", "update", "EINVAL", 8);
    const slow = (scheduler: string) =>
      toy.set("web", {
        table: tables.ipvsServices,
        item: ipvs(AT, { scheduler }),
      });
    slow("lc");
    await clock.advance(5_000);
    const failures = () => linux.count("ipvs.service", "update");
    slow("lc");
    await clock.advance(100);
    expect(failures()).toBe(0);
    slow("sh");
    await clock.advance(150);
    slow("wrr");
    await clock.advance(5_000);
    expect(linux.dump()).toContain(`ipvs service ${SERVICE} wrr`);
  });

  test("an op that never succeeds is tried about once a minute, not more", async () => {
    const { toy, linux, clock, status } = await serving();
    linux.failNext("ipvs.service", "create", "EINVAL", 1_000_000);
    toy.set("bad", ...served("10.96.0.9:80", A));
    await clock.advance(600_000);
    const { rounds } = status();
    await clock.advance(600_000);
    expect(status().rounds - rounds).toBeLessThan(16);
    expect(status().problemCount).toBe(1);
  });

  test("a refusal that turned into a conflict is not tried again and again", async () => {
    const { toy, linux, clock, status } = await serving();
    linux.seed("ipvs.service", ipvs("10.96.0.9:80"));
    toy.set("late", ...served("10.96.0.9:80", A));
    await clock.advance(10_000);
    expect(status().problems.map(({ type }) => type)).toEqual(["conflict"]);
    const { rounds } = status();
    await clock.advance(100_000);
    expect(status().rounds).toBe(rounds);
  });

  test("a failed parent is one problem, and its children follow when it is there", async () => {
    const { toy, linux, settle, clock, status } = await serving();
    linux.failNext("ipvs.service", "create", "ENOMEM", 2);
    toy.set("new", ...served("10.96.0.2:80", A, B));
    await clock.advance(0);
    expect(status().problems.map(({ subject }) => subject)).toEqual([
      "ipvs.service tcp 10.96.0.2:80",
    ]);
    await settle();
    expect(linux.count("ipvs.destination", "create")).toBe(2);
  });

  test("a failed list ends the round before anything is written, and is tried again", async () => {
    const toy = toyPlugin();
    toy.set("web", ...served(AT, A));
    const { runtime, linux, clock, settle, status, takeLog } = bench([toy.plugin]);
    linux.failList("ipvs.service", "ENOSUPPORT", 3);
    await runtime.start();
    await clock.advance(150);
    expect(linux.count()).toBe(0);
    expect(status().phase).toBe("degraded");
    expect(status().reason).toBe("Cannot list ipvs.service: ENOSUPPORT");
    expect(runtime.waitingFor()).toEqual([
      "plugin toy is degraded: Cannot list ipvs.service: ENOSUPPORT",
    ]);
    await settle();
    expect(linux.count()).toBe(2);
    expect(status().phase).toBe("ready");
    expect(takeLog().filter((line) => line.includes("Plugin"))).toEqual([
      "error Plugin degraded",
      "info Plugin recovered",
    ]);
  });

  test("a list that always fails is tried about once a minute, however many wakes come", async () => {
    const toy = toyPlugin();
    const { runtime, linux, clock, status } = bench([toy.plugin]);
    linux.failList("link", "EPERM", 1_000_000);
    await runtime.start();
    await clock.advance(600_000);
    const { rounds } = status();
    for (let i = 0; i < 600; i++) {
      toy.set("web", ...served(AT, `10.1.0.${i % 250}:80`));
      await clock.advance(1_000);
    }
    expect(status().rounds - rounds).toBeLessThan(16);
  });

  test("a table that throws or forgets outcomes ends the round, and the next one converges", async () => {
    for (const fault of ["throw", "forget"] as const) {
      const linux = fakeDataplane();
      let faults = 2;
      const dataplane = around(linux, (table) => ({
        apply: async (ops) => {
          if (table.resource.kind !== "ipvs.destination" || faults-- <= 0) return table.apply(ops);
          if (fault === "throw") throw new Error("socket closed");
          return (await table.apply(ops)).slice(1);
        },
      }));
      const { status } = await serving({ linux, dataplane });
      expect(status().phase).toBe("ready");
      expect(status().rounds).toBeGreaterThan(1);
      expect(linux.dump().match(/destination/g)).toHaveLength(2);
    }
  });

  test("what exists already although we did not know is taken as it is, if it is ours", async () => {
    const { toy, linux, settle, status } = await serving();
    linux.seed("ipvs.service", ipvs("10.96.0.2:80", { scheduler: "lc" }), { owner: "toy" });
    linux.seed("ipvs.destination", destination("10.96.0.2:80", "10.1.0.7:1"), { owner: "toy" });
    linux.failNext("ipvs.service", "create", "EEXIST");
    toy.set("new", ...served("10.96.0.2:80", A));
    await settle();
    expect(linux.dump().split("\n").filter((line) => line.includes("10.96.0.2"))).toEqual([
      "ipvs service tcp 10.96.0.2:80 rr",
      `ipvs destination tcp 10.96.0.2:80 -> ${A} masq weight 1`,
    ]);
    expect(status().problems).toEqual([]);
  });

  test("what is gone already although we did not know is made again", async () => {
    const { toy, linux, settle, status } = await serving();
    // A hand that no event tells of: drift, to a table that does not watch.
    linux.failNext("ipvs.destination", "update", "ENOENT");
    toy.set("web", ...served(AT), {
      table: tables.ipvsDestinations,
      item: destination(AT, A, { weight: 7 }),
    });
    await settle();
    expect(linux.dump()).toContain(`${A} masq weight 7`);
    expect(status().problems).toEqual([]);
  });

  test("a service that is lost without an event is found when its destination is refused", async () => {
    const linux = fakeDataplane();
    const dataplane = around(linux, () => ({ watch: () => () => {} }));
    const { toy, settle, status } = await serving({ linux, dataplane });
    linux.drift("ipvs.service", SERVICE, undefined);
    toy.set("web", ...served(AT, A, B, "10.1.0.3:8080"));
    await settle();
    expect(linux.dump().match(/destination/g)).toHaveLength(3);
    expect(status().problems).toEqual([]);
  });

  test("what stands beneath everything makes the plugin degraded, until it succeeds", async () => {
    const toy = toyPlugin();
    toy.set("node", wants.link(), wants.address("10.96.0.1"));
    toy.set("web", ...served(AT, A));
    const { runtime, linux, settle, clock, status, takeLog } = bench([toy.plugin]);
    linux.failNext("link", "create", "ENOSUPPORT", 3);
    await runtime.start();
    await clock.advance(0);
    expect(status().phase).toBe("degraded");
    expect(status().reason).toBe(`Cannot create link "${dummy.name}": ENOSUPPORT`);
    expect(status().lastSuccess).toBeUndefined();
    expect(linux.dump()).toContain(SERVICE);
    expect(linux.count("address", "create")).toBe(0);
    expect(status().problemCount).toBe(1);
    await settle();
    expect(status().phase).toBe("ready");
    expect(linux.dump()).toContain("address 10.96.0.1");
    expect(takeLog().filter((line) => line.includes("Plugin"))).toEqual([
      "error Plugin degraded",
      "info Plugin recovered",
    ]);
  });
});

describe("what is not ours", () => {
  test("is a conflict, is never touched, and nothing is hung below it", async () => {
    const linux = fakeDataplane();
    linux.seed("ipvs.service", ipvs(AT, { scheduler: "sh" }));
    linux.seed("ipvs.destination", destination(AT, "10.9.9.9:1"));
    linux.seed("ipvs.service", ipvs("10.96.9.9:80"));
    const foreign = linux.dump();
    const { toy, status, settle, takeLog } = await serving({ linux });
    const left = () => linux.dump().split("\n").filter((line) => line.includes("(foreign)"));
    expect(left()).toEqual(foreign.trim().split("\n"));
    expect(linux.dump()).not.toContain(A);
    expect(status().problems).toEqual([{
      type: "conflict",
      subject: `ipvs.service ${SERVICE}`,
      reason: `Linux holds ipvs service ${SERVICE} sh, which is not ours; remove it with ` +
        `"ipvsadm -D -t ${AT}" when no other proxy needs it`,
    }]);
    toy.set("web", ...served(AT, B));
    toy.wake("all");
    await settle();
    toy.set("web");
    await settle();
    expect(left()).toEqual(foreign.trim().split("\n"));
    expect(status().problems).toEqual([]);
    expect(takeLog()).toEqual([]);
  });

  test("makes the plugin degraded where all stands on it, and carries nothing of ours", async () => {
    const linux = fakeDataplane();
    linux.seed("link", dummy);
    const { status, settle, toy } = await serving({ linux });
    expect(status()).toMatchObject({
      phase: "degraded",
      reason:
        `Linux holds link ${dummy.name} type dummy up, which is not ours; stop the program that made it ` +
        `(kube-router makes links of this name) and remove it with "ip link del ${dummy.name}"`,
    });
    expect(status().problems.map(({ subject }) => subject)).toEqual([`link ${dummy.name}`]);
    expect(linux.count("address")).toBe(0);
    linux.drift("link", dummy.name, undefined);
    await settle();
    expect(status()).toMatchObject({ phase: "ready", problems: [] });
    expect(linux.dump()).toContain("address 10.96.0.1/32 dev kube-dummy-if");
    toy.set("node");
    await settle();
    expect(linux.dump()).not.toContain("kube-dummy-if");
  });

  test("is taken up once it is gone", async () => {
    const linux = fakeDataplane();
    linux.seed("ipvs.service", ipvs(AT));
    const { settle, status } = await serving({ linux });
    linux.drift("ipvs.service", SERVICE, undefined);
    await settle();
    expect(linux.dump()).toContain(`${SERVICE} -> ${A}`);
    expect(status().problems).toEqual([]);
  });

  test("in its thousands makes no flood of warnings, and costs later rounds nothing", async () => {
    const linux = fakeDataplane();
    const toy = toyPlugin();
    for (let i = 0; i < 500; i++) {
      linux.seed("ipvs.service", ipvs(`10.97.0.1:${i + 1}`));
      toy.set(`s${i}`, ...served(`10.97.0.1:${i + 1}`, A));
    }
    const { takeLog, log, settle, status } = await running([toy.plugin], { linux });
    expect(log.lines.find(({ message }) => message === "More of the same")?.fields).toMatchObject({
      warning: "Conflict",
      more: 480,
    });
    expect(takeLog().length).toBeLessThan(25);
    expect(status().problemCount).toBe(500);
    toy.wake("all");
    await settle();
    expect(takeLog()).toEqual([]);
  });
});

describe("a unit that throws", () => {
  test("is named and keeps what it has in Linux, while others go on", async () => {
    const { toy, linux, settle, status, takeLog } = await serving();
    toy.interfere((unit) => {
      if (unit === "web") throw new Error("no such field");
    });
    toy.set("web");
    toy.set("other", ...served("10.96.0.2:80"));
    await settle();
    expect(linux.dump()).toContain(SERVICE);
    expect(linux.dump()).toContain("10.96.0.2:80");
    expect(status().problems).toEqual([
      { type: "failed", subject: "unit web", reason: "no such field" },
    ]);
    toy.wake("all");
    await settle();
    expect(takeLog()).toEqual(["warn Unit degraded", "info Changed Linux"]);
    toy.interfere(undefined);
    toy.wake(["web"]);
    await settle();
    expect(linux.dump()).not.toContain(SERVICE);
    expect(status().problems).toEqual([]);
  });

  test("is degraded when it wants a kind that its plugin does not name", async () => {
    const { toy, settle, status } = await serving();
    toy.set("bad", wants.sysctl("net/ipv4/ip_forward", "1"));
    await settle();
    expect(status().problems.map(({ reason }) => reason)).toEqual([
      'Plugin "toy" wants an item of kind "sysctl", which its field "tables" does not name; add it there',
    ]);
  });

  test("an item that a table refuses is reported with the table's reason", async () => {
    const linux = fakeDataplane();
    const dataplane = around(linux, ({ resource: { kind } }) => ({
      refuse: () => kind === "ipvs.service" ? "its name is odd" : undefined,
    }));
    const { status } = await serving({ linux, dataplane });
    expect(status().problems[0]).toEqual({
      type: "problem",
      subject: "unit web",
      reason: `Refused ipvs service ${SERVICE} rr: its name is odd`,
    });
  });

  test("reports are told of once, and forgotten when they end", async () => {
    const { toy, settle, status, takeLog } = await serving();
    toy.interfere((unit, { report }) => {
      if (unit === "web") report("the port is odd");
    });
    toy.wake(["web"]);
    await settle();
    toy.wake(["web"]);
    await settle();
    expect(takeLog()).toEqual(["warn Object has a problem"]);
    expect(status().problems).toEqual([
      { type: "problem", subject: "unit web", reason: "the port is odd" },
    ]);
    toy.interfere(undefined);
    toy.wake(["web"]);
    await settle();
    expect(status().problems).toEqual([]);
  });
});

describe("drift", () => {
  test("of one key is repaired by the next round, alone, and logged as a repair", async () => {
    const { linux, clock, log, takeLog } = await serving();
    linux.drift("ipvs.destination", `${SERVICE} -> ${A}`, undefined);
    await clock.advance(0);
    expect(linux.count()).toBe(1);
    expect(linux.count(undefined, "list")).toBe(0);
    expect(log.lines.filter(({ level }) => level === "info")).toEqual([{
      level: "info",
      message: "Repaired Linux",
      fields: {
        plugin: "toy",
        verb: "create",
        item: `ipvs destination ${SERVICE} -> ${A} masq weight 1`,
      },
    }]);
    takeLog();
  });

  test("of one key does not make another change of that round a repair", async () => {
    const { linux, toy, clock, takeLog } = await serving();
    await clock.advance(1_000);
    linux.drift("ipvs.destination", `${SERVICE} -> ${A}`, undefined);
    toy.set("web", ...served(AT, A, B, "10.1.0.3:8080"));
    await clock.advance(0);
    expect(takeLog().toSorted()).toEqual(["info Changed Linux", "info Repaired Linux"]);
  });

  test("that changes a value is undone", async () => {
    const { linux, clock } = await serving();
    const key = `${SERVICE} -> ${A}`;
    linux.drift("ipvs.destination", key, destination(AT, A, { weight: 0 }));
    await clock.advance(0);
    expect(linux.dump()).not.toContain("weight 0");
    expect(linux.count("ipvs.destination", "update")).toBe(1);
  });

  test("that loses a parent brings back all that hung below it", async () => {
    const { linux, settle, clock } = await serving();
    const before = linux.dump();
    linux.drift("link", dummy.name, undefined);
    await clock.advance(0);
    expect(linux.dump()).toBe(before);
    linux.drift("ipvs.service", SERVICE, undefined);
    await settle();
    expect(linux.dump()).toBe(before);
  });

  test("that loses a parent brings its children back, although Linux told only of the parent", async () => {
    const linux = fakeDataplane();
    const dataplane = around(
      linux,
      ({ resource }) => resource.parentKind === undefined ? {} : { watch: () => () => {} },
    );
    const { settle } = await serving({ linux, dataplane });
    const before = linux.dump();
    linux.drift("link", dummy.name, undefined);
    linux.drift("ipvs.service", SERVICE, undefined);
    await settle();
    expect(linux.dump()).toBe(before);
  });

  test("that takes a parent over by a stranger leaves it to the stranger", async () => {
    const { linux, settle, status } = await serving();
    linux.drift("ipvs.service", SERVICE, undefined);
    linux.seed("ipvs.service", ipvs(AT, { scheduler: "sh" }));
    linux.drift("ipvs.service", SERVICE, ipvs(AT, { scheduler: "sh" }));
    await settle();
    expect(linux.dump()).toContain(`ipvs service ${SERVICE} sh (foreign)`);
    expect(linux.dump()).not.toContain(A);
    expect(status().problems.map(({ type }) => type)).toEqual(["conflict"]);
  });

  test("that nobody could tell of is found by a list once events were lost", async () => {
    const { linux, toy, settle, takeLog } = await serving();
    void toy;
    linux.seed("ipvs.destination", destination(AT, "10.6.6.6:1"), { owner: "toy" });
    await settle();
    expect(linux.dump()).toContain("10.6.6.6");
    linux.loseEvents("ipvs.destination");
    await settle();
    expect(linux.dump()).not.toContain("10.6.6.6");
    expect(linux.count(undefined, "list")).toBe(1);
    expect(takeLog()).toEqual(["info Repaired Linux"]);
  });

  /** Lets `act` happen while the next call of `method` on destinations runs, before or after what it does. */
  function racing(method: "list" | "apply", when: "before" | "after") {
    const linux = fakeDataplane();
    let act: (() => void) | undefined;
    let drift: ((changes: readonly Drift<unknown>[] | "unknown") => void) | undefined;
    const dataplane = around(linux, (table) => {
      if (table.resource.kind !== "ipvs.destination") return {};
      return {
        watch: (context) => {
          drift = context.drift;
          return table.watch?.(context) ?? (() => {});
        },
        [method]: async (ops: never) => {
          const run = act;
          act = undefined;
          if (when === "before") run?.();
          const result = await table[method](ops);
          if (when === "after") run?.();
          await new Promise((resolve) => void setImmediate(resolve));
          return result;
        },
      };
    });
    return {
      linux,
      dataplane,
      next: (run: () => void) => void (act = run),
      tell: (changes: readonly Drift<unknown>[] | "unknown") => drift?.(changes),
    };
  }

  for (const when of ["before", "after"] as const) {
    test(`of a key while its own op runs, ${when} Linux took that, is found`, async () => {
      const { linux, dataplane, next, tell } = racing("apply", when);
      const { toy, settle } = await serving({ linux, dataplane });
      const key = `${SERVICE} -> 10.1.0.3:8080`;
      next(() => {
        linux.drift("ipvs.destination", key, undefined);
        tell([{ key }]);
      });
      toy.set("web", ...served(AT, A, B, "10.1.0.3:8080"));
      await settle();
      expect(linux.dump()).toContain("10.1.0.3");
    });

    test(`while a list runs, ${when} Linux was read, is found`, async () => {
      const { linux, dataplane, next } = racing("list", when);
      const { settle } = await serving({ linux, dataplane });
      next(() => linux.drift("ipvs.destination", `${SERVICE} -> ${A}`, undefined));
      linux.loseEvents("ipvs.destination");
      await settle();
      expect(linux.dump()).toContain(A);
    });

    test(`of which events are lost while a list runs, ${when} Linux was read, is found`, async () => {
      const { linux, dataplane, next, tell } = racing("list", when);
      const { settle } = await serving({ linux, dataplane });
      next(() => {
        linux.seed("ipvs.destination", destination(AT, "10.6.6.6:1"), { owner: "toy" });
        tell("unknown");
      });
      linux.loseEvents("ipvs.destination");
      await settle();
      expect(linux.dump()).not.toContain("10.6.6.6");
    });
  }

  test("that comes without end does not make rounds run hot", async () => {
    const { linux, clock, status } = await serving();
    const { rounds } = status();
    for (let i = 0; i < 1_000; i++) {
      linux.drift("ipvs.destination", `${SERVICE} -> ${A}`, undefined);
      await clock.advance(10);
    }
    expect(status().rounds - rounds).toBeLessThanOrEqual(101);
    expect(linux.dump()).toContain(A);
  });

  test("a kind that cannot be watched is said, and read back in full rounds", async () => {
    const linux = fakeDataplane();
    const dataplane = around(linux, (table) =>
      table.resource.kind === "link"
        ? {
          watch: () => {
            throw new KernelError("watch link", "EPERM");
          },
        }
        : {});
    const toy = toyPlugin();
    toy.set("node", wants.link());
    const { clock, takeLog, status } = await running([toy.plugin], { linux, dataplane });
    expect(takeLog()).toContain("error Cannot watch Linux");
    expect(status().phase).toBe("ready");
    linux.drift("link", dummy.name, undefined);
    await clock.advance(FULL_INTERVAL);
    expect(linux.dump()).toContain(dummy.name);
  });
});

describe("settled", () => {
  test("means that all that the stores hold was carried out or refused", async () => {
    const { toy, linux, clock, status } = await serving();
    linux.failNext("ipvs.service", "create", "EINVAL", 100);
    toy.set("bad", ...served("10.96.0.9:80", A));
    expect(status().pending).toBe(1);
    await clock.advance(0);
    expect(status().problemCount).toBe(1);
    expect(status().pending).toBe(0);
  });
});

test("two units that want one address and port: the older has it, the younger is told", async () => {
  const { toy, linux, settle, status } = await serving();
  toy.rank("web", "2");
  toy.rank("older", "1");
  toy.wake(["web"]);
  toy.set("older", ...served(AT, "10.1.0.9:1"));
  await settle();
  const destinations = () => linux.dump().split("\n").filter((line) => line.includes("-> "));
  expect(destinations()).toEqual([`ipvs destination ${SERVICE} -> 10.1.0.9:1 masq weight 1`]);
  expect(status().problems.map(({ subject }) => subject)).toEqual([`ipvs.service ${SERVICE}`]);
  toy.set("older");
  await settle();
  expect(destinations()).toHaveLength(2);
  expect(status().problems).toEqual([]);
  expect(linux.dump()).toContain(vip("10.96.0.1").address);
});
