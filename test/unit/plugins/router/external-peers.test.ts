import { describe, expect, test } from "bun:test";
import { annotatedPeers, globalPeers } from "../../../../src/plugins/router/external-peers.ts";
import { routerOptions } from "../../../support/router-world.ts";

const KEY = (text: string) => new TextEncoder().encode(text);
const yaml = (text: string) => annotatedPeers({ "kube-router.io/peers": text });

describe("peers of flags", () => {
  const two = { peerRouterIps: ["10.0.0.1", "fd00::1"], peerRouterAsns: [64640, 64641] };

  test("have port 179 and neither password nor BFD unless flags say so", () => {
    expect(globalPeers(routerOptions(two))).toEqual({
      peers: [
        { address: "10.0.0.1", asn: 64640, port: 179 },
        { address: "fd00::1", asn: 64641, port: 179 },
      ],
      problems: [],
    });
  });

  test("take ports, passwords and BFD by their place", () => {
    const { peers } = globalPeers(routerOptions({
      ...two,
      peerRouterPorts: [1179, 179],
      peerRouterPasswords: ["", "c2VjcmV0"],
      enableBfd: true,
      bfdPort: 4000,
      bfdDetectionMultiplier: 5,
      bfdDesiredMinTxInterval: 300,
      bfdRequiredMinRxInterval: 200,
    }));
    const bfd = { port: 4000, detectionMultiplier: 5, desiredMinTx: 300, requiredMinRx: 200 };
    expect(peers).toEqual([
      { address: "10.0.0.1", asn: 64640, port: 1179, bfd },
      { address: "fd00::1", asn: 64641, port: 179, key: KEY("secret"), bfd },
    ]);
  });

  test("take passwords of the file where the flag has none", () => {
    expect(globalPeers(routerOptions(two), "aGk=,\n").peers.map(({ key }) => key))
      .toEqual([KEY("hi"), undefined]);
    const both = routerOptions({ ...two, peerRouterPasswords: ["", ""] });
    expect(globalPeers(both, "aGk=,aGk=").peers.map(({ key }) => key))
      .toEqual([undefined, undefined]);
  });

  test("are unreadable with a file of another length, and one bad password costs its peer alone", () => {
    const short = globalPeers(routerOptions(two), "aGk=");
    expect([short.unreadable, short.peers]).toEqual([true, []]);
    expect(short.problems[0]).toContain("has 1 passwords for 2");
    const bad = globalPeers(routerOptions(two), "hunter2!,aGk=");
    expect(bad.peers.map(({ address }) => address)).toEqual(["fd00::1"]);
    expect(bad.problems.join()).toContain('"10.0.0.1"');
    expect(bad.problems.join()).not.toContain("hunter2");
  });
});

describe("annotation peers", () => {
  test("gives each peer its own fields", () => {
    expect(yaml(`
- remoteip: 10.0.0.1
  remoteasn: 64640
  password: U2VjdXJlUGFzc3dvcmQ=
  localip: 192.168.0.1
  bfd: {enabled: true, port: 37850, detection_multiplier: 2, desired_min_tx_interval: 2, required_min_rx_interval: 2}
- {remoteip: "fd00::0:2", remoteasn: "0xfc80", port: 180, unknown: ignored}
- {remoteip: 10.0.0.3, remoteasn: 64642, port: 0, bfd: {enabled: true}}
`)).toEqual({
      peers: [
        {
          address: "10.0.0.1",
          asn: 64640,
          port: 179,
          local: "192.168.0.1",
          key: KEY("SecurePassword"),
          bfd: { port: 37850, detectionMultiplier: 2, desiredMinTx: 2, requiredMinRx: 2 },
        },
        { address: "fd00::2", asn: 64640, port: 180 },
        {
          address: "10.0.0.3",
          asn: 64642,
          port: 179,
          bfd: { port: 3784, detectionMultiplier: 3, desiredMinTx: 1000, requiredMinRx: 1000 },
        },
      ],
      problems: [],
    });
  });

  test("may be empty, and then there are no peers, whatever the older annotations say", () => {
    const older = { "kube-router.io/peer.ips": "10.0.0.1", "kube-router.io/peer.asns": "64640" };
    for (const text of ["", " ", "[]", "# nothing"]) {
      expect(annotatedPeers({ ...older, "kube-router.io/peers": text }))
        .toEqual({ peers: [], problems: [] });
    }
  });

  const one = (fields: string) => yaml(`[{remoteip: 10.0.0.9, remoteasn: 64640, ${fields}}]`);
  const wrong: readonly (readonly [text: string, problem: string])[] = [
    ["[{remoteasn: 64640}]", "remoteip cannot be empty"],
    ["[{remoteip: 10.0.0.1}]", "remoteasn cannot be empty"],
    ["[{remoteip: 10.0.0.300, remoteasn: 64640}]", '"10.0.0.300" is no IP address'],
    ["[{remoteip: 10.0.0.1, remoteasn: x}]", '"x" is no AS number'],
    ["[{remoteip: 10.0.0.1, remoteasn: 0}]", "AS number 0 is reserved"],
    ["[{remoteip: 10.0.0.1, remoteasn: 23456}]", "AS number 23456 is reserved"],
    ["[text]", "remoteip cannot be empty"],
  ];
  for (const [text, problem] of wrong) {
    test(`${text} is left out: ${problem}`, () => {
      const { peers, problems, unreadable } = yaml(text);
      expect([peers, unreadable]).toEqual([[], undefined]);
      expect(problems.join()).toContain(problem);
    });
  }

  const fields: readonly (readonly [field: string, problem: string])[] = [
    ["port: 65536", '"65536" is no port'],
    ["localip: here", '"here" is no IP address'],
    ["password: 12345678", "its password is no text"],
    ["password: x", "its password is no standard base64"],
    ["bfd: yes please", "bfd is no object"],
    ["bfd: {port: 0}", 'bfd.port cannot be "0"'],
    ["bfd: {port: 65536}", 'bfd.port cannot be "65536"'],
    ["bfd: {detection_multiplier: 256}", 'bfd.detection_multiplier cannot be "256"'],
    ["bfd: {desired_min_tx_interval: 4294968}", 'bfd.desired_min_tx_interval cannot be "4294968"'],
    ["bfd: {required_min_rx_interval: 0}", 'bfd.required_min_rx_interval cannot be "0"'],
    ["bfd: {enabled: maybe}", 'bfd.enabled cannot be "maybe"'],
  ];
  for (const [field, problem] of fields) {
    test(`a peer with ${field} is left out: ${problem}`, () => {
      expect(one(field).peers).toEqual([]);
      expect(one(field).problems.join()).toContain(problem);
    });
  }

  test("the limits of BFD are within", () => {
    const bfd =
      "bfd: {enabled: true, port: 65535, detection_multiplier: 255, desired_min_tx_interval: 4294967, required_min_rx_interval: 4294967}";
    expect(one(bfd).peers).toHaveLength(1);
  });

  test("one that is wrong costs only itself, and of two with one address the first counts", () => {
    const { peers, problems } = yaml(
      "[{remoteip: bad, remoteasn: 64640}, {remoteip: 10.0.0.2, remoteasn: 64640}, {remoteip: 10.0.0.2, remoteasn: 64641}]",
    );
    expect(peers).toEqual([{ address: "10.0.0.2", asn: 64640, port: 179 }]);
    expect(problems).toHaveLength(2);
  });

  test("that is no list cannot be read, and says so without showing it", () => {
    for (const text of ["{remoteip: 10.0.0.1}", "- {password: hunter2", "hunter2"]) {
      const { unreadable, peers, problems } = yaml(text);
      expect([unreadable, peers]).toEqual([true, []]);
      expect(problems).toHaveLength(1);
      expect(problems.join()).not.toContain("hunter2");
    }
  });
});

describe("the older annotations", () => {
  const older = (fields: Record<string, string>) =>
    annotatedPeers(
      Object.fromEntries(Object.entries(fields).map(([k, v]) => [`kube-router.io/peer.${k}`, v])),
    );
  const two = { ips: "10.0.0.1,10.0.0.2", asns: "64640,0xfc81" };

  test("belong together by place", () => {
    expect(older({
      ...two,
      ports: "180,181",
      passwords: ",c2VjcmV0",
      localips: "192.168.0.1,",
    })).toEqual({
      peers: [
        { address: "10.0.0.1", asn: 64640, port: 180, local: "192.168.0.1" },
        { address: "10.0.0.2", asn: 64641, port: 181, key: KEY("secret") },
      ],
      problems: [],
    });
  });

  test("a blank port is 179", () => {
    expect(older({ ...two, ports: ",181" }).peers.map(({ port }) => port)).toEqual([179, 181]);
  });

  test("name no peers without addresses or AS numbers", () => {
    expect(older({ ips: two.ips })).toEqual({ peers: [], problems: [] });
    expect(older({ asns: two.asns })).toEqual({ peers: [], problems: [] });
  });

  const counts: readonly (readonly [fields: Record<string, string>, problem: string])[] = [
    [{ ips: "10.0.0.1", asns: two.asns }, "the number of IPs and ASN numbers must be equal"],
    [{ ips: two.ips, asns: "64640" }, "the number of IPs and ASN numbers must be equal"],
    [{ ...two, ports: "180" }, "number of ports must be either zero, or one per peer router"],
    [{ ...two, passwords: "aGk=" }, "number of passwords must be either zero, or one per peer"],
    [{ ...two, localips: "10.0.0.9" }, "number of localIPs must be either zero, or one per peer"],
  ];
  for (const [fields, problem] of counts) {
    test(`cannot be read with ${JSON.stringify(fields)}`, () => {
      const { unreadable, peers, problems } = older(fields);
      expect([unreadable, peers]).toEqual([true, []]);
      expect(problems.join()).toContain(problem);
    });
  }

  test("a reserved AS number costs its peer alone", () => {
    const { peers, problems } = older({ ips: two.ips, asns: "65535,64640" });
    expect(peers.map(({ address }) => address)).toEqual(["10.0.0.2"]);
    expect(problems.join()).toContain("65535 is reserved");
  });
});
