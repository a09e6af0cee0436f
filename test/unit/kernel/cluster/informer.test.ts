import { afterEach, expect, test } from "bun:test";
import type { ClusterSource, Service, StoreChange } from "../../../../src/kernel/cluster/mod.ts";
import type { ApiSourceOptions } from "../../../../src/kernel/cluster/mod.ts";
import { testLogger } from "../../../../src/kernel/observe/log.ts";
import { type ApiOptions, type LabApi, startApi } from "../../../lab/api/mod.ts";
import { cleanups, node, openSource, service, until } from "./support.ts";

const undo = cleanups();
afterEach(undo.run);

interface Cluster {
  readonly api: LabApi;
  readonly source: ClusterSource;
  /** Batches that subscribers of Services got. */
  readonly batches: (readonly StoreChange<Service>[])[];
}

/** Plain HTTP: faults are the same, and certificates have their own tests. */
async function cluster(
  { api: apiOptions = {}, ...options }: Partial<ApiSourceOptions> & { readonly api?: ApiOptions },
  objects: readonly object[] = [],
): Promise<Cluster> {
  const api = await startApi({ bookmarkSeconds: 0, ...apiOptions });
  undo.add(() => api.close());
  api.applyAll(objects);
  const source = await openSource(undo, { master: api.url, ...options });
  source.start([{ kind: "services" }]);
  const batches: (readonly StoreChange<Service>[])[] = [];
  source.stores.services.subscribe((changes) => void batches.push(changes));
  return { api, source, batches };
}

function services(count: number): readonly object[] {
  return Array.from({ length: count }, (_, index) => service(`s${index}`));
}

const reference = (name: string) => ({
  apiVersion: "v1",
  kind: "Service",
  namespace: "default",
  name,
});

test("a long list comes in pages and reaches subscribers as one batch, synced", async () => {
  const { api, source, batches } = await cluster({ tuning: { pageSize: 100 } }, services(450));
  const seen: number[] = [];
  source.stores.services.subscribe(() => void seen.push(source.stores.services.size));
  expect(source.stores.services.synced).toBe(false);
  expect(source.stores.services.resourceVersion).toBe("");
  await until("synced", () => source.stores.services.synced);

  expect(batches).toHaveLength(1);
  expect(batches[0]).toHaveLength(450);
  expect(seen).toEqual([450]);
  expect(source.stores.services.resourceVersion).toBe(api.resourceVersion);
  expect(api.stats().requests["list /api/v1/services"]).toBe(5);
});

test("an empty list is told with an empty batch", async () => {
  const { source, batches } = await cluster({});
  await until("synced", () => source.stores.services.synced);
  expect(batches).toEqual([[]]);
});

test("added, changed and removed objects come with what they were before", async () => {
  const { api, source, batches } = await cluster({}, services(1));
  await until("connected", () => source.state.connected);
  batches.length = 0;

  api.apply(service("new"));
  await until("added", () => source.stores.services.get("default/new") !== undefined);
  const added = source.stores.services.get("default/new");
  api.apply(service("new", { clusterIP: "10.96.0.11" }));
  await until("changed", () => source.stores.services.get("default/new") !== added);
  const changed = source.stores.services.get("default/new");
  api.delete(reference("new"));
  await until("removed", () => source.stores.services.size === 1);

  expect(batches.flat()).toEqual([
    { key: "default/new", current: added as Service },
    { key: "default/new", previous: added as Service, current: changed as Service },
    { key: "default/new", previous: changed as Service },
  ]);
  expect(changed?.spec.clusterIPs).toEqual(["10.96.0.11"]);
  expect(source.stores.services.resourceVersion).toBe(api.resourceVersion);
});

test("a change in fields that no plugin reads moves the version and wakes with an empty batch", async () => {
  const { api, source, batches } = await cluster({}, services(1));
  await until("connected", () => source.state.connected);
  const before = source.stores.services.get("default/s0");
  batches.length = 0;

  const stored = api.get(reference("s0"));
  api.apply({ ...stored, metadata: { ...stored?.metadata, annotations: { "other.io/x": "1" } } });
  await until("the version", () => source.stores.services.resourceVersion === api.resourceVersion);

  expect(batches).toEqual([[]]);
  expect(source.stores.services.get("default/s0")).toBe(before as Service);
});

test("bookmarks move the version without a change", async () => {
  const { api, source, batches } = await cluster({}, services(1));
  await until("connected", () => source.state.connected);
  batches.length = 0;
  api.apply(node("elsewhere"));
  const version = api.bookmark();
  await until("the bookmark", () => source.stores.services.resourceVersion === version);
  expect(batches).toEqual([[]]);
});

test("only kinds that were asked for are requested", async () => {
  const { api, source } = await cluster({}, services(1));
  await until("connected", () => source.state.connected);
  expect(Object.keys(api.stats().requests).toSorted()).toEqual([
    "list /api/v1/services",
    "watch /api/v1/services",
  ]);
  expect(() => source.stores.pods.size).toThrow(
    'Store of pods is not filled, for no plugin asked for it: add { kind: "pods" } to the plugin\'s "watches"',
  );
});

test("asking again for the same kind requests nothing, for another kind only that", async () => {
  const { api, source } = await cluster({}, services(1));
  source.start([{ kind: "services" }]);
  source.start([{ kind: "namespaces" }]);
  await until("connected", () => source.state.connected);
  expect(api.stats().requests).toEqual({
    "list /api/v1/namespaces": 1,
    "list /api/v1/services": 1,
    "watch /api/v1/namespaces": 1,
    "watch /api/v1/services": 1,
  });
  expect(source.stores.namespaces.get("default")?.metadata.name).toBe("default");
});

test("a watch of the node itself sees no other node, until all are asked for", async () => {
  const { api, source } = await cluster({}, [node("node1"), node("node2")]);
  source.start([{ kind: "nodes", only: "self" }]);
  await until("synced", () => source.stores.nodes.synced);
  expect([...source.stores.nodes.values()].map(({ metadata }) => metadata.name)).toEqual(["node1"]);
  // A bookmark reaches watches that are open.
  await until("connected", () => source.state.connected);
  api.apply(node("node3"));
  const version = api.bookmark();
  await until("the bookmark", () => source.stores.nodes.resourceVersion === version);
  expect(source.stores.nodes.size).toBe(1);

  source.start([{ kind: "nodes" }]);
  await until("all", () => source.stores.nodes.size === 3);
});

test("a relist with no change wakes nobody and keeps every object", async () => {
  const { api, source, batches } = await cluster({}, services(20));
  await until("connected", () => source.state.connected);
  const before = [...source.stores.services.values()];
  batches.length = 0;
  api.fail("410");
  await until("relisted", () => source.state.kinds[0]?.relists === 1 && source.state.connected);

  expect(batches.flat()).toEqual([]);
  const after = [...source.stores.services.values()];
  expect(after.every((object, index) => object === before[index])).toBe(true);
});

test("a relist brings what was missed as one batch of real changes only", async () => {
  const { api, source, batches } = await cluster({ api: { historySize: 5 } }, services(20));
  await until("connected", () => source.state.connected);
  api.fail("down", Infinity);
  await until("noticed", () => !source.state.connected);
  batches.length = 0;
  api.delete(reference("s3"));
  api.apply(service("s4", { clusterIP: "10.96.0.99" }));
  api.applyAll(services(10).map((_, index) => service(`n${index}`)));
  api.heal();
  await until("back", () => source.stores.services.resourceVersion === api.resourceVersion);

  const [batch, ...others] = batches.filter((changes) => changes.length > 0);
  expect(others).toEqual([]);
  expect(batch?.map(({ key }) => key).toSorted()).toEqual([
    ...Array.from({ length: 10 }, (_, index) => `default/n${index}`),
    "default/s3",
    "default/s4",
  ]);
  expect(batch?.find(({ key }) => key === "default/s3")?.current).toBeUndefined();
  expect(source.state.kinds[0]?.relists).toBe(1);
});

test("a broken stream is resumed from the last version, without a list", async () => {
  const { api, source } = await cluster({}, services(3));
  await until("connected", () => source.state.connected);
  api.fail("drop");
  api.apply(service("after"));
  await until("the change", () => source.stores.services.get("default/after") !== undefined);
  expect(api.stats().requests["list /api/v1/services"]).toBe(1);
  expect(source.state.kinds[0]?.relists).toBe(0);
});

test.each(["429", "500", "stall", "down", "drop", "410"] as const)(
  "while the server fails by %s the store stays whole, and it catches up afterwards",
  async (mode) => {
    const { api, source, batches } = await cluster(
      { tuning: { watchSeconds: 1, silenceMs: 1_500 } },
      services(30),
    );
    await until("connected", () => source.state.connected);
    let smallest = Infinity;
    source.stores.services.subscribe(() => {
      smallest = Math.min(smallest, source.stores.services.size);
    });
    api.fail(mode, Infinity);
    // Watches that are open go on in some modes: the failure shows when they end.
    await until("noticed", () => source.state.kinds[0]?.lastError !== undefined);
    expect(source.stores.services.synced).toBe(true);
    expect(source.stores.services.size).toBe(30);
    batches.length = 0;
    api.apply(service("during"));
    api.heal();
    await until("caught up", () => source.stores.services.size === 31);
    await until("connected", () => source.state.connected);

    expect(batches.flat().map(({ key }) => key)).toEqual(["default/during"]);
    expect(smallest).toBe(31);
    expect(source.state.kinds[0]?.lastError).toBeUndefined();
  },
  40_000,
);

test("a connection that died without a word is noticed and replaced", async () => {
  const { api, source } = await cluster(
    { tuning: { watchSeconds: 1, silenceMs: 1_500 } },
    services(3),
  );
  source.start([{ kind: "namespaces" }]);
  await until("connected", () => source.state.connected);
  api.fail("half-open");
  api.apply(service("unheard"));
  await until("the change", () => source.stores.services.size === 4);
  await until("connected", () => source.state.connected);
  expect(api.stats().requests["list /api/v1/services"]).toBe(1);
}, 40_000);

test("a quiet watch is renewed over the same connection before it counts as dead", async () => {
  const { api, source } = await cluster(
    { tuning: { watchSeconds: 1, silenceMs: 3_000 } },
    services(3),
  );
  await until("a few watches", () => (api.stats().requests["watch /api/v1/services"] ?? 0) >= 3);
  expect(source.state.kinds[0]?.lastError).toBeUndefined();
  expect(api.stats().requests["list /api/v1/services"]).toBe(1);
  expect(api.stats().connections).toBe(1);
}, 40_000);

test("pages that expire in the middle of a list are asked for once more in one piece", async () => {
  const api = await startApi({ bookmarkSeconds: 0 });
  undo.add(() => api.close());
  api.applyAll(services(30));
  // Between the pages the server forgets.
  let pages = 0;
  const proxy = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: (request) => {
      const url = new URL(request.url);
      if (url.searchParams.has("continue") && pages++ === 0) {
        return Response.json({ kind: "Status", code: 410, message: "expired" }, { status: 410 });
      }
      return fetch(`${api.url}${url.pathname}${url.search}`, { signal: request.signal });
    },
  });
  undo.add(() => proxy.stop(true));
  const source = await openSource(undo, {
    master: `http://127.0.0.1:${proxy.port}`,
    tuning: { pageSize: 10 },
  });
  source.start([{ kind: "services" }]);
  await until("synced", () => source.stores.services.synced);
  expect(source.stores.services.size).toBe(30);
  expect(api.stats().requests["list /api/v1/services"]).toBe(2);
});

test("what failed is logged once in words, and so is the end of it", async () => {
  const log = testLogger();
  const { api, source } = await cluster({ log }, services(1));
  await until("connected", () => source.state.connected);
  api.fail("down", Infinity);
  await until("many tries", () => log.lines.filter(({ level }) => level === "debug").length > 5);
  api.heal();
  await until("connected", () => source.state.connected);
  const told = log.lines.filter(({ level }) => level !== "debug");
  expect(told.map(({ message }) => message)).toEqual([
    "Connection to the API server ended, trying again",
    "API server failed, trying again",
    "API server works again",
  ]);
  expect(String(told[1]?.fields["error"])).toBe(
    `Cannot watch services at ${api.url}: connection refused: is the API server up, and is this its address?`,
  );
});

test("a subscriber that throws stops neither the store nor the others", async () => {
  const log = testLogger();
  const { api, source, batches } = await cluster({ log }, services(1));
  source.stores.services.subscribe(() => {
    throw new Error("Mine");
  });
  await until("connected", () => source.state.connected);
  api.apply(service("next"));
  await until("the change", () => source.stores.services.size === 2);
  expect(batches.flat()).toHaveLength(2);
  expect(log.lines.some(({ message }) => message === "Subscriber of a store threw")).toBe(true);
});

test("after stop nothing is requested any more", async () => {
  const { api, source } = await cluster({}, services(1));
  await until("connected", () => source.state.connected);
  await source.stop();
  await until("closed", () => api.stats().openWatches === 0);
  const { requests } = api.stats();
  source.start([{ kind: "pods" }]);
  await Bun.sleep(50);
  expect(api.stats().requests).toEqual(requests);
  expect(source.state.connected).toBe(false);
});
