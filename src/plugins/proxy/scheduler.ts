/** The scheduler annotation. */

import type { Service } from "../../kernel/plugin.ts";

export const SCHEDULER_ANNOTATION = "kube-router.io/service.scheduler";

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

/** The Service's scheduler; one that is not understood is reported and `rr` taken. */
export function schedulerOf({ metadata }: Service, problems: string[]): string {
  const text = metadata.annotations[SCHEDULER_ANNOTATION];
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
