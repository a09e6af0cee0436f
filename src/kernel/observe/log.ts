/**
 * The log: one line an event, a constant message and fields. Nothing secret goes in; fields whose names say that they
 * hold a secret are hidden all the same.
 */
import { writeSync } from "node:fs";
import pino from "pino";
import { printable } from "./printable.ts";

/** What every part logs through. Messages are constant text; what varies goes into `fields`. */
export interface Logger {
  debug(message: string, fields?: object): void;
  info(message: string, fields?: object): void;
  warn(message: string, fields?: object): void;
  error(message: string, fields?: object): void;
  /** A logger whose lines all carry these fields. */
  child(fields: object): Logger;
}

export type Level = "debug" | "info" | "warn" | "error";

export interface LogOptions {
  /** kube-router's `-v`: 0 logs from info up, 1 and above from debug up, below 0 from warn up. */
  readonly verbosity: number;
  readonly format: "text" | "json";
  /** Takes each line with its line end; standard error if absent. */
  readonly write?: (line: string) => void;
}

/** The logger of the process. Lines are written at once: a crash loses none. */
export function createLogger(options: LogOptions): Logger {
  const write = options.write ?? writeStderr;
  const level = options.verbosity >= 1 ? "debug" : options.verbosity < 0 ? "warn" : "info";
  const json = options.format === "json";
  // pino's transports live in worker threads, which a compiled executable cannot start from a package: a plain
  // destination formats in place.
  return wrap(pino({
    level,
    base: null,
    messageKey: "message",
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  }, { write: json ? write : (line: string) => write(textLine(line)) }));
}

/** `process.stderr` takes 10 ms to open, and loses lines when the process exits; descriptor 2 does neither. */
function writeStderr(line: string): void {
  const bytes = Buffer.from(line);
  let done = 0;
  while (done < bytes.length) {
    try {
      done += writeSync(2, bytes, done);
    } catch (error) {
      // A full pipe whose reader is slow: wait for it, as a blocking descriptor would. Anything else: no log.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") return;
      Bun.sleepSync(1);
    }
  }
}

function wrap(logger: pino.Logger): Logger {
  const at = (level: Level) => (message: string, fields?: object) =>
    fields === undefined ? logger[level](message) : logger[level](redact(fields), message);
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    child: (fields) => wrap(logger.child(redact(fields))),
  };
}

const SECRET = /passw|secret|token|authorization|private.?key|credential/i;

/** The fields as the log may show them: secrets hidden, errors as message and code, big numbers as text. */
function redact(fields: object): Record<string, unknown> {
  const plain = fields instanceof Error ? { error: fields } : fields;
  return Object.fromEntries(
    Object.entries(plain).map(([name, value]) => [fieldName(name), safe(name, value, 0)]),
  );
}

/** What every line says of itself: a field of that name would stand in its place. */
const OF_THE_LINE: ReadonlySet<string> = new Set(["time", "level", "message"]);

function fieldName(name: string): string {
  return OF_THE_LINE.has(name) ? `${name}_` : name;
}

function safe(name: string, value: unknown, depth: number): unknown {
  if (SECRET.test(name) && (typeof value === "string" || typeof value === "object")) {
    return value === "" || value === null ? value : "***";
  }
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Error) return errorText(value);
  if (value instanceof Date || value === null || typeof value !== "object") return value;
  if (depth > 4) return "…";
  if (value instanceof Set) return [...value].map((item) => safe("", item, depth + 1));
  if (value instanceof Map) return safe(name, Object.fromEntries(value), depth + 1);
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`;
  if (Array.isArray(value)) return value.map((item) => safe("", item, depth + 1));
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, safe(key, item, depth + 1)]),
  );
}

/** An error and what caused it, in one line. */
function errorText(error: Error): string {
  const cause = error.cause instanceof Error ? `: ${errorText(error.cause)}` : "";
  return `${error.message || error.name}${cause}`;
}

/** `2026-01-01T00:00:00.000Z INFO  message  key=value key="two words"` from pino's JSON line. */
function textLine(line: string): string {
  const { time, level, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([name, value]) =>
    ` ${fieldText(name)}=${fieldText(value)}`
  ).join("");
  const head = `${time} ${String(level).toUpperCase().padEnd(5)} `;
  return `${head}${printable(String(message ?? ""))}${rest && ` ${rest}`}\n`;
}

function fieldText(value: unknown): string {
  if (typeof value === "string" && value !== "" && !/[\s"=]/.test(value)) {
    if (printable(value) === value) return value;
  }
  return printable(JSON.stringify(value) ?? "");
}

/** One line that a test logger has taken. */
export interface LogLine {
  readonly level: Level;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** A logger for tests: keeps every line, at every level. */
export interface TestLogger extends Logger {
  readonly lines: LogLine[];
}

/** A logger that collects in `lines`; its children collect there too. */
export function testLogger(): TestLogger {
  const lines: LogLine[] = [];
  const make = (bound: Readonly<Record<string, unknown>>): TestLogger => {
    const at = (level: Level) => (message: string, fields: object = {}) =>
      void lines.push({ level, message, fields: { ...bound, ...redact(fields) } });
    return {
      lines,
      debug: at("debug"),
      info: at("info"),
      warn: at("warn"),
      error: at("error"),
      child: (fields) => make({ ...bound, ...redact(fields) }),
    };
  };
  return make({});
}

/** A logger that drops everything. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
};
