/** Against a runtime of our own making: this machine has none. What it says is what containerd and CRI-O say. */

import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  criSource,
  framed,
  readSandbox,
  sandboxIds,
} from "../../../../../src/kernel/dataplane/linux/cri.ts";
import {
  readFields,
  textOf,
  writeFields,
} from "../../../../../src/kernel/dataplane/linux/protobuf.ts";

interface Pod {
  readonly id: string;
  readonly ips: readonly string[];
  readonly info: unknown;
  readonly state?: number;
}

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** A runtime with these sandboxes; counts its calls. */
async function runtime(pods: readonly Pod[], failWith?: string) {
  const folder = mkdtempSync(join(tmpdir(), "routelet-cri-"));
  const socket = join(folder, "cri.sock");
  const calls: string[] = [];
  const answer = (path: string, request: Uint8Array): Uint8Array => {
    if (path.endsWith("/ListPodSandbox")) {
      return writeFields(
        pods.map((
          { id, state },
        ) => [1, writeFields([[1, id], [3, state ?? 0], [4, 1_700_000_000]])]),
      );
    }
    const pod = pods.find(({ id }) => id === textOf(request, 1));
    if (pod === undefined) throw new Error("No such sandbox");
    // The second field asks for the verbose answer.
    const verbose = readFields(request).some(({ number, value }) => number === 2 && value === 1);
    const [ip = "", ...more] = pod.ips;
    const network = writeFields([
      [1, ip],
      ...more.map((each) => [2, writeFields([[1, each]])] as const),
    ]);
    const info = writeFields([[1, "info"], [2, JSON.stringify(pod.info)]]);
    return writeFields([
      [1, writeFields([[1, pod.id], [3, 0], [5, network]])],
      ...(verbose ? [[2, info] as const] : []),
    ]);
  };
  const server: Http2Server = createServer();
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    const path = String(headers[":path"]);
    calls.push(path.split("/").at(-1) ?? "");
    const chunks: Uint8Array[] = [];
    stream.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    stream.on("end", () => {
      if (failWith !== undefined) {
        stream.respond({ ":status": 200, "grpc-status": "12", "grpc-message": failWith });
        stream.end();
        return;
      }
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, {
        waitForTrailers: true,
      });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(framed(answer(path, new Uint8Array(Buffer.concat(chunks)).subarray(5))));
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  closers.push(() => {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
  return { endpoint: `unix://${socket}`, calls };
}

const self = `/proc/${process.pid}/ns/net`;
const spec = (path: string) => ({
  runtimeSpec: { linux: { namespaces: [{ type: "pid" }, { type: "network", path }] } },
});

describe("a pod's network namespace", () => {
  test("is the mount that the runtime names, found by any address of the pod", async () => {
    const { endpoint } = await runtime([
      { id: "a", ips: ["10.1.0.7", "FD00:1:0::7"], info: { pid: 1, ...spec(self) } },
      { id: "b", ips: ["10.1.0.8"], info: { pid: 1, ...spec("/proc/1/ns/net") } },
    ]);
    const source = criSource(endpoint);
    expect(await source.find("10.1.0.7")).toEqual([self]);
    expect(await source.find("fd00:1::7")).toEqual([self]);
    expect(await source.find("10.1.0.9")).toEqual([]);
  });

  test("is that of its process where there is no mount", async () => {
    const pod = { id: "a", ips: ["10.1.0.7"], info: { pid: process.pid, runtimeSpec: {} } };
    const { endpoint } = await runtime([pod]);
    expect(await criSource(endpoint).find("10.1.0.7")).toEqual([self]);
  });

  test("is looked for below the host's root where the agent's own shows nothing there", async () => {
    const { endpoint } = await runtime([
      { id: "a", ips: ["10.1.0.7"], info: spec("/var/run/netns/cni-no-such") },
    ]);
    expect(await criSource(endpoint).find("10.1.0.7"))
      .toEqual(["/proc/1/root/var/run/netns/cni-no-such"]);
  });

  test("is none where the pod is on the node's own network, or has ended", async () => {
    const { endpoint } = await runtime([
      { id: "a", ips: ["10.1.0.7"], info: { pid: 0 } },
      { id: "b", ips: ["10.1.0.8"], info: spec(self), state: 1 },
    ]);
    const source = criSource(endpoint);
    expect(await source.find("10.1.0.7")).toEqual([]);
    expect(await source.find("10.1.0.8")).toEqual([]);
  });

  test("is asked for once a pod", async () => {
    const { endpoint, calls } = await runtime([
      { id: "a", ips: ["10.1.0.7"], info: spec(self) },
      { id: "b", ips: ["10.1.0.8"], info: spec(self) },
    ]);
    const source = criSource(endpoint);
    await source.find("10.1.0.7");
    await source.find("10.1.0.8");
    expect(calls.toSorted()).toEqual([
      "ListPodSandbox",
      "ListPodSandbox",
      "PodSandboxStatus",
      "PodSandboxStatus",
    ]);
  });
});

describe("a runtime that does not answer is named, with what to do", () => {
  test("no socket", async () => {
    await expect(criSource("unix:///run/routelet-no-such.sock").find("10.1.0.7")).rejects.toThrow(
      /^Cannot ask the container runtime "\/run\/routelet-no-such.sock": ENOENT .*correct --runtime-endpoint/,
    );
  });

  test("a refusal", async () => {
    const { endpoint } = await runtime([], "unknown service runtime.v1");
    await expect(criSource(endpoint).find("10.1.0.7")).rejects.toThrow(
      /EPROTO \(ListPodSandbox: gRPC 12: unknown service runtime.v1\)/,
    );
  });
});

describe("protobuf", () => {
  test("numbers, texts and messages are read as they were written", () => {
    const written = writeFields([[1, "été"], [2, 300], [31, writeFields([[1, 2 ** 40]])]]);
    const [one, two, three] = readFields(written);
    expect(textOf(written, 1)).toBe("été");
    expect([one?.number, two?.value, three?.number]).toEqual([1, 300, 31]);
    expect(readFields(three?.bytes ?? new Uint8Array())[0]?.value).toBe(2 ** 40);
    expect(textOf(written, 9)).toBe("");
  });

  test("random bytes are read or refused, never more", () => {
    for (let seed = 0; seed < 2_000; seed++) {
      const bytes = Uint8Array.from(
        { length: seed % 40 },
        (_, i) => (seed * 2654435761 >>> i % 24) & 0xff,
      );
      for (const read of [readFields, sandboxIds, readSandbox]) {
        try {
          expect(typeof read(bytes)).toBe("object");
        } catch (error) {
          expect(error instanceof RangeError || error instanceof SyntaxError).toBe(true);
        }
      }
    }
  });

  test("what ends too early is refused", () => {
    for (const bytes of [[0x0a, 5, 1], [0x08], [0x08, 0x80], [0x0b], Array(12).fill(0xff)]) {
      expect(() => readFields(Uint8Array.from(bytes))).toThrow(RangeError);
    }
  });
});
