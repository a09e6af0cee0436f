/** Who and where this agent is, for its lease. */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/** Where kube-router looks as well; outside of a pod kube-system. */
export function ownNamespace(env: Readonly<Record<string, string | undefined>>): string {
  const given = env["POD_NAMESPACE"] ?? "";
  if (given !== "") return given;
  try {
    return readFileSync(NAMESPACE_FILE, "utf8").trim() || "kube-system";
  } catch {
    return "kube-system";
  }
}

/** Another one after each start: an agent that was killed does not know what it was about to write. */
export function newIdentity(
  env: Readonly<Record<string, string | undefined>>,
  node: string,
): string {
  return `${env["POD_NAME"] || node}_${randomUUID().slice(0, 8)}`;
}
