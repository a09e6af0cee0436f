import { afterEach, describe, expect, test } from "bun:test";
import { Entry } from "../../../../src/kernel/guest/entry.ts";
import { startLink } from "../../../../src/kernel/guest/link.ts";
import { noMetrics } from "../../../../src/kernel/observe/metrics.ts";
import type {
  ApiEvent,
  ApiFailure,
  ClusterApi,
  Plugin,
  PluginContext,
} from "../../../../src/kernel/third-party.ts";
import { testCluster } from "../../../support/cluster.ts";
import { type TestProcess, testProcess } from "../../../support/guest.ts";
import { service } from "../../../support/objects.ts";
import { type Bench, bench, type BenchOptions } from "../../../support/runtime.ts";

const HOST = { name: "host", synced: true, subscribe: () => () => {}, values: () => [] };

/** Wants a blackhole route for the cluster IP of each Service, and reports those that are called "odd". */
function blackholes(changes: Partial<Plugin> = {}): Plugin {
  return {
    name: "guest",
    api: 1,
    watches: [{ kind: "services" }],
    tables: ["routes"],
    setup: ({ stores, tables, input, reconcile }) =>
      reconcile({
        name: "service",
        inputs: [input(stores.services, ({ metadata }) => [metadata.name])],
        units: () => [...stores.services.values()].map(({ metadata }) => metadata.name),
        desired(name, desired) {
          const found = stores.services.get(`default/${name}`);
          if (found === undefined) return;
          if (name === "odd") desired.report("It is odd");
          desired.want(tables.routes, routeTo(found.spec.clusterIPs[0] ?? ""));
        },
      }),
    ...changes,
  };
}

function routeTo(address: string) {
  return {
    family: 4,
    table: 100,
    type: "blackhole",
    destination: `${address}/32`,
    metric: 0,
    nextHops: [],
  } as const;
}

interface Guested extends Bench {
  readonly entry: Entry;
  /** The plugin's processes, the present one last. */
  readonly processes: readonly TestProcess[];
  until(what: string, condition: () => boolean): Promise<void>;
}

const entries: Entry[] = [];
afterEach(async () => {
  for (const entry of entries.splice(0)) await entry.stop(0);
});

function guested(
  exported: () => unknown,
  given: Readonly<Record<string, unknown>> = {},
  options: BenchOptions = {},
  steadyMs = 20,
): Guested {
  const made = bench([], options);
  const processes: TestProcess[] = [];
  const candidate = { name: "guest", file: "/p/guest.ts", module: "/p/guest.ts", fingerprint: "" };
  const entry = new Entry(candidate, {
    runtime: made.runtime,
    host: HOST,
    node: "node1",
    log: made.log,
    metrics: noMetrics,
    given: () => Promise.resolve(given),
    prepare: () => Promise.resolve(210),
    steadyMs,
    spawn() {
      const child = testProcess(exported);
      processes.push(child);
      return child;
    },
  });
  entries.push(entry);
  made.runtime.admit(entry);
  return {
    ...made,
    entry,
    processes,
    async until(what, condition) {
      for (let i = 0; i < 1_000; i++) {
        await made.settle();
        if (condition()) return;
        await Bun.sleep(5);
      }
      throw new Error(`Never: ${what}\n${JSON.stringify(made.status("guest"), null, 2)}`);
    },
  };
}

async function started(
  exported: () => unknown = () => blackholes(),
  steadyMs?: number,
): Promise<Guested> {
  const made = guested(exported, {}, {}, steadyMs);
  await made.runtime.start();
  made.cluster.put("services", service("default/web", { clusterIPs: ["10.96.0.1"] }));
  made.cluster.sync();
  made.entry.launch();
  await made.until("ready", () => made.status("guest").phase === "ready" && made.entry.settled);
  return made;
}

test("a process that cannot be started now is tried again", async () => {
  const made = bench([], {});
  let tries = 0;
  const entry = new Entry({ name: "guest", file: "/p/g.ts", module: "/p/g.ts", fingerprint: "" }, {
    runtime: made.runtime,
    host: HOST,
    node: "node1",
    log: made.log,
    metrics: noMetrics,
    given: () => Promise.resolve({}),
    prepare: () => Promise.resolve(210),
    spawn() {
      if (++tries === 1) throw new Error("EAGAIN: resource temporarily unavailable");
      return testProcess(() => blackholes());
    },
  });
  entries.push(entry);
  made.runtime.admit(entry);
  await made.runtime.start();
  made.cluster.sync();
  entry.launch();
  for (let i = 0; i < 1_000 && !entry.synced; i++) {
    await made.settle();
    await Bun.sleep(5);
  }
  expect(tries).toBe(2);
  expect(entry.synced).toBeTrue();
});

describe("a third party's plugin", () => {
  test("has in Linux what its units want, and follows the cluster", async () => {
    const { linux, cluster, until } = await started();
    expect(linux.dump()).toContain("10.96.0.1/32");
    cluster.put("services", service("default/db", { clusterIPs: ["10.96.0.2"] }));
    await until("the new one", () => linux.dump().includes("10.96.0.2/32"));
    cluster.remove("services", "default/web");
    await until("the old one gone", () => !linux.dump().includes("10.96.0.1/32"));
  });

  test("is told of by its file, and what it reports by its unit", async () => {
    const { cluster, until, status } = await started();
    cluster.put("services", service("default/odd", { clusterIPs: ["10.96.0.3"] }));
    await until("the report", () => status("guest").problemCount === 1);
    expect(status("guest")).toMatchObject({
      file: "/p/guest.ts",
      phase: "ready",
      problems: [{ type: "problem", subject: "service odd", reason: "It is odd" }],
    });
  });

  test("counts as applied only when its process has answered", async () => {
    const { cluster, runtime, processes, until } = await started();
    const before = runtime.status().applied["services"];
    processes.at(-1)?.hang();
    cluster.put("services", service("default/db", { clusterIPs: ["10.96.0.2"] }));
    expect(runtime.status().applied["services"]).toBe(before ?? "");
    processes.at(-1)?.crash("gone");
    await until("another process", () => processes.length === 2 && runtime.status().pending === 0);
    await until("applied", () => runtime.status().applied["services"] === cluster.version);
  });

  test("does not matter to the agent's readiness", async () => {
    const { runtime, entry, until } = guested(() => {
      throw new Error("No such device");
    });
    await runtime.start();
    entry.launch();
    await until("the fault", () => entry.fault !== undefined);
    expect(runtime.ready).toBeTrue();
    expect(runtime.unhealthy()).toEqual([]);
    expect(runtime.status().plugins).toMatchObject([{
      phase: "degraded",
      reason: "No such device",
    }]);
  });

  test("has announced what it asks for while it works, and not while nobody knows", async () => {
    const health = { name: "health", synced: true, subscribe: () => () => {} };
    const { linux, cluster, processes, entry, until } = await started(() =>
      blackholes({
        tables: ["advertisements"],
        setup: ({ tables, stores, input, reconcile }) =>
          reconcile({
            name: "prefix",
            inputs: [
              input(stores.services, () => "all"),
              health,
            ],
            units: () => ["192.0.2.0/24"],
            desired: (prefix, { want }) => want(tables.advertisements, { prefix }),
          }),
      })
    );
    const announced = () => [...linux.advertisements?.prefixes() ?? []];
    await until("announced", () => announced().length === 1);
    health.synced = false;
    processes[0]?.crash("Out of luck");
    expect(announced()).toEqual([]);
    await until("another process", () => processes.length === 2 && entry.fault === undefined);
    // It works, and has not said yet what it wants.
    expect(announced()).toEqual([]);
    health.synced = true;
    cluster.put("services", service("default/db", { clusterIPs: ["10.96.0.2"] }));
    await until("announced again", () => announced().length === 1);
  });

  test("is heard when what it waits for comes from its own side", async () => {
    let wake: (units: "all") => void = () => {};
    const health = {
      name: "health",
      synced: false,
      waitsFor: "the first answer",
      subscribe: (given: typeof wake) => {
        wake = given;
        return () => {};
      },
    };
    const { runtime, cluster, entry, linux, until } = guested(() =>
      blackholes({
        watches: [],
        setup: ({ tables, reconcile }) =>
          reconcile({
            name: "route",
            inputs: [health],
            units: () => ["one"],
            desired: (_unit, { want }) => want(tables.routes, routeTo("192.0.2.1")),
          }),
      })
    );
    await runtime.start();
    cluster.sync();
    entry.launch();
    await until("it waits", () => entry.waitsFor === "the first answer");
    health.synced = true;
    wake("all");
    await until("its route", () => linux.dump().includes("192.0.2.1/32"));
    expect(entry.synced).toBeTrue();
  });

  test("keeps in Linux what it wanted when it crashes, and says what it wants anew", async () => {
    const { linux, cluster, processes, entry, log, takeLog, until } = await started();
    takeLog();
    processes[0]?.crash("Out of luck");
    expect(entry.fault).toBe("it threw outside of its reconcilers: Out of luck");
    cluster.remove("services", "default/web");
    cluster.put("services", service("default/db", { clusterIPs: ["10.96.0.2"] }));
    expect(linux.dump()).toContain("10.96.0.1/32");
    await until("recovery", () => entry.fault === undefined && processes.length === 2);
    await until("the new state", () => !linux.dump().includes("10.96.0.1/32"));
    expect(linux.dump()).toContain("10.96.0.2/32");
    await until("told", () => log.lines.some(({ message }) => message === "Plugin recovered"));
    const said = takeLog().filter((line) => line.includes("Plugin"));
    expect(said).toEqual(["error Plugin degraded", "info Plugin recovered"]);
  });

  test("is told of once when it fails in the same way again and again", async () => {
    const { processes, entry, log, until } = await started(() => blackholes(), 60_000);
    for (const count of [1, 2]) {
      processes.at(-1)?.crash("Out of luck");
      await until("recovery", () => entry.fault === undefined && processes.length === count + 1);
    }
    processes.at(-1)?.crash("Something else");
    const said = log.lines.filter(({ message }) => message.startsWith("Plugin ")).map((
      { fields },
    ) => fields["reason"]);
    expect(said).toEqual([
      undefined,
      "it threw outside of its reconcilers: Out of luck",
      "it threw outside of its reconcilers: Something else",
    ]);
  });

  test("is gone with what it had to say when it is dismissed", async () => {
    const { runtime, cluster, linux, entry, settle } = await started();
    await entry.stop(0);
    await runtime.dismiss("guest");
    expect(runtime.status().plugins).toEqual([]);
    cluster.remove("services", "default/web");
    await settle();
    expect(linux.dump()).toContain("10.96.0.1/32");
  });
});

test("a third party's plugin speaks for itself in the log, and for no other", async () => {
  const made = await started(() =>
    blackholes({
      setup: ({ log, background }) =>
        background(() => {
          log.child({ plugin: "proxy" }).info("Repaired Linux", {
            plugin: "proxy",
            verb: "create",
          });
          return () => {};
        }),
    })
  );
  const line = () => made.log.lines.find(({ message }) => message === "Repaired Linux");
  await made.until("said", () => line() !== undefined);
  expect(line()?.fields).toEqual({ plugin: "guest", plugin_: "proxy", verb: "create" });
});

describe("what a third party's plugin writes to the API server", () => {
  const emitting = (changes: Partial<Plugin>): Plugin =>
    blackholes({
      ...changes,
      setup({ api, log, background }) {
        background(() => {
          const { metadata } = service("default/web");
          const said = { type: "Normal", reason: "Odd", message: "It is" } as const;
          api.emit({ kind: "services", metadata, ...said }).then(
            () => log.info("Written"),
            (error: ApiFailure) => log.warn("Refused", { code: error.code, text: error.message }),
          );
          return () => {};
        });
      },
    });

  function writing(changes: Partial<Plugin>) {
    const events: ApiEvent[] = [];
    const api = {
      emit: (event: ApiEvent) => Promise.resolve(void events.push(event)),
    } as unknown as ClusterApi;
    const cluster = { ...testCluster(), api };
    const made = guested(() => emitting(changes), {}, { cluster });
    made.entry.launch();
    const line = (message: string) => made.log.lines.find((each) => each.message === message);
    return { ...made, events, line };
  }

  test("gets there if it is declared", async () => {
    const { until, events, line } = writing({ writes: ["events"] });
    await until("an answer", () => line("Written") !== undefined);
    expect(events).toMatchObject([{ reason: "Odd", metadata: { name: "web" } }]);
  });

  test("is refused by the agent if it is not", async () => {
    const { until, events, line } = writing({ writes: ["leases"] });
    await until("an answer", () => line("Refused") !== undefined);
    expect(JSON.stringify(line("Refused"))).toContain(
      'Plugin \\"guest\\" writes \\"events\\", which its field \\"writes\\" does not name; add it there',
    );
    expect(events).toEqual([]);
  });
});

describe("a unit of a third party's plugin", () => {
  const faults: readonly (readonly [string, Plugin, string])[] = [
    [
      "throws",
      withDesired(() => {
        throw new Error("No sense");
      }),
      "No sense",
    ],
    [
      "wants what its plugin did not name",
      withDesired(({ tables }, desired) => desired.want(tables.sysctls, { path: "a", value: "1" })),
      'It wants an item of kind "sysctl", which its field "tables" does not name; add it there',
    ],
    [
      "wants something that is no plain data",
      withDesired(({ tables }, desired) =>
        desired.want(tables.routes, { ...routeTo("10.0.0.1"), more: () => 1 } as never)
      ),
      "It wants something that is no plain data",
    ],
  ];
  test.each(faults)("that %s is degraded alone", async (_name, plugin, reason) => {
    const { runtime, cluster, entry, status, until } = guested(() => plugin);
    await runtime.start();
    cluster.sync();
    entry.launch();
    await until("the failure", () => status("guest").problemCount === 1);
    expect(status("guest").phase).toBe("ready");
    expect(status("guest").problems[0]?.reason).toContain(reason);
  });
});

function withDesired(
  run: (
    context: PluginContext,
    desired: Parameters<Parameters<PluginContext["reconcile"]>[0]["desired"]>[1],
  ) => void,
): Plugin {
  return blackholes({
    setup: (context) =>
      context.reconcile({
        name: "all",
        inputs: [],
        units: () => [""],
        desired: (_unit, desired) => run(context, desired),
      }),
  });
}

describe("a plugin that cannot be used says why", () => {
  const cases: readonly (readonly [string, () => unknown, string])[] = [
    ["its module exports nothing", () => undefined, "its default export is no plugin"],
    [
      "it was made for another contract",
      () => ({ ...blackholes(), api: 2 }),
      "it was made for plugin API 2, this agent speaks 1; take a release that fits",
    ],
    [
      "it has another name than its file",
      () => blackholes({ name: "other" }),
      'its field "name" is "other" and its file is called "guest"; give both the same name',
    ],
    [
      "it watches what there is not",
      () => blackholes({ watches: [{ kind: "secrets" as never }] }),
      'its field "watches" names "secrets"; allowed are services',
    ],
    [
      "it wants what there is not",
      () => blackholes({ tables: ["routs" as never] }),
      'its field "tables" names "routs"; allowed are fouPorts',
    ],
    [
      "it writes what nobody may",
      () => blackholes({ writes: ["secrets" as never] }),
      'its field "writes" names "secrets"; allowed are services/status, events, leases',
    ],
    [
      "it has no setup",
      () => blackholes({ setup: 1 as never }),
      'its field "setup" is no function',
    ],
    [
      "its setup throws",
      () =>
        blackholes({
          setup: () => {
            throw new Error("No such device");
          },
        }),
      "No such device",
    ],
    [
      "it reads a store that it does not name",
      () => blackholes({ setup: ({ stores }) => void stores.pods.size }),
      'Plugin "guest" reads the store "pods", which its field "watches" does not name',
    ],
    [
      "it takes no such option",
      () => blackholes({ options: { b: { default: 1, help: "B" } } }),
      'Option "a" is unknown: it takes b',
    ],
  ];
  test.each(cases)("%s", async (_name, exported, reason) => {
    const given = reason.startsWith("Option") ? { a: "1" } : {};
    const { entry, processes, until } = guested(exported, given);
    entry.launch();
    await until("the fault", () => entry.fault !== undefined);
    expect(entry.fault).toContain(reason);
    expect(processes[0]?.ended).toBeTrue();
  });

  test("its factory is called", async () => {
    const { entry, status, until } = guested(() => () => blackholes({ watches: [], setup() {} }));
    entry.launch();
    await until("its engine", () => status("guest").phase !== "degraded" && entry.settled);
  });
});

describe("a process", () => {
  const load = { type: "load", name: "guest", file: "", given: {}, node: "n", host: [] } as const;

  test("that does not answer is ended, with a hint where it hangs", async () => {
    const child = testProcess(() => blackholes());
    child.hang();
    const fault = await new Promise<string>((resolve) =>
      startLink({ load, spawn: () => child, onMessage() {}, onFault: resolve, pingMs: 1 })
    );
    expect(fault).toContain("while it was loaded, and its process was ended");
    expect(child.ended).toBeTrue();
  });

  test("whose setup does not end is ended", async () => {
    const child = testProcess(() => blackholes({ setup: () => new Promise(() => {}) }));
    const fault = await new Promise<string>((resolve) =>
      startLink({ load, spawn: () => child, onMessage() {}, onFault: resolve, setupMs: 5 })
    );
    expect(fault).toContain("it was not set up within 0.005 s");
  });

  test("that ends itself is at fault", async () => {
    const child = testProcess(() => blackholes());
    const fault = await new Promise<string>((resolve) => {
      startLink({ load, spawn: () => child, onMessage() {}, onFault: resolve });
      child.close();
    });
    expect(fault).toBe("its process ended with exit code 0; remove process.exit");
  });
});
