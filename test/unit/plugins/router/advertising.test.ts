import { describe, expect, test } from "bun:test";
import type { EndpointSlice, Service } from "../../../../src/kernel/plugin.ts";
import { serviceAdvertisement } from "../../../../src/plugins/router/advertising.ts";
import type { RouterOptions } from "../../../../src/plugins/router/options.ts";
import { service, type ServiceChanges, slice } from "../../../support/objects.ts";
import { routerOptions } from "../../../support/router-world.ts";

const ALL_ON = {
  advertiseClusterIp: true,
  advertiseExternalIp: true,
  advertiseLoadbalancerIp: true,
} as const;
const OPEN = { strictExternalIpValidation: false, enableIpv6: true } as const;

/** A Service of type LoadBalancer: cluster 10.0.0.1, external 1.1.1.1, ingress 10.0.255.1 and .2. */
function balanced(
  changes: ServiceChanges & { readonly ingress?: readonly object[] } = {},
): Service {
  const { ingress = [{ ip: "10.0.255.1" }, { ip: "10.0.255.2" }], ...rest } = changes;
  const made = service("default/web", {
    type: "LoadBalancer",
    clusterIPs: ["10.0.0.1"],
    externalIPs: ["1.1.1.1"],
    ...rest,
  });
  return { ...made, status: { loadBalancer: { ingress } } };
}

const annotated = (annotations: Readonly<Record<string, string>>) => ({
  metadata: { annotations },
});
const CLUSTER = "kube-router.io/service.advertise.clusterip";
const EXTERNAL = "kube-router.io/service.advertise.externalip";
const BALANCER = "kube-router.io/service.advertise.loadbalancerip";
const LOCAL = { "kube-router.io/service.local": "true" };

function advertised(
  made: Service,
  options: Partial<RouterOptions> = ALL_ON,
  slices: readonly EndpointSlice[] = [],
): readonly string[] {
  const context = {
    node: "node-1",
    addresses: ["192.168.0.1", "fd00::1"],
    options: routerOptions({ ...OPEN, ...options }),
  };
  return serviceAdvertisement(made, slices, context).advertise.map(({ address }) => address);
}

const EVERYTHING = ["10.0.0.1", "1.1.1.1", "10.0.255.1", "10.0.255.2"];

describe("by flags", () => {
  const cases: readonly (readonly [
    name: string,
    options: Partial<RouterOptions>,
    addresses: readonly string[],
  ])[] = [
    ["all", ALL_ON, EVERYTHING],
    ["none", {}, []],
    ["cluster IPs alone", { advertiseClusterIp: true }, ["10.0.0.1"]],
    ["external IPs alone", { advertiseExternalIp: true }, ["1.1.1.1"]],
    ["load balancer IPs alone", { advertiseLoadbalancerIp: true }, ["10.0.255.1", "10.0.255.2"]],
  ];
  for (const [name, options, addresses] of cases) {
    test(name, () => expect(advertised(balanced(), options)).toEqual(addresses));
  }
});

describe("by annotations", () => {
  const all = (value: string) =>
    annotated({ [CLUSTER]: value, [EXTERNAL]: value, [BALANCER]: value });

  test("each goes before its flag", () => {
    for (const yes of ["1", "t", "T", "TRUE", "true", "True"]) {
      expect(advertised(balanced(all(yes)), {})).toEqual(EVERYTHING);
    }
    for (const no of ["0", "f", "F", "FALSE", "false", "False"]) {
      expect(advertised(balanced(all(no)))).toEqual([]);
    }
    expect(advertised(balanced(annotated({ [CLUSTER]: "true" })), {})).toEqual(["10.0.0.1"]);
    expect(advertised(balanced(annotated({ [EXTERNAL]: "true" })), {})).toEqual(["1.1.1.1"]);
    expect(advertised(balanced(annotated({ [BALANCER]: "true" })), {}))
      .toEqual(["10.0.255.1", "10.0.255.2"]);
  });

  test("what is no boolean means false, and is reported", () => {
    const made = balanced(annotated({ [CLUSTER]: "yes" }));
    expect(advertised(made)).toEqual(["1.1.1.1", "10.0.255.1", "10.0.255.2"]);
    const context = { node: "n", addresses: [], options: routerOptions({ ...OPEN, ...ALL_ON }) };
    expect(serviceAdvertisement(made, [], context).problems.join()).toContain('is "yes"');
  });

  test("skiplbips holds load balancer IPs back, whatever its value and the other annotation", () => {
    const made = balanced(
      annotated({ "kube-router.io/service.skiplbips": "", [BALANCER]: "true" }),
    );
    expect(advertised(made)).toEqual(["10.0.0.1", "1.1.1.1"]);
  });
});

describe("which addresses", () => {
  test("types ClusterIP, NodePort and LoadBalancer have some, others none", () => {
    expect(advertised(balanced({ type: "ClusterIP" }))).toEqual(["10.0.0.1", "1.1.1.1"]);
    expect(advertised(balanced({ type: "NodePort" }))).toEqual(["10.0.0.1", "1.1.1.1"]);
    expect(advertised(balanced({ type: "ExternalName" }))).toEqual([]);
    expect(advertised(balanced({ type: "AnotherType" }))).toEqual([]);
  });

  test("a headless Service has none, external IPs included", () => {
    for (const clusterIPs of [["None"], ["none"], [""], []]) {
      expect(advertised(balanced({ clusterIPs }))).toEqual([]);
    }
  });

  test("both families of a dual-stack Service, and those of a family that is on", () => {
    const made = balanced({ clusterIPs: ["10.0.0.1", "FD00:0::10"], externalIPs: [], ingress: [] });
    expect(advertised(made)).toEqual(["10.0.0.1", "fd00::10"]);
    expect(advertised(made, { ...ALL_ON, enableIpv6: false })).toEqual(["10.0.0.1"]);
  });

  test("ingress with a hostname alone or in mode Proxy has none", () => {
    const ingress = [{ hostname: "lb.example" }, { ip: "10.0.255.1", ipMode: "Proxy" }, {
      ip: "10.0.255.2",
      ipMode: "VIP",
    }];
    expect(advertised(balanced({ externalIPs: [], ingress }))).toEqual(["10.0.0.1", "10.0.255.2"]);
    expect(advertised(balanced({ externalIPs: [], ingress: [] }))).toEqual(["10.0.0.1"]);
  });

  test("an address that is of two classes is announced once", () => {
    expect(advertised(balanced({ externalIPs: ["10.0.255.1", "010.0.255.1"] })))
      .toEqual(["10.0.0.1", "10.0.255.1", "10.0.255.2"]);
  });
});

describe("a Local policy", () => {
  const ready = (nodeName: string | undefined, address = "172.20.0.5") =>
    slice("default/web", [{
      addresses: [address],
      conditions: {},
      ...(nodeName === undefined ? {} : { nodeName }),
    }]);
  const here = [ready("node-1")];
  const elsewhere = [ready("node-2")];

  const local: readonly (readonly [name: string, changes: ServiceChanges])[] = [
    ["externalTrafficPolicy", { externalTrafficPolicy: "Local" }],
    ["the annotation service.local", annotated(LOCAL)],
  ];
  for (const [name, changes] of local) {
    test(`of ${name} holds external and load balancer IPs back where no endpoint is`, () => {
      expect(advertised(balanced(changes), ALL_ON, here)).toEqual(EVERYTHING);
      expect(advertised(balanced(changes), ALL_ON, elsewhere)).toEqual(["10.0.0.1"]);
      expect(advertised(balanced(changes), ALL_ON, [])).toEqual(["10.0.0.1"]);
    });
  }

  test("of internalTrafficPolicy holds cluster IPs back", () => {
    const made = balanced({ internalTrafficPolicy: "Local" });
    expect(advertised(made, ALL_ON, here)).toEqual(EVERYTHING);
    expect(advertised(made, ALL_ON, elsewhere)).toEqual(["1.1.1.1", "10.0.255.1", "10.0.255.2"]);
  });

  test("counts endpoints that are ready, and no others", () => {
    const made = balanced({ externalTrafficPolicy: "Local" });
    const of = (conditions: object) => [
      slice("default/web", [{ addresses: ["172.20.0.5"], nodeName: "node-1", conditions }]),
    ];
    expect(advertised(made, ALL_ON, of({ ready: true }))).toEqual(EVERYTHING);
    expect(advertised(made, ALL_ON, of({ ready: false }))).toEqual(["10.0.0.1"]);
    expect(advertised(made, ALL_ON, of({ ready: false, serving: true, terminating: true })))
      .toEqual(["10.0.0.1"]);
  });

  test("takes an endpoint without a node by the node's addresses", () => {
    const made = balanced({ externalTrafficPolicy: "Local" });
    expect(advertised(made, ALL_ON, [ready(undefined, "192.168.0.1")])).toEqual(EVERYTHING);
    expect(advertised(made, ALL_ON, [ready(undefined, "FD00:0::1")])).toEqual(EVERYTHING);
    expect(advertised(made, ALL_ON, [ready(undefined, "192.168.0.2")])).toEqual(["10.0.0.1"]);
  });

  test("withdraws an address that another class announces only if that class does as well", () => {
    const made = balanced({
      externalIPs: ["10.0.0.1"],
      externalTrafficPolicy: "Local",
      ingress: [],
    });
    expect(advertised(made, ALL_ON, elsewhere)).toEqual(["10.0.0.1"]);
  });
});

describe("ranges of flags", () => {
  const strict = {
    ...ALL_ON,
    strictExternalIpValidation: true,
    serviceClusterIpRange: ["10.0.0.0/24"],
  };

  test("hold for external and load balancer IPs, never for cluster IPs", () => {
    expect(advertised(balanced(), strict)).toEqual(["10.0.0.1"]);
    expect(advertised(balanced(), { ...strict, serviceExternalIpRange: ["1.1.0.0/16"] }))
      .toEqual(["10.0.0.1", "1.1.1.1"]);
    expect(advertised(balanced(), { ...strict, loadbalancerIpRange: ["10.0.255.0/31"] }))
      .toEqual(["10.0.0.1", "10.0.255.1"]);
  });

  test("never let an address of the cluster range be an external one", () => {
    const made = balanced({ externalIPs: ["10.0.0.77"], ingress: [] });
    expect(advertised(made, { ...strict, serviceExternalIpRange: ["10.0.0.0/8"] }))
      .toEqual(["10.0.0.1"]);
  });

  test("say why an address is held back", () => {
    const context = { node: "n", addresses: [], options: routerOptions(strict) };
    const { withheld } = serviceAdvertisement(balanced({ ingress: [] }), [], context);
    expect(withheld).toEqual([
      { address: "1.1.1.1", reason: "it is outside of the ranges that flags allow" },
    ]);
  });
});

test("what nobody is to announce is told from what this node cannot", () => {
  const context = {
    node: "node-1",
    addresses: [],
    options: routerOptions({ ...OPEN, ...ALL_ON }),
  };
  const made = balanced({ ...annotated({ [EXTERNAL]: "false" }), internalTrafficPolicy: "Local" });
  const { withheld } = serviceAdvertisement(made, [], context);
  expect(withheld.map(({ address, refused }) => [address, refused === true])).toEqual([
    ["10.0.0.1", false],
    ["1.1.1.1", true],
  ]);
});
