/** A kind that servers may lack: another version of it, none at all, or none for us. */

import { afterEach, expect, test } from "bun:test";
import { testLogger } from "../../../../src/kernel/observe/log.ts";
import { cleanups, openSource, until } from "./support.ts";

const undo = cleanups();
afterEach(undo.run);

/** A bookmark, and nothing more. */
function quietWatch(): Response {
  const object = { kind: "ServiceCIDR", metadata: { resourceVersion: "6" } };
  const line = `${JSON.stringify({ type: "BOOKMARK", object })}\n`;
  return new Response(
    new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(line)),
    }),
  );
}

type Answer = "serves" | "lists" | 403 | 404;

/** An API server that serves one ServiceCIDR in some versions of the API, as `answers` says at each request. */
async function server(answers: Record<string, Answer>, absentMs = 20) {
  const asked: string[] = [];
  const listening = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 60,
    fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      const version = /networking\.k8s\.io\/(\w+)\/servicecidrs$/.exec(pathname)?.[1] ?? "";
      asked.push(version);
      const answer = answers[version] ?? 404;
      if (typeof answer === "number") return new Response(`no ${version}`, { status: answer });
      if (searchParams.get("watch") === "true") {
        return answer === "lists" ? new Response("no watch", { status: 403 }) : quietWatch();
      }
      return Response.json({
        metadata: { resourceVersion: "5" },
        items: [{ metadata: { name: "more" }, spec: { cidrs: ["10.200.0.0/24"] } }],
      });
    },
  });
  undo.add(() => listening.stop(true));
  const log = testLogger();
  const source = await openSource(undo, {
    master: `http://127.0.0.1:${listening.port}`,
    log,
    tuning: { absentMs, watchSeconds: 0.1, silenceMs: 200 },
  });
  source.start([{ kind: "servicecidrs" }]);
  const store = source.stores.servicecidrs;
  await until("synced", () => store.synced);
  return {
    asked,
    source,
    log,
    ranges: () => [...store.values()].flatMap(({ spec }) => spec.cidrs),
  };
}

test("an older version is read where the server has no newer one", async () => {
  const { asked, ranges, log } = await server({ v1beta1: "serves" });
  expect(ranges()).toEqual(["10.200.0.0/24"]);
  // The list alone makes it synced: the watch, of the same version, comes after.
  await until("watched", () => asked.length > 2);
  expect(asked.slice(0, 3)).toEqual(["v1", "v1beta1", "v1beta1"]);
  expect(log.lines).toEqual([]);
});

test("a server without it counts as one that holds none, without a word, until it has it", async () => {
  const answers: Record<string, Answer> = {};
  const { ranges, source, log } = await server(answers);
  expect(ranges()).toEqual([]);
  expect(source.state.connected).toBe(true);
  answers["v1"] = "serves";
  await until("read", () => ranges().length > 0);
  expect(ranges()).toEqual(["10.200.0.0/24"]);
  expect(log.lines).toEqual([]);
});

test("a role that lacks it is told of once, with what to add, and holds nothing up", async () => {
  const answers: Record<string, Answer> = { v1: 403 };
  const { asked, ranges, source, log } = await server(answers);
  await until("asked again", () => asked.length > 3);
  expect(ranges()).toEqual([]);
  expect(source.state.connected).toBe(true);
  expect(source.state.kinds[0]?.lastError).toContain(
    'allow "list" of "servicecidrs.networking.k8s.io"',
  );
  expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
    "warn Objects are not read: the agent goes on without them",
  ]);
  answers["v1"] = "serves";
  await until("read", () => ranges().length > 0);
  await until("well", () => source.state.kinds[0]?.lastError === undefined);
});

test("a role that may list it and not watch it is told of that once, and has it listed again", async () => {
  const { asked, ranges, source, log } = await server({ v1: "lists" });
  await until("asked again", () => asked.length > 6);
  expect(ranges()).toEqual(["10.200.0.0/24"]);
  expect(source.state.kinds[0]?.lastError).toContain(
    'allow "watch" of "servicecidrs.networking.k8s.io"',
  );
  expect(log.lines.map(({ level, message }) => `${level} ${message}`)).toEqual([
    "warn Objects may be listed and not watched: changes are seen late",
  ]);
});

test("a role that a server starting up does not know yet is not taken for one that lacks it for long", async () => {
  const answers: Record<string, Answer> = { v1: 403 };
  const { asked, ranges } = await server(answers, 60_000);
  await until("asked again", () => asked.length > 2);
  answers["v1"] = "serves";
  await until("read", () => ranges().length > 0);
});

test("what was known stays when the server stops to serve it", async () => {
  const answers: Record<string, Answer> = { v1: "serves" };
  const { asked, ranges } = await server(answers);
  expect(ranges()).toEqual(["10.200.0.0/24"]);
  delete answers["v1"];
  await until("asked for all versions", () => asked.includes("v1beta1"), 40);
  expect(ranges()).toEqual(["10.200.0.0/24"]);
});
