/** What can go wrong between us and the API server, each in words that say what to do. */

import { fieldsOf, integer, object, text } from "./fields.ts";

export type ApiErrorKind =
  /** No connection, or it broke. */
  | "network"
  /** The server's certificate is not accepted, or it does not accept ours. */
  | "tls"
  /** Nothing came for too long. */
  | "silence"
  /** 401: our credentials are refused. */
  | "refused"
  /** 410: the resourceVersion is too old. */
  | "expired"
  /** Any other answer that is not the one wanted. */
  | "answer";

export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly kind: ApiErrorKind;
  /** What the server asks us to wait. */
  readonly retryAfterMs: number;
  /** Of the answer; 0 where there was none. */
  readonly status: number;

  constructor(kind: ApiErrorKind, message: string, retryAfterMs = 0, cause?: unknown, status = 0) {
    super(message, { cause });
    this.kind = kind;
    this.retryAfterMs = retryAfterMs;
    this.status = status;
  }
}

/** The server does not serve the kind (404), or not to us (403). */
export function isMissing(error: unknown): error is ApiError {
  return error instanceof ApiError && (error.status === 404 || error.status === 403);
}

/** The resourceVersion or the continue token is too old: nothing but a new list helps. */
export function isExpired(error: unknown): boolean {
  return error instanceof ApiError && error.kind === "expired";
}

/** What was asked for, for the message: `list services`. */
export interface Asked {
  readonly verb: string;
  readonly resource: string;
  readonly group: string;
  readonly server: string;
  readonly credentials: string;
}

const UNKNOWN_CA = new Set([
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "CERT_UNTRUSTED",
  "CERT_SIGNATURE_FAILURE",
]);

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused: is the API server up, and is this its address?",
  ConnectionRefused: "connection refused: is the API server up, and is this its address?",
  ENOTFOUND: "its name does not resolve: correct the address or the host's DNS",
  EAI_AGAIN: "its name does not resolve now: correct the address or the host's DNS",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "the network is unreachable",
  ETIMEDOUT: "connection timed out",
  ECONNRESET: "the connection was closed",
  ConnectionClosed: "the connection was closed",
};

/** From what `fetch` throws. */
export function connectionError(error: unknown, asked: Asked): ApiError {
  const code = String((error as { code?: unknown } | undefined)?.code ?? "");
  const what = `Cannot ${asked.verb} ${asked.resource} at ${asked.server}: `;
  const tls = tlsReason(code, asked);
  if (tls !== undefined) return new ApiError("tls", what + tls, 0, error);
  const message = error instanceof Error ? error.message : String(error);
  return new ApiError("network", what + (NETWORK[code] ?? (message || code)), 0, error);
}

function tlsReason(code: string, { server, credentials }: Asked): string | undefined {
  if (code === "CERT_HAS_EXPIRED") {
    return "the API server's certificate has expired: renew it, or correct this host's clock";
  }
  if (code === "CERT_NOT_YET_VALID") {
    return "the API server's certificate is not valid yet: correct this host's clock";
  }
  if (UNKNOWN_CA.has(code)) {
    return "the API server's certificate is not from a CA that we trust: correct the CA " +
      `(certificate-authority) of the ${credentials} (${code})`;
  }
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `the API server's certificate is not for "${
      URL.parse(server)?.hostname ?? server
    }": use an ` +
      "address that is in the certificate, or set tls-server-name to a name in it";
  }
  if (code === "EPROTO" || code.startsWith("ERR_SSL") || code.startsWith("ERR_OSSL")) {
    return "the TLS handshake failed: does the server speak TLS on this port, and does it accept " +
      `the client certificate of the ${credentials}? (${code})`;
  }
  return undefined;
}

/**
 * From an answer that is not 2xx.
 *
 * @param expired when the client certificate that was sent expired, if it did
 */
export async function answerError(
  response: Response,
  asked: Asked,
  expired?: string,
): Promise<ApiError> {
  const said = await statusMessage(response);
  const what = `Cannot ${asked.verb} ${asked.resource} at ${asked.server}: `;
  const words = said === "" ? "" : `: ${said}`;
  const { status } = response;
  const wait = retryAfter(response.headers.get("retry-after"));
  const failed = (kind: ApiErrorKind, message: string): ApiError =>
    new ApiError(kind, message, wait, undefined, status);
  if (status === 401) {
    return failed(
      "refused",
      `${what}it refuses the credentials of the ${asked.credentials}: ${
        expired === undefined
          ? "is the token or the client certificate expired or revoked?"
          : `the client certificate expired at ${expired}: renew it, or correct this host's clock`
      } (401${words})`,
    );
  }
  if (status === 403) {
    const resource = asked.group === "" ? asked.resource : `${asked.resource}.${asked.group}`;
    return failed(
      "answer",
      `${what}RBAC forbids it: a ClusterRole of the ${asked.credentials} must allow "${asked.verb}" ` +
        `of "${resource}" (403${words})`,
    );
  }
  if (status === 404) {
    return failed("answer", `${what}it does not serve them, or is no API server (404)`);
  }
  if (status === 410) return failed("expired", `${what}resourceVersion expired (410)`);
  if (status === 429) return failed("answer", `${what}it is overloaded (429${words})`);
  return failed("answer", `${what}it answers ${status}${words}`);
}

/** From an ERROR event of a watch, whose object is a Status. */
export function eventError(raw: unknown, asked: Asked): ApiError {
  const status = fieldsOf(raw, () => {});
  const code = integer(status, "code");
  const seconds = integer(object(status, "details"), "retryAfterSeconds") ?? 0;
  const words = text(status, "message") ?? "no reason given";
  return new ApiError(
    code === 410 ? "expired" : "answer",
    `Cannot ${asked.verb} ${asked.resource} at ${asked.server}: ${words} (${
      code ?? "ERROR event"
    })`,
    seconds * 1000,
  );
}

async function statusMessage(response: Response): Promise<string> {
  try {
    const body = await response.text();
    const parsed: unknown = body.startsWith("{") ? JSON.parse(body) : { message: body };
    const message = text(fieldsOf(parsed, () => {}), "message") ?? "";
    return message.trim().split("\n")[0]?.slice(0, 300) ?? "";
  } catch {
    // The status code says enough.
    return "";
  }
}

/** Longest that a server's Retry-After is believed. */
const LONGEST_WAIT_MS = 120_000;

function retryAfter(header: string | null): number {
  if (header === null) return 0;
  const seconds = Number(header);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.min(Math.max(ms, 0), LONGEST_WAIT_MS);
}
