/** What the table of flags is made of: a flag, its groups, and checks that several share. */

import type { Kind } from "./flag-kinds.ts";

/** The groups of the help text and of the reference page, in their order. */
export const SECTIONS = [
  "Functions",
  "routelet",
  "Kubernetes API",
  "Service proxy",
  "Pod networking",
  "BGP",
  "BGP peers",
  "Firewall",
  "Load balancer",
  "Health and metrics",
  "Installation",
  "Output",
] as const;
export type Section = typeof SECTIONS[number];

/** One flag. */
export interface FlagSpec<T> {
  readonly kind: Kind<T>;
  readonly default: T;
  readonly section: Section;
  /** What it does, as a phrase without a full stop. */
  readonly usage: string;
  /** Whether this version acts on it; if not it parses, validates and is named in one warning at start. */
  readonly served: boolean;
  /** Set for flags that are not served: whether a value says what happens anyway, so that nobody is warned. */
  readonly holds?: (value: T) => boolean;
  /** What to warn of where it is given and on: what others mean by it and we do not do. */
  readonly warning?: string;
  /** One letter that stands for it. */
  readonly short?: string;
  /** Set for flags that are accepted and do nothing: what serves their purpose now. */
  readonly replacement?: string;
  /** The value is a secret and never leaves the program. */
  readonly secret?: boolean;
  /** Says why a value of the right kind is still wrong, as what is allowed instead. */
  readonly check?: (value: T) => string | undefined;
}

type Extra<T> = Partial<Omit<FlagSpec<T>, "kind" | "default" | "section" | "usage">>;

/** A flag that is served, if `extra` does not say otherwise. */
export function flag<T>(
  kind: Kind<T>,
  fallback: NoInfer<T>,
  section: Section,
  usage: string,
  extra: Extra<NoInfer<T>> = {},
): FlagSpec<T> {
  return { kind, default: fallback, section, usage, served: true, ...extra };
}

export const SECOND = 1000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** Of a flag that no plugin serves yet. */
export const LATER = { served: false } as const;
export const NO_PATHS: readonly string[] = [];
export const NO_NUMBERS: readonly number[] = [];

/** Checks of durations and of listening addresses. */
export const positive = {
  check: (ms: number) => ms > 0 ? undefined : "a duration above 0",
};
export const notNegative = {
  check: (ms: number) => ms >= 0 ? undefined : "a duration of 0 or more",
};
export const host = {
  check: (value: string) =>
    /^(?:|\[[0-9a-fA-F:.]+\]|[^\s\[\]/]+)$/.test(value)
      ? undefined
      : "an address without port, or nothing for all addresses",
};
