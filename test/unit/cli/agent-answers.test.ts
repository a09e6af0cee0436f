import { expect, test } from "bun:test";
import { agentAnswer } from "../../../src/cli/agent-answers.ts";
import { testCluster } from "../../support/cluster.ts";
import { service } from "../../support/objects.ts";

function ask(question: string, query: Readonly<Record<string, string>> = {}) {
  const cluster = testCluster();
  cluster.put("services", service("default/web"));
  cluster.sync();
  const holder = (plugin: string, kind: string, key: string) =>
    plugin === "proxy" && kind === "ipvs.service" && key === "tcp 10.96.0.1:80"
      ? "service default/web"
      : undefined;
  return agentAnswer(cluster, "node1", holder, question, new URLSearchParams(query));
}

test("the agent says its node, what names mean, and who holds a key", () => {
  expect(ask("-/node")).toBe("node1");
  expect(ask("-/meaning", { text: "default/web" })).toMatchObject({
    meanings: [{ kind: "service" }],
  });
  expect(ask("-/holders", { of: "proxy ipvs.service tcp 10.96.0.1:80" }))
    .toEqual({ "proxy ipvs.service tcp 10.96.0.1:80": "service default/web" });
  expect(ask("-/holders", { of: "proxy ipvs.service tcp 10.96.0.2:80" })).toEqual({});
});

test("what is a plugin's question is not the agent's, and before the start nothing is known", () => {
  expect(ask("proxy/why")).toBeUndefined();
  expect(ask("-/none")).toBeUndefined();
  expect(() => agentAnswer(undefined, "node1", () => undefined, "-/node", new URLSearchParams()))
    .toThrow("about to start");
});
