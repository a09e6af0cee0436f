import { expect, test } from "bun:test";
import type { KubeObject, LabApi } from "../../../lab/api/mod.ts";
import { call, configMap, type ListAnswer, withApi } from "./client.ts";

const PATH = "/api/v1/configmaps";

function names(items: readonly KubeObject[]): readonly (string | undefined)[] {
  return items.map(({ metadata }) => metadata?.name);
}

async function list(api: LabApi, query = ""): Promise<ListAnswer> {
  const { status, body } = await call<ListAnswer>(api, "GET", `${PATH}${query}`);
  expect(status).toBe(200);
  return body;
}

function fill(api: LabApi, count: number): void {
  for (let index = 0; index < count; index++) {
    api.apply(configMap(`c${index}`, { parity: index % 2 === 0 ? "even" : "odd" }));
  }
}

test("a list has the store's resourceVersion and its objects in order", () =>
  withApi(async (api) => {
    for (const name of ["b", "a"]) api.apply(configMap(name));
    const { kind, metadata, items } = await list(api);
    expect(kind).toBe("ConfigMapList");
    expect(metadata).toEqual({ resourceVersion: api.resourceVersion });
    expect(names(items)).toEqual(["a", "b"]);
  }));

test("pages show one state, whatever is written between them", () =>
  withApi(async (api) => {
    fill(api, 5);
    const first = await list(api, "?limit=2");
    expect(first.metadata.remainingItemCount).toBe(3);
    api.delete({ apiVersion: "v1", kind: "ConfigMap", namespace: "default", name: "c3" });
    api.apply(configMap("c2x"));
    api.apply({ ...configMap("c4"), data: { changed: "yes" } });
    const second = await list(api, `?limit=2&continue=${first.metadata.continue}`);
    const third = await list(api, `?limit=2&continue=${second.metadata.continue}`);
    expect(names([...first.items, ...second.items, ...third.items]))
      .toEqual(["c0", "c1", "c2", "c3", "c4"]);
    expect(third.items[0]?.data).toBeUndefined();
    expect(third.metadata.continue).toBeUndefined();
    const revisions = [first, second, third].map(({ metadata }) => metadata.resourceVersion);
    expect(new Set(revisions).size).toBe(1);
  }));

test("a page holds only matching objects, and the last one knows that it is", () =>
  withApi(async (api) => {
    fill(api, 5);
    const first = await list(api, "?limit=2&labelSelector=parity%3Deven");
    expect(names(first.items)).toEqual(["c0", "c2"]);
    expect(first.metadata.remainingItemCount).toBeUndefined();
    const rest = `?limit=2&labelSelector=parity%3Deven&continue=${first.metadata.continue}`;
    const last = await list(api, rest);
    expect(names(last.items)).toEqual(["c4"]);
    const exact = await list(api, "?limit=2&labelSelector=parity%3Dodd");
    expect(exact.metadata.continue).toBeUndefined();
  }));

test("a continue token has expired when its state has left the history", () =>
  withApi(async (api) => {
    fill(api, 3);
    const { metadata } = await list(api, "?limit=1");
    api.apply(configMap("later"));
    api.compact();
    const { status, body } = await call(
      api,
      "GET",
      `${PATH}?limit=1&continue=${metadata.continue}`,
    );
    expect(status).toBe(410);
    expect(body).toMatchObject({ kind: "Status", reason: "Expired", code: 410 });
  }));

test("a continue token that is none of ours is refused", () =>
  withApi(async (api) => {
    expect((await call(api, "GET", `${PATH}?continue=junk`)).status).toBe(400);
  }));

test("a largest page holds where the client asks for none", () =>
  withApi(async (api) => {
    fill(api, 3);
    expect(names((await list(api)).items)).toEqual(["c0", "c1"]);
  }, { pageDefault: 2 }));

test("resourceVersionMatch Exact shows a past state, NotOlderThan the present one", () =>
  withApi(async (api) => {
    fill(api, 1);
    const past = api.resourceVersion;
    fill(api, 2);
    const at = `?resourceVersion=${past}&resourceVersionMatch=`;
    expect(names((await list(api, `${at}Exact`)).items)).toEqual(["c0"]);
    expect(names((await list(api, `${at}NotOlderThan`)).items)).toEqual(["c0", "c1"]);
    expect(names((await list(api, "?resourceVersion=0")).items)).toEqual(["c0", "c1"]);
  }));

test("a resourceVersion of the future is too large", () =>
  withApi(async (api) => {
    const { status, body } = await call(api, "GET", `${PATH}?resourceVersion=999999`);
    expect(status).toBe(504);
    expect(body).toMatchObject({ details: { causes: [{ reason: "ResourceVersionTooLarge" }] } });
  }));

test.each(["?resourceVersion=x", "?limit=x", "?resourceVersionMatch=Exact"])(
  "a list with %s is a bad request",
  (query) =>
    withApi(async (api) => {
      const { status, body } = await call(api, "GET", `${PATH}${query}`);
      expect(status).toBe(400);
      expect(body.reason).toBe("BadRequest");
    }),
);

test("an unknown plural, version or subresource is a 404 Status", () =>
  withApi(async (api) => {
    for (const path of ["/api/v1/gadgets", "/apis/discovery.k8s.io/v9/endpointslices", "/x"]) {
      const { status, body } = await call(api, "GET", path);
      expect(status).toBe(404);
      expect(body).toMatchObject({ kind: "Status", reason: "NotFound" });
    }
  }));

test("a kind is served from when its CustomResourceDefinition is applied", () =>
  withApi(async (api) => {
    const widget = { apiVersion: "lab.example/v1", kind: "Widget", metadata: { name: "w" } };
    expect(() => api.apply(widget)).toThrow('no kind "Widget" in "lab.example/v1"');
    api.apply({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "widgets.lab.example" },
      spec: {
        group: "lab.example",
        scope: "Cluster",
        names: { kind: "Widget", plural: "widgets" },
        versions: [{ name: "v1" }],
      },
    });
    api.apply(widget);
    const { body } = await call<ListAnswer>(api, "GET", "/apis/lab.example/v1/widgets");
    expect(names(body.items)).toEqual(["w"]);
    const resources = await call<{ resources: object[] }>(api, "GET", "/apis/lab.example/v1");
    expect(resources.body.resources).toMatchObject([{ name: "widgets", namespaced: false }]);
  }));

test("the paths beside the resources answer", () =>
  withApi(async (api) => {
    for (const path of ["/healthz", "/readyz", "/livez"]) {
      expect(await (await fetch(`${api.url}${path}`)).text()).toBe("ok");
    }
    expect((await call(api, "GET", "/version")).body).toMatchObject({ major: "1" });
    expect((await call(api, "GET", "/api")).body).toMatchObject({ versions: ["v1"] });
    expect((await call<ListAnswer>(api, "GET", "/apis")).body.kind).toBe("APIGroupList");
  }));
