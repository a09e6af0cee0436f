/**
 * The live page: one file of HTML and a few answers in JSON, all of them read-only. It has no log-in, so it listens on loopback
 * unless told otherwise, answers only to names of this host (a page of another site could have its own name lead here: DNS
 * rebinding), and allows its page to load nothing from anywhere else.
 */

import { createHash } from "node:crypto";
import { type Listening, listenTcp } from "../../kernel/observe/listen.ts";
import { requestUrl } from "../../kernel/request-url.ts";
import type { UiAddress } from "./address.ts";
import bundled from "./page.html" with { type: "text" };

/** What the page asks for; each answers with JSON. @throws {RangeError} for a wrong question */
export interface UiData {
  overview(): Promise<unknown>;
  services(query: URLSearchParams): Promise<unknown>;
  policies(query: URLSearchParams): Promise<unknown>;
  changes(): unknown;
}

/** @throws {Error} that names flag, address and cause when it cannot listen */
export function serveUi({ address, port }: UiAddress, data: UiData): Listening {
  return listenTcp({
    address,
    port,
    flags: ["--ui-addr", "--ui-addr"],
    fetch: uiHandler(data, [address]),
  });
}

/** Bun's types take every import of HTML for a bundle; of this type it is the text. */
const page = bundled as unknown as string;

/** Hashes of the page's own script and style: nothing else is run, whatever gets into the page. */
const POLICY = contentPolicy(page);

function contentPolicy(html: string): string {
  const hashes = (tag: string) =>
    [...html.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, "g"))].map(([, text = ""]) =>
      `'sha256-${createHash("sha256").update(text).digest("base64")}'`
    ).join(" ");
  return [
    "default-src 'none'",
    `script-src ${hashes("script")}`,
    `style-src ${hashes("style")}`,
    "connect-src 'self'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

const HEADERS = {
  "Cache-Control": "no-store",
  "Content-Security-Policy": POLICY,
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
} as const;

/** Names that lead to loopback on every host. */
const LOCAL_NAMES = ["localhost", "127.0.0.1", "[::1]"];

/** Answers requests; apart from the server so that tests need none. @param bound what it listens on */
export function uiHandler(
  data: UiData,
  bound: readonly string[],
): (request: Request) => Promise<Response> {
  const names = new Set([
    ...LOCAL_NAMES,
    ...bound.map((address) => address.includes(":") ? `[${address}]` : address),
  ]);
  return async (request) => {
    const { pathname, searchParams } = requestUrl(request);
    const host = (request.headers.get("host") ?? "").toLowerCase().replace(/:\d+$/, "");
    if (!names.has(host) && !isAddress(host)) {
      return text(403, `This page answers to an address of this host, and not to "${host}"\n`);
    }
    if (request.method !== "GET" && request.method !== "HEAD") return text(405, "Read-only\n");
    // Another site's page has no business here, even where it only embeds.
    const site = request.headers.get("sec-fetch-site");
    if (pathname !== "/" && site !== null && site !== "same-origin" && site !== "none") {
      return text(403, "Only this page itself may ask\n");
    }
    try {
      switch (pathname) {
        case "/":
          return new Response(page, {
            headers: { ...HEADERS, "Content-Type": "text/html; charset=utf-8" },
          });
        case "/api/overview":
          return json(await data.overview());
        case "/api/services":
          return json(await data.services(searchParams));
        case "/api/policies":
          return json(await data.policies(searchParams));
        case "/api/changes":
          return json(data.changes());
        default:
          return text(404, "Not found\n");
      }
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return text(error instanceof RangeError ? 400 : 500, `${reason}\n`);
    }
  };
}

/** A name can be made to lead anywhere; an address is what it is. */
function isAddress(host: string): boolean {
  return /^\d+\.\d+\.\d+\.\d+$/.test(host) || /^\[[0-9a-f:.]+\]$/.test(host);
}

function json(body: unknown): Response {
  return Response.json(body, { headers: HEADERS });
}

function text(status: number, body: string): Response {
  return new Response(body, {
    status,
    headers: { ...HEADERS, "Content-Type": "text/plain; charset=utf-8" },
  });
}
