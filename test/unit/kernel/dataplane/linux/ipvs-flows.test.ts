import { describe, expect, test } from "bun:test";
import type { Conntrack } from "../../../../../src/kernel/dataplane/linux/conntrack.ts";
import type { UdpFlow } from "../../../../../src/kernel/dataplane/linux/conntrack-codec.ts";
import {
  endText,
  type FlowTarget,
  IpvsFlows,
  staleFlows,
} from "../../../../../src/kernel/dataplane/linux/ipvs-flows.ts";
import {
  type IpvsDestination,
  ipvsFwmarkId,
  type IpvsServiceId,
  ipvsServiceId,
} from "../../../../../src/kernel/dataplane/resources/ipvs.ts";

const VIP = { address: "10.96.0.10", port: 53 };
const A = { address: "10.1.0.1", port: 5353 };
const B = { address: "10.1.0.2", port: 5353 };

function flow(answers: UdpFlow["answers"], destination = VIP): UdpFlow {
  const source = { address: "10.1.0.9", port: 40000 };
  return { family: 4, source, destination, answers, id: 1, zone: 0 };
}

const set = (...ends: readonly UdpFlow["answers"][]) =>
  new Set(ends.map((end) => endText(end.address, end.port)));

describe("stale flows", () => {
  const cases: readonly (readonly [string, UdpFlow, FlowTarget | undefined, boolean])[] = [
    ["to a living endpoint stay", flow(A), { present: set(A, B), removed: set() }, false],
    ["to a removed endpoint go", flow(A), { present: set(B), removed: set(A) }, true],
    ["to an endpoint that came back stay", flow(A), { present: set(A), removed: set(A) }, false],
    ["that nobody of us made go too", flow(A), { present: set(B), removed: set() }, true],
    ["past a service that has endpoints now go", flow(VIP), {
      present: set(A),
      removed: set(),
    }, true],
    ["of a service without endpoints go", flow(A), { present: set(), removed: set() }, true],
    ["to a socket of the node stay without endpoints", flow(VIP), {
      present: set(),
      removed: set(),
    }, false],
    ["of a removed service go", flow(A), { removed: set(A) }, true],
    ["that others translate where a service was stay", flow(B), { removed: set(A) }, false],
    ["to other addresses stay", flow(A, { address: "192.0.2.1", port: 53 }), {
      present: set(B),
      removed: set(A),
    }, false],
    [
      "to other ports stay",
      flow(A, { ...VIP, port: 54 }),
      { present: set(B), removed: set() },
      false,
    ],
  ];
  for (const [name, given, target, stale] of cases) {
    test(name, () => {
      const targets = new Map(
        target === undefined ? [] : [[endText(VIP.address, VIP.port), target]],
      );
      expect(staleFlows([given], targets)).toEqual(stale ? [given] : []);
    });
  }
});

describe("looking after flows", () => {
  const udp = ipvsServiceId(4, "udp", VIP.address, VIP.port);
  const tcp = ipvsServiceId(4, "tcp", VIP.address, VIP.port);
  const to = (
    service: IpvsServiceId,
    end: UdpFlow["answers"],
    method: IpvsDestination["method"] = "masq",
  ): IpvsDestination => ({ service, ...end, weight: 1, method });

  /** Flows over a conntrack that notes what it is asked. */
  function looking(destinations: readonly IpvsDestination[] | undefined, flows: UdpFlow[]) {
    const dumps: number[] = [];
    const deleted: UdpFlow[] = [];
    const conntrack = {
      flows: (family: 4 | 6, wanted: (address: string, port: number) => boolean) => {
        dumps.push(family);
        return Promise.resolve(
          flows.filter((each) => wanted(each.destination.address, each.destination.port)),
        );
      },
      delete(stale: readonly UdpFlow[]) {
        deleted.push(...stale);
        return stale.length;
      },
      close() {},
    } as unknown as Conntrack;
    const under = new IpvsFlows({
      conntrack,
      destinations: () => destinations,
      services: () => [udp, tcp],
    });
    return { under, dumps, deleted, looked: () => Bun.sleep(5) };
  }

  test("a burst of changes costs one dump", async () => {
    const { under, dumps, deleted, looked } = looking([to(udp, B)], [flow(A), flow(B)]);
    for (const end of [A, { ...A, port: 1 }, { ...A, port: 2 }]) {
      under.destinations([{ op: { verb: "delete", item: to(udp, end) } }]);
    }
    await looked();
    expect(dumps).toEqual([4]);
    expect(deleted).toEqual([flow(A)]);
    under.close();
  });

  test("what a mark led to another endpoint stays, and goes with that one", async () => {
    const mark = ipvsFwmarkId(4, 17);
    const led: IpvsDestination[] = [to(mark, B)];
    const deleted: UdpFlow[] = [];
    const under = new IpvsFlows({
      conntrack: {
        flows: () => Promise.resolve([flow(A), flow(B)]),
        delete: (stale: readonly UdpFlow[]) => deleted.push(...stale),
        close() {},
      } as unknown as Conntrack,
      destinations: ({ fwmark }) => fwmark === 0 ? [] : led,
      services: () => [udp, mark],
    });
    under.all();
    await Bun.sleep(5);
    expect(deleted).toEqual([flow(A)]);
    led.pop();
    under.destinations([{ op: { verb: "delete", item: to(mark, B) } }]);
    await Bun.sleep(60);
    expect(deleted).toContainEqual(flow(B));
    under.close();
  });

  test("TCP, refused changes and new weights cost nothing", async () => {
    const { under, dumps, looked } = looking([to(udp, B)], []);
    under.destinations([
      { op: { verb: "delete", item: to(tcp, A) } },
      { op: { verb: "update", item: to(udp, A), have: to(udp, A) } },
    ]);
    await looked();
    expect(dumps).toEqual([]);
    under.close();
  });

  test("a full look finds what an earlier life left", async () => {
    const { under, deleted, looked } = looking([to(udp, B)], [flow(A), flow(B)]);
    under.all();
    await looked();
    expect(deleted).toEqual([flow(A)]);
    under.close();
  });

  test("services with tunnels are left alone: their flows are not translated", async () => {
    const { under, deleted, looked } = looking([to(udp, B, "tunnel")], [flow(VIP)]);
    under.all();
    await looked();
    expect(deleted).toEqual([]);
    under.close();
  });
});
