/** What `routelet doctor` finds: one line a check, each fault with its remedy. */

/** "ok"; "warn": it works, and something is lost or may break; "fail": something does not work; "skip": not asked for. */
export type Grade = "ok" | "warn" | "fail" | "skip";

export interface Finding {
  /** Names the check for scripts and for the reference page: "kernel/ip_vs". */
  readonly id: string;
  readonly grade: Grade;
  /** What was found, as a phrase. */
  readonly text: string;
  /** What to do about it; of "warn" and "fail" always. */
  readonly fix?: string;
}

export function ok(id: string, text: string): Finding {
  return { id, grade: "ok", text };
}

export function skip(id: string, text: string): Finding {
  return { id, grade: "skip", text };
}

export function warn(id: string, text: string, fix: string): Finding {
  return { id, grade: "warn", text, fix };
}

export function fail(id: string, text: string, fix: string): Finding {
  return { id, grade: "fail", text, fix };
}
