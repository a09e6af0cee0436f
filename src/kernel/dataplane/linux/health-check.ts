/** Health check node ports: an HTTP server for each, in this process, in the node's network namespace. */

import { KernelError } from "../errors.ts";
import type { Op, Outcome, Table } from "../resource.ts";
import { type HealthCheck, healthCheck as resource } from "../resources/health-check.ts";
import { requestUrl } from "../../request-url.ts";

/** Answers of a health check, apart from the server so that tests need none. */
export function healthCheckResponse(check: HealthCheck, proxyHealthy: boolean): Response {
  const { namespace, name, localEndpoints } = check;
  // The form of kube-proxy's answers, which load balancers' authors know.
  return Response.json(
    { service: { namespace, name }, localEndpoints, serviceProxyHealthy: proxyHealthy },
    {
      status: localEndpoints > 0 && proxyHealthy ? 200 : 503,
      headers: {
        "X-Content-Type-Options": "nosniff",
        "X-Load-Balancing-Endpoint-Weight": String(localEndpoints),
      },
    },
  );
}

interface Running {
  item: HealthCheck;
  readonly server: Bun.Server<undefined>;
}

/** The table, and the stop of all its servers. */
export interface HealthChecks {
  readonly table: Table<HealthCheck>;
  close(): void;
}

/** @param proxyHealthy whether the proxy as a whole works; asked at each request */
export function healthChecks(proxyHealthy: () => boolean): HealthChecks {
  const running = new Map<string, Running>();

  function carryOut(op: Op<HealthCheck>): void {
    const key = resource.key(op.item);
    const known = running.get(key);
    if (op.verb === "delete") {
      running.delete(key);
      void known?.server.stop(true);
    } else if (known !== undefined) known.item = op.item;
    else running.set(key, start(op.item, (port) => running.get(port)?.item, proxyHealthy));
  }

  const table: Table<HealthCheck> = {
    resource,
    list: () => Promise.resolve([...running.values()].map(({ item }) => ({ item, owned: true }))),
    apply: (ops) =>
      Promise.resolve(ops.map((op): Outcome<HealthCheck> => {
        try {
          carryOut(op);
          return { op };
        } catch (error) {
          const code = (error as NodeJS.ErrnoException).code ?? "EIO";
          const remedy = code === "EADDRINUSE"
            ? "another process has this port; stop it, or give the Service another healthCheckNodePort"
            : undefined;
          return {
            op,
            error: new KernelError(`${op.verb} ${resource.kind}`, code, {
              object: resource.key(op.item),
              ...(remedy === undefined ? {} : { remedy }),
            }),
          };
        }
      })),
  };
  return {
    table,
    close() {
      for (const { server } of running.values()) void server.stop(true);
      running.clear();
    },
  };
}

function start(
  item: HealthCheck,
  current: (key: string) => HealthCheck | undefined,
  proxyHealthy: () => boolean,
): Running {
  const key = resource.key(item);
  const fetch = (request: Request): Response => {
    const { pathname } = requestUrl(request);
    // kube-proxy answers every path; kube-router /healthz. Load balancers use both.
    if (pathname !== "/" && pathname !== "/healthz") {
      return new Response("Not found\n", { status: 404 });
    }
    return healthCheckResponse(current(key) ?? { ...item, localEndpoints: 0 }, proxyHealthy());
  };
  try {
    // "::" serves IPv4 too, except where the host has no IPv6 at all.
    return { item, server: Bun.serve({ hostname: "::", port: item.port, fetch }) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") throw error;
    return { item, server: Bun.serve({ hostname: "0.0.0.0", port: item.port, fetch }) };
  }
}
