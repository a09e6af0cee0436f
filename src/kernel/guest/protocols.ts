/**
 * Route protocol numbers of third parties' plugins: what lies in Linux under a number is one plugin's. A file in the runtime
 * directory keeps them, so that a later life of the agent still knows whose is whose, and what a plugin left whose file is gone.
 */

import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Owner } from "../dataplane/dataplane.ts";

const FIRST = 204;
const LAST = 254;
const FILE = "plugins.json";

export interface Protocols {
  /** All plugins that may have something in Linux. */
  owners(): readonly Owner[];
  /** The number of a plugin, from now on. @throws {Error} where there is none left, or the file cannot be written */
  of(name: string): number;
  /** The number that `of` would give, noted nowhere. @throws {Error} where there is none left */
  peek(name: string): number;
  /** Nothing of a plugin is in Linux any more. */
  forget(name: string): void;
  /** As `forget`, of all plugins. */
  forgetAll(): void;
}

/** A file that is missing or damaged counts as empty: a plugin's number then comes from its name, mostly the one it had. */
export function openProtocols(runtimeDir: string): Protocols {
  const path = join(runtimeDir, FILE);
  const numbers = new Map(read(path));
  const write = (): void => {
    try {
      mkdirSync(runtimeDir, { recursive: true, mode: 0o755 });
      const fresh = `${path}.new`;
      writeFileSync(fresh, `${JSON.stringify(Object.fromEntries(numbers))}\n`, { mode: 0o644 });
      renameSync(fresh, path);
    } catch (error) {
      throw new Error(
        `Cannot note whose routes are whose in "${path}": ${
          error instanceof Error ? error.message : String(error)
        }; give a --runtime-dir that can be written`,
      );
    }
  };
  const peek = (name: string): number => {
    const known = numbers.get(name);
    if (known !== undefined) return known;
    const taken = new Set(numbers.values());
    const count = LAST - FIRST + 1;
    const start = hash(name) % count;
    for (let step = 0; step < count; step++) {
      const number = FIRST + (start + step) % count;
      if (!taken.has(number)) return number;
    }
    throw new Error(`There are ${count} plugins already, and Linux has no more protocol numbers`);
  };
  return {
    owners: () => [...numbers].map(([name, protocol]) => ({ name, protocol })),
    peek,
    of(name) {
      const number = peek(name);
      if (numbers.get(name) === number) return number;
      numbers.set(name, number);
      write();
      return number;
    },
    forget(name) {
      if (numbers.delete(name)) write();
    },
    forgetAll() {
      if (numbers.size === 0) return;
      numbers.clear();
      write();
    },
  };
}

function read(path: string): readonly (readonly [string, number])[] {
  try {
    const value: unknown = JSON.parse(readFileSync(path, "utf8"));
    return Object.entries(value ?? {}).filter((entry): entry is [string, number] =>
      Number.isInteger(entry[1]) && entry[1] >= FIRST && entry[1] <= LAST
    );
  } catch {
    return [];
  }
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
  return value;
}
