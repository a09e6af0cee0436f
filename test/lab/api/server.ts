/** The API server: listeners over one store, requests to verbs and watches, failures on demand. */

import { type Access, createAccess, type User } from "./access.ts";
import { discover, isPublic } from "./discovery.ts";
import { createFaults, type Faults } from "./faults.ts";
import { chunk, type Connection, type HttpRequest, serveHttp } from "./http.ts";
import type { Writer } from "./objects.ts";
import { type Route, routeOf, targetOf } from "./route.ts";
import { expired, failure, forbidden, StatusError, unknownPath } from "./status.ts";
import type { Status } from "./status.ts";
import type { Store } from "./store.ts";
import type { ApiStats, FailureMode, Listening, ListenOptions } from "./types.ts";
import { objectOf } from "./values.ts";
import { serve } from "./verbs.ts";
import { createWatches, type Watches } from "./watch.ts";
import type { Authority } from "./x509.ts";

export interface ServerOptions {
  readonly store: Store;
  readonly writer: Writer;
  readonly authority: () => Authority;
  readonly strangers: () => Authority;
  readonly pageSize: number;
}

export interface Server {
  readonly listen: (options: ListenOptions) => Listening;
  readonly access: Access;
  readonly faults: Faults;
  readonly watches: Watches;
  readonly stats: () => ApiStats;
  readonly resetStats: () => void;
  readonly close: () => void;
}

interface Listener {
  readonly open: () => void;
  readonly stop: () => void;
}

const JSON_TYPE = { "Content-Type": "application/json" };

export function createServer(options: ServerOptions): Server {
  const { store, writer, pageSize } = options;
  const access = createAccess();
  const watches = createWatches(store);
  const connections = new Set<Connection>();
  const listeners = new Set<Listener>();
  const faults = createFaults({ begin, end });
  let counts = emptyCounts();

  function begin(mode: FailureMode): void {
    if (mode === "drop") watches.drop();
    else if (mode === "stall") watches.hold(true);
    else if (mode === "410") {
      store.compact();
      watches.expire();
    } else if (mode === "half-open") {
      for (const connection of connections) connection.kill();
    } else if (mode === "down") {
      for (const listener of listeners) listener.stop();
      for (const connection of [...connections]) connection.abort();
    }
  }

  function end(mode: FailureMode): void {
    if (mode === "stall") watches.hold(false);
    else if (mode === "down") { for (const listener of listeners) listener.open(); }
  }

  function answer(request: HttpRequest, status: number, json: string, type = "application/json") {
    counts.statuses[status] = (counts.statuses[status] ?? 0) + 1;
    request.connection.send(status, { "Content-Type": type }, json);
  }

  function refuse(request: HttpRequest, status: Status): void {
    counts.statuses[status.code] = (counts.statuses[status.code] ?? 0) + 1;
    const seconds = status.details?.retryAfterSeconds;
    const headers = seconds === undefined
      ? JSON_TYPE
      : { ...JSON_TYPE, "Retry-After": String(seconds) };
    request.connection.send(status.code, headers, JSON.stringify(status));
  }

  function handle(request: HttpRequest, anonymous: boolean): void {
    try {
      const route = routeOf(request.method, request.url);
      count(route, request.url.searchParams);
      if (!failing(request, route)) dispatch(request, route, anonymous);
    } catch (error) {
      if (error instanceof StatusError) return refuse(request, error.status);
      const reason = error instanceof Error ? error.stack ?? error.message : String(error);
      refuse(request, failure(500, "InternalError", `Internal error occurred: ${reason}`).status);
    }
  }

  function count(route: Route, params: URLSearchParams): void {
    const name = `${route.verb} ${route.path}`;
    counts.requests[name] = (counts.requests[name] ?? 0) + 1;
    if (route.verb === "list") counts.lists++;
    else if (route.verb === "watch") counts.watches++;
    if (params.get("continue")) counts.continued++;
  }

  /** True where the request is done with; throws where it is answered with an error. */
  function failing(request: HttpRequest, { verb }: Route): boolean {
    switch (faults.mode()) {
      case "stall":
        return true;
      case "drop":
        if (verb !== "watch") return false;
        // The stream begins and breaks inside an event.
        request.connection.stream(200, JSON_TYPE).write(chunk('{"type":"ADDED","obj'));
        setTimeout(() => request.connection.abort(), 1);
        return true;
      case "410":
        if (verb === "watch" || request.url.searchParams.get("continue")) throw expired();
        return false;
      case "429": {
        const message = "Too many requests, please try again later.";
        throw failure(429, "TooManyRequests", message, { retryAfterSeconds: 1 });
      }
      case "500":
        throw failure(500, "InternalError", "Internal error occurred: the lab fails on demand");
      default:
        return false;
    }
  }

  function dispatch(request: HttpRequest, route: Route, anonymous: boolean): void {
    const user = access.authenticate(request, anonymous || isPublic(route.path));
    if (route.segments.length === 0) {
      const found = request.method === "GET" ? discover(store, route.path) : undefined;
      if (found === undefined) throw unknownPath();
      if (typeof found === "string") answer(request, 200, found, "text/plain");
      else answer(request, 200, JSON.stringify(found));
      return;
    }
    const review = request.method === "POST" ? reviewed(request, route, user) : undefined;
    if (review !== undefined) return answer(request, 201, JSON.stringify(review));
    const target = targetOf(store, route);
    authorize(route, user, target.namespace, target.name, target.subresource, target.shelf.kind);
    const params = request.url.searchParams;
    if (route.verb === "watch") {
      watches.open(target, params, request.connection);
      counts.statuses[200] = (counts.statuses[200] ?? 0) + 1;
      return;
    }
    const contentType = request.headers.get("content-type") ?? "application/json";
    const call = { route, target, params, contentType, body: request.body };
    const { status, json } = serve(store, writer, pageSize, call);
    answer(request, status, json);
  }

  function authorize(
    route: Route,
    user: User,
    namespace: string | undefined,
    name: string | undefined,
    subresource: string,
    kind: { readonly group: string; readonly plural: string },
  ): void {
    const allowed = access.allows({
      user: user.name,
      groups: user.groups,
      verb: route.verb,
      group: kind.group,
      resource: kind.plural,
      subresource,
      namespace: namespace ?? "",
      name: name ?? "",
    });
    if (allowed) return;
    const scope = namespace === undefined
      ? "at the cluster scope"
      : `in the namespace "${namespace}"`;
    throw forbidden(kind, name ?? "", user.name, route.verb, scope);
  }

  /** SelfSubjectAccessReview and SelfSubjectReview: answered, never stored. */
  function reviewed(request: HttpRequest, route: Route, user: User): object | undefined {
    const [plural] = route.segments;
    if (route.group === "authentication.k8s.io" && plural === "selfsubjectreviews") {
      const userInfo = { username: user.name, groups: user.groups };
      return {
        kind: "SelfSubjectReview",
        apiVersion: "authentication.k8s.io/v1",
        metadata: {},
        status: { userInfo },
      };
    }
    if (route.group !== "authorization.k8s.io" || plural !== "selfsubjectaccessreviews") {
      return undefined;
    }
    const spec = objectOf(JSON.parse(Buffer.from(request.body).toString()).spec);
    const asked = objectOf(spec.resourceAttributes) as Readonly<Record<string, string>>;
    const allowed = access.allows({
      user: user.name,
      groups: user.groups,
      verb: asked.verb ?? "",
      group: asked.group ?? "",
      resource: asked.resource ?? "",
      subresource: asked.subresource ?? "",
      namespace: asked.namespace ?? "",
      name: asked.name ?? "",
    });
    return {
      kind: "SelfSubjectAccessReview",
      apiVersion: "authorization.k8s.io/v1",
      metadata: {},
      spec,
      status: { allowed, ...(allowed ? {} : { reason: "refused by the lab's rule" }) },
    };
  }

  function listen(listenOptions: ListenOptions): Listening {
    const { host = "127.0.0.1", enter = (bind) => bind() } = listenOptions;
    const tls = tlsOf(listenOptions, host);
    const anonymous = listenOptions.anonymous ?? tls === undefined;
    let port = listenOptions.port ?? 0;
    let socket: ReturnType<typeof serveHttp> | undefined;
    let retry: ReturnType<typeof setTimeout> | undefined;
    const bind = () => {
      socket = enter(() =>
        serveHttp({
          hostname: host,
          port,
          ...(tls === undefined ? {} : { tls }),
          handle: (request) => handle(request, anonymous),
          opened: (connection) => {
            connections.add(connection);
            counts.connections++;
            if (faults.mode() === "half-open") connection.kill();
          },
          closed: (connection) => connections.delete(connection),
        })
      );
      port = socket.port;
    };
    const listener: Listener = {
      open: () => {
        try {
          bind();
        } catch {
          // Another took the port meanwhile, or its connections linger.
          retry = setTimeout(listener.open, 50);
        }
      },
      stop: () => {
        if (retry !== undefined) clearTimeout(retry);
        socket?.stop(true);
        socket = undefined;
      },
    };
    bind();
    listeners.add(listener);
    const named = listenOptions.advertise ?? host;
    const authority = named.includes(":") ? `[${named}]` : named;
    return {
      url: `${tls === undefined ? "http" : "https"}://${authority}:${port}`,
      port,
      stop: () => {
        listeners.delete(listener);
        listener.stop();
      },
    };
  }

  function tlsOf({ tls, advertise }: ListenOptions, host: string) {
    if (tls === undefined || tls === false) return undefined;
    const { names = [], expired: past = false, unknownCa = false } = tls === true ? {} : tls;
    const own = ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default.svc", host];
    const subject = { commonName: "kube-apiserver" };
    const issuer = unknownCa ? options.strangers() : options.authority();
    const certificate = issuer.issue(subject, {
      usage: "server",
      names: [...new Set([...own, ...names, ...(advertise === undefined ? [] : [advertise])])],
      expired: past,
    });
    return { ...certificate, ca: options.authority().caPem };
  }

  return {
    listen,
    access,
    faults,
    watches,
    stats: () => ({
      ...counts,
      requests: { ...counts.requests },
      statuses: { ...counts.statuses },
      openWatches: watches.count(),
      openConnections: connections.size,
    }),
    resetStats: () => {
      counts = emptyCounts();
    },
    close: () => {
      for (const listener of listeners) listener.stop();
      listeners.clear();
      faults.heal();
      for (const connection of [...connections]) connection.destroy();
    },
  };
}

function emptyCounts() {
  return {
    lists: 0,
    continued: 0,
    watches: 0,
    connections: 0,
    requests: {} as Record<string, number>,
    statuses: {} as Record<string, number>,
  };
}
