import { expect, test } from "bun:test";
import type { FailureMode } from "../../../lab/api/mod.ts";
import { call, configMap, type ListAnswer, request, shown, watch, withApi } from "./client.ts";

const PATH = "/api/v1/namespaces/default/configmaps";
const LONG = 3600;

async function outcome<T>(promise: Promise<T>): Promise<T | "failed"> {
  return await promise.catch(() => "failed" as const);
}

/** Whether a promise is still open after everything that is under way has come through. */
async function silent(promise: Promise<unknown>): Promise<boolean> {
  const settled = promise.then(() => false, () => false);
  return await Promise.race([settled, Bun.sleep(150).then(() => true)]);
}

test("drop breaks open watches, and new ones inside their first event", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH);
    api.fail("drop", LONG);
    expect(await outcome(stream.next())).toBe("failed");
    const next = await watch(api, PATH);
    expect(await outcome(next.next())).toBe("failed");
    expect((await call(api, "GET", PATH)).status).toBe(200);
    api.heal();
    const healthy = await watch(api, PATH);
    api.apply(configMap("a"));
    expect(shown(await healthy.take(1))).toEqual(["ADDED a"]);
  }));

test("drop without a period breaks what is open now and nothing more", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH);
    api.fail("drop");
    expect(await outcome(stream.next())).toBe("failed");
    const next = await watch(api, PATH);
    api.apply(configMap("a"));
    expect(shown(await next.take(1))).toEqual(["ADDED a"]);
  }));

test("410 ends open watches with an ERROR, and expires what came before", () =>
  withApi(async (api) => {
    const old = api.resourceVersion;
    api.apply(configMap("a"));
    const stream = await watch(api, PATH, `&resourceVersion=${api.resourceVersion}`);
    const { body } = await call<ListAnswer>(api, "GET", `/api/v1/namespaces?limit=1`);
    api.fail("410", LONG);
    expect(await stream.next()).toMatchObject({ type: "ERROR", object: { code: 410 } });
    expect(await stream.next()).toBeUndefined();
    const next = await call(api, "GET", `/api/v1/namespaces?continue=${body.metadata.continue}`);
    expect(next.status).toBe(410);
    expect((await request(api, "GET", `${PATH}?watch=1`)).status).toBe(410);
    expect((await call(api, "GET", PATH)).status).toBe(200);
    api.heal();
    const late = await watch(api, PATH, `&resourceVersion=${old}`);
    expect(await late.next()).toMatchObject({ type: "ERROR", object: { code: 410 } });
  }));

test.each<[FailureMode, number, string | null]>([["429", 429, "1"], ["500", 500, null]])(
  "%s is every request's answer, while open watches go on",
  (mode, status, retryAfter) =>
    withApi(async (api) => {
      const stream = await watch(api, PATH);
      api.fail(mode, LONG);
      const response = await request(api, "GET", PATH);
      expect(response.status).toBe(status);
      expect(response.headers.get("Retry-After")).toBe(retryAfter);
      expect(await response.json()).toMatchObject({ kind: "Status", code: status });
      api.apply(configMap("a"));
      expect(shown(await stream.take(1))).toEqual(["ADDED a"]);
      api.heal();
      expect((await call(api, "GET", PATH)).status).toBe(200);
    }),
);

test("stall answers nothing; open watches are silent and then tell what they held back", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH);
    api.fail("stall", LONG);
    const stalled = request(api, "GET", PATH);
    const next = stream.next();
    api.apply(configMap("a"));
    api.bookmark();
    expect(await silent(Promise.race([next, stalled]))).toBe(true);
    api.heal();
    expect(shown([(await next) ?? { type: "none", object: {} }])).toEqual(["ADDED a"]);
    expect((await stream.next())?.type).toBe("BOOKMARK");
    expect((await call(api, "GET", PATH)).status).toBe(200);
    expect(await silent(stalled)).toBe(true);
  }));

test("half-open kills what is open for good; new connections live", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH);
    api.fail("half-open");
    const next = stream.next();
    api.apply(configMap("a"));
    api.bookmark();
    expect(await silent(next)).toBe(true);
    expect(api.stats().openWatches).toBe(0);
    expect(api.stats().openConnections).toBeGreaterThan(0);
    expect((await call(api, "GET", PATH)).status).toBe(200);
    stream.close();
  }));

test("half-open for a while also kills the connections of that while", () =>
  withApi(async (api) => {
    api.fail("half-open", LONG);
    const dead = request(api, "GET", PATH);
    expect(await silent(dead)).toBe(true);
    api.heal();
    expect(await silent(dead)).toBe(true);
    expect((await call(api, "GET", PATH)).status).toBe(200);
  }));

test("half-open works alike over TLS", () =>
  withApi(async (api) => {
    const get = () => fetch(`${api.url}/version`, { keepalive: false, tls: { ca: api.caPem } });
    expect((await get()).status).toBe(200);
    api.fail("half-open", LONG);
    expect(await silent(get())).toBe(true);
    api.heal();
    expect((await get()).status).toBe(200);
  }, { tls: true }));

test("down refuses connections, and is back on the same port", () =>
  withApi(async (api) => {
    const stream = await watch(api, PATH);
    const { url } = api;
    api.fail("down", LONG);
    expect(await outcome(stream.next())).toBe("failed");
    expect(await request(api, "GET", PATH).catch(({ code }) => code)).toBe("ECONNREFUSED");
    api.apply(configMap("a"));
    api.heal();
    expect(api.url).toBe(url);
    expect((await call<ListAnswer>(api, "GET", PATH)).body.items).toHaveLength(1);
  }));

test("a period ends by itself", () =>
  withApi(async (api) => {
    api.fail("500", 0.05);
    expect((await request(api, "GET", PATH)).status).toBe(500);
    while ((await request(api, "GET", PATH)).status !== 200) await Bun.sleep(5);
    expect((await request(api, "GET", PATH)).status).toBe(200);
  }));

test("a new mode ends the one before", () =>
  withApi(async (api) => {
    api.fail("down", LONG);
    api.fail("429", LONG);
    expect((await request(api, "GET", PATH)).status).toBe(429);
  }));

test("the process that runs the server sees the healthy store in every mode", () =>
  withApi((api) => {
    for (const mode of ["drop", "410", "429", "500", "stall", "half-open", "down"] as const) {
      api.fail(mode, LONG);
      api.apply(configMap(`c-${mode}`));
      expect(api.list("ConfigMap").map(({ metadata }) => metadata?.name)).toContain(`c-${mode}`);
      expect(api.bookmark()).toBe(api.resourceVersion);
    }
    return Promise.resolve();
  }));
