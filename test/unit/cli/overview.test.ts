import { expect, test } from "bun:test";
import { bytes, ipvsText } from "../../../src/cli/ipvs.ts";
import { overviewText } from "../../../src/cli/overview.ts";
import type { IpvsRow } from "../../../src/plugins/proxy/answers.ts";

test("a line each for IPVS, BGP and policies, with what is wrong below", () => {
  expect(overviewText({
    ipvs: {
      services: 12,
      ours: 10,
      connections: 214,
      connectionRate: 3,
      inByteRate: 1200,
      outByteRate: 84_000,
      busiest: [{ service: "shop/web", connectionRate: 3 }],
    },
    bgp: {
      established: 1,
      neighbors: [
        { address: "10.0.0.2", asn: 64512, state: "Established", received: 1, advertised: 1 },
        {
          address: "10.0.0.3",
          asn: 64513,
          state: "Active",
          received: 0,
          advertised: 0,
          lastError: "Connection refused",
        },
      ],
    },
    policies: { policies: 2, pods: 3, problems: ["a/odd: ingress[0] is odd"] },
  })).toBe(
    `ipvs      10 services and 2 of others; 214 connections, 3/s, 1.2 kB/s in, 84.0 kB/s out; most: shop/web 3/s
bgp       1 of 2 sessions established
          10.0.0.3 (AS 64513) Active: Connection refused
policies  2 for 3 pods of this node
          problem: a/odd: ingress[0] is odd
`,
  );
  expect(overviewText({})).toBe("");
  expect(overviewText({ bgp: { established: 0, neighbors: [] } })).toBe(
    "bgp       no neighbours\n",
  );
});

test("bytes are short", () => {
  expect([0, 999, 1000, 12_345, 999_000, 5e6, 7e12].map(bytes)).toEqual([
    "0 B",
    "999 B",
    "1.0 kB",
    "12.3 kB",
    "999 kB",
    "5.0 MB",
    "7.0 TB",
  ]);
});

const COUNTERS: IpvsRow["counters"] = {
  connections: 7,
  inPackets: 0,
  outPackets: 0,
  inBytes: 0,
  outBytes: 0,
  connectionRate: 1,
  inPacketRate: 0,
  outPacketRate: 0,
  inByteRate: 100,
  outByteRate: 0,
};

test("the table names Services and pods, and what is not ours", () => {
  const row: IpvsRow = {
    key: "tcp [fd00::1]:80",
    protocol: "tcp",
    address: "fd00::1",
    port: 80,
    fwmark: 0,
    service: "shop/web",
    kind: "clusterIP",
    portName: "http",
    scheduler: "rr",
    persistence: 30,
    counters: COUNTERS,
    destinations: [
      {
        address: "fd01::2",
        port: 8080,
        method: "masq",
        weight: 0,
        active: 2,
        inactive: 1,
        counters: COUNTERS,
      },
    ],
  };
  const { service: _, kind: __, portName: ___, ...bare } = row;
  const foreign: IpvsRow = {
    ...bare,
    key: "udp 10.9.9.9:53",
    protocol: "udp",
    address: "10.9.9.9",
    port: 53,
    destinations: [],
  };
  const names = { "fd01::2": { kind: "pod", name: "shop/web-1", node: "one" } } as const;
  expect(ipvsText({ node: "one", services: [row, foreign], left: 3 }, names)).toBe(
    `ADDRESS              OBJECT                   HOW                ACTIVE  INACTIVE  CONNECTIONS  CONN/S  IN/S   OUT/S
tcp [fd00::1]:80     shop/web:http clusterIP  rr, affinity 30 s  2       1         7            1       100 B  0 B
  -> [fd01::2]:8080  shop/web-1 on one        masq, draining     2       1         7            1       100 B  0 B
udp 10.9.9.9:53      not ours                 rr, affinity 30 s  0       0         7            1       100 B  0 B
… and 3 more services; name a Service, a namespace or an address, or take --output json
`,
  );
  expect(ipvsText({ node: "one", services: [], left: 0 }, {}, ["shop/none"]))
    .toBe("IPVS of one has no service of shop/none\n");
});
