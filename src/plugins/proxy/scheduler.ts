/** The annotations of the scheduler. */

import type { Service } from "../../kernel/plugin.ts";

export const SCHEDULER_ANNOTATION = "kube-router.io/service.scheduler";
export const FLAGS_ANNOTATION = "kube-router.io/service.schedflags";

/** Schedulers that the annotation may name, as Linux names them (`ip_vs_<name>`). */
export const SCHEDULERS: readonly string[] = [
  "rr",
  "lc",
  "dh",
  "sh",
  "mh",
  "wrr",
  "wlc",
  "sed",
  "nq",
  "lblc",
  "lblcr",
  "fo",
  "ovf",
];

/** IP_VS_SVC_F_SCHED1 to SCHED3 (linux/ip_vs.h), by scheduler. The names without one are kube-router's, for mh alone. */
const FLAGS: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  sh: { "sh-fallback": 0x08, "sh-port": 0x10 },
  mh: { "mh-fallback": 0x08, "mh-port": 0x10, "flag-1": 0x08, "flag-2": 0x10, "flag-3": 0x20 },
};

export interface Scheduling {
  readonly scheduler: string;
  /** Bits of {@linkcode FLAGS}. */
  readonly schedulerFlags: number;
}

/** The Service's scheduler and its flags; what is not understood is reported, and `rr` or no flag taken. */
export function schedulingOf({ metadata }: Service, problems: string[]): Scheduling {
  const scheduler = schedulerName(metadata.annotations[SCHEDULER_ANNOTATION], problems);
  const flags = metadata.annotations[FLAGS_ANNOTATION];
  return {
    scheduler,
    schedulerFlags: flags === undefined ? 0 : flagBits(flags, scheduler, problems),
  };
}

function schedulerName(text: string | undefined, problems: string[]): string {
  if (text === undefined) return "rr";
  const name = text.trim();
  if (SCHEDULERS.includes(name)) return name;
  problems.push(
    `Annotation ${SCHEDULER_ANNOTATION} is "${text}"; allowed are ${
      SCHEDULERS.join(", ")
    }; "rr" is taken`,
  );
  return "rr";
}

function flagBits(text: string, scheduler: string, problems: string[]): number {
  const allowed = FLAGS[scheduler] ?? {};
  const given = text.split(",").map((each) => each.trim()).filter((each) => each !== "");
  const unknown = given.filter((each) => !Object.hasOwn(allowed, each));
  if (unknown.length > 0) {
    const names = Object.keys(allowed);
    problems.push(
      `Annotation ${FLAGS_ANNOTATION} has ${
        unknown.map((each) => `"${each}"`).join(", ")
      }, which scheduler "${scheduler}" does not have; ` +
        (names.length === 0
          ? `flags are for ${Object.keys(FLAGS).join(" and ")}; they are ignored`
          : `allowed are ${names.join(", ")}; the rest is taken`),
    );
  }
  return given.reduce((bits, each) => bits | (allowed[each] ?? 0), 0);
}
