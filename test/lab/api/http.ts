/**
 * HTTP/1.1 on Bun.listen. Not Bun.serve: the server reads client certificates without demanding
 * them, and breaks or silences single connections, neither of which Bun.serve offers.
 */

import type { Socket, TCPSocketListener } from "bun";

export interface HttpRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
  readonly connection: Connection;
}

/** What the TLS handshake said of the client. */
export type Peer =
  | { readonly state: "none" }
  | { readonly state: "refused" }
  | { readonly state: "verified"; readonly commonName: string; readonly groups: readonly string[] };

export type Headers = Readonly<Record<string, string>>;

/** A chunked answer under way. */
export interface Stream {
  /** Frames as `chunk` makes them. */
  readonly write: (chunk: Uint8Array) => void;
  readonly end: () => void;
}

export interface HttpOptions {
  readonly hostname: string;
  readonly port: number;
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca: string };
  readonly handle: (request: HttpRequest) => void;
  readonly opened: (connection: Connection) => void;
  readonly closed: (connection: Connection) => void;
}

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  201: "Created",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  409: "Conflict",
  410: "Gone",
  415: "Unsupported Media Type",
  422: "Unprocessable Entity",
  429: "Too Many Requests",
  500: "Internal Server Error",
  504: "Gateway Timeout",
};
const CRLF = Buffer.from("\r\n");
const LAST_CHUNK = Buffer.from("0\r\n\r\n");
const MAX_HEAD = 65_536;

export function chunk(data: string): Uint8Array {
  const body = Buffer.from(data);
  return Buffer.concat([Buffer.from(`${body.length.toString(16)}\r\n`), body, CRLF]);
}

export class Connection {
  peer: Peer = { state: "none" };
  /** Told once, when the client is out of reach. */
  onClose: (() => void) | undefined;
  readonly #socket: Socket<Connection>;
  readonly #handle: (request: HttpRequest) => void;
  #input: Buffer = Buffer.alloc(0);
  #output: Uint8Array[] = [];
  #flushing = false;
  #blocked = false;
  #answering = false;
  #continued = false;
  #closeAfter = false;
  #dead = false;

  constructor(socket: Socket<Connection>, handle: (request: HttpRequest) => void) {
    this.#socket = socket;
    this.#handle = handle;
  }

  /** From now on silent in both directions, and never closed from this side. */
  kill(): void {
    this.#dead = true;
    this.#output = [];
    this.onClose?.();
    this.onClose = undefined;
  }

  /** Breaks the connection, in the middle of whatever it was sending. */
  abort(): void {
    if (!this.#dead) this.#socket.terminate();
  }

  /** Ends it whatever its state: the server is gone. */
  destroy(): void {
    this.#socket.terminate();
  }

  send(status: number, headers: Headers, body: string): void {
    const bytes = Buffer.from(body);
    this.#write(head(status, { ...headers, "Content-Length": String(bytes.length) }));
    this.#write(bytes);
    this.#answered();
  }

  stream(status: number, headers: Headers): Stream {
    this.#write(head(status, { ...headers, "Transfer-Encoding": "chunked" }));
    let open = true;
    return {
      write: (chunk) => {
        if (open) this.#write(chunk);
      },
      end: () => {
        if (!open) return;
        open = false;
        this.#write(LAST_CHUNK);
        this.#answered();
      },
    };
  }

  receive(data: Buffer): void {
    if (this.#dead) return;
    this.#input = this.#input.length === 0 ? Buffer.from(data) : Buffer.concat([this.#input, data]);
    this.#next();
  }

  /** The socket takes data again. */
  drain(): void {
    this.#blocked = false;
    this.#flush();
  }

  closed(): void {
    this.kill();
  }

  #answered(): void {
    this.#answering = false;
    this.onClose = undefined;
    if (this.#closeAfter) this.#flush();
    else this.#next();
  }

  #next(): void {
    if (this.#answering || this.#dead) return;
    let parsed: Parsed | "more";
    try {
      parsed = parse(this.#input);
    } catch {
      this.#closeAfter = true;
      this.send(400, {}, "");
      return;
    }
    if (parsed === "more") {
      this.#expectContinue();
      return;
    }
    this.#input = this.#input.subarray(parsed.length);
    this.#answering = true;
    this.#continued = false;
    this.#closeAfter = parsed.headers.get("connection")?.toLowerCase() === "close";
    this.#handle({
      method: parsed.method,
      url: parsed.url,
      headers: parsed.headers,
      body: parsed.body,
      connection: this,
    });
  }

  /** curl waits for this before it sends a large body. */
  #expectContinue(): void {
    if (this.#continued || this.#input.length === 0) return;
    const end = this.#input.indexOf("\r\n\r\n");
    if (end < 0 || !/\r\nexpect: *100-continue/i.test(this.#input.toString("latin1", 0, end))) {
      return;
    }
    this.#continued = true;
    this.#write(Buffer.from("HTTP/1.1 100 Continue\r\n\r\n"));
  }

  /** Writes of one turn go out as one. */
  #write(bytes: Uint8Array): void {
    if (this.#dead) return;
    this.#output.push(bytes);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#dead || this.#blocked) return;
    if (this.#output.length > 0) {
      const bytes = this.#output.length === 1 ? this.#output[0] : Buffer.concat(this.#output);
      this.#output = [];
      if (bytes !== undefined) {
        const written = Math.max(0, this.#socket.write(bytes));
        if (written < bytes.length) {
          this.#blocked = true;
          this.#output.unshift(bytes.subarray(written));
          return;
        }
      }
    }
    if (this.#closeAfter && !this.#answering) this.#socket.end();
  }
}

export function serveHttp(options: HttpOptions): TCPSocketListener<Connection> {
  return Bun.listen<Connection>({
    hostname: options.hostname,
    port: options.port,
    ...(options.tls === undefined ? {} : {
      // Asked for, not demanded: a token serves as well; who may enter is decided per request.
      tls: { ...options.tls, requestCert: true, rejectUnauthorized: false },
    }),
    socket: {
      open: (socket) => {
        socket.data = new Connection(socket, options.handle);
        options.opened(socket.data);
      },
      handshake: (socket, _success, error) => {
        socket.data.peer = peerOf(socket, error);
      },
      data: (socket, data) => socket.data.receive(data),
      drain: (socket) => socket.data.drain(),
      close: (socket) => {
        // Absent where a TLS handshake broke before `open`.
        if (socket.data === undefined) return;
        socket.data.closed();
        options.closed(socket.data);
      },
      error: () => {},
    },
  });
}

function peerOf(socket: Socket<Connection>, error: Error | null): Peer {
  const { getPeerCertificate } = socket as {
    getPeerCertificate?: () => PeerCertificate | undefined;
  };
  const subject = getPeerCertificate?.call(socket)?.subject;
  if (subject === undefined) return { state: "none" };
  if (error !== null) return { state: "refused" };
  const groups = subject.O === undefined ? [] : [subject.O].flat();
  return { state: "verified", commonName: subject.CN ?? "", groups };
}

interface PeerCertificate {
  readonly subject?: { readonly CN?: string; readonly O?: string | readonly string[] };
}

function head(status: number, headers: Headers): Uint8Array {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  return Buffer.from(`HTTP/1.1 ${status} ${REASONS[status] ?? "Unknown"}\r\n${lines}\r\n`);
}

interface Parsed {
  readonly method: string;
  readonly url: URL;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
  /** Bytes of the input that the request took. */
  readonly length: number;
}

/** Throws on what is no HTTP/1.1 request. */
function parse(input: Buffer): Parsed | "more" {
  const end = input.indexOf("\r\n\r\n");
  if (end < 0) {
    if (input.length > MAX_HEAD) throw new Error("Request head is too long");
    return "more";
  }
  const [line = "", ...lines] = input.toString("latin1", 0, end).split("\r\n");
  const [, method, target] = /^([A-Z]+) (\S+) HTTP\/1\.[01]$/.exec(line) ?? [];
  if (method === undefined || target === undefined) throw new Error("Request line is malformed");
  const headers = new Map<string, string>();
  for (const header of lines) {
    const colon = header.indexOf(":");
    headers.set(header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim());
  }
  const start = end + 4;
  const body = headers.get("transfer-encoding")?.toLowerCase() === "chunked"
    ? chunkedBody(input, start)
    : plainBody(input, start, Number(headers.get("content-length") ?? 0));
  if (body === "more") return "more";
  return { method, url: new URL(target, "http://localhost"), headers, ...body };
}

type Body = { readonly body: Uint8Array; readonly length: number };

function plainBody(input: Buffer, start: number, length: number): Body | "more" {
  const end = start + length;
  if (!Number.isSafeInteger(end)) throw new Error("Content-Length is malformed");
  return input.length < end ? "more" : { body: input.subarray(start, end), length: end };
}

function chunkedBody(input: Buffer, start: number): Body | "more" {
  const parts: Uint8Array[] = [];
  for (let offset = start;;) {
    const line = input.indexOf("\r\n", offset);
    if (line < 0) return "more";
    const size = parseInt(input.toString("latin1", offset, line), 16);
    if (!(size >= 0)) throw new Error("Chunk size is malformed");
    const next = line + 2 + size + 2;
    if (input.length < next) return "more";
    if (size === 0) return { body: Buffer.concat(parts), length: next };
    parts.push(input.subarray(line + 2, line + 2 + size));
    offset = next;
  }
}
