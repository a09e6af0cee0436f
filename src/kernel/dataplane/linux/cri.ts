/**
 * Asks the container runtime for the network namespaces of pods (CRI, runtime.v1, gRPC over a unix socket), where
 * `--runtime-endpoint` names one. Pod sandboxes are asked for, not containers: they know their addresses, so that
 * nothing needs to be known of the Pod object.
 */

import { existsSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";
import { canonicalIp } from "../../ip.ts";
import { KernelError } from "../errors.ts";
import type { NamespaceSource } from "./pod-namespaces.ts";
import { messagesOf, readFields, textOf, writeFields } from "./protobuf.ts";

const SERVICE = "/runtime.v1.RuntimeService/";
/** Milliseconds that a call may take. */
const TIMEOUT = 15_000;
/** Bytes of an answer, as kubelet allows. */
const MOST = 16 * 1024 * 1024;
const OPERATION = "ask the container runtime";
const READY = 0;

/** A pod sandbox, as far as it matters here. */
export interface Sandbox {
  /** Canonical. */
  readonly addresses: readonly string[];
  /** Of its network namespace; undefined where the runtime does not tell, and for pods on the node's own network. */
  readonly path: string | undefined;
}

/** @param endpoint "unix:///run/containerd/containerd.sock" */
export function criSource(endpoint: string): NamespaceSource {
  const socket = endpoint.replace(/^unix:\/\//, "");
  /** A sandbox keeps its addresses and its namespace as long as it lives. */
  let known = new Map<string, Sandbox>();

  async function refresh(): Promise<void> {
    const call = openCalls(socket);
    try {
      const ids = sandboxIds(await call.make("ListPodSandbox", listRequest));
      const now = new Map<string, Sandbox>();
      for (const id of ids) {
        const before = known.get(id);
        if (before !== undefined && before.addresses.length > 0) now.set(id, before);
        else now.set(id, readSandbox(await call.make("PodSandboxStatus", statusRequest(id))));
      }
      known = now;
    } catch (error) {
      if (error instanceof KernelError) throw error;
      throw failure(socket, "EBADMSG", error);
    } finally {
      call.close();
    }
  }

  return {
    async find(address) {
      await refresh();
      return [...known.values()].filter(({ addresses }) => addresses.includes(address))
        .flatMap(({ path }) => path === undefined ? [] : [visible(path)]);
    },
  };
}

/** ListPodSandboxRequest: filter (1), state (2), its value (1). */
const listRequest = writeFields([[1, writeFields([[2, writeFields([[1, READY]])]])]]);

function statusRequest(id: string): Uint8Array {
  return writeFields([[1, id], [2, 1]]);
}

/** ListPodSandboxResponse: items (1); PodSandbox: id (1), state (3). */
export function sandboxIds(response: Uint8Array): readonly string[] {
  return messagesOf(response, 1)
    .filter((item) =>
      (readFields(item).find(({ number }) => number === 3)?.value ?? READY) === READY
    )
    .map((item) => textOf(item, 1));
}

/**
 * PodSandboxStatusResponse: status (1), in it network (5) with ip (1) and additional_ips (2); info (2), a map of JSON
 * texts. In info's "info", containerd and CRI-O give the OCI runtime's configuration and the sandbox's process.
 */
export function readSandbox(response: Uint8Array): Sandbox {
  const [status] = messagesOf(response, 1);
  const [network] = status === undefined ? [] : messagesOf(status, 5);
  const texts = network === undefined
    ? []
    : [textOf(network, 1), ...messagesOf(network, 2).map((each) => textOf(each, 1))];
  const info = messagesOf(response, 2).find((entry) => textOf(entry, 1) === "info");
  return {
    addresses: texts.flatMap((text) => canonicalIp(text) ?? []),
    path: info === undefined ? undefined : namespacePath(textOf(info, 2)),
  };
}

function namespacePath(json: string): string | undefined {
  const info = JSON.parse(json) as {
    readonly pid?: unknown;
    readonly runtimeSpec?: {
      readonly linux?: { readonly namespaces?: readonly { type?: unknown; path?: unknown }[] };
    };
  };
  // The mount first: it is there for sandboxes without a process of their own as well (CRI-O leaves it out).
  const path = info.runtimeSpec?.linux?.namespaces?.find(({ type }) => type === "network")?.path;
  if (typeof path === "string" && path !== "") return path;
  return typeof info.pid === "number" && info.pid > 0 ? `/proc/${info.pid}/ns/net` : undefined;
}

/** The runtime names paths as the host sees them. */
function visible(path: string): string {
  return existsSync(path) ? path : `/proc/1/root${path}`;
}

/** One connection, for a few unary calls after each other. */
function openCalls(socket: string): {
  make(method: string, request: Uint8Array): Promise<Uint8Array>;
  close(): void;
} {
  let broken: unknown;
  const session = connectHttp2("http://localhost", {
    createConnection: () => connectSocket(socket),
  });
  session.on("error", (error: unknown) => {
    broken = error;
  });
  return {
    make: (method, request) =>
      new Promise((resolve, reject) => {
        const fail = (code: string, reason: unknown): void => {
          clearTimeout(timer);
          reject(failure(socket, code, reason));
        };
        const timer = setTimeout(() => {
          fail("ETIMEDOUT", `${method} took more than ${TIMEOUT / 1000} s`);
          session.destroy();
        }, TIMEOUT);
        if (broken !== undefined) return fail(codeOf(broken), broken);
        const stream = session.request({
          ":method": "POST",
          ":path": `${SERVICE}${method}`,
          "content-type": "application/grpc",
          te: "trailers",
        });
        const chunks: Uint8Array[] = [];
        let size = 0;
        let status: string | undefined;
        let text = "";
        const note = (headers: Readonly<Record<string, unknown>>): void => {
          // A call that fails at once says so in its only headers.
          if (headers["grpc-status"] === undefined) return;
          status = String(headers["grpc-status"]);
          text = decodeURIComponent(String(headers["grpc-message"] ?? ""));
        };
        stream.on("response", note);
        stream.on("trailers", note);
        stream.on("data", (chunk: Uint8Array) => {
          size += chunk.length;
          if (size > MOST) stream.destroy(new Error(`an answer of more than ${MOST} bytes`));
          else chunks.push(chunk);
        });
        stream.on("error", (error: unknown) => fail(codeOf(broken ?? error), broken ?? error));
        stream.on("close", () => {
          if (status !== "0") {
            const reason = status === undefined
              ? "the connection ended"
              : `gRPC ${status}: ${text}`;
            return fail("EPROTO", broken ?? `${method}: ${reason}`);
          }
          clearTimeout(timer);
          const body = unframed(chunks, size);
          if (body === undefined) fail("EBADMSG", `${method}: the answer is no gRPC message`);
          else resolve(body);
        });
        stream.end(framed(request));
      }),
    close: () => session.close(),
  };
}

/** gRPC's frame: one byte (0: not compressed), the length in 4 bytes, the message. */
export function framed(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(5 + message.length);
  new DataView(frame.buffer).setUint32(1, message.length);
  frame.set(message, 5);
  return frame;
}

function unframed(chunks: readonly Uint8Array[], size: number): Uint8Array | undefined {
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  if (size < 5 || all[0] !== 0) return undefined;
  const length = new DataView(all.buffer).getUint32(1);
  return length === size - 5 ? all.subarray(5) : undefined;
}

function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" && code.startsWith("E") ? code : "EPROTO";
}

function failure(socket: string, code: string, reason: unknown): KernelError {
  return new KernelError(OPERATION, code, {
    object: socket,
    detail: reason instanceof Error ? reason.message : String(reason),
    remedy: "correct --runtime-endpoint, or leave it out: pods are found without it",
  });
}
