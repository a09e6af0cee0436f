/** Asks the API server what the checks need to know of it. */

import { connectionError } from "../../kernel/cluster/api-error.ts";
import { credentialsOf } from "../../kernel/cluster/api-source.ts";
import type { Credentials } from "../../kernel/cluster/credentials.ts";

export interface ApiAnswer {
  readonly status: number;
  readonly body: unknown;
  /** The server's clock, Unix ms; absent: it did not say. */
  readonly date?: number;
  readonly ms: number;
}

export interface DoctorApi {
  readonly server: string;
  /** @throws {Error} where no answer comes, with the reason and the remedy */
  ask(path: string, body?: unknown): Promise<ApiAnswer>;
}

const TIMEOUT_MS = 5_000;

/** @throws {Error} where there are no credentials, with the file, the reason and the remedy */
export async function openDoctorApi(
  options: { readonly kubeconfig?: string; readonly master?: string },
): Promise<DoctorApi> {
  return apiOf(await credentialsOf(options));
}

function apiOf(credentials: Credentials): DoctorApi {
  const { server, proxy } = credentials;
  return {
    server,
    async ask(path, body) {
      const identity = await credentials.identity();
      const start = performance.now();
      try {
        const response = await fetch(`${server}${path}`, {
          method: body === undefined ? "GET" : "POST",
          headers: {
            accept: "application/json",
            "content-type": "application/json",
            "user-agent": "routelet-doctor",
            ...identity.headers,
          },
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          ...(identity.tls === undefined ? {} : { tls: identity.tls }),
          ...(proxy === undefined ? {} : { proxy }),
          redirect: "error",
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        const text = await response.text();
        const date = Date.parse(response.headers.get("date") ?? "");
        return {
          status: response.status,
          body: parsed(text),
          ...(Number.isFinite(date) ? { date } : {}),
          ms: performance.now() - start,
        };
      } catch (error) {
        const asked = {
          verb: "ask",
          resource: path,
          group: "",
          server,
          credentials: credentials.from,
        };
        throw connectionError(error, asked);
      }
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
