/** What a command sees of the process that it runs in. */
import { readFileSync, writeSync } from "node:fs";
import { execute } from "../kernel/dataplane/linux/execute.ts";

export interface Io {
  /** Writes to standard output or standard error as given, without a line end of its own. */
  stdout(text: string): void;
  stderr(text: string): void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly isRoot: boolean;
  /** From now on the process ends, with 141, where nobody reads its standard output any more. Absent in tests. */
  endWithReader?(): void;
  /** Starts this process anew with more in its environment. Absent in tests. @throws {Error} where Linux refuses */
  restart?(env: Readonly<Record<string, string>>): never;
}

/** The process itself. Writes are done when they return: an exit loses nothing. */
export function processIo(): Io {
  let endsWithReader = false;
  return {
    stdout: (text) => {
      if (!write(1, text) && endsWithReader) process.exit(BROKEN_PIPE);
    },
    stderr: (text) => void write(2, text),
    endWithReader: () => void (endsWithReader = true),
    env: process.env,
    isRoot: process.geteuid?.() === 0,
    restart: (env) => {
      // With the very same arguments: of an executable that Bun made, process.argv shows others.
      const args = readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(0, -1);
      return execute(process.execPath, args, { ...process.env, ...env });
    },
  };
}

/** Cursor home, and what is below it cleared: what `--watch` begins a picture with, and all that a terminal is told. */
export const HOME = "\u001b[H\u001b[J";
/** Control characters but tabulator and line feed. */
// deno-lint-ignore no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/**
 * Text as a terminal may see it. What is printed quotes objects of the cluster, annotations say, and whoever may write one must not
 * move an administrator's cursor, hide lines or change the clipboard.
 */
export function printable(text: string): string {
  return text.startsWith(HOME) ? `${HOME}${shown(text.slice(HOME.length))}` : shown(text);
}

/** As JSON writes them, since what is printed may be JSON. */
function shown(text: string): string {
  return text.replaceAll(
    CONTROLS,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** As of a program that SIGPIPE has ended, which is what others do without a reader; Bun ignores the signal. */
const BROKEN_PIPE = 128 + 13;

/** @returns false where nobody will ever read it */
function write(fd: number, text: string): boolean {
  const bytes = Buffer.from(printable(text));
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A reader that went away (`| head`) wants no more; a full pipe wants us to wait.
      if (code !== "EAGAIN") return code !== "EPIPE";
      Bun.sleepSync(1);
    }
  }
  return true;
}
