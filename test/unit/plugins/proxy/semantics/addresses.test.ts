/** S16 to S24, S30 and S33: which addresses and ports a Service has on this node. */

import { describe, expect, test } from "bun:test";
import { parseCidr } from "../../../../../src/kernel/ip.ts";
import { planService, type ServiceContext } from "../../../../../src/plugins/proxy/service-plan.ts";
import { serviceItems } from "../../../../../src/plugins/proxy/services.ts";
import type { Service } from "../../../../../src/kernel/plugin.ts";
import { at, eachStack, ipv4, type Stack } from "./stacks.ts";

type Ingress = Service["status"]["loadBalancer"]["ingress"];

const keys = (s: Stack, service: Service, context: Partial<ServiceContext> = {}) =>
  planService(service, [], s.context(context)).frontends.map(({ id, kind }) => `${kind} ${id.key}`);
const withIngress = (service: Service, ingress: Ingress): Service => ({
  ...service,
  status: { loadBalancer: { ingress } },
});
const key = (address: string, port: number, protocol = "tcp") =>
  address.includes(":") ? `${protocol} [${address}]:${port}` : `${protocol} ${address}:${port}`;

eachStack("S16: ingress by VIP is served, by Proxy or by name is not", (s) => {
  for (const family of s.families) {
    const ip = at(family, "loadBalancer");
    const served = [`loadBalancer ${key(ip, 80)}`];
    const table: readonly (readonly [Ingress[number], readonly string[]])[] = [
      [{ ip }, served],
      [{ ip, ipMode: "VIP" }, served],
      [{ ip, ipMode: "Other" }, served],
      [{ ip, hostname: "lb.example" }, served],
      [{ ip, ipMode: "Proxy" }, []],
      [{ hostname: "lb.example" }, []],
      [{ ip: "" }, []],
      [{}, []],
    ];
    for (const [ingress, wanted] of table) {
      const got = keys(s, withIngress(s.service(), [ingress]));
      expect(got.filter((each) => each.startsWith("loadBalancer"))).toEqual([...wanted]);
    }
  }
});

eachStack("S16: kube-router's skiplbips leaves the balancer's addresses out", (s) => {
  for (const [value, kept] of [["true", 0], ["", 0], ["false", s.families.length]] as const) {
    const metadata = { annotations: { "kube-router.io/service.skiplbips": value } };
    const got = keys(s, s.service({ metadata }));
    expect(got.filter((each) => each.startsWith("loadBalancer"))).toHaveLength(kept);
  }
});

eachStack("S17: external IPs are served inside of their ranges alone", (s) => {
  const none = { ...s.context().ranges, external: [], loadBalancer: [] };
  const plan = planService(s.service(), [], s.context({ ranges: none }));
  expect(plan.frontends.map(({ kind }) => kind)).not.toContain("externalIP");
  expect(plan.frontends.map(({ kind }) => kind)).not.toContain("loadBalancer");
  const addresses = (kind: "externalIP" | "loadBalancer") =>
    s.families.map((f) => `"${at(f, kind)}"`).join(", ");
  expect(plan.problems).toEqual([
    `External IP ${
      addresses("externalIP")
    } is not served, since --service-external-ip-range names no ` +
    "range; add its range to that flag",
    `Load balancer IP ${
      addresses("loadBalancer")
    } is not served, since --loadbalancer-ip-range names no ` +
    "range; add its range to that flag",
  ]);
  const loose = { ...none, strict: false };
  const kinds = planService(s.service(), [], s.context({ ranges: loose })).frontends.map((f) =>
    f.kind
  );
  expect(kinds).toContain("externalIP");
  expect(kinds).toContain("loadBalancer");
});

eachStack("S18: a Service without a cluster IP, or by a name, is nothing", (s) => {
  const nothing = { addresses: [], routes: [], services: [], destinations: [], problems: [] };
  for (
    const changes of [
      { clusterIPs: ["None"] },
      { clusterIPs: ["none"] },
      { clusterIPs: [] },
      { clusterIPs: [""] },
      { type: "ExternalName" },
      { metadata: { labels: { "service.kubernetes.io/headless": "" } } },
    ]
  ) expect(serviceItems(s.service(changes), s.slices([{ n: 1 }]), s.context())).toEqual(nothing);
});

eachStack("S19: another proxy's name leaves the Service to it, ours does not", (s) => {
  for (
    const [name, served] of [
      ["cilium", false],
      ["", false],
      ["Kube-Router", false],
      ["kube-router", true],
      ["routelet", true],
    ] as const
  ) {
    const metadata = { labels: { "service.kubernetes.io/service-proxy-name": name } };
    expect(keys(s, s.service({ metadata })).length > 0).toBe(served);
  }
});

eachStack("S20: each family of the Service that the node has is served, in any order", (s) => {
  const both = ["10.96.0.1", "fd00:96::1"];
  for (const clusterIPs of [both, both.toReversed()]) {
    const got = keys(s, s.service({ clusterIPs, externalIPs: [], ports: [{}] }));
    expect(got.filter((each) => each.startsWith("clusterIP")).toSorted())
      .toEqual(s.families.map((f) => `clusterIP ${key(at(f, "clusterIP"), 80)}`).toSorted());
  }
});

eachStack("S20: a family that the node lacks is passed over in silence, whatever the kind", (s) => {
  const given = s.context();
  for (const family of given.families) {
    const families = given.families.filter((each) => each !== family);
    const plan = planService(s.service(), s.slices([{ n: 1 }]), { ...given, families });
    expect(plan.frontends.filter((each) => each.family === family.family)).toEqual([]);
    expect(plan.vips.filter((each) => each.family === family.family)).toEqual([]);
    expect(plan.problems).toEqual([]);
  }
});

eachStack("S22: node ports are on the node's address of each family of the Service", (s) => {
  const got = keys(s, s.service()).filter((each) => each.startsWith("nodePort"));
  expect(got).toEqual(s.families.map((f) => `nodePort ${key(at(f, "nodePort"), 30080)}`));
  const moved = s.context().families.map((f) => ({ ...f, address: at(f.family, "nodePort", 9) }));
  const after = keys(s, s.service(), { families: moved }).filter((k) => k.startsWith("nodePort"));
  expect(after).toEqual(s.families.map((f) => `nodePort ${key(at(f, "nodePort", 9), 30080)}`));
});

eachStack("S23: a LoadBalancer without node ports has none", (s) => {
  const service = s.service({ ports: [{}], allocateLoadBalancerNodePorts: false });
  const kinds = new Set(planService(service, [], s.context()).frontends.map(({ kind }) => kind));
  expect([...kinds]).toEqual(["clusterIP", "externalIP", "loadBalancer"]);
});

eachStack(
  "S24: one number by several protocols is several frontends, each with its endpoints",
  (s) => {
    const protocols = ["TCP", "UDP", "SCTP"] as const;
    const ports = protocols.map((protocol) => ({ name: protocol, protocol, port: 53 }));
    const slices = protocols.flatMap((protocol, i) =>
      s.slices([{ n: i + 1 }], { ports: [{ name: protocol, protocol, port: 53 }] })
    );
    const plan = planService(s.service({ ports, externalIPs: [] }), slices, s.context());
    const got = plan.frontends.filter(({ kind }) => kind === "clusterIP")
      .map(({ id, endpoints }) => [id.key, endpoints.map(({ address }) => address)] as const);
    expect(got.toSorted()).toEqual(
      s.families.flatMap((f) =>
        protocols.map((p, i) =>
          [key(at(f, "clusterIP"), 53, p.toLowerCase()), [at(f, "pod", i + 1)]] as [
            string,
            string[],
          ]
        )
      ).toSorted(),
    );
  },
);

eachStack("S30: the application's protocol changes nothing", (s) => {
  const plain = keys(s, s.service());
  for (const appProtocol of ["http", "kubernetes.io/h2c", "", "☃"]) {
    expect(keys(s, s.service({ ports: [{ nodePort: 30080, appProtocol }] }))).toEqual(plain);
  }
});

test("S33: addresses of old objects are made canonical, and what is none is named", () => {
  const service = ipv4.service({
    clusterIPs: ["010.096.000.001", "::ffff:10.96.0.1"],
    externalIPs: ["203.000.113.001", "203.0.113.1", "203.0.113"],
    ports: [{}],
  });
  const plan = planService(withIngress(service, [{ ip: "198.051.100.1" }]), [], ipv4.context());
  expect(plan.frontends.map(({ id }) => id.key))
    .toEqual(["tcp 10.96.0.1:80", "tcp 203.0.113.1:80", "tcp 198.51.100.1:80"]);
  expect(plan.problems).toEqual([
    'External IP "203.0.113" is not an IP address; it is not served, correct spec.externalIPs',
  ]);
});

describe("addresses that are somebody's", () => {
  eachStack("S17: the host's own is served and never bound on our link", (s) => {
    const ownAddresses = s.families.map((f) => at(f, "externalIP"));
    const items = serviceItems(s.service(), [], s.context({ ownAddresses }));
    const bound = items.addresses.map(({ address }) => address);
    for (const family of s.families) {
      expect(items.services.map(({ id }) => id.address)).toContain(at(family, "externalIP"));
      expect(bound).not.toContain(at(family, "externalIP"));
      expect(bound).toContain(at(family, "loadBalancer"));
    }
  });

  eachStack("S17: another node's is neither bound nor served here", (s) => {
    const otherNodes = s.families.map((f) => at(f, "externalIP"));
    const items = serviceItems(s.service(), [], s.context({ otherNodes }));
    for (const address of otherNodes) {
      expect(items.services.map(({ id }) => id.address)).not.toContain(address);
      expect(items.addresses.map((each) => each.address)).not.toContain(address);
    }
    expect(items.problems).toEqual([]);
  });

  eachStack("S17: excluded CIDRs leave every kind of address alone, without a word", (s) => {
    const excluded = s.families.flatMap((f) => parseCidr(f === 4 ? "0.0.0.0/0" : "::/0") ?? []);
    const nothing = { addresses: [], routes: [], services: [], destinations: [], problems: [] };
    expect(serviceItems(s.service(), s.slices([{ n: 1 }]), s.context({ excluded })))
      .toEqual(nothing);
  });

  test("S17: one address of two kinds is served once, as the first of them", () => {
    const loose = { ...ipv4.context().ranges, strict: false };
    const service = ipv4.service({
      externalIPs: ["10.96.0.1", "198.51.100.1", "192.168.1.1"],
      ports: [{ port: 30080, nodePort: 30080 }],
    });
    const plan = planService(service, [], ipv4.context({ ranges: loose }));
    expect(plan.frontends.map(({ kind, id }) => `${kind} ${id.key}`)).toEqual([
      "clusterIP tcp 10.96.0.1:30080",
      "externalIP tcp 198.51.100.1:30080",
      "externalIP tcp 192.168.1.1:30080",
    ]);
  });
});
