/**
 * The ownership ledger: marks for Linux state that has no field for one (IPVS services, sysctls).
 *
 * A file of JSON lines in the runtime directory, one for each owner and kind. A mark is written before Linux is changed:
 * after a kill -9 the ledger may name what is not there, never the reverse. The state that it marks is gone after a reboot and
 * belongs to one network namespace, so the header names both and another's ledger counts as empty.
 *
 * No fsync: what must be survived is the death of this process, not of Linux.
 */

import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { KernelError } from "../errors.ts";

/** Where ledgers are unless a flag says otherwise. A tmpfs: it goes with the state that it marks. */
export const RUNTIME_DIRECTORY = "/run/routelet";

export interface LedgerOptions {
  /** Path of the network namespace that the state is in. Default: that of this thread. */
  readonly namespace?: string;
  /** For tests. Default: /proc/sys/kernel/random/boot_id. */
  readonly bootId?: string;
  /** Told where marks are lost or another's: what they marked is not touched any more. */
  readonly warn?: (message: string, fields: object) => void;
}

/** What a mark keeps: for a sysctl the value before. */
export type LedgerValue = string | undefined;

export interface Ledger {
  readonly size: number;
  has(key: string): boolean;
  /** The value that was added with the key; undefined also where it had none. */
  get(key: string): LedgerValue;
  keys(): IterableIterator<string>;
  /**
   * Writes marks; when it returns they are in the file. Keys that are there already keep their first value: the value before *our* first change.
   *
   * @throws {KernelError} when the file cannot be written; then nothing was added, and Linux must not be changed
   */
  add(entries: Iterable<string | readonly [key: string, value?: LedgerValue]>): void;
  /** Removes marks; unknown keys are ignored. @throws {KernelError} when the file cannot be written */
  remove(keys: Iterable<string>): void;
  close(): void;
}

const VERSION = 1;
/** Lines that say nothing any more, before the file is written anew. */
const GARBAGE = 1024;

/**
 * Reads the ledger of an owner and kind ("proxy", "ipvs"). Nothing is written before the first `add`: `plan` and `status` may
 * read beside a running agent.
 *
 * @throws {KernelError} when there is a file that cannot be read
 */
export function openLedger(
  directory: string,
  owner: string,
  kind: string,
  options: LedgerOptions = {},
): Ledger {
  const path = join(directory, `${owner}.${kind}.ledger`);
  const header = JSON.stringify({
    ledger: VERSION,
    boot: options.bootId ?? bootId(),
    netns: namespaceInode(options.namespace),
  });
  const text = read(path);
  const parsed = text === undefined ? undefined : parseLedger(text, header);
  const doubt = text === undefined ? undefined : doubtOf(text, parsed);
  if (doubt !== undefined) {
    options.warn?.("Ownership ledger cannot be used as it is", { path, ...doubt });
  }
  return new FileLedger(directory, path, header, parsed);
}

const LOST =
  "What it marked is left as it is; where the agent wants the same, its status says conflict: remove those by hand";

/** What is wrong with a ledger's text, and what follows. */
function doubtOf(
  text: string,
  parsed: ParsedLedger | undefined,
): { readonly reason: string; readonly remedy: string } | undefined {
  if (parsed === undefined) {
    const reason = isHeader(text.split("\n", 1)[0] ?? "")
      ? "it is of another boot, or of another network namespace, and counts as empty"
      : text === ""
      ? "it lost its content"
      : "it is damaged and counts as empty: its first line is not a ledger's";
    return { reason, remedy: LOST };
  }
  if (parsed.damaged === 0 && !parsed.torn) return undefined;
  const reasons = [
    ...(parsed.damaged > 0 ? [`${parsed.damaged} of its lines cannot be read`] : []),
    ...(parsed.torn ? ["it ends in the middle of a line"] : []),
  ];
  return { reason: reasons.join(", and "), remedy: LOST };
}

/** Whether a ledger's text marks nothing that can still be in Linux: it is of an earlier boot, or all its marks are taken back. */
export function isSpentLedger(
  text: string,
  now: { readonly bootId: string; readonly netns: number } = {
    bootId: bootId(),
    netns: namespaceInode(),
  },
): boolean {
  const [first = ""] = text.split("\n", 1);
  if (!isHeader(first)) return text === "";
  const header = JSON.parse(first) as { readonly boot?: unknown; readonly netns?: unknown };
  if (header.boot !== now.bootId) return true;
  if (header.netns !== now.netns) return false;
  const parsed = parseLedger(text, first);
  return parsed !== undefined && parsed.entries.size === 0 && parsed.damaged === 0;
}

function isHeader(line: string): boolean {
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === "object" && parsed !== null && "ledger" in parsed;
  } catch {
    return false;
  }
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch (error) {
    throw fileError("read the boot id", "/proc/sys/kernel/random/boot_id", error);
  }
}

function namespaceInode(path = "/proc/thread-self/ns/net"): number {
  try {
    return statSync(path).ino;
  } catch (error) {
    throw fileError("identify the network namespace", path, error);
  }
}

/** Marks by key, and how many lines of the text were needed for them. */
export interface ParsedLedger {
  readonly entries: Map<string, LedgerValue>;
  readonly lines: number;
  /** Whether the text ends in the middle of a line: the writer was killed. */
  readonly torn: boolean;
  /** Number of lines that do not parse. */
  readonly damaged: number;
}

/** Reads a ledger's text; undefined when its header is not `header`. Lines that do not parse are skipped. */
export function parseLedger(text: string, header: string): ParsedLedger | undefined {
  const lines = text.split("\n");
  if (lines[0] !== header || lines.length < 2) return undefined;
  const torn = lines.pop() !== "";
  const entries = new Map<string, LedgerValue>();
  let damaged = 0;
  for (let i = 1; i < lines.length; i++) {
    const line = parseLine(lines[i] ?? "");
    if (line === undefined) damaged++;
    else if (line.verb === "-") entries.delete(line.key);
    else if (!entries.has(line.key)) entries.set(line.key, line.value);
  }
  return { entries, lines: lines.length - 1, torn, damaged };
}

function parseLine(text: string): { verb: string; key: string; value: LedgerValue } | undefined {
  try {
    const parsed: unknown = JSON.parse(text);
    if (!Array.isArray(parsed)) return undefined;
    const [verb, key, value] = parsed as readonly unknown[];
    if ((verb !== "+" && verb !== "-") || typeof key !== "string") return undefined;
    return { verb, key, value: typeof value === "string" ? value : undefined };
  } catch {
    return undefined;
  }
}

/**
 * Lines as bytes, written whenever 64 KiB are full. Ten thousand marks at once are normal, and strings for each, or a buffer
 * that grows with them, would cost more than the writing.
 */
class LineWriter {
  /** Lines since the last `flush`. */
  count = 0;
  readonly #bytes = new Uint8Array(64 * 1024);
  #length = 0;
  #fd = -1;

  /** Where lines go from now on. */
  to(fd: number): void {
    this.#fd = fd;
    this.#length = this.count = 0;
  }

  push(verb: "+" | "-", key: string, value: LedgerValue): void {
    this.count++;
    if (value === undefined && this.#plain(verb, key)) return;
    this.text(JSON.stringify(value === undefined ? [verb, key] : [verb, key, value]));
  }

  /** One line as it is. */
  text(line: string): void {
    const data = new TextEncoder().encode(`${line}\n`);
    if (data.length > this.#bytes.length - this.#length) this.flush();
    if (data.length > this.#bytes.length) return this.#write(data);
    this.#bytes.set(data, this.#length);
    this.#length += data.length;
  }

  flush(): void {
    if (this.#length > 0) this.#write(this.#bytes.subarray(0, this.#length));
    this.#length = 0;
  }

  #write(data: Uint8Array): void {
    for (let at = 0; at < data.length;) at += writeSync(this.#fd, data, at);
  }

  /** `["+","key"]` for a key that needs no escapes; false, with nothing written, for others. */
  #plain(verb: "+" | "-", key: string): boolean {
    const most = key.length + 9;
    if (most > this.#bytes.length - this.#length) this.flush();
    if (most > this.#bytes.length) return false;
    const bytes = this.#bytes;
    let at = this.#length;
    bytes[at++] = 0x5b; // [
    bytes[at++] = 0x22; // "
    bytes[at++] = verb.charCodeAt(0);
    bytes[at++] = 0x22;
    bytes[at++] = 0x2c; // ,
    bytes[at++] = 0x22;
    for (let i = 0; i < key.length; i++) {
      const c = key.charCodeAt(i);
      if (c < 0x20 || c > 0x7e || c === 0x22 || c === 0x5c) return false;
      bytes[at++] = c;
    }
    bytes[at++] = 0x22;
    bytes[at++] = 0x5d; // ]
    bytes[at++] = 0x0a;
    this.#length = at;
    return true;
  }
}

class FileLedger implements Ledger {
  readonly #directory: string;
  readonly #path: string;
  readonly #header: string;
  readonly #entries: Map<string, LedgerValue>;
  #lines = 0;
  readonly #writer = new LineWriter();
  #fd = -1;
  /** The file on disk is ours and whole: it may be appended to. */
  #valid = false;

  constructor(directory: string, path: string, header: string, parsed: ParsedLedger | undefined) {
    this.#directory = directory;
    this.#path = path;
    this.#header = header;
    this.#entries = parsed?.entries ?? new Map();
    this.#lines = parsed?.lines ?? 0;
    this.#valid = parsed !== undefined && !parsed.torn && parsed.damaged === 0;
  }

  get size(): number {
    return this.#entries.size;
  }
  has(key: string): boolean {
    return this.#entries.has(key);
  }
  get(key: string): LedgerValue {
    return this.#entries.get(key);
  }
  keys(): IterableIterator<string> {
    return this.#entries.keys();
  }

  add(entries: Iterable<string | readonly [key: string, value?: LedgerValue]>): void {
    const added: (string | readonly [key: string, value?: LedgerValue])[] = [];
    for (const entry of entries) {
      if (!this.#entries.has(typeof entry === "string" ? entry : entry[0])) added.push(entry);
    }
    if (added.length === 0) return;
    this.#append((lines) => {
      for (const entry of added) {
        if (typeof entry === "string") lines.push("+", entry, undefined);
        else lines.push("+", entry[0], entry[1]);
      }
    });
    for (const entry of added) {
      const key = typeof entry === "string" ? entry : entry[0];
      // The same key twice in one call: the first value stays, as in the file.
      if (!this.#entries.has(key)) {
        this.#entries.set(key, typeof entry === "string" ? undefined : entry[1]);
      }
    }
  }

  remove(keys: Iterable<string>): void {
    const gone = [...keys].filter((key) => this.#entries.has(key));
    if (gone.length === 0) return;
    this.#append((lines) => {
      for (const key of gone) lines.push("-", key, undefined);
    });
    for (const key of gone) this.#entries.delete(key);
    if (this.#garbage() > Math.max(GARBAGE, this.#entries.size)) this.#rewrite();
  }

  #garbage(): number {
    return this.#lines - this.#entries.size;
  }

  close(): void {
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  #append(write: (lines: LineWriter) => void): void {
    if (!this.#valid || this.#replaced()) this.#rewrite();
    let size = -1;
    try {
      if (this.#fd < 0) {
        const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_NOFOLLOW;
        this.#fd = openSync(this.#path, flags);
      }
      size = fstatSync(this.#fd).size;
      this.#writer.to(this.#fd);
      write(this.#writer);
      this.#writer.flush();
    } catch (error) {
      this.#undo(size);
      throw fileError("write the ownership ledger", this.#path, error);
    }
    this.#lines += this.#writer.count;
  }

  /** Whether another process (a cleanup) put a new file in the place of the open one: what goes there is lost. */
  #replaced(): boolean {
    if (this.#fd < 0) return false;
    return statSync(this.#path, { throwIfNoEntry: false })?.ino !== fstatSync(this.#fd).ino;
  }

  /** Takes back a partial write, so that the next one does not continue its line. */
  #undo(size: number): void {
    try {
      if (this.#fd >= 0 && size >= 0) ftruncateSync(this.#fd, size);
      else this.#valid = false;
    } catch {
      this.#valid = false;
    }
    this.close();
  }

  /** Writes the marks anew beside the file, then renames: at every moment one of the two is whole. */
  #rewrite(): void {
    const temporary = `${this.#path}.tmp`;
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC |
        constants.O_NOFOLLOW;
      const fd = openSync(temporary, flags, 0o600);
      try {
        this.#writer.to(fd);
        this.#writer.text(this.#header);
        for (const [key, value] of this.#entries) this.#writer.push("+", key, value);
        this.#writer.flush();
      } finally {
        closeSync(fd);
      }
      renameSync(temporary, this.#path);
    } catch (error) {
      throw fileError("write the ownership ledger", this.#path, error);
    }
    this.close();
    this.#lines = this.#entries.size;
    this.#valid = true;
  }
}

/** Undefined where there is no file yet. */
function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as { code?: unknown }).code === "ENOENT") return undefined;
    throw fileError("read the ownership ledger", path, error);
  }
}

function fileError(op: string, path: string, error: unknown): KernelError {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return new KernelError(op, typeof code === "string" ? code : "EIO", {
    object: path,
    ...(typeof code === "string" ? {} : { detail: String(message) }),
    remedy: code === "ENOSPC" || code === "EDQUOT"
      ? "free space there: without its mark nothing is changed"
      : "give the agent a runtime directory (--runtime-dir) that it may write, such as /run/routelet",
  });
}
