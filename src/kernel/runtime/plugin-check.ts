/** Whether a plugin can be hosted beside the others, before anything of it runs. */

import { tables } from "../dataplane/resources/mod.ts";
import type { Plugin } from "../plugin.ts";

/** A plugin to host, with its configuration as `Plugin.parse` takes it. */
export interface Hosted {
  readonly plugin: Plugin<never>;
  readonly options: unknown;
  /** Route protocol number of what it owns. */
  readonly protocol: number;
  /** Milliseconds between full read-backs of Linux; absent: that of all. */
  readonly fullInterval?: number;
}

/** Why a plugin cannot be hosted at all, if it cannot: its name decides what it owns. */
export function faultOf(
  { plugin: { name, tables: kinds } }: Hosted,
  index: number,
  all: readonly Hosted[],
): string | undefined {
  if (!/^[a-z][a-z0-9-]*$/.test(name)) {
    return `its name "${name}" is not lower-case letters, digits and dashes; rename it`;
  }
  if (all.findIndex(({ plugin }) => plugin.name === name) < index) {
    return `another plugin is called "${name}" as well; rename one of them`;
  }
  const unknown = kinds.find((kind) => !Object.hasOwn(tables, kind));
  if (unknown !== undefined) {
    return `its field "tables" names "${unknown}"; allowed are ${Object.keys(tables).join(", ")}`;
  }
  const circle = circleFrom(name, all, [name]);
  return circle && `it waits for itself: ${circle.join(" after ")}`;
}

/** The way from a plugin back to itself along `after`, if there is one. */
function circleFrom(
  name: string,
  all: readonly Hosted[],
  path: readonly string[],
): readonly string[] | undefined {
  const last = path.at(-1);
  for (const next of all.find(({ plugin }) => plugin.name === last)?.plugin.after ?? []) {
    if (next === name) return [...path, next];
    const found = path.includes(next) ? undefined : circleFrom(name, all, [...path, next]);
    if (found !== undefined) return found;
  }
  return undefined;
}
