/**
 * The annotation by which a namespace was closed in 2017, before NetworkPolicy v1:
 * `net.beta.kubernetes.io/network-policy: {"ingress": {"isolation": "DefaultDeny"}}`. All pods of the namespace are
 * isolated for ingress, those that no policy selects too; what policies allow is allowed. It stands beside v1.
 */

import type { Namespace } from "../../kernel/plugin.ts";

export const ISOLATION = "net.beta.kubernetes.io/network-policy";

export interface Isolation {
  /** Whether the namespace's pods are isolated for ingress. */
  readonly closed: boolean;
  readonly problem?: string;
}

const OPEN: Isolation = { closed: false };
const CLOSED: Isolation = { closed: true };

/** Anything but exactly `DefaultDeny` is DefaultAllow, as in 2017; JSON that cannot be read costs this namespace alone. */
export function isolationOf(namespace: Namespace | undefined): Isolation {
  const text = namespace?.metadata.annotations[ISOLATION];
  if (text === undefined) return OPEN;
  try {
    const value: unknown = JSON.parse(text);
    return field(field(value, "ingress"), "isolation") === "DefaultDeny" ? CLOSED : OPEN;
  } catch {
    return {
      closed: false,
      problem: `Annotation "${ISOLATION}" is no JSON, and isolates nothing; write ` +
        `{"ingress": {"isolation": "DefaultDeny"}}`,
    };
  }
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}
