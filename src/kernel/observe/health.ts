/**
 * Health over HTTP: `/healthz` as kube-router's, `/livez`, `/readyz`, and `/status`. The same paths are served on the
 * health port for the kubelet and on the agent's unix socket for `routelet status`.
 */
import { type Handler, type Listening, listenTcp } from "./listen.ts";
import { listenSocket } from "./socket.ts";
import { requestUrl } from "../request-url.ts";

/** What health tells. Each is asked for at every request and must be cheap. */
export interface HealthSource {
  /** Whether the agent still makes progress; false makes the kubelet restart it. */
  alive(): boolean;
  /** Why this node should get no new traffic, one text a cause, though a restart would mend none of it. */
  unhealthy?(): readonly string[];
  /** What the agent is not ready for, one text a cause; empty when it is ready. */
  waitingFor(): readonly string[];
  /** The body of `/status`, as JSON. */
  status(): unknown;
  /** The body of `/flags`, as JSON: what the agent was started with. Served on the unix socket alone. */
  flags?(): unknown;
  /**
   * The body of `/plugins/<question>`, as JSON; undefined where nobody answers. Served on the unix socket alone.
   *
   * @throws {RangeError} where the question is wrong
   */
  answer?(question: string, query: URLSearchParams): unknown;
}

export interface HealthOptions {
  readonly source: HealthSource;
  /** `--health-addr`. */
  readonly address: string;
  /** `--health-port`; 0 for none. */
  readonly port: number;
  /** `--runtime-dir`; absent for no socket. */
  readonly runtimeDir?: string;
}

/** Health servers that run. */
export interface Health {
  /** Where they listen, for the log. */
  readonly addresses: readonly string[];
  stop(): Promise<void>;
}

/**
 * Starts the health servers.
 *
 * @throws {Error} that names flag, address and cause when one cannot listen; none is left running then
 */
export async function startHealth(options: HealthOptions): Promise<Health> {
  const { flags: _, answer: __, ...open } = options.source;
  const listening: Listening[] = [];
  const stop = async () => {
    await Promise.all(listening.map((server) => server.stop()));
  };
  try {
    if (options.runtimeDir !== undefined) {
      listening.push(await listenSocket(options.runtimeDir, healthHandler(options.source)));
    }
    if (options.port !== 0) {
      listening.push(listenTcp({
        address: options.address,
        port: options.port,
        flags: ["--health-addr", "--health-port"],
        fetch: healthHandler(open),
      }));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { addresses: listening.map(({ address }) => address), stop };
}

/** Answers health requests; separate from the servers so that tests need none. */
export function healthHandler(source: HealthSource): Handler {
  return (request) => {
    const { pathname, searchParams } = requestUrl(request);
    if (pathname.startsWith(PLUGINS) && source.answer !== undefined && request.method === "GET") {
      return answered(source, pathname.slice(PLUGINS.length), searchParams);
    }
    const respond = pathname === "/flags" && source.flags === undefined
      ? undefined
      : PATHS[pathname];
    if (respond === undefined) return text(404, "Not found\n");
    if (request.method !== "GET" && request.method !== "HEAD") {
      return new Response("Method not allowed\n", { status: 405, headers: { Allow: "GET, HEAD" } });
    }
    try {
      return respond(source);
    } catch (error) {
      // A status that throws must not look like health.
      return text(500, `${error instanceof Error ? error.message : String(error)}\n`);
    }
  };
}

const PLUGINS = "/plugins/";

const PATHS: Readonly<Record<string, (source: HealthSource) => Response>> = {
  __proto__: null as never,
  // What load balancers ask. The bodies are kube-router's, with and without the line end; the reasons follow.
  "/healthz": (source) => {
    const causes = source.unhealthy?.() ?? [];
    if (source.alive() && causes.length === 0) return text(200, "OK\n");
    return text(500, ["Unhealthy", ...causes.map((cause) => `- ${cause}`)].join("\n"));
  },
  // What the kubelet asks: only what a restart may mend.
  "/livez": (source) => source.alive() ? text(200, "OK\n") : text(500, "Unhealthy\n"),
  "/readyz": (source) => {
    const missing = source.waitingFor();
    return missing.length === 0
      ? text(200, "OK\n")
      : text(503, `Not ready:\n${missing.map((cause) => `- ${cause}\n`).join("")}`);
  },
  "/status": (source) =>
    Response.json(source.status(), { headers: { "Cache-Control": "no-store" } }),
  "/flags": (source) =>
    Response.json(source.flags?.(), { headers: { "Cache-Control": "no-store" } }),
};

async function answered(
  source: HealthSource,
  question: string,
  query: URLSearchParams,
): Promise<Response> {
  try {
    const answer = await source.answer?.(question, query);
    if (answer === undefined) return text(404, "Not found\n");
    return Response.json(answer, { headers: { "Cache-Control": "no-store" } });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return text(error instanceof RangeError ? 400 : 500, `${reason}\n`);
  }
}

function text(status: number, body: string): Response {
  return new Response(body, {
    status,
    headers: { "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store" },
  });
}
