import { afterEach, describe, expect, test } from "bun:test";
import type { ClusterApi, Lease } from "../../../../src/kernel/cluster/cluster-api.ts";
import { createApi, type LabApi } from "../../../lab/api/mod.ts";
import { cleanups, openSource, service } from "./support.ts";

const cleanup = cleanups();
afterEach(cleanup.run);

async function started(): Promise<{ readonly lab: LabApi; readonly api: ClusterApi }> {
  const lab = createApi();
  cleanup.add(() => lab.close());
  const { api } = await openSource(cleanup, { master: lab.url });
  if (api === undefined) throw new Error("the source has no API to write to");
  return { lab, api };
}

function codeOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(() => "done", (error: { code?: unknown }) => error.code);
}

const statusOf = (lab: LabApi, name: string): unknown =>
  lab.get({ apiVersion: "v1", kind: "Service", namespace: "default", name })?.["status"];

const LEASE: Lease = {
  holder: "a",
  durationSeconds: 15,
  acquireTime: "2026-01-01T00:00:00.000000Z",
  renewTime: "2026-01-01T00:00:00.000000Z",
  transitions: 0,
  resourceVersion: "",
};

describe("the API server that plugins write to", () => {
  test("lists and gets objects as they are now", async () => {
    const { lab, api } = await started();
    lab.apply(service("a"));
    lab.apply(service("b"));
    expect((await api.list("services")).map(({ metadata }) => metadata.name)).toEqual(["a", "b"]);
    expect((await api.get("services", "default/b"))?.metadata.name).toBe("b");
    expect(await api.get("services", "default/c")).toBeUndefined();
  });

  test("replaces a Service's addresses, and those alone", async () => {
    const { lab, api } = await started();
    lab.apply({ ...service("a"), status: { conditions: [{ type: "Odd", status: "True" }] } });
    const read = await api.get("services", "default/a");
    if (read === undefined) throw new Error("no Service");
    const written = await api.patchIngress(read, [{ ip: "10.9.0.1" }, { hostname: "x.example" }]);
    expect(written.status.loadBalancer.ingress.map(({ ip }) => ip)).toEqual([
      "10.9.0.1",
      undefined,
    ]);
    expect(statusOf(lab, "a")).toEqual({
      conditions: [{ type: "Odd", status: "True" }],
      loadBalancer: { ingress: [{ ip: "10.9.0.1", ipMode: "VIP" }, { hostname: "x.example" }] },
    });
    await api.patchIngress(written, []);
    expect(JSON.stringify(statusOf(lab, "a"))).not.toContain("10.9.0.1");
  });

  test("keeps what is said of single ports where an item of the list stays", async () => {
    const { lab, api } = await started();
    const ports = [{ port: 80, protocol: "TCP" }, { port: 53, protocol: "UDP", error: "Taken" }];
    const ingress = [{ ip: "192.0.2.9", ipMode: "Proxy", ports }, { hostname: "x.example" }];
    lab.apply({ ...service("a"), status: { loadBalancer: { ingress } } });
    const read = await api.get("services", "default/a");
    if (read === undefined) throw new Error("no Service");
    await api.patchIngress(read, [...read.status.loadBalancer.ingress, { ip: "10.9.0.1" }]);
    expect(statusOf(lab, "a")).toEqual({
      loadBalancer: { ingress: [...ingress, { ip: "10.9.0.1", ipMode: "VIP" }] },
    });
  });

  test("refuses to write over what has changed since it was read, or is another object", async () => {
    const { lab, api } = await started();
    lab.apply(service("a"));
    const read = await api.get("services", "default/a");
    if (read === undefined) throw new Error("no Service");
    lab.apply({ ...service("a"), metadata: { ...service("a").metadata, labels: { x: "y" } } });
    expect(await codeOf(api.patchIngress(read, [{ ip: "10.9.0.1" }]))).toBe("conflict");
    lab.delete({ apiVersion: "v1", kind: "Service", namespace: "default", name: "a" });
    expect(await codeOf(api.patchIngress(read, [{ ip: "10.9.0.1" }]))).toBe("absent");
    lab.apply(service("a"));
    expect(await codeOf(api.patchIngress(read, [{ ip: "10.9.0.1" }]))).toBe("conflict");
    expect(JSON.stringify(statusOf(lab, "a") ?? "")).not.toContain("10.9.0.1");
  });

  test("of two that want a lease at once, one gets it", async () => {
    const { api } = await started();
    const key = "kube-system/lock";
    expect(await api.getLease(key)).toBeUndefined();
    const codes = await Promise.all(
      ["a", "b", "c"].map((holder) => codeOf(api.writeLease(key, { ...LEASE, holder }))),
    );
    expect(codes.toSorted()).toEqual(["conflict", "conflict", "done"]);
    const held = await api.getLease(key);
    if (held === undefined) throw new Error("no lease");
    expect(held).toMatchObject({ durationSeconds: 15, transitions: 0 });
    const next = await Promise.all(
      ["d", "e"].map((holder) => codeOf(api.writeLease(key, { ...held, holder }))),
    );
    expect(next.toSorted()).toEqual(["conflict", "done"]);
  });

  test("writes Events that name their object", async () => {
    const { lab, api } = await started();
    lab.apply(service("a"));
    const read = await api.get("services", "default/a");
    if (read === undefined) throw new Error("no Service");
    await api.emit({
      kind: "services",
      metadata: read.metadata,
      type: "Warning",
      reason: "Full",
      message: "x".repeat(2_000),
    });
    const [event] = lab.list("Event", "default");
    expect(event).toMatchObject({
      type: "Warning",
      reason: "Full",
      involvedObject: { kind: "Service", name: "a", namespace: "default", uid: read.metadata.uid },
      source: { component: "routelet" },
    });
    expect(String(event?.["message"])).toHaveLength(1_024);
  });

  test("says by a word why it failed, and with which right it would not", async () => {
    const { lab, api } = await started();
    lab.authorize(({ verb }) => verb !== "create");
    const forbidden = await api.writeLease("kube-system/lock", LEASE).catch((error) => error);
    expect(forbidden.code).toBe("forbidden");
    expect(forbidden.message).toContain('must allow "create" of "leases.coordination.k8s.io"');
    expect(await codeOf(api.getLease("kube-system/../nodes"))).toBe("invalid");
    expect(await codeOf(api.get("services", "default/a/status"))).toBe("invalid");
    const metadata = { name: "a", namespace: "default/pods/a/eviction?x=", uid: "1" };
    const event = { kind: "services", metadata, type: "Normal", reason: "R", message: "" } as const;
    expect(await codeOf(api.emit(event))).toBe("invalid");
    lab.fail("500", 60);
    expect(await codeOf(api.getLease("kube-system/lock"))).toBe("unavailable");
    lab.heal();
    expect(await codeOf(api.getLease("kube-system/lock"))).toBe("done");
    lab.fail("down", 60);
    expect(await codeOf(api.list("services"))).toBe("unavailable");
  });
});
