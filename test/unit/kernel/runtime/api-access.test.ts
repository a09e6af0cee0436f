import { describe, expect, test } from "bun:test";
import type { ClusterApi, Lease } from "../../../../src/kernel/cluster/cluster-api.ts";
import { restrictedApi } from "../../../../src/kernel/runtime/api-access.ts";
import { service } from "../../../support/objects.ts";

const METADATA = service("web").metadata;
const EVENT = {
  kind: "services",
  metadata: METADATA,
  type: "Normal",
  reason: "Odd",
  message: "It is",
} as const;

/** Notes what comes through. */
function noting(): { readonly api: ClusterApi; readonly calls: string[] } {
  const calls: string[] = [];
  const api = new Proxy({}, {
    get: (_, method) => () => {
      calls.push(String(method));
      return Promise.resolve();
    },
  });
  return { api: api as ClusterApi, calls };
}

const QUESTIONS: Readonly<Record<string, (api: ClusterApi) => Promise<unknown>>> = {
  list: (api) => api.list("services"),
  get: (api) => api.get("services", "default/web"),
  patchIngress: (api) => api.patchIngress({ metadata: METADATA }, []),
  emit: (api) => api.emit(EVENT),
  getLease: (api) => api.getLease("kube-system/guest"),
  writeLease: (api) => api.writeLease("kube-system/guest", { resourceVersion: "" } as Lease),
};

describe("a plugin's way to the API server", () => {
  test("is as wide as what it declares", async () => {
    const { api, calls } = noting();
    const wide = restrictedApi({
      plugin: "guest",
      watches: [{ kind: "services" }],
      writes: ["services/status", "events", "leases"],
      isGuest: true,
    }, api);
    for (const ask of Object.values(QUESTIONS)) await ask(wide);
    expect(calls).toEqual(Object.keys(QUESTIONS));
  });

  test.each(Object.keys(QUESTIONS))("is shut for %s without a declaration", async (name) => {
    const { api, calls } = noting();
    const shut = restrictedApi({ plugin: "guest", watches: [], writes: [], isGuest: false }, api);
    const failed: unknown = await QUESTIONS[name]?.(shut).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "forbidden" });
    expect(String((failed as Error).message)).toMatch(
      /^Plugin "guest" (reads|writes) ".*; add it there$/,
    );
    expect(calls).toEqual([]);
  });

  test("leads to no lease of another name", async () => {
    const { api, calls } = noting();
    const own = restrictedApi({
      plugin: "guest",
      watches: [],
      writes: ["leases"],
      isGuest: true,
    }, api);
    const failed = await own.getLease("kube-system/kube-scheduler").catch((error) => error);
    expect(failed.code).toBe("forbidden");
    await own.getLease("kube-system/guest");
    expect(calls).toEqual(["getLease"]);
  });

  test("leads to no write over what was not read, even where JavaScript leaves the version out", async () => {
    const { api, calls } = noting();
    const own = restrictedApi({
      plugin: "guest",
      watches: [],
      writes: ["leases", "services/status"],
      isGuest: true,
    }, api);
    const { resourceVersion: _, ...metadata } = METADATA;
    const codes = [
      own.patchIngress({ metadata: metadata as typeof METADATA }, []),
      own.writeLease("kube-system/guest", { holder: "a" } as Lease),
    ].map((promise) => promise.then(() => "done", (error) => error.code));
    expect(await Promise.all(codes)).toEqual(["invalid", "invalid"]);
    expect(calls).toEqual([]);
  });

  test("ends at a folder of manifests", async () => {
    const none = restrictedApi(
      { plugin: "guest", watches: [], writes: ["leases"], isGuest: false },
      undefined,
    );
    const failed = await none.getLease("kube-system/guest").catch((error) => error);
    expect(failed).toMatchObject({ code: "unavailable" });
    expect(failed.message).toContain("folder of manifests");
  });
});
