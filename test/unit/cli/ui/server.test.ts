import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { parseUiAddress } from "../../../../src/cli/ui/address.ts";
import { uiHandler } from "../../../../src/cli/ui/server.ts";

test("--ui-addr is loopback unless an address is given", () => {
  expect(parseUiAddress("20245")).toEqual({ address: "127.0.0.1", port: 20245 });
  expect(parseUiAddress(":20245")).toEqual({ address: "127.0.0.1", port: 20245 });
  expect(parseUiAddress("10.0.0.1:80")).toEqual({ address: "10.0.0.1", port: 80 });
  expect(parseUiAddress("[::1]:80")).toEqual({ address: "::1", port: 80 });
  for (const wrong of ["", "0", "70000", "host", "::1", "a:b:80"]) {
    expect(parseUiAddress(wrong)).toBeUndefined();
  }
});

const handler = uiHandler({
  overview: () => Promise.resolve({ a: 1 }),
  services: (query) => {
    if (query.get("offset") === "x") return Promise.reject(new RangeError("no offset"));
    return Promise.resolve({ find: query.get("find") });
  },
  policies: () => Promise.reject(new Error("broken")),
  changes: () => ({ changes: [] }),
}, ["127.0.0.1"]);

function ask(path: string, headers: Readonly<Record<string, string>> = {}, method = "GET") {
  return handler(
    new Request(`http://127.0.0.1:20245${path}`, {
      method,
      headers: { host: "127.0.0.1:20245", ...headers },
    }),
  );
}

test("the page allows its own script and style by their hashes, and loads nothing from anywhere else", async () => {
  const response = await ask("/");
  const html = await response.text();
  const policy = response.headers.get("content-security-policy") ?? "";
  const [, script = ""] = /<script>([\s\S]*)<\/script>/.exec(html) ?? [];
  expect(script).not.toBe("");
  expect(policy).toContain(`'sha256-${createHash("sha256").update(script).digest("base64")}'`);
  expect(policy).toContain("default-src 'none'");
  expect(policy).not.toContain("unsafe");
  expect(html).not.toMatch(/(?:src|href)="(?!data:)/);
  expect(html).not.toMatch(/https?:\/\//);
  expect(html).not.toContain("innerHTML");
});

test("it answers to addresses and to localhost, and to no other name", async () => {
  for (const host of ["127.0.0.1:20245", "localhost:20245", "[::1]:20245", "10.0.0.1"]) {
    expect((await ask("/", { host })).status).toBe(200);
  }
  for (const host of ["evil.example:20245", "localhost.evil.example", ""]) {
    expect((await ask("/api/overview", { host })).status).toBe(403);
  }
});

test("no page of another site may ask", async () => {
  expect((await ask("/api/overview", { "sec-fetch-site": "cross-site" })).status).toBe(403);
  expect((await ask("/api/overview", { "sec-fetch-site": "same-origin" })).status).toBe(200);
});

test("it is read-only, and says what is wrong", async () => {
  expect((await ask("/", {}, "POST")).status).toBe(405);
  expect((await ask("/none")).status).toBe(404);
  expect((await ask("/api/services?offset=x")).status).toBe(400);
  expect((await ask("/api/policies")).status).toBe(500);
  expect(await (await ask("/api/services?find=web")).json()).toEqual({ find: "web" });
});
