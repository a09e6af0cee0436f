/** Requests as others than browsers send them, over a real socket. */

import { expect, test } from "bun:test";
import { connect } from "node:net";
import { uiHandler } from "../../../../src/cli/ui/server.ts";
import { healthHandler } from "../../../../src/kernel/observe/health.ts";
import { type Handler, listenTcp } from "../../../../src/kernel/observe/listen.ts";
import { requestUrl } from "../../../../src/kernel/request-url.ts";

async function asked(fetch: Handler, request: string): Promise<string> {
  const server = listenTcp({ address: "127.0.0.1", port: 0, flags: ["--a", "--p"], fetch });
  try {
    return await new Promise<string>((resolve, reject) => {
      let answer = "";
      const socket = connect(server.port, "127.0.0.1", () => socket.write(request));
      socket.on("data", (bytes) => {
        answer += bytes.toString();
        socket.end();
      });
      socket.on("close", () => resolve(answer));
      socket.on("error", reject);
    });
  } finally {
    await server.stop();
  }
}

const HEALTH = healthHandler({
  alive: () => true,
  waitingFor: () => [],
  status: () => ({}),
});

test("a load balancer's check in HTTP/1.0, without a Host, is answered", async () => {
  expect(await asked(HEALTH, "GET /healthz HTTP/1.0\r\n\r\n")).toContain(" 200 OK");
});

test("a Host that is none costs neither the answer nor the source of the agent", async () => {
  for (const host of ["a b", "[", "127.0.0.1:99999999"]) {
    expect(await asked(HEALTH, `GET /healthz HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toContain(
      " 200 OK",
    );
    const page = uiHandler({} as never, ["127.0.0.1"]);
    expect(await asked(page, `GET /x HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).toMatch(/ 40[34] /);
  }
});

test("the page of an error shows no source", async () => {
  const answer = await asked(() => Promise.reject(new Error("broken")), "GET / HTTP/1.0\r\n\r\n");
  expect(answer).toContain(" 500 ");
  expect(answer).not.toContain("<script");
  expect(answer).not.toContain("listen.test.ts");
});

test("a request's path is read whatever stands before it", () => {
  const paths = ["/", "/a?b=c", "http://[/a", "http://x:99999999/a//b", "http://x", "*", "//a/b"];
  expect(paths.map((url) => requestUrl({ url }).pathname)).toEqual(
    ["/", "/a", "/a", "/a//b", "/", "/", "//a/b"],
  );
});
