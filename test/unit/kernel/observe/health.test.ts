import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  healthHandler,
  type HealthSource,
  startHealth,
} from "../../../../src/kernel/observe/health.ts";
import { listenTcp } from "../../../../src/kernel/observe/listen.ts";

const healthy: HealthSource = {
  alive: () => true,
  waitingFor: () => [],
  status: () => ({ node: "node1", ready: true }),
};

async function get(source: HealthSource, path: string, method = "GET"): Promise<[number, string]> {
  const response = await healthHandler(source)(new Request(`http://agent${path}`, { method }));
  return [response.status, await response.text()];
}

describe("healthHandler()", () => {
  test("answers /healthz with kube-router's bodies", async () => {
    expect(await get(healthy, "/healthz")).toEqual([200, "OK\n"]);
    expect(await get({ ...healthy, alive: () => false }, "/healthz")).toEqual([500, "Unhealthy"]);
    expect((await get(healthy, "/livez"))[0]).toBe(200);
    expect((await get({ ...healthy, alive: () => false }, "/livez"))[0]).toBe(500);
  });

  test("stays alive while it is not ready, and /readyz says what is missing", async () => {
    const source = { ...healthy, waitingFor: () => ["first list of services", "plugin proxy"] };
    expect((await get(source, "/healthz"))[0]).toBe(200);
    const [code, body] = await get(source, "/readyz");
    expect(code).toBe(503);
    expect(body).toBe("Not ready:\n- first list of services\n- plugin proxy\n");
    expect(await get(healthy, "/readyz")).toEqual([200, "OK\n"]);
  });

  test("gives the status as JSON, and one that throws is no health", async () => {
    const [code, body] = await get(healthy, "/status");
    expect([code, JSON.parse(body)]).toEqual([200, { node: "node1", ready: true }]);
    const broken = {
      ...healthy,
      status: () => {
        throw new Error("no status");
      },
    };
    expect(await get(broken, "/status")).toEqual([500, "no status\n"]);
  });

  test("knows no other path and no other method", async () => {
    for (const path of ["/", "/healthz/", "/constructor", "/__proto__"]) {
      expect((await get(healthy, path))[0]).toBe(404);
    }
    expect((await get(healthy, "/healthz", "POST"))[0]).toBe(405);
  });
});

describe("startHealth()", () => {
  const folders: string[] = [];
  afterEach(() => folders.splice(0).forEach((folder) => rmSync(folder, { recursive: true })));
  const scratch = (): string => {
    const folder = mkdtempSync(join(tmpdir(), "routelet-health-"));
    folders.push(folder);
    return folder;
  };

  test("serves the socket for its owner alone and removes it on stop", async () => {
    const runtimeDir = join(scratch(), "run", "routelet");
    const health = await startHealth({ source: healthy, address: "", port: 0, runtimeDir });
    const path = join(runtimeDir, "agent.sock");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const answer = await fetch("http://agent/status", { unix: path });
    expect(await answer.json()).toEqual({ node: "node1", ready: true });
    await health.stop();
    expect(existsSync(path)).toBe(false);
  });

  test("refuses a second agent on one socket and leaves the first at work", async () => {
    const runtimeDir = scratch();
    const options = { source: healthy, address: "", port: 0, runtimeDir };
    const first = await startHealth(options);
    await expect(startHealth(options)).rejects.toThrow("another agent answers on it");
    const path = join(runtimeDir, "agent.sock");
    expect(await (await fetch("http://agent/healthz", { unix: path })).text()).toBe("OK\n");
    await first.stop();
  });

  test("replaces the socket of an agent that died", async () => {
    const runtimeDir = scratch();
    const code = `Bun.serve({ unix: ${JSON.stringify(join(runtimeDir, "agent.sock"))},
      fetch: () => new Response() }); process.kill(process.pid, "SIGKILL")`;
    await Bun.spawn([process.execPath, "-e", code]).exited;
    expect(existsSync(join(runtimeDir, "agent.sock"))).toBe(true);
    const health = await startHealth({ source: healthy, address: "", port: 0, runtimeDir });
    await health.stop();
  });

  test("does not remove a file that is no socket", async () => {
    const runtimeDir = scratch();
    writeFileSync(join(runtimeDir, "agent.sock"), "mine");
    await expect(startHealth({ source: healthy, address: "", port: 0, runtimeDir }))
      .rejects.toThrow("no socket lies there");
    expect(await Bun.file(join(runtimeDir, "agent.sock")).text()).toBe("mine");
  });

  test("refuses a folder whose socket path is too long for Linux", async () => {
    const runtimeDir = join(scratch(), "x".repeat(100));
    await expect(startHealth({ source: healthy, address: "", port: 0, runtimeDir }))
      .rejects.toThrow("at most 107 bytes");
  });

  test("listens on TCP with an IPv6 literal in brackets", async () => {
    const server = listenTcp({
      address: "[::1]",
      port: 0,
      flags: ["--health-addr", "--health-port"],
      fetch: healthHandler(healthy),
    });
    expect(server.address).toBe(`[::1]:${server.port}`);
    expect(await (await fetch(`http://${server.address}/healthz`)).text()).toBe("OK\n");
    await server.stop();
  });

  test("serves both families when no address is given", async () => {
    const server = listenTcp({
      address: "",
      port: 0,
      flags: ["--health-addr", "--health-port"],
      fetch: healthHandler(healthy),
    });
    const answer = await fetch(`http://127.0.0.1:${server.port}/healthz`);
    expect(await answer.text()).toBe("OK\n");
    await server.stop();
  });

  test("says which flag, which address and which process when the port is taken", async () => {
    const holder = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
    const port = holder.port ?? 0;
    const runtimeDir = scratch();
    await expect(startHealth({ source: healthy, address: "127.0.0.1", port, runtimeDir }))
      .rejects.toThrow(
        `Cannot listen on "127.0.0.1:${port}" (--health-addr, --health-port): process ${process.pid}`,
      );
    // Nothing is left behind by the start that failed.
    expect(existsSync(join(runtimeDir, "agent.sock"))).toBe(false);
    await holder.stop(true);
  });

  test("says so when the address is not this host's", async () => {
    await expect(startHealth({ source: healthy, address: "203.0.113.9", port: 20244 }))
      .rejects.toThrow("this host has no such address");
  });
});
