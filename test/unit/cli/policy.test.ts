import { expect, test } from "bun:test";
import { listText, whyText } from "../../../src/cli/policy.ts";
import { packetsAmong, packetsOf } from "../../../src/cli/rule-counters.ts";

const SAVE = `*filter
:KUBE-NWPLCY-A - [0:0]
[3:180] -A KUBE-NWPLCY-A -s 10.0.0.1/32 -m comment --comment "a/web ingress pods routelet:firewall:0123456789abcd" -j MARK --set-xmark 0x10000/0x10000
[9:540] -A KUBE-NWPLCY-A -m mark --mark 0x10000/0x10000 -m comment --comment "routelet:firewall:0123456789abcd" -j RETURN
[4:240] -A KUBE-NWPLCY-A -m comment --comment "a/web ingress any routelet:firewall:0123456789abcd" -j MARK --set-xmark 0x10000/0x10000
[7:420] -A KUBE-NWPLCY-B -m comment --comment "a/web ingress any routelet:firewall:0123456789abcd" -j MARK --set-xmark 0x10000/0x10000
COMMIT
`;

test("packetsOf() adds what the rules of one chain with that comment have met", () => {
  const object = { family: 4, chain: "KUBE-NWPLCY-A", comment: "a/web ingress " } as const;
  expect(packetsOf(SAVE, object)).toBe(7);
  expect(packetsOf(SAVE, { ...object, chain: "KUBE-NWPLCY-C" })).toBeUndefined();
});

test("packetsAmong() finds chains of other tables than filter as well, which nf_tables has in one", () => {
  const rules = [
    { chain: "nat/KUBE-ROUTER-MASQUERADE", comment: "answers must come back here", packets: 5 },
    { chain: "KUBE-NWPLCY-A", comment: "a/web ingress any", packets: 3 },
  ];
  const nat = { family: 4, chain: "KUBE-ROUTER-MASQUERADE", comment: "answers " } as const;
  expect(packetsAmong(rules, nat)).toBe(5);
  expect(packetsAmong(rules, { ...nat, chain: "KUBE-NWPLCY-A", comment: "a/web ingress " })).toBe(
    3,
  );
  expect(packetsAmong(rules, { ...nat, chain: "KUBE-NWPLCY-B" })).toBeUndefined();
});

test("listText() says what each policy does here", () => {
  expect(listText({
    node: "node1",
    policies: [{
      policy: "a/web",
      directions: ["ingress", "egress"],
      audit: true,
      pods: ["a/web"],
      chains: ["KUBE-NWPLCY-A", "KUBE-NWPLCY-B"],
      problems: ["ingress[0] is odd"],
    }],
    closed: ["b"],
  })).toBe(`a/web  ingress and egress, audit only, 1 pod here
  ingress chain KUBE-NWPLCY-A
  egress chain KUBE-NWPLCY-B
  pods a/web
  problem: ingress[0] is odd
namespace b  closed for ingress by its annotation
`);
  expect(listText({ node: "node1", policies: [], closed: [] })).toBe(
    "No policy concerns the pods of node1\n",
  );
});

test("whyText() names policy, rule, chain and counter, and who else judges", () => {
  expect(whyText({
    node: "node1",
    connections: [{
      source: "fd01::1",
      destination: "fd01::2",
      protocol: "tcp",
      port: 80,
      allowed: false,
      judgements: [{
        pod: "a/web",
        direction: "ingress",
        allowed: false,
        cause: { kind: "isolated", by: ["a/p", "a/q"] },
        object: { family: 6, chain: "KUBE-POD-FW-A", comment: "a/web reject" },
      }],
      elsewhere: ["b/db on node2"],
    }],
  }, () => 5)).toBe(`fd01::1 -> tcp [fd01::2]:80: denied on node1
  ingress of a/web: denied, no rule of policy a/p, policy a/q
    chain KUBE-POD-FW-A, "a/web reject", 5 packets
  b/db on node2: ask there too
`);
});
