import { expect, test } from "bun:test";
import { fakeDataplane } from "../../../../src/kernel/dataplane/fake.ts";
import type { Route } from "../../../../src/kernel/dataplane/resources/route.ts";
import type { Plugin, PluginContext } from "../../../../src/kernel/plugin.ts";
import { settledInput } from "../../../../src/plugins/router/rib-input.ts";
import { route } from "../../../support/items.ts";
import { bench, running } from "../../../support/runtime.ts";

const plain = (to: string): Route => ({ ...route(to), nextHops: [{ gateway: "10.0.0.2" }] });

function plugin(setup: (context: PluginContext<unknown>) => void): Plugin<never> {
  return {
    name: "held",
    api: 1,
    watches: [],
    tables: ["routes"],
    parse: (raw) => raw as never,
    setup: (context) => setup(context as PluginContext<unknown>),
  };
}

function world() {
  const linux = fakeDataplane();
  linux.seed("route", plain("10.1.0.0/24"), { owner: "held" });
  linux.seed("route", plain("10.2.0.0/24"), { owner: "held" });
  linux.seed("route", plain("10.3.0.0/24"));
  const ready = settledInput(4);
  const keep = (item: Route) => item.destination !== "10.2.0.0/24";
  const made = plugin((context) => {
    context.hold(context.tables.routes, ready, keep);
    context.reconcile({ name: "nothing", inputs: [], units: () => [""], desired: () => {} });
  });
  return { linux, ready, made };
}

const left = (linux: ReturnType<typeof fakeDataplane>) =>
  linux.dump().trim().split("\n").map((line) => line.split(" ")[2] ?? "");

test("what nobody wants stays until the input is synced, and then goes", async () => {
  const { linux, ready, made } = world();
  const { settle, runtime } = await running([made], { linux });
  expect(runtime.ready).toBe(true);
  expect(left(linux)).toEqual(["10.1.0.0/24", "10.3.0.0/24"]);
  ready.set(true);
  await settle();
  // Another's stays in any case.
  expect(left(linux)).toEqual(["10.3.0.0/24"]);
});

test("a dry run plans nothing for what is held", async () => {
  const { linux, made } = world();
  const { runtime } = bench([made], { linux });
  await runtime.setup();
  const [preview] = await runtime.preview();
  expect(
    preview?.tables.flatMap(({ deletes }) => deletes).map(({ item }) =>
      (item as Route).destination
    ),
  )
    .toEqual(["10.2.0.0/24"]);
});

test("a background task begins with the agent, and ends with it", async () => {
  const told: string[] = [];
  const made = plugin((context) => {
    context.background(() => {
      told.push("begin");
      return () => void told.push("end");
    });
    context.background(() => Promise.reject(new Error("no luck")));
    context.answer("echo", (query) => ({ said: query.get("text") }));
    context.reconcile({ name: "nothing", inputs: [], units: () => [""], desired: () => {} });
  });
  const dry = bench([made]);
  await dry.runtime.setup();
  await dry.runtime.stop();
  expect(told).toEqual([]);
  const { runtime, takeLog } = await running([made]);
  expect(runtime.ready).toBe(true);
  expect(takeLog()).toContain("error Background task failed");
  expect(runtime.answer("held/echo", new URLSearchParams({ text: "hi" }))).toEqual({ said: "hi" });
  expect(runtime.answer("held/other", new URLSearchParams())).toBeUndefined();
  await runtime.stop();
  expect(told).toEqual(["begin", "end"]);
});

test("a plugin knows what is its own in Linux, of the kinds that it named", async () => {
  const { linux } = world();
  let owned: readonly Route[] = [];
  const problems: string[] = [];
  const made = plugin((context) => {
    context.background(async () => {
      owned = await context.owned(context.tables.routes);
      await context.owned(context.tables.links).catch((error: Error) =>
        problems.push(error.message)
      );
      return () => {};
    });
    context.hold(context.tables.routes, settledInput(4));
    context.reconcile({ name: "nothing", inputs: [], units: () => [""], desired: () => {} });
  });
  await running([made], { linux });
  expect(owned.map(({ destination }) => destination)).toEqual(["10.1.0.0/24", "10.2.0.0/24"]);
  expect(problems.join()).toContain('reads items of kind "link"');
});
