import { expect, test } from "bun:test";
import type { WhyConnection } from "../../../src/plugins/firewall/answers.ts";
import type { FrontendAnswer, ProxyWhyAnswer } from "../../../src/plugins/proxy/answers.ts";
import { type Facts, judgeTarget } from "../../../src/cli/why-judge.ts";
import { whyText } from "../../../src/cli/why-text.ts";

const TO_POD = {
  type: "unicast",
  destination: "10.244.1.0/24",
  table: 254,
  protocol: 2,
  source: "10.1.0.11",
  hops: [{ link: "kube-bridge" }],
} as const;

const WEB: FrontendAnswer = {
  service: "shop/web",
  kind: "clusterIP",
  family: 4,
  protocol: "tcp",
  address: "10.96.0.10",
  port: 80,
  portName: "http",
  scope: "cluster",
  verdict: "serve",
  scheduler: "rr",
  persistence: 0,
  key: "tcp 10.96.0.10:80",
  hairpin: false,
  endpoints: [
    { address: "10.244.1.6", port: 8080, node: "one", tunnel: false },
    { address: "10.244.2.6", port: 8080, node: "two", tunnel: false },
  ],
  problems: [],
};

function proxy(
  front?: Partial<FrontendAnswer>,
  more: Partial<ProxyWhyAnswer> = {},
): ProxyWhyAnswer {
  return {
    node: "one",
    frontends: front === undefined ? [] : [{ ...WEB, ...front }],
    others: [],
    isVip: front !== undefined,
    masquerade: {
      all: false,
      families: [{ family: 4, address: "10.1.0.11", podCIDRs: ["10.244.1.0/24"] }],
    },
    permitAll: true,
    ...more,
  };
}

function facts(changes: Partial<Facts> = {}): Facts {
  return {
    node: "one",
    source: {
      address: "10.244.1.5",
      named: { kind: "pod", name: "shop/client", node: "one" },
      isHost: false,
    },
    target: { address: "10.96.0.10", port: 80, protocol: "tcp" },
    proxy: proxy({}),
    policyOf: () => undefined,
    routeTo: () => TO_POD,
    nameOf: () => undefined,
    isHosts: (address) => address === "10.1.0.11",
    listens: () => false,
    knowsPods: true,
    egress: false,
    ...changes,
  };
}

const OUTSIDE = { source: { address: "192.0.2.7", isHost: false } } as const;

function denied(address: string): WhyConnection {
  return {
    source: "10.244.1.5",
    destination: address,
    protocol: "tcp",
    port: 8080,
    allowed: false,
    judgements: [{
      pod: "shop/near",
      direction: "ingress",
      allowed: false,
      cause: { kind: "isolated", by: ["shop/closed"] },
      object: { family: 4, chain: "KUBE-POD-FW-X", comment: "shop/near reject" },
    }],
    elsewhere: [],
  };
}

test("a Service with endpoints that nothing stands against is reached", () => {
  const { result, paths } = judgeTarget(facts());
  expect(result).toBe("reaches");
  expect(paths.map(({ address, nat }) => [address, nat?.kind])).toEqual([
    ["10.244.1.6", "kept"],
    ["10.244.2.6", "kept"],
  ]);
});

test("a client outside keeps its address towards pods of this node, and loses it towards others", () => {
  const { paths } = judgeTarget(facts(OUTSIDE));
  expect(paths.map(({ nat }) => nat)).toEqual([
    { kind: "kept", because: "to a pod of this node" },
    { kind: "masqueraded", to: "10.1.0.11" },
  ]);
});

test("where a policy denies one endpoint alone, it depends on the endpoint", () => {
  const answer = judgeTarget(facts({
    policyOf: (address) => address === "10.244.1.6" ? denied(address) : undefined,
  }));
  expect(answer.result).toBe("depends");
  expect(answer.paths.map(({ result }) => result)).toEqual(["refused", "reaches"]);
});

test("a pod that is given itself is lost without hairpin, and not with it", () => {
  const only = [{ address: "10.244.1.5", port: 80, node: "one", tunnel: false }];
  expect(judgeTarget(facts({ proxy: proxy({ endpoints: only }) })).result).toBe("dropped");
  const answer = judgeTarget(facts({ proxy: proxy({ endpoints: only, hairpin: true }) }));
  expect(answer.result).toBe("reaches");
  expect(answer.paths[0]?.nat).toEqual({ kind: "hairpin", to: "10.96.0.10" });
});

test("a client inside the cluster is not bound by the Local policy that drops one outside", () => {
  const { endpoints } = WEB;
  const inside = { key: "fwmark 16777223 ipv4", mark: 0x1000007, endpoints };
  const local = proxy({ endpoints: [], verdict: "drop", scope: "local", inside });
  const pod = judgeTarget(facts({ proxy: local }));
  expect(pod.paths).toHaveLength(2);
  expect(pod.notes.join()).toContain("the Local policy of this address does not bind it");
  expect(judgeTarget(facts({ ...OUTSIDE, proxy: local })).result).toBe("dropped");
});

test("without endpoints it is refused, under a Local policy dropped, each by its rule", () => {
  const refused = judgeTarget(facts({ proxy: proxy({ endpoints: [], verdict: "reject" }) }));
  expect([refused.result, refused.stop?.rule?.comment]).toEqual(["refused", "no endpoints"]);
  const local = proxy({ endpoints: [], verdict: "drop", scope: "local" });
  const dropped = judgeTarget(facts({ ...OUTSIDE, proxy: local }));
  expect([dropped.result, dropped.stop?.rule?.chain]).toEqual([
    "dropped",
    "KUBE-ROUTER-SVC-VERDICT",
  ]);
  const own = judgeTarget(facts({ source: { address: "10.1.0.11", isHost: true }, proxy: local }));
  expect([own.result, own.stop?.rule?.chain]).toEqual(["dropped", "KUBE-ROUTER-SVC-OUT"]);
});

test("source ranges stop clients that they leave out, and not this node", () => {
  const limited = proxy({ kind: "loadBalancer", sources: ["198.51.100.0/24"] });
  expect(judgeTarget(facts({ ...OUTSIDE, proxy: limited })).result).toBe("dropped");
  const inside = { source: { address: "198.51.100.3", isHost: false } };
  expect(judgeTarget(facts({ ...inside, proxy: limited })).result).toBe("reaches");
  const own = { source: { address: "10.1.0.11", isHost: true } };
  expect(judgeTarget(facts({ ...own, proxy: limited })).result).toBe("reaches");
});

test("another port of a VIP is refused, by name of the Service that has it", () => {
  const answer = judgeTarget(
    facts({ proxy: proxy(undefined, { isVip: true, others: ["shop/web"] }) }),
  );
  expect(answer.result).toBe("refused");
  expect(answer.stop?.because).toContain("Service shop/web");
  expect(answer.stop?.rule?.chain).toBe("KUBE-ROUTER-SERVICES");
});

test("without a route it cannot be sent, and a blackhole drops it", () => {
  const none = {
    proxy: proxy(),
    target: { address: "192.0.2.1", port: 1, protocol: "tcp" },
  } as const;
  expect(judgeTarget(facts({ ...none, routeTo: () => ({ error: "ENETUNREACH" }) })).result)
    .toBe("unreachable");
  const hole = { ...TO_POD, type: "blackhole" } as const;
  expect(judgeTarget(facts({ ...none, routeTo: () => hole })).result).toBe("dropped");
});

test("a port of this host is refused where no program listens", () => {
  const own = {
    proxy: proxy(),
    target: { address: "10.1.0.11", port: 22, protocol: "tcp" },
    routeTo: () => ({ ...TO_POD, type: "local" as const }),
  } as const;
  expect(judgeTarget(facts(own)).result).toBe("refused");
  expect(judgeTarget(facts({ ...own, listens: () => true })).result).toBe("reaches");
});

test("an address of this node's pod range that no pod has is unreachable, unless pods are not known", () => {
  const nobody = {
    proxy: proxy(),
    target: { address: "10.244.1.99", port: 1, protocol: "tcp" },
  } as const;
  expect(judgeTarget(facts(nobody)).result).toBe("unreachable");
  expect(judgeTarget(facts({ ...nobody, knowsPods: false })).result).toBe("reaches");
});

test("what leaves the cluster takes the node's address where the router says so", () => {
  const out = {
    proxy: proxy(),
    target: { address: "192.0.2.1", port: 443, protocol: "tcp" },
  } as const;
  expect(judgeTarget(facts(out)).paths[0]?.nat).toBeUndefined();
  expect(judgeTarget(facts({ ...out, egress: true })).paths[0]?.nat)
    .toEqual({ kind: "masqueraded", to: "10.1.0.11" });
});

test("it says where else to ask", () => {
  const remote = {
    source: {
      address: "10.244.2.9",
      named: { kind: "pod", name: "shop/other", node: "two" },
      isHost: false,
    },
  } as const;
  expect(judgeTarget(facts(remote)).notes).toEqual([
    'IPVS has no virtual service "tcp 10.96.0.10:80" now; "routelet plan" says what is missing',
    "the endpoint is chosen on two, where shop/other is: ask there too",
  ]);
});

test("whyText() names Service, policy, chain, counter and route", () => {
  const one = proxy({ endpoints: WEB.endpoints.slice(0, 1) });
  const answer = judgeTarget(facts({
    proxy: one,
    policyOf: denied,
    nameOf: () => ({ kind: "pod", name: "shop/near", node: "one" }),
  }));
  const { source } = facts();
  const text = whyText({
    node: "one",
    source: { text: "shop/client", isHost: false },
    destination: "shop/web",
    targets: [{ ...answer, source }],
  }, () => 7);
  expect(text).toBe(
    `10.244.1.5 (pod shop/client on one) -> tcp 10.96.0.10:80: is refused, as far as one decides
  service  shop/web, cluster IP, port "http": rr, no affinity, endpoints of the cluster
           IPVS: nothing at "tcp 10.96.0.10:80"
  -> 10.244.1.6:8080 (pod shop/near on one): is refused; not in IPVS
     reason   ingress of shop/near is denied by network policy
     policy   ingress of shop/near: denied, no rule of policy shop/closed
              chain KUBE-POD-FW-X, "shop/near reject", 7 packets
     nat      source kept: from a pod of this node
     route    10.244.1.0/24 dev kube-bridge src 10.1.0.11 (Linux's own)
  note     IPVS has no virtual service "tcp 10.96.0.10:80" now; "routelet plan" says what is missing
`,
  );
});
