/** A small client for the tests of the lab's API server. */

import { type ApiOptions, createApi, type KubeObject, type LabApi } from "../../../lab/api/mod.ts";
import type { Status } from "../../../lab/api/status.ts";

export interface WatchEvent {
  readonly type: string;
  readonly object: KubeObject & Partial<Status>;
}

export interface ListAnswer {
  readonly kind: string;
  readonly metadata: {
    readonly resourceVersion: string;
    readonly continue?: string;
    readonly remainingItemCount?: number;
  };
  readonly items: readonly KubeObject[];
}

export async function withApi(
  run: (api: LabApi) => Promise<void>,
  options: ApiOptions = {},
): Promise<void> {
  const api = createApi({ bookmarkSeconds: 0, ...options });
  try {
    await run(api);
  } finally {
    api.close();
  }
}

/** Every request on its own connection, so that one test's failures stay its own. */
export function request(
  api: LabApi,
  method: string,
  path: string,
  body?: unknown,
  type = "application/json",
): Promise<Response> {
  return fetch(`${api.url}${path}`, {
    method,
    keepalive: false,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { "Content-Type": type } }),
  });
}

export async function call<T = KubeObject & Partial<Status>>(
  api: LabApi,
  method: string,
  path: string,
  body?: unknown,
  type?: string,
): Promise<{ readonly status: number; readonly body: T }> {
  const response = await request(api, method, path, body, type);
  return { status: response.status, body: await response.json() as T };
}

export interface OpenWatch {
  /** The next event; undefined at the stream's end. Throws where it broke. */
  readonly next: () => Promise<WatchEvent | undefined>;
  readonly take: (count: number) => Promise<readonly WatchEvent[]>;
  readonly close: () => void;
}

export async function watch(api: LabApi, path: string, query = ""): Promise<OpenWatch> {
  const stop = new AbortController();
  const url = `${api.url}${path}?watch=true&allowWatchBookmarks=true${query}`;
  const response = await fetch(url, { keepalive: false, signal: stop.signal });
  if (response.status !== 200) throw new Error(`Watch was answered "${response.status}"`);
  const lines = linesOf(response);
  const next = async () => {
    const { value, done } = await lines.next();
    return done === true ? undefined : JSON.parse(value) as WatchEvent;
  };
  return {
    next,
    take: async (count) => {
      const events: WatchEvent[] = [];
      while (events.length < count) {
        const event = await next();
        if (event === undefined) break;
        events.push(event);
      }
      return events;
    },
    close: () => stop.abort(),
  };
}

async function* linesOf(response: Response): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of response.body ?? []) {
    text += decoder.decode(bytes, { stream: true });
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n")) {
      yield text.slice(0, end);
      text = text.slice(end + 1);
    }
  }
}

export function shown(events: readonly WatchEvent[]): readonly string[] {
  return events.map(({ type, object }) => `${type} ${object.metadata?.name ?? ""}`.trim());
}

export function service(name: string, more: object = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "default" },
    spec: { clusterIP: "10.96.0.1", ports: [{ port: 80 }] },
    ...more,
  };
}

export function configMap(name: string, labels: Readonly<Record<string, string>> = {}): KubeObject {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default", labels } };
}
