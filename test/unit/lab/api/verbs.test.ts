import { expect, test } from "bun:test";
import type { KubeObject, LabApi } from "../../../lab/api/mod.ts";
import { call, configMap, service, withApi } from "./client.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const SERVICES = "/api/v1/namespaces/default/services";
const LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

function lease(holder: string, resourceVersion?: string): KubeObject {
  return {
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: { name: "leader", ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec: { holderIdentity: holder },
  };
}

function statusOf(api: LabApi, name: string) {
  return api.get({ apiVersion: "v1", kind: "Service", namespace: "default", name })?.status;
}

test("a created object gets what the server owns", () =>
  withApi(async (api) => {
    const { status, body } = await call(api, "POST", MAPS, configMap("a"));
    expect(status).toBe(201);
    expect(body).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
    expect(body.metadata).toMatchObject({
      namespace: "default",
      resourceVersion: api.resourceVersion,
    });
    expect(body.metadata?.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(body.metadata?.creationTimestamp).toMatch(/^\d{4}-.*Z$/);
    expect((await call(api, "GET", `${MAPS}/a`)).body).toEqual(body);
  }));

test("an object cannot be created twice", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const { status, body } = await call(api, "POST", MAPS, configMap("a"));
    expect(status).toBe(409);
    expect(body).toMatchObject({
      kind: "Status",
      status: "Failure",
      reason: "AlreadyExists",
      message: 'configmaps "a" already exists',
      details: { name: "a", kind: "configmaps" },
    });
  }));

test("generateName makes names that differ", () =>
  withApi(async (api) => {
    const given = { apiVersion: "v1", kind: "ConfigMap", metadata: { generateName: "x-" } };
    const first = await call(api, "POST", MAPS, given);
    const second = await call(api, "POST", MAPS, given);
    expect(first.body.metadata?.name).toStartWith("x-");
    expect(second.body.metadata?.name).not.toBe(first.body.metadata?.name);
  }));

test("what is not there is a 404 Status that names it", () =>
  withApi(async (api) => {
    const { status, body } = await call(api, "GET", `${LEASES}/none`);
    expect(status).toBe(404);
    expect(body).toMatchObject({
      reason: "NotFound",
      message: 'leases.coordination.k8s.io "none" not found',
      details: { name: "none", group: "coordination.k8s.io", kind: "leases" },
    });
  }));

test("of two that update the same lease one wins and the other gets a conflict", () =>
  withApi(async (api) => {
    const { body } = await call(api, "POST", LEASES, lease("a"));
    const revision = body.metadata?.resourceVersion;
    const [first, second] = [
      await call(api, "PUT", `${LEASES}/leader`, lease("b", revision)),
      await call(api, "PUT", `${LEASES}/leader`, lease("c", revision)),
    ];
    expect(first.status).toBe(200);
    expect(second.status).toBe(409);
    expect(second.body.reason).toBe("Conflict");
    expect((await call(api, "GET", `${LEASES}/leader`)).body.spec).toEqual({ holderIdentity: "b" });
  }));

test("a lease cannot be taken without its resourceVersion", () =>
  withApi(async (api) => {
    await call(api, "POST", LEASES, lease("a"));
    expect((await call(api, "PUT", `${LEASES}/leader`, lease("b"))).status).toBe(422);
  }));

test("an update of another incarnation of the object is a conflict", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const given = { ...configMap("a"), metadata: { name: "a", uid: "another" } };
    expect((await call(api, "PUT", `${MAPS}/a`, given)).status).toBe(409);
  }));

test("the object and its status are written apart", () =>
  withApi(async (api) => {
    const ingress = [{ ip: "192.0.2.1", ipMode: "VIP" }];
    const status = { loadBalancer: { ingress } };
    await call(api, "POST", SERVICES, service("s", { status }));
    expect(statusOf(api, "s")).toEqual({ loadBalancer: {} });

    const other = service("s", { spec: { clusterIP: "10.96.0.9" }, status });
    const changed = await call(api, "PUT", `${SERVICES}/s/status`, other);
    expect(changed.body.spec).toMatchObject({ clusterIP: "10.96.0.1" });
    expect(statusOf(api, "s")).toEqual(status);

    await call(api, "PUT", `${SERVICES}/s`, service("s", { spec: { clusterIP: "10.96.0.7" } }));
    expect(statusOf(api, "s")).toEqual(status);
  }));

test("a status patch sets one condition of a node and keeps the others", () =>
  withApi(async (api) => {
    const conditions = [{ type: "Ready", status: "True" }, {
      type: "NetworkUnavailable",
      status: "True",
    }];
    api.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n" }, status: { conditions } });
    const patch = { status: { conditions: [{ type: "NetworkUnavailable", status: "False" }] } };
    const type = "application/strategic-merge-patch+json";
    const { body } = await call<KubeObject>(api, "PATCH", "/api/v1/nodes/n/status", patch, type);
    expect(body.status).toEqual({
      conditions: [{ type: "Ready", status: "True" }, {
        type: "NetworkUnavailable",
        status: "False",
      }],
    });
  }));

test("a kind without status has no status subresource", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    expect((await call(api, "GET", `${MAPS}/a/status`)).status).toBe(404);
  }));

test("a patch that names a stale resourceVersion is a conflict", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const patch = { metadata: { resourceVersion: "1" }, data: { x: "1" } };
    const type = "application/merge-patch+json";
    expect((await call(api, "PATCH", `${MAPS}/a`, patch, type)).status).toBe(409);
  }));

test("a patch of an unknown content type is refused", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    expect((await call(api, "PATCH", `${MAPS}/a`, {}, "application/json")).status).toBe(415);
  }));

test("server-side apply creates what is not there", () =>
  withApi(async (api) => {
    const body = { apiVersion: "v1", kind: "ConfigMap", data: { x: "1" } };
    const type = "application/apply-patch+yaml";
    expect((await call(api, "PATCH", `${MAPS}/a?fieldManager=t`, body, type)).status).toBe(201);
    expect((await call(api, "PATCH", `${MAPS}/a?fieldManager=t`, body, type)).status).toBe(200);
    expect(api.list("ConfigMap")[0]).toMatchObject({ metadata: { name: "a" }, data: { x: "1" } });
  }));

test("a dry run answers and stores nothing", () =>
  withApi(async (api) => {
    const before = api.resourceVersion;
    expect((await call(api, "POST", `${MAPS}?dryRun=All`, configMap("a"))).status).toBe(201);
    expect(api.list("ConfigMap")).toEqual([]);
    expect(api.resourceVersion).toBe(before);
  }));

test("delete answers with a Status and honours preconditions", () =>
  withApi(async (api) => {
    api.apply(configMap("a"));
    const refused = await call(api, "DELETE", `${MAPS}/a`, { preconditions: { uid: "another" } });
    expect(refused.status).toBe(409);
    const { status, body } = await call(api, "DELETE", `${MAPS}/a`);
    expect(status).toBe(200);
    expect(body).toMatchObject({ kind: "Status", status: "Success", details: { name: "a" } });
    expect((await call(api, "DELETE", `${MAPS}/a`)).status).toBe(404);
  }));

test("a finalizer holds an object until it is taken away", () =>
  withApi(async (api) => {
    const metadata = { name: "a", namespace: "default", finalizers: ["lab/hold"] };
    api.apply({ ...configMap("a"), metadata });
    const marked = await call(api, "DELETE", `${MAPS}/a`);
    expect(marked.body.metadata?.deletionTimestamp).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    const type = "application/merge-patch+json";
    await call(api, "PATCH", `${MAPS}/a`, { metadata: { finalizers: null } }, type);
    expect(api.list("ConfigMap")).toEqual([]);
  }));

test("deletecollection takes what its selectors match", () =>
  withApi(async (api) => {
    for (const [name, app] of [["a", "x"], ["b", "y"], ["c", "x"]] as const) {
      api.apply(configMap(name, { app }));
    }
    const { body } = await call<{ items: readonly unknown[] }>(
      api,
      "DELETE",
      `${MAPS}?labelSelector=app%3Dx`,
    );
    expect(body.items).toHaveLength(2);
    expect(api.list("ConfigMap").map(({ metadata }) => metadata?.name)).toEqual(["b"]);
  }));

test("a body that is no JSON is a bad request", () =>
  withApi(async (api) => {
    const response = await fetch(`${api.url}${MAPS}`, { method: "POST", body: "{" });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ kind: "Status", reason: "BadRequest" });
  }));

test("an unknown method is not allowed", () =>
  withApi(async (api) => {
    expect((await call(api, "OPTIONS", MAPS)).status).toBe(405);
    expect((await call(api, "PUT", MAPS, {})).status).toBe(405);
  }));
