/** What a server, or a proxy before it, may do to the stream of a watch. */

import { afterEach, expect, test } from "bun:test";
import { testLogger } from "../../../../src/kernel/observe/log.ts";
import { cleanups, openSource, service, until } from "./support.ts";

const undo = cleanups();
afterEach(undo.run);

/** Serves one Service, and each watch as the next of `streams`; the last one stays open. */
async function cluster(...streams: readonly (readonly (string | Uint8Array)[])[]) {
  const requests: string[] = [];
  let watches = 0;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch: (request) => {
      const { searchParams } = new URL(request.url);
      requests.push(
        searchParams.has("watch") ? `watch ${searchParams.get("resourceVersion")}` : "list",
      );
      if (!searchParams.has("watch")) {
        return Response.json({
          metadata: { resourceVersion: String(10 + requests.length) },
          items: [object("web", 5)],
        });
      }
      const stream = streams[watches++];
      return new Response(
        new ReadableStream({
          start: async (controller) => {
            // Bun sends no headers before the first byte.
            for (const chunk of stream ?? ["\n"]) {
              controller.enqueue(
                typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk,
              );
              await Bun.sleep(5);
            }
            if (stream !== undefined) controller.close();
          },
        }),
      );
    },
  });
  undo.add(() => server.stop(true));
  const log = testLogger();
  const source = await openSource(undo, { master: `http://127.0.0.1:${server.port}`, log });
  source.start([{ kind: "services" }]);
  await until("all streams", () => watches > streams.length);
  await until("connected", () => source.state.connected);
  const warnings = () =>
    log.lines.filter(({ level, message }) => level === "warn" && message.startsWith("API"))
      .map(({ fields }) => String(fields["error"]).replace(/^.*?: (?=[^/])/, ""));
  return { source, requests, warnings, services: source.stores.services };
}

function object(name: string, version: number): object {
  const { metadata, ...rest } = service(name);
  return { ...rest, metadata: { ...metadata, uid: name, resourceVersion: String(version) } };
}

function event(type: string, name: string, version: number): string {
  return `${JSON.stringify({ type, object: object(name, version) })}\n`;
}

test("events cut anywhere, even within a character, are put together", async () => {
  const line = new TextEncoder().encode(
    event("ADDED", "ä", 20) + event("MODIFIED", "web", 21) + event("DELETED", "web", 22),
  );
  const pieces = Array.from(line, (_, index) => line.subarray(index, index + 1));
  const { services } = await cluster(pieces);
  expect([...services.values()].map(({ metadata }) => metadata.name)).toEqual(["ä"]);
  expect(services.resourceVersion).toBe("22");
}, 30_000);

test.each([
  ["is not JSON", "{garbage\n", 'a line is not JSON: "{garbage": listing anew'],
  ["is no event", "[]\n", 'a line is not an event: "[]": listing anew'],
  ["has an unknown type", event("NEW", "x", 30), 'an event has the type "NEW": listing anew'],
  [
    "has no resourceVersion",
    '{"type":"ADDED","object":{"metadata":{"name":"x"}}}\n',
    "an event has no resourceVersion: listing anew",
  ],
])("a line that %s is told once and leads to a list; what came before it counts", async (
  _,
  line,
  message,
) => {
  const { requests, warnings, services, source } = await cluster(
    [event("ADDED", "before", 20) + line + event("ADDED", "after", 40)],
  );
  expect(requests).toEqual(["list", "watch 11", "list", "watch 13"]);
  expect(warnings()).toEqual([message]);
  expect(services.get("default/after")).toBeUndefined();
  expect(source.state.kinds[0]).toMatchObject({ relists: 1, objects: 1 });
});

test("a stream that ends within a line is resumed where it was", async () => {
  const { requests, services } = await cluster(
    [event("ADDED", "before", 20), event("ADDED", "cut", 21).slice(0, 40)],
    [event("ADDED", "cut", 21)],
  );
  expect(requests).toEqual(["list", "watch 11", "watch 20", "watch 21"]);
  expect(services.size).toBe(3);
});

test("an ERROR event of 410 leads to a list, another one to a new watch", async () => {
  const error = (code: number) =>
    `${JSON.stringify({ type: "ERROR", object: { kind: "Status", code, message: "Too old" } })}\n`;
  const gone = await cluster([error(410)]);
  expect(gone.requests).toEqual(["list", "watch 11", "list", "watch 13"]);
  const other = await cluster([error(500)]);
  expect(other.requests).toEqual(["list", "watch 11", "watch 11"]);
  expect(other.warnings()).toEqual(["Too old (500)"]);
});

test("a server that ends every watch at once is not asked in a loop", async () => {
  const { requests } = await cluster([], [], [], []);
  expect(requests).toEqual(["list", ...Array.from({ length: 5 }, () => "watch 11")]);
});

test("objects with wrong fields are reported once each, and the rest of them is used", async () => {
  const odd = { ...object("odd", 20), spec: { clusterIP: 7, externalIPs: ["192.0.2.1", 8] } };
  const line = (version: number) =>
    `${
      JSON.stringify({
        type: "MODIFIED",
        object: {
          ...odd,
          metadata: { ...object("odd", version), name: "odd", resourceVersion: String(version) },
        },
      })
    }\n`;
  const { services } = await cluster([line(20), line(21)]);
  expect(services.get("odd")?.spec.externalIPs).toEqual(["192.0.2.1"]);
  expect(services.get("odd")?.spec.clusterIP).toBeUndefined();
});

test("an answer that is no list is an error that says so", async () => {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => Response.json({ hello: "world" }),
  });
  undo.add(() => server.stop(true));
  const source = await openSource(undo, { master: `http://127.0.0.1:${server.port}` });
  source.start([{ kind: "services" }]);
  await until("an error", () => source.state.kinds[0]?.lastError !== undefined);
  expect(source.state.kinds[0]?.lastError).toEndWith("its answer is no list: is it an API server?");
  expect(source.stores.services.synced).toBe(false);
});
