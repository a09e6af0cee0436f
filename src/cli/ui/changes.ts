/** Keeps the latest changes to Linux, as the log tells of them. */

import type { Logger } from "../../kernel/observe/log.ts";

export interface Change {
  /** Unix ms. */
  readonly time: number;
  readonly plugin: string;
  /** "create", "update", "delete"; of many at once, counts of each. */
  readonly verb: string;
  readonly item: string;
  /** Linux had moved without us. */
  readonly repair: boolean;
}

/** Changes that are kept. */
const MOST = 200;
const MESSAGES: ReadonlySet<string> = new Set(["Changed Linux", "Repaired Linux"]);

export interface ChangeLog {
  /** The latest first. */
  readonly changes: () => readonly Change[];
  /** A logger that also keeps what it is told of changes. */
  readonly logger: (log: Logger) => Logger;
}

export function changeLog(now: () => number = Date.now): ChangeLog {
  let kept: readonly Change[] = [];
  const wrap = (log: Logger, context: object): Logger => ({
    debug: (message, fields) => log.debug(message, fields),
    info(message, fields) {
      log.info(message, fields);
      if (!MESSAGES.has(message)) return;
      const change = changeOf({ ...context, ...fields }, message === "Repaired Linux", now());
      kept = [change, ...kept].slice(0, MOST);
    },
    warn: (message, fields) => log.warn(message, fields),
    error: (message, fields) => log.error(message, fields),
    child: (fields) => wrap(log.child(fields), { ...context, ...fields }),
  });
  return { changes: () => kept, logger: (log) => wrap(log, {}) };
}

function changeOf(
  fields: Readonly<Record<string, unknown>>,
  repair: boolean,
  time: number,
): Change {
  const plugin = String(fields["plugin"] ?? "");
  if (fields["item"] !== undefined) {
    return { time, plugin, verb: String(fields["verb"]), item: String(fields["item"]), repair };
  }
  const counts = (["created", "updated", "deleted"] as const)
    .filter((name) => Number(fields[name] ?? 0) > 0).map((name) =>
      `${String(fields[name])} ${name}`
    );
  const repaired = Number(fields["repaired"] ?? 0) > 0;
  return { time, plugin, verb: counts.join(", "), item: String(fields["kind"]), repair: repaired };
}
