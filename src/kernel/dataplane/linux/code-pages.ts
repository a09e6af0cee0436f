/** Gives pages of the executable's code back to Linux. */

import { readFileSync, readlinkSync } from "node:fs";
import { libc } from "./ffi.ts";

const MADV_DONTNEED = 4;

/** A mapping of `/proc/PID/maps`: the first address and the length in bytes. */
export interface Mapping {
  readonly start: number;
  readonly length: number;
}

/**
 * The mappings of a file that are code: readable, executable, never written. Data of the file is left out: relocations have
 * changed it, and what Linux would read again is the file.
 *
 * @param maps the text of `/proc/PID/maps` (proc(5))
 */
export function codeOf(maps: string, path: string): readonly Mapping[] {
  return maps.split("\n").flatMap((line) => {
    const found = /^([0-9a-f]+)-([0-9a-f]+) r-xp [0-9a-f]+ \S+ [0-9]+ +(.*)$/.exec(line);
    if (found === null || found[3] !== path) return [];
    const start = Number.parseInt(found[1] ?? "", 16);
    return [{ start, length: Number.parseInt(found[2] ?? "", 16) - start }];
  });
}

/**
 * Lets go of the code that has run. Two thirds of it ran at the start only (the parser, the compiler, TLS), and would stay in
 * memory for good; what is needed again comes back from Linux's page cache, 16 pages a fault.
 *
 * @returns bytes of the mappings; 0 where Linux does not allow it, and all stays as it is
 */
export function releaseCode(): number {
  try {
    const mappings = codeOf(
      readFileSync("/proc/self/maps", "utf8"),
      readlinkSync("/proc/self/exe"),
    );
    return mappings.reduce(
      (sum, { start, length }) =>
        libc().madvise(start, length, MADV_DONTNEED) === 0 ? sum + length : sum,
      0,
    );
  } catch {
    return 0;
  }
}
