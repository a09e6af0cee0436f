import { describe, expect, test } from "bun:test";
import type { Policy } from "../../../../src/plugins/router/bgp/mod.ts";
import type { PeeringPlan, PeerPlan } from "../../../../src/plugins/router/peering.ts";
import {
  peerConfigs,
  type PolicyInput,
  speakerOptions,
} from "../../../../src/plugins/router/speaker-config.ts";

const NODE: PeerPlan = {
  address: "10.0.0.2",
  kind: "internal",
  node: "n2",
  asn: 64512,
  port: 179,
  local: "10.0.0.1",
  families: [4],
  reflectorClient: false,
};
const ROUTER: PeerPlan = {
  address: "10.9.0.1",
  kind: "external",
  asn: 64640,
  port: 1179,
  local: "10.0.0.1",
  families: [4, 6],
  reflectorClient: false,
};
const PLAN: PeeringPlan = {
  asn: 64512,
  routerId: "10.0.0.1",
  isReflector: false,
  listen: { addresses: ["10.0.0.1", "fd00::1"], port: 1790 },
  holdTime: 90,
  external: { communities: [], nextHopSelf: false },
  importReject: [],
  peers: [NODE, ROUTER],
};
const INPUT: PolicyInput = { advertisePodCidr: true, maxPrefixes: 0, podCidrs: [] };

function configs(changes: Partial<PeeringPlan> = {}, input: Partial<PolicyInput> = {}) {
  const [node, router] = peerConfigs({ ...PLAN, ...changes }, { ...INPUT, ...input });
  if (node === undefined || router === undefined) throw new Error("Two peers were planned");
  return { node, router };
}

/** Statements as "name: action". */
const words = (policy: Policy | undefined) => [
  ...policy?.statements.map(({ name, action }) => `${name}: ${action}`) ?? [],
  `else: ${policy?.default}`,
];

test("a speaker is what flags and the node say", () => {
  expect(speakerOptions(PLAN, "n1")).toEqual({
    asn: 64512,
    routerId: "10.0.0.1",
    listen: [{ address: "10.0.0.1", port: 1790 }, { address: "fd00::1", port: 1790 }],
    multipath: 16,
    hostname: "n1",
  });
  const more = {
    ...PLAN,
    gracefulRestart: { restartTime: 120, deferralTime: 300 },
  };
  expect(speakerOptions(more, "n1")).toMatchObject({
    gracefulRestart: { restartSeconds: 120, deferralSeconds: 300 },
  });
});

test("a peer has what its plan says, with BFD in microseconds", () => {
  const key = new TextEncoder().encode("secret");
  const bfd = { port: 3784, detectionMultiplier: 3, desiredMinTx: 1000, requiredMinRx: 300 };
  const full = { ...ROUTER, key, multihop: 4, bfd };
  const [config] = peerConfigs({ ...PLAN, peers: [full] }, INPUT);
  expect(config).toMatchObject({
    address: "10.9.0.1",
    port: 1179,
    asn: 64640,
    localAddress: "10.0.0.1",
    families: [4, 6],
    password: key,
    holdSeconds: 90,
    multihop: 4,
    bfd: { port: 3784, detectMultiplier: 3, desiredMinTx: 1_000_000, requiredMinRx: 300_000 },
  });
  expect(config?.routeReflectorClient).toBeUndefined();
  const [client] = peerConfigs({ ...PLAN, peers: [{ ...NODE, reflectorClient: true }] }, INPUT);
  expect(client?.routeReflectorClient).toBe(true);
});

test("a peer may announce as many prefixes as the flag says, and any number where it says 0", () => {
  expect(configs({}, { maxPrefixes: 5000 }).router.maxPrefixes).toBe(5000);
  expect(configs({}, { maxPrefixes: 5000 }).node.maxPrefixes).toBe(5000);
  expect(configs().router.maxPrefixes).toBeUndefined();
});

describe("what is taken in", () => {
  test("is no way into the pod CIDRs of this node, which would go before its bridge", () => {
    const { node, router } = configs({}, { podCidrs: ["10.244.1.0/24", "fd01:1::/64"] });
    expect(words(node.import)).toContain("own pod CIDRs: reject");
    expect(router.import?.statements).toContainEqual({
      name: "own pod CIDRs",
      match: {
        prefixes: [
          { prefix: "10.244.1.0/24", min: 24, max: 32 },
          { prefix: "fd01:1::/64", min: 64, max: 128 },
        ],
      },
      action: "reject",
    });
  });

  test("is all but own VIPs, default routes and refused networks, from everybody", () => {
    const { node, router } = configs({ importReject: ["10.5.0.0/16", "fd00::/8"] });
    expect(node.import).toBe(router.import as Policy);
    expect(node.import).toEqual({
      default: "accept",
      statements: [
        {
          name: "own VIPs",
          match: { classes: ["vip"] },
          action: "reject",
        },
        {
          name: "own prefixes of plugins",
          match: { classes: ["plugin"] },
          action: "reject",
        },
        {
          name: "default routes",
          match: { prefixes: [{ prefix: "0.0.0.0/0" }, { prefix: "::/0" }] },
          action: "reject",
        },
        {
          name: "kube-router.io/node.bgp.customimportreject",
          match: {
            prefixes: [
              { prefix: "10.5.0.0/16", min: 16, max: 32 },
              { prefix: "fd00::/8", min: 8, max: 128 },
            ],
          },
          action: "reject",
        },
      ],
    });
  });

  test("has no empty statement, which others take for one that matches all", () => {
    expect(words(configs().node.import))
      .toEqual([
        "own VIPs: reject",
        "own prefixes of plugins: reject",
        "default routes: reject",
        "else: accept",
      ]);
  });
});

describe("what is told", () => {
  test("nodes get pod CIDRs, routers outside VIPs and by flag pod CIDRs", () => {
    const { node, router } = configs();
    expect(words(node.export)).toEqual(["own pod CIDRs: accept", "else: reject"]);
    expect(words(router.export)).toEqual([
      "own VIPs: accept",
      "own prefixes of plugins: accept",
      "own pod CIDRs (--advertise-pod-cidr): accept",
      "else: reject",
    ]);
    expect(words(configs({}, { advertisePodCidr: false }).router.export))
      .toEqual(["own VIPs: accept", "own prefixes of plugins: accept", "else: reject"]);
  });

  test("attributes are set for routers outside alone", () => {
    const { node, router } = configs({
      external: {
        prepend: { asn: 65100, times: 5 },
        communities: [0xffffff01, 65000 * 65536 + 1],
        nextHopSelf: true,
      },
    });
    const set = {
      prepend: { asn: 65100, count: 5 },
      communities: ["65535:65281", "65000:1"],
      nextHop: "self",
    };
    expect(router.export?.statements.map((each) => each.set)).toEqual([set, set, set]);
    expect(node.export?.statements.map((each) => each.set)).toEqual([undefined]);
  });

  test("a reflector passes on what it learned", () => {
    const { node, router } = configs({ isReflector: true, clusterId: "10.0.0.1" });
    expect(words(node.export))
      .toEqual(["own pod CIDRs: accept", "reflected: accept", "else: reject"]);
    expect(words(router.export).at(-2)).toBe("reflected: accept");
    expect(node.export?.statements[1]?.match).toEqual({ source: ["ibgp", "ebgp"] });
  });
});
