import { describe, expect, test } from "bun:test";
import { causeText, listAnswer, whyAnswer } from "../../../../src/plugins/firewall/answers.ts";
import { indexOf, itemsOf, namespace, pod, policy } from "../../../support/policy-world.ts";

const index = indexOf({
  namespaces: [
    namespace("a"),
    namespace("b", {}, {
      "net.beta.kubernetes.io/network-policy": '{"ingress":{"isolation":"DefaultDeny"}}',
    }),
  ],
  pods: [
    pod("a/web", {
      labels: { app: "web" },
      ips: ["10.1.1.2", "fd01:1::2"],
      ports: [{ containerPort: 8080 }],
    }),
    pod("b/db", { ips: ["10.1.1.3"] }),
    pod("a/far", { ips: ["10.1.2.2"], node: "node2" }),
  ],
  policies: [
    policy("a/web", {
      podSelector: { matchLabels: { app: "web" } },
      ingress: [{ ports: [{ port: 1 }] }, { from: [{ podSelector: {} }] }],
    }),
    policy("c/none", { podSelector: {} }),
  ],
  nodes: new Map([["node1", ["10.1.1.1"]]]),
}, "node1");

const why = (source: string, destination: string, port?: string) =>
  whyAnswer(
    index,
    "node1",
    [4, 6],
    new URLSearchParams({ source, destination, ...(port === undefined ? {} : { port }) }),
    (address) => address === "10.1.1.1",
  );

describe("the list", () => {
  test("holds policies of namespaces with pods here, and what the annotation closes", () => {
    expect(listAnswer(index, "node1")).toMatchObject({
      node: "node1",
      policies: [{ policy: "a/web", directions: ["ingress"], pods: ["a/web"], problems: [] }],
      closed: ["b"],
    });
  });
});

describe("why", () => {
  test("names the rule that allows, and a chain that is among those of the node", () => {
    const [connection] = why("a/far", "a/web").connections;
    expect(connection).toMatchObject({ protocol: "tcp", port: 8080, allowed: true });
    expect(connection?.elsewhere).toEqual(["a/far on node2"]);
    const judgement = connection?.judgements[0];
    expect(judgement?.cause).toEqual({ kind: "rule", policy: "a/web", rule: 1 });
    const chain = itemsOf(index).chains.find(({ family, name }) =>
      family === 4 && name === judgement?.object.chain
    );
    expect(
      chain?.rules.some(({ comment }) => comment?.startsWith(judgement?.object.comment ?? "-")),
    ).toBe(true);
  });

  test("names all that isolates where nothing allows, and an object that is there", () => {
    for (
      const [source, destination, kind] of [
        ["8.8.8.8", "a/web", "isolated"],
        ["a/web", "b/db", "isolated"],
        ["a/web", "8.8.8.8", "not isolated"],
        ["10.1.1.1", "a/web", "node"],
        ["a/web", "a/web", "self"],
      ] as const
    ) {
      const judgements = why(source, destination, "TCP/80").connections[0]?.judgements ?? [];
      const last = judgements.at(-1);
      expect([source, destination, last?.cause.kind as string]).toEqual([
        source,
        destination,
        kind,
      ]);
      const chain = itemsOf(index).chains.find(({ name }) => name === last?.object.chain);
      expect(
        chain?.rules.some(({ comment }) => comment?.startsWith(last?.object.comment ?? "-")),
      ).toBe(true);
    }
  });

  test("names policies under audit that would deny, and the rule that counts what they would", () => {
    const audited = indexOf({
      namespaces: [namespace("a")],
      pods: [pod("a/web", { ips: ["10.1.1.2"] })],
      policies: [policy("a/web", { podSelector: {} }, { "routelet.io/audit": "true" })],
      nodes: new Map(),
    }, "node1");
    const query = new URLSearchParams({ source: "8.8.8.8", destination: "a/web" });
    const [connection] = whyAnswer(audited, "node1", [4], query, () => false).connections;
    const [judgement] = connection?.judgements ?? [];
    expect(judgement).toMatchObject({
      allowed: true,
      cause: { kind: "not isolated", audited: ["a/web"] },
      object: { comment: "a/web audit" },
    });
    expect(judgement === undefined ? "" : causeText(judgement.cause)).toBe(
      "no policy isolates the pod in this direction; policy a/web under audit would deny it",
    );
    const chain = itemsOf(audited).chains.find(({ name }) => name === judgement?.object.chain);
    const counting = chain?.rules.filter(({ comment }) => comment?.startsWith("a/web audit"));
    expect(counting?.map(({ target }) => target.kind)).toEqual(["mark"]);
  });

  test("refuses what is no end, no port, or of two families", () => {
    expect(() => why("a/none", "a/web")).toThrow('No pod "a/none"');
    expect(() => why("x", "a/web")).toThrow('"x" is neither a pod');
    expect(() => why("a/web", "a/web", "80")).toThrow('"80" is no protocol and port');
    expect(() => why("a/web", "a/web", "TCP/70000")).toThrow("no protocol and port");
    expect(() => why("fd01::9", "b/db")).toThrow("no addresses of one family");
  });
});
