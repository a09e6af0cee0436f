import { expect, test } from "bun:test";
import { call, configMap, type ListAnswer, shown, watch, withApi } from "./client.ts";

const PATH = "/api/v1/namespaces/default/configmaps";

test("a watch without resourceVersion shows what is there, then what changes", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const stream = await watch(api, PATH);
    api.apply({ ...configMap("a"), data: { x: "1" } });
    api.apply(configMap("b"));
    api.delete({ apiVersion: "v1", kind: "ConfigMap", namespace: "default", name: "a" });
    expect(shown(await stream.take(4))).toEqual(["ADDED a", "MODIFIED a", "ADDED b", "DELETED a"]);
  }));

test("a watch from a list's resourceVersion shows exactly what came after it", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const { body } = await call<ListAnswer>(api, "GET", PATH);
    api.apply(configMap("b"));
    const stream = await watch(api, PATH, `&resourceVersion=${body.metadata.resourceVersion}`);
    api.apply(configMap("c"));
    expect(shown(await stream.take(2))).toEqual(["ADDED b", "ADDED c"]);
  }));

test("a deleted object is shown with the resourceVersion of its deletion", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const stream = await watch(api, PATH, `&resourceVersion=${api.resourceVersion}`);
    api.delete({ apiVersion: "v1", kind: "ConfigMap", namespace: "default", name: "a" });
    const event = await stream.next();
    expect(event?.object.metadata?.resourceVersion).toBe(api.resourceVersion);
  }));

test("an object that starts or stops matching a selector is ADDED or DELETED", () =>
  withApi(async (api) => {
    const selector = "&labelSelector=app%3Dx";
    const stream = await watch(api, PATH, `${selector}&resourceVersion=${api.resourceVersion}`);
    api.apply(configMap("a", { app: "y" }));
    api.apply(configMap("a", { app: "x" }));
    api.apply(configMap("a", { app: "x", more: "1" }));
    api.apply(configMap("a", { app: "y" }));
    api.apply(configMap("a", { app: "z" }));
    api.apply(configMap("b", { app: "x" }));
    const events = await stream.take(4);
    expect(shown(events)).toEqual(["ADDED a", "MODIFIED a", "DELETED a", "ADDED b"]);
    // The last state that matched, at the revision of the change.
    expect(events[2]?.object.metadata?.labels).toEqual({ app: "x", more: "1" });
    expect(Number(events[2]?.object.metadata?.resourceVersion))
      .toBeGreaterThan(Number(events[1]?.object.metadata?.resourceVersion));
  }));

test("a watch of one namespace passes over the others", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH, `&resourceVersion=${api.resourceVersion}`);
    api.apply({ ...configMap("a"), metadata: { name: "a", namespace: "other" } });
    api.apply(configMap("b"));
    expect(shown(await stream.take(1))).toEqual(["ADDED b"]);
  }));

test("bookmark returns the resourceVersion that all watches are told", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH, `&resourceVersion=${api.resourceVersion}`);
    api.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "elsewhere" } });
    const revision = api.bookmark();
    expect(revision).toBe(api.resourceVersion);
    expect(await stream.next()).toMatchObject({
      type: "BOOKMARK",
      object: { kind: "ConfigMap", apiVersion: "v1", metadata: { resourceVersion: revision } },
    });
  }));

test("a bookmark comes after the events that it covers", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH, `&resourceVersion=${api.resourceVersion}`);
    for (let index = 0; index < 50; index++) api.apply(configMap(`c${index}`));
    api.bookmark();
    const events = await stream.take(51);
    expect(events.findIndex(({ type }) => type === "BOOKMARK")).toBe(50);
  }));

test("a watch that did not ask for bookmarks gets none", () =>
  withApi(async (api) => {
    const url = `${api.url}${PATH}?watch=1&resourceVersion=${api.resourceVersion}`;
    const response = await fetch(url, { keepalive: false });
    api.bookmark();
    api.apply(configMap("a"));
    const { value } = await response.body?.getReader().read() ?? {};
    expect(new TextDecoder().decode(value)).toStartWith('{"type":"ADDED"');
  }));

test("periodic bookmarks come by themselves", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH);
    expect((await stream.next())?.type).toBe("BOOKMARK");
  }, { bookmarkSeconds: 0.02 }));

test("a streaming list ends with the bookmark that says so", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    const stream = await watch(api, PATH, query);
    const [added, mark] = await stream.take(2);
    expect(added?.type).toBe("ADDED");
    expect(mark?.object.metadata).toMatchObject({
      resourceVersion: api.resourceVersion,
      annotations: { "k8s.io/initial-events-end": "true" },
    });
  }));

test("a resourceVersion that left the history gets an ERROR event that says 410", () =>
  withApi(async (api) => {
    const old = api.resourceVersion;
    for (let index = 0; index < 4; index++) api.apply(configMap(`c${index}`));
    const stream = await watch(api, PATH, `&resourceVersion=${old}`);
    const [event, end] = await stream.take(2);
    expect(event).toMatchObject({ type: "ERROR", object: { code: 410, reason: "Expired" } });
    expect(end).toBeUndefined();
  }, { historySize: 3 }));

test("the history holds as many changes as it is told to", () =>
  withApi(async (api) => {
    const old = api.resourceVersion;
    for (let index = 0; index < 3; index++) api.apply(configMap(`c${index}`));
    const stream = await watch(api, PATH, `&resourceVersion=${old}`);
    expect(shown(await stream.take(3))).toEqual(["ADDED c0", "ADDED c1", "ADDED c2"]);
  }, { historySize: 3 }));

test("timeoutSeconds ends a watch in good order", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH, "&timeoutSeconds=1");
    expect(await stream.next()).toBeUndefined();
    expect(api.stats().openWatches).toBe(0);
  }));

test("an apply that changes nothing makes no event and no resourceVersion", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const before = api.resourceVersion;
    api.apply(configMap("a"));
    expect(api.resourceVersion).toBe(before);
    await Promise.resolve();
  }));

test("statistics name what is watched and count what is open", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH);
    await call(api, "GET", `${PATH}?limit=1`);
    expect(api.stats()).toMatchObject({ lists: 1, watches: 1, openWatches: 1 });
    expect(api.stats().requests).toEqual({ [`watch ${PATH}`]: 1, [`list ${PATH}`]: 1 });
    stream.close();
  }));
