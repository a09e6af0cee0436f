/**
 * Requests to the API server, by Bun's `fetch`, which takes CA and client certificate as `tls`. Bun
 * keeps connections alive for each set of TLS options, so that a new watch costs no handshake.
 */

import { X509Certificate } from "node:crypto";
import { answerError, ApiError, type Asked, connectionError } from "./api-error.ts";
import type { Credentials, Identity } from "./credentials.ts";

export interface ApiRequest {
  /** In RBAC's terms. */
  readonly verb: "list" | "watch" | "get" | "create" | "update" | "patch";
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly resource: string;
  readonly group: string;
  readonly signal: AbortSignal;
  /** Longest time without a single byte, before the answer and within it. */
  readonly silenceMs: number;
  /** What is to be written, for verbs that write; a patch is a JSON merge patch (RFC 7386). */
  readonly body?: unknown;
  /** On a new connection: those that are idle may have died with the one that failed. */
  readonly fresh?: boolean;
}

export interface ApiResponse {
  /** Chunks as they come. Throws an ApiError when the stream breaks or falls silent. */
  readonly chunks: () => AsyncGenerator<Uint8Array, void, undefined>;
}

export interface ApiClient {
  readonly server: string;
  /** @throws {ApiError | CredentialsError} also for an answer that is not 2xx */
  readonly request: (request: ApiRequest) => Promise<ApiResponse>;
  readonly asked: (request: Pick<ApiRequest, "verb" | "resource" | "group">) => Asked;
}

const METHODS = {
  list: "GET",
  watch: "GET",
  get: "GET",
  create: "POST",
  update: "PUT",
  patch: "PATCH",
} as const satisfies Readonly<Record<ApiRequest["verb"], string>>;

export function createApiClient(credentials: Credentials, userAgent = "routelet"): ApiClient {
  const { server } = credentials;
  const asked: ApiClient["asked"] = ({ verb, resource, group }) => ({
    verb,
    resource,
    group,
    server,
    credentials: credentials.from,
  });

  async function send(request: ApiRequest, identity: Identity, signal: AbortSignal) {
    const query = new URLSearchParams(request.query).toString();
    const type = request.verb === "patch" ? "application/merge-patch+json" : "application/json";
    return await fetch(`${server}${request.path}${query === "" ? "" : `?${query}`}`, {
      method: METHODS[request.verb],
      headers: {
        accept: "application/json",
        "user-agent": userAgent,
        ...(request.body === undefined ? {} : { "content-type": type }),
        ...identity.headers,
      },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
      signal,
      redirect: "error",
      ...(request.fresh === true ? { keepalive: false } : {}),
      ...(identity.tls === undefined ? {} : { tls: identity.tls }),
      ...(credentials.proxy === undefined ? {} : { proxy: credentials.proxy }),
    });
  }

  return {
    server,
    asked,
    request: async (request) => {
      const identity = await credentials.identity();
      const watchdog = createWatchdog(request.silenceMs, request.signal);
      const explain = (error: unknown): unknown => {
        if (request.signal.aborted) return error;
        const what = asked(request);
        return watchdog.barked
          ? new ApiError(
            "silence",
            `Cannot ${what.verb} ${what.resource} at ${server}: not a byte for ` +
              `${request.silenceMs / 1000} s: the connection is taken for dead`,
          )
          : connectionError(error, what);
      };
      try {
        const response = await send(request, identity, watchdog.signal);
        watchdog.touch();
        if (response.ok) return { chunks: () => read(response, watchdog, explain) };
        if (response.status === 401) credentials.refused(identity);
        throw await answerError(response, asked(request), expiry(identity));
      } catch (error) {
        watchdog.stop();
        const known = error instanceof ApiError ? error : explain(error);
        // A CA or a client certificate may have been replaced since it was read: the next try reads it anew.
        if (known instanceof ApiError && known.kind === "tls") credentials.refused(identity);
        throw known;
      }
    },
  };
}

async function* read(
  response: Response,
  watchdog: Watchdog,
  explain: (error: unknown) => unknown,
): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = response.body?.getReader();
  try {
    while (reader !== undefined) {
      const { done, value } = await reader.read();
      if (done) return;
      watchdog.touch();
      yield value;
    }
  } catch (error) {
    throw explain(error);
  } finally {
    // Also when the reader stops early: an abandoned stream would hold its connection.
    watchdog.stop();
    await reader?.cancel().catch(() => {});
  }
}

/** When our client certificate expired, if it did; in ISO 8601. */
function expiry({ tls }: Identity): string | undefined {
  if (tls?.cert === undefined) return undefined;
  try {
    const { validToDate } = new X509Certificate(tls.cert);
    return validToDate.getTime() < Date.now() ? validToDate.toISOString() : undefined;
  } catch {
    // What it cannot read, the server says.
    return undefined;
  }
}

interface Watchdog {
  readonly signal: AbortSignal;
  /** It ended the request for silence. */
  readonly barked: boolean;
  readonly touch: () => void;
  readonly stop: () => void;
}

/** Aborts when nobody touched it for so long, or when the outer signal says so. */
function createWatchdog(silenceMs: number, outer: AbortSignal): Watchdog {
  const controller = new AbortController();
  const abort = () => controller.abort(outer.reason);
  let barked = false;
  let touched = performance.now();
  let timer: ReturnType<typeof setTimeout> | undefined;
  // The timer is not set anew for every chunk, which a busy stream would pay for: when it fires, it
  // looks whether there was one.
  const check = () => {
    const left = touched + silenceMs - performance.now();
    if (left > 1) {
      timer = setTimeout(check, left);
      return;
    }
    barked = true;
    controller.abort(new Error("Silence"));
  };
  if (outer.aborted) abort();
  else {
    outer.addEventListener("abort", abort, { once: true });
    timer = setTimeout(check, silenceMs);
  }
  return {
    signal: controller.signal,
    get barked() {
      return barked;
    },
    touch: () => {
      touched = performance.now();
    },
    stop: () => {
      clearTimeout(timer);
      outer.removeEventListener("abort", abort);
    },
  };
}

/** The whole answer as JSON. */
export async function readJson(response: ApiResponse, asked: Asked): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.chunks()) chunks.push(chunk);
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch (error) {
    throw new ApiError(
      "answer",
      `Cannot ${asked.verb} ${asked.resource} at ${asked.server}: its answer is not JSON`,
      0,
      error,
    );
  }
}
