import { describe, expect, test } from "bun:test";
import { parseCidr } from "../../../../src/kernel/ip.ts";
import type { EndpointSlice, Service } from "../../../../src/kernel/plugin.ts";
import type { NodeFamily } from "../../../../src/plugins/proxy/node.ts";
import { SCHEDULERS } from "../../../../src/plugins/proxy/scheduler.ts";
import {
  isProxied,
  type ServiceContext,
  serviceItems,
} from "../../../../src/plugins/proxy/services.ts";
import { service, type ServiceChanges, slice } from "../../../support/objects.ts";

const four: NodeFamily = { family: 4, address: "192.168.1.10", podCIDRs: [] };
const six: NodeFamily = { family: 6, address: "fd00::10", podCIDRs: [] };
const SLICES = [
  slice("default/web-1", [
    { addresses: ["10.1.0.1"], nodeName: "node1" },
    { addresses: ["10.1.0.2"], nodeName: "node2" },
  ]),
  slice("default/web-2", [{ addresses: ["fd00:1::1"], nodeName: "node1" }], {
    addressType: "IPv6",
  }),
];

function context(changes: Partial<ServiceContext> = {}): ServiceContext {
  return {
    node: "node1",
    families: [four],
    extraNodeAddresses: [],
    routedRanges: [],
    ranges: { strict: true, cluster: [], external: [], loadBalancer: [] },
    excluded: [],
    ownAddresses: [],
    otherNodes: [],
    graceful: false,
    ...changes,
  };
}

function items(
  changes: ServiceChanges | Service = {},
  given: Partial<ServiceContext> = {},
  slices: readonly EndpointSlice[] = SLICES,
) {
  const made = "spec" in changes ? changes : service("default/web", changes);
  const { services, destinations, ...all } = serviceItems(made, slices, context(given));
  return {
    ...all,
    services,
    keys: services.map(({ id }) => id.key),
    /** Addresses of the endpoints, by the service's key. */
    behind: (key: string) =>
      destinations.filter((each) => each.service.key === key).map(({ address }) => address),
    destinations,
  };
}

const NOTHING = { addresses: [], routes: [], services: [], destinations: [], problems: [] };
const DUAL = { clusterIPs: ["10.96.0.1", "fd00:96::1"] };

describe("which Services are served (S18, S19)", () => {
  const cases: readonly (readonly [string, ServiceChanges, boolean])[] = [
    ["a plain one", {}, true],
    ["a headless one", { clusterIPs: ["None"] }, false],
    ["a headless one in small letters", { clusterIPs: ["none"] }, false],
    ["one without an address yet", { clusterIPs: [] }, false],
    ["one with an empty address", { clusterIPs: [""] }, false],
    ["an ExternalName", { type: "ExternalName", clusterIPs: [] }, false],
    ["an ExternalName that kept its address", { type: "ExternalName" }, false],
    [
      "one with the headless label",
      { metadata: { labels: { "service.kubernetes.io/headless": "" } } },
      false,
    ],
    [
      "one for another proxy",
      { metadata: { labels: { "service.kubernetes.io/service-proxy-name": "cilium" } } },
      false,
    ],
    [
      "one for a proxy without a name",
      { metadata: { labels: { "service.kubernetes.io/service-proxy-name": "" } } },
      false,
    ],
    [
      "one for kube-router",
      { metadata: { labels: { "service.kubernetes.io/service-proxy-name": "kube-router" } } },
      true,
    ],
    [
      "one for routelet",
      { metadata: { labels: { "service.kubernetes.io/service-proxy-name": "routelet" } } },
      true,
    ],
  ];
  for (const [name, changes, proxied] of cases) {
    test(`${name} is ${proxied ? "served" : "left alone"}`, () => {
      const made = service("default/web", changes);
      expect(isProxied(made)).toBe(proxied);
      if (!proxied) expect(serviceItems(made, SLICES, context())).toEqual(NOTHING);
    });
  }
});

describe("a cluster IP", () => {
  test("is an address, a route from the node's address, a virtual service and its destinations", () => {
    const { addresses, routes, services, destinations, problems } = items();
    expect(addresses).toEqual([
      { family: 4, address: "10.96.0.1", prefix: 32, link: "kube-dummy-if" },
    ]);
    expect(routes).toEqual([{
      family: 4,
      table: 255,
      type: "local",
      destination: "10.96.0.1/32",
      metric: 0,
      nextHops: [{ link: "kube-dummy-if" }],
      source: "192.168.1.10",
    }]);
    expect(services).toMatchObject([
      { id: { key: "tcp 10.96.0.1:80" }, scheduler: "rr", schedulerFlags: 0, persistence: 0 },
    ]);
    expect(destinations).toMatchObject([
      { address: "10.1.0.1", port: 8080, weight: 1, method: "masq" },
      { address: "10.1.0.2", port: 8080, weight: 1, method: "masq" },
    ]);
    expect(problems).toEqual([]);
  });

  test("of IPv6 has a /128, and the metric that Linux gives to IPv6 routes", () => {
    const { addresses, routes } = items({ clusterIPs: ["fd00:96::1"] }, { families: [six] });
    expect(addresses).toMatchObject([{ family: 6, address: "fd00:96::1", prefix: 128 }]);
    expect(routes).toMatchObject([
      { family: 6, destination: "fd00:96::1/128", metric: 1024, source: "fd00::10" },
    ]);
  });

  test("of each family is served with the endpoints of that family", () => {
    const { keys, behind } = items(DUAL, { families: [four, six] });
    expect(keys).toEqual(["tcp 10.96.0.1:80", "tcp [fd00:96::1]:80"]);
    expect(behind("tcp [fd00:96::1]:80")).toEqual(["fd00:1::1"]);
  });

  test("of a family that the node lacks is left out, with all that belongs to it (S20, T6)", () => {
    for (const [families, key] of [[[four], "tcp 10.96.0.1:80"], [[six], "tcp [fd00:96::1]:80"]]) {
      const { addresses, routes, keys, problems } = items({ ...DUAL, ports: [{ nodePort: 0 }] }, {
        families: families as NodeFamily[],
      });
      expect([addresses.length, routes.length]).toEqual([1, 1]);
      expect(keys).toEqual([key as string]);
      expect(problems).toEqual([]);
    }
    expect(items(DUAL, { families: [] })).toMatchObject(NOTHING);
  });

  test("in an odd spelling is made canonical, and given twice is served once (S33)", () => {
    const spelled = ["010.096.0.1", "10.96.0.1", "FD00:96:0::1", "::ffff:10.96.0.1"];
    const { keys, addresses } = items({ clusterIPs: spelled }, { families: [four, six] });
    expect(keys).toEqual(["tcp 10.96.0.1:80", "tcp [fd00:96::1]:80"]);
    expect(addresses).toHaveLength(2);
  });

  test("that is no address is reported, and the others are served", () => {
    const { keys, problems } = items({ clusterIPs: ["10.96.0.300", "10.96.0.1"] });
    expect(keys).toEqual(["tcp 10.96.0.1:80"]);
    expect(problems).toEqual([
      'Cluster IP "10.96.0.300" is not an IP address; it is not served, correct spec.clusterIPs',
    ]);
  });

  test("inside a range that is routed as a whole needs no address and route of its own", () => {
    const range = parseCidr("10.96.0.0/12");
    const routedRanges = range === undefined ? [] : [range];
    const { addresses, routes, keys } = items(DUAL, { routedRanges, families: [four, six] });
    expect(addresses.map(({ address }) => address)).toEqual(["fd00:96::1"]);
    expect(routes).toHaveLength(1);
    expect(keys).toHaveLength(2);
  });

  test("without endpoints is still a virtual service, which refuses instead of leaking", () => {
    const { keys, destinations, problems } = items({}, {}, []);
    expect([keys.length, destinations.length, problems.length]).toEqual([1, 0, 0]);
  });
});

describe("ports", () => {
  test("of one number and several protocols are several services (S24)", () => {
    const ports = ["TCP", "UDP", "SCTP"].map((protocol) => ({
      name: protocol,
      protocol,
      port: 53,
    }));
    const slices = [slice("default/web-1", ["10.1.0.1"], {
      ports: ports.map(({ name, protocol }) => ({ name, protocol, port: 5353 })),
    })];
    const { keys, destinations } = items({ ports }, {}, slices);
    expect(keys).toEqual(["tcp 10.96.0.1:53", "udp 10.96.0.1:53", "sctp 10.96.0.1:53"]);
    expect(destinations).toHaveLength(3);
  });

  test("of an unknown protocol are reported, and the others served", () => {
    const { keys, problems } = items({ ports: [{ name: "odd", protocol: "QUIC" }, {}] });
    expect(keys).toEqual(["tcp 10.96.0.1:80"]);
    expect(problems).toEqual([
      'Port "odd" has protocol "QUIC", which is none of TCP, UDP and SCTP; it is not served, ' +
      "correct spec.ports",
    ]);
  });

  test("that no slice knows have no destinations", () => {
    expect(items({ ports: [{ name: "admin" }] }).destinations).toEqual([]);
  });

  test("may be missing in a slice, which is reported", () => {
    const { keys, destinations, problems } = items({}, {}, [
      slice("default/web-1", ["10.1.0.1"], { ports: [] }),
      slice("default/web-2", [], { ports: [] }),
    ]);
    expect([keys.length, destinations.length]).toEqual([1, 0]);
    expect(problems).toEqual([
      'EndpointSlice "default/web-1" has endpoints but no ports; it serves nothing, add its ports',
    ]);
  });
});

describe("NodePorts", () => {
  const nodePort = { ports: [{ nodePort: 30080 }] };

  test("are served on the node's primary address, with no address or route of their own", () => {
    const { keys, addresses, behind } = items(nodePort);
    expect(keys).toEqual(["tcp 10.96.0.1:80", "tcp 192.168.1.10:30080"]);
    expect(addresses).toHaveLength(1);
    expect(behind("tcp 192.168.1.10:30080")).toEqual(["10.1.0.1", "10.1.0.2"]);
  });

  test("are served on the other addresses as well where that is asked for, each once", () => {
    const extraNodeAddresses = [
      { link: "eth1", family: 4, address: "10.5.0.1" },
      { link: "eth0", family: 4, address: "192.168.1.10" },
      { link: "eth1", family: 6, address: "fd00:5::1" },
    ] as const;
    expect(items(nodePort, { extraNodeAddresses }).keys).toEqual([
      "tcp 10.96.0.1:80",
      "tcp 192.168.1.10:30080",
      "tcp 10.5.0.1:30080",
    ]);
    expect(items({ ...nodePort, ...DUAL }, { extraNodeAddresses, families: [four, six] }).keys)
      .toEqual([
        "tcp 10.96.0.1:80",
        "tcp [fd00:96::1]:80",
        "tcp 192.168.1.10:30080",
        "tcp 10.5.0.1:30080",
        "tcp [fd00::10]:30080",
        "tcp [fd00:5::1]:30080",
      ]);
  });

  test("are served in the families of the Service alone (T19, T20)", () => {
    const { keys } = items({ ...nodePort, clusterIPs: ["fd00:96::1"] }, { families: [four, six] });
    expect(keys).toEqual(["tcp [fd00:96::1]:80", "tcp [fd00::10]:30080"]);
  });
});

describe("traffic policies (S7, S8)", () => {
  const cluster = "tcp 10.96.0.1:80";
  const external = "tcp 192.168.1.10:30080";
  const local = ["10.1.0.1"];
  const all = ["10.1.0.1", "10.1.0.2"];
  const cases = [
    ["Cluster", "Cluster", all, all],
    ["Local", "Cluster", local, all],
    ["Cluster", "Local", all, local],
    ["Local", "Local", local, local],
  ] as const;
  for (const [internalTrafficPolicy, externalTrafficPolicy, inside, outside] of cases) {
    test(`internal ${internalTrafficPolicy}, external ${externalTrafficPolicy}`, () => {
      const policies = { internalTrafficPolicy, externalTrafficPolicy };
      const { behind } = items({ ...policies, ports: [{ nodePort: 30080 }] });
      expect(behind(cluster)).toEqual([...inside]);
      expect(behind(external)).toEqual([...outside]);
    });
  }

  test("that leave no endpoint leave the service without one: no fall-back", () => {
    const policies = { internalTrafficPolicy: "Local", externalTrafficPolicy: "Local" };
    const { keys, destinations } = items({ ...policies, ports: [{ nodePort: 30080 }] }, {
      node: "node9",
    });
    expect([keys.length, destinations.length]).toEqual([2, 0]);
  });
});

describe("settings", () => {
  const annotated = (scheduler: string) =>
    items({ metadata: { annotations: { "kube-router.io/service.scheduler": scheduler } } });

  test.each([...SCHEDULERS])("the scheduler %s may be asked for", (scheduler) => {
    const { services, problems } = annotated(` ${scheduler}`);
    expect(services.map((each) => each.scheduler)).toEqual([scheduler]);
    expect(problems).toEqual([]);
  });

  test.each(["", "RR", "round-robin", "rr,lc", "__proto__"])(
    'the scheduler "%s" is reported, and rr taken',
    (scheduler) => {
      const { services, problems } = annotated(scheduler);
      expect(services.map((each) => each.scheduler)).toEqual(["rr"]);
      expect(problems).toEqual([
        `Annotation kube-router.io/service.scheduler is "${scheduler}"; allowed are rr, lc, dh, sh, ` +
        'mh, wrr, wlc, sed, nq, lblc, lblcr, fo, ovf; "rr" is taken',
      ]);
    },
  );

  test("client affinity keeps its timeout, on every address, and none is none", () => {
    const ports = [{ nodePort: 30080 }];
    const timeout = { sessionAffinityTimeout: 600, ports };
    const persistence = (changes: ServiceChanges) =>
      items(changes).services.map((each) => each.persistence);
    expect(persistence({ sessionAffinity: "ClientIP", ...timeout })).toEqual([600, 600]);
    expect(persistence({ sessionAffinity: "None", ...timeout })).toEqual([0, 0]);
    expect(persistence({ sessionAffinity: "ClientIP" })).toEqual([10800]);
  });
});

test("equal states give equal items, whatever the order of slices and endpoints", () => {
  const reversed = SLICES.toReversed().map((each) => ({
    ...each,
    endpoints: each.endpoints.toReversed(),
  }));
  const made = service("default/web", { ...DUAL, ports: [{ nodePort: 30080 }] });
  const given = context({ families: [four, six] });
  expect(serviceItems(made, reversed, given)).toEqual(serviceItems(made, SLICES, given));
});
