import { describe, expect, test } from "bun:test";
import { type IpvsProtocol, ipvsServiceId, type Pod } from "../../../../src/kernel/plugin.ts";
import {
  drainingEndpoints,
  passesOverZero,
  retirementOf,
} from "../../../../src/plugins/proxy/draining.ts";
import { slice } from "../../../support/objects.ts";

const SERVICE = { scheduler: "rr", schedulerFlags: 0, persistence: 0 };

function pod(grace: number | undefined, changes: { deleted?: boolean; phase?: string } = {}): Pod {
  return {
    metadata: {
      name: "a",
      namespace: "default",
      uid: "",
      resourceVersion: "1",
      labels: {},
      annotations: {},
      ...(changes.deleted === true ? { deletionTimestamp: "2030-01-01T00:00:00Z" } : {}),
    },
    spec: {
      hostNetwork: false,
      ports: [],
      ...(grace === undefined ? {} : { terminationGracePeriodSeconds: grace }),
    },
    status: { podIPs: ["10.1.0.1"], containerIDs: [], phase: changes.phase ?? "Running" },
  };
}

function kept(
  pods: readonly Pod[],
  protocol: IpvsProtocol = "tcp",
  service: { scheduler?: string; schedulerFlags?: number } | undefined = {},
): number | undefined {
  const id = ipvsServiceId(4, protocol, "10.96.0.1", 80);
  return retirementOf(
    { service: id, address: "10.1.0.1", port: 80, weight: 1, method: "masq" },
    service === undefined ? undefined : { id, ...SERVICE, ...service },
    { podsAt: () => pods, gracePeriod: 20_000, needs: () => [], behind: () => undefined },
  )?.ms;
}

describe("how long a destination is kept", () => {
  test("for its pod's grace period, or the flag's where no pod says one", () => {
    expect([kept([pod(45)]), kept([]), kept([pod(undefined)]), kept([pod(0)])])
      .toEqual([45_000, 20_000, 20_000, 0]);
  });

  test("for that of the pod that terminates, where an address has several", () => {
    expect(kept([pod(45), pod(7, { deleted: true })])).toBe(7_000);
    expect(kept([pod(45), pod(7)])).toBe(45_000);
    expect(kept([pod(45, { phase: "Succeeded" }), pod(7)])).toBe(7_000);
  });

  test("SCTP as TCP; UDP goes at once", () => {
    expect([kept([pod(5)], "sctp"), kept([pod(5)], "udp")]).toEqual([5_000, undefined]);
  });

  test("not where the scheduler would refuse clients that hash to it", () => {
    const by = (scheduler: string, schedulerFlags = 0) =>
      kept([pod(5)], "tcp", { scheduler, schedulerFlags });
    expect([by("lc"), by("mh"), by("dh"), by("sh"), by("sh", 8)])
      .toEqual([5_000, 5_000, undefined, undefined, 5_000]);
    expect(passesOverZero("wrr", 0)).toBe(true);
  });

  test("not below a service that Linux has lost", () => {
    const id = ipvsServiceId(4, "tcp", "10.96.0.1", 80);
    const item = { service: id, address: "10.1.0.1", port: 80, weight: 1, method: "masq" } as const;
    const context = { podsAt: () => [], gracePeriod: 1, needs: () => [], behind: () => undefined };
    expect(retirementOf(item, undefined, context)).toBeUndefined();
  });
});

describe("terminating endpoints that drain", () => {
  const choice = {
    family: 4,
    portName: "http",
    protocol: "tcp",
    scope: "cluster",
    publishNotReady: false,
  } as const;
  const endpoint = (address: string, conditions: object, nodeName = "node1") => ({
    addresses: [address],
    nodeName,
    conditions,
  });
  const slices = [
    slice("default/web-1", [
      endpoint("10.1.0.1", { ready: true }),
      endpoint("10.1.0.2", { ready: false, serving: true, terminating: true }),
      endpoint("10.1.0.3", { ready: false, serving: false, terminating: true }, "node2"),
      endpoint("10.1.0.4", { ready: false, serving: false }),
    ]),
  ];
  const addresses = (given: typeof choice | { scope: { node: string } }, chosen: string[] = []) => {
    const port = slices[0]?.ports[0]?.port ?? 0;
    return drainingEndpoints(
      slices,
      { ...choice, ...given },
      chosen.map((address) => ({ address, port, of: endpoint(address, {}) })),
    ).map(({ address }) => address);
  };

  test("are all that are still listed, serving or not, and none that only is not ready", () => {
    expect(addresses(choice)).toEqual(["10.1.0.2", "10.1.0.3"]);
  });

  test("are not those that serve for want of ready ones", () => {
    expect(addresses(choice, ["10.1.0.2"])).toEqual(["10.1.0.3"]);
  });

  test("are those of the scope", () => {
    expect(addresses({ scope: { node: "node2" } })).toEqual(["10.1.0.3"]);
  });
});
