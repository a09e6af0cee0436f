import { expect, test } from "bun:test";
import type { LabApi } from "../../../lab/api/mod.ts";
import { service, withApi } from "./client.ts";

/** Sends bytes as given, in the parts as given, and reads until the server closes. */
function raw(api: LabApi, ...parts: readonly string[]): Promise<string> {
  const { hostname, port } = new URL(api.url);
  const { promise, resolve } = Promise.withResolvers<string>();
  let text = "";
  Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open: async (socket) => {
        for (const part of parts) {
          socket.write(part);
          socket.flush();
          await Bun.sleep(2);
        }
      },
      data: (_socket, data) => void (text += data.toString()),
      close: () => resolve(text),
    },
  });
  return promise;
}

const CLOSE = "Connection: close\r\n\r\n";

test("a request that comes in pieces is one request", () =>
  withApi(async (api) => {
    const answer = await raw(api, "GET /hea", "lthz HTTP/1.1\r\nHo", `st: x\r\n${CLOSE}`);
    expect(answer).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(answer).toEndWith("\r\n\r\nok");
  }));

test("requests of one connection are answered in order", () =>
  withApi(async (api) => {
    const answer = await raw(
      api,
      `GET /healthz HTTP/1.1\r\n\r\nGET /nothing HTTP/1.1\r\n\r\nGET /livez HTTP/1.1\r\n${CLOSE}`,
    );
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual([
      "HTTP/1.1 200",
      "HTTP/1.1 404",
      "HTTP/1.1 200",
    ]);
    expect(api.stats().connections).toBe(1);
  }));

test("a chunked body is read", () =>
  withApi(async (api) => {
    const text = JSON.stringify(service("s"));
    const half = text.length >> 1;
    const chunks = [text.slice(0, half), text.slice(half), ""]
      .map((part) => `${part.length.toString(16)}\r\n${part}\r\n`);
    const head = "POST /api/v1/namespaces/default/services HTTP/1.1\r\n" +
      `Transfer-Encoding: chunked\r\n${CLOSE}`;
    expect(await raw(api, head, ...chunks)).toStartWith("HTTP/1.1 201 Created");
    expect(api.list("Service")).toHaveLength(1);
  }));

test("a client that expects it is told to continue", () =>
  withApi(async (api) => {
    const text = JSON.stringify(service("s"));
    const head = "POST /api/v1/namespaces/default/services HTTP/1.1\r\n" +
      `Content-Length: ${text.length}\r\nExpect: 100-continue\r\n${CLOSE}`;
    expect(await raw(api, head, text))
      .toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 201 Created/);
  }));

test("what is no HTTP request is a bad request, and the connection ends", () =>
  withApi(async (api) => {
    expect(await raw(api, "\x16\x03\x01 nonsense\r\n\r\n")).toStartWith("HTTP/1.1 400");
    const negative = "POST /x HTTP/1.1\r\nContent-Length: x\r\n\r\n";
    expect(await raw(api, negative)).toStartWith("HTTP/1.1 400");
  }));

test("an answer larger than the socket takes at once arrives whole", () =>
  withApi(async (api) => {
    const data = { text: "x".repeat(200_000) };
    for (let index = 0; index < 50; index++) {
      api.apply({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: `c${index}` }, data });
    }
    const response = await fetch(`${api.url}/api/v1/configmaps`, { keepalive: false });
    const { items } = await response.json() as { items: readonly unknown[] };
    expect(items).toHaveLength(50);
  }));
