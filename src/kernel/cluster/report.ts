/** What the log says of a source: each thing once, so that a bad night does not fill a disk. */

import type { Logger } from "../observe/log.ts";
import { isRecord, type Problem } from "./fields.ts";
import { keyOfRaw } from "./watch-events.ts";

export interface ConnectionReporter {
  /** @param ordinary such as a server's restart makes: worth a line, not a warning */
  readonly failed: (error: string, ordinary: boolean) => void;
  readonly recovered: () => void;
}

/** The same error is told again after this long. */
const REPEAT_MS = 60_000;

export function connectionReporter(log: Logger): ConnectionReporter {
  const told = new Map<string, number>();
  let failingSince: number | undefined;
  return {
    failed: (error, ordinary) => {
      const now = Date.now();
      const again = now - (told.get(error) ?? -Infinity) < REPEAT_MS;
      if (again) return log.debug("API server failed again, trying again", { error });
      if (told.size >= 100) told.clear();
      told.set(error, now);
      failingSince ??= now;
      if (ordinary) log.info("Connection to the API server ended, trying again", { error });
      else log.warn("API server failed, trying again", { error });
    },
    recovered: () => {
      if (failingSince === undefined) return;
      const seconds = ((Date.now() - failingSince) / 1000).toFixed(1);
      failingSince = undefined;
      log.info("API server works again", { after: `${seconds} s` });
    },
  };
}

/** Reports each wrong field of each object once. */
export function problemReporter(
  log: Logger,
): (raw: unknown, ...problem: Parameters<Problem>) => void {
  const told = new Set<string>();
  return (raw, path, reason) => {
    const object = keyOfRaw(isRecord(raw) && isRecord(raw["metadata"]) ? raw["metadata"] : {});
    const key = `${object} ${path}`;
    if (told.has(key)) return;
    if (told.size >= 1_000) told.clear();
    told.add(key);
    log.warn("Object has a field of the wrong type, which is ignored", {
      object,
      field: path,
      reason,
    });
  };
}
