/** Annotations that switch something on. */

import type { Service } from "../../kernel/plugin.ts";

/**
 * Whether a switch is on: the annotation is there with the value "true" or none at all. Any other value but "false" is
 * reported and counts as absent. kube-router takes some switches as on whatever their value, even "false".
 */
export function isOn({ metadata }: Service, name: string, problems: string[]): boolean {
  const text = metadata.annotations[name];
  if (text === undefined) return false;
  const value = text.trim().toLowerCase();
  if (value === "" || value === "true") return true;
  if (value !== "false") {
    problems.push(
      `Annotation ${name} is "${text}"; allowed are "true" and "false"; it is ignored`,
    );
  }
  return false;
}
