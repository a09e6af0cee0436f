/** Checks of what RBAC lets the agent read and write. */

import { type AccessRule, WRITE_RULES } from "../../kernel/cluster/access.ts";
import type { ApiWrite } from "../../kernel/cluster/cluster-api.ts";
import type { Kind } from "../../kernel/cluster/kinds.ts";
import type { DoctorApi } from "./api.ts";
import { fail, type Finding, ok, skip, warn } from "./findings.ts";

const REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/**
 * Whether we may list and watch a kind. An API server without access reviews is asked for a list of one. What is optional is
 * worth a warning at most: the agent goes on without it.
 */
export async function accessFinding(api: DoctorApi, kind: Kind): Promise<Finding> {
  const id = `rbac/${kind.name}`;
  const bad = kind.optional === true ? warn : fail;
  const { group, name: resource } = kind;
  const fix = (verbs: readonly string[]) => fixOf({ group, resources: [resource], verbs });
  try {
    const missing: string[] = [];
    for (const verb of ["list", "watch"]) {
      const allowed = await mayI(api, { group, resource, verb });
      if (allowed === undefined) {
        const { status } = await api.ask(`${kind.path}?limit=1`);
        if (status === 200) return ok(id, `may list ${resource}`);
        if (status === 404 && kind.optional === true) {
          return skip(id, `this API server has no ${resource}, and none is needed`);
        }
        return bad(id, `may not list ${resource} (HTTP ${status})`, fix(["list", "watch"]));
      }
      if (!allowed) missing.push(verb);
    }
    return missing.length === 0
      ? ok(id, `may list and watch ${resource}`)
      : bad(id, `may not ${missing.join(" and ")} ${resource}`, fix(missing));
  } catch (error) {
    return unanswered(id, error);
  }
}

/**
 * Whether we may write what plugins write: a finding a resource. Only a review can say so without writing. A missing Event costs
 * nothing but the Event.
 */
export async function writeFindings(
  api: DoctorApi,
  writes: readonly ApiWrite[],
  leaseNamespace: string,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const write of new Set(writes)) {
    const namespace = write === "leases" ? leaseNamespace : undefined;
    findings.push(await writeFinding(api, write, namespace));
  }
  return findings;
}

async function writeFinding(
  api: DoctorApi,
  write: ApiWrite,
  namespace: string | undefined,
): Promise<Finding> {
  const id = `rbac/${write}`;
  const where = namespace === undefined ? "" : ` in namespace "${namespace}"`;
  try {
    const missing: AccessRule[] = [];
    for (const { group, resources, verbs } of WRITE_RULES[write]) {
      for (const resource of resources) {
        const lacking: string[] = [];
        for (const verb of verbs) {
          const allowed = await mayI(api, { group, resource, verb, namespace });
          if (allowed === undefined) {
            return skip(id, `this API server does not say whether we may write ${write}`);
          }
          if (!allowed) lacking.push(verb);
        }
        if (lacking.length > 0) missing.push({ group, resources: [resource], verbs: lacking });
      }
    }
    const all = WRITE_RULES[write];
    if (missing.length === 0) return ok(id, `may ${wordsOf(all)}${where}`);
    const role = namespace === undefined ? "ClusterRole" : `Role in namespace "${namespace}"`;
    return (write === "events" ? warn : fail)(
      id,
      `may not ${wordsOf(missing)}${where}`,
      missing.map((rule) => fixOf(rule, role)).join("; "),
    );
  } catch (error) {
    return unanswered(id, error);
  }
}

function wordsOf(rules: readonly AccessRule[]): string {
  return rules.map(({ resources, verbs }) => `${verbs.join(", ")} ${resources.join(", ")}`)
    .join(" and ");
}

function fixOf({ group, resources, verbs }: AccessRule, role = "ClusterRole"): string {
  return `give the ${role} a rule: apiGroups: [${group === "" ? '""' : group}], resources: [${
    resources.join(", ")
  }], verbs: [${verbs.join(", ")}]`;
}

interface Attributes {
  readonly group: string;
  /** With its subresource: "services/status". */
  readonly resource: string;
  readonly verb: string;
  /** Absent: in all of them. */
  readonly namespace?: string | undefined;
}

/** Undefined where the API server does not review access. */
async function mayI(
  api: DoctorApi,
  { group, resource: path, verb, namespace }: Attributes,
): Promise<boolean | undefined> {
  const [resource, subresource] = path.split("/");
  const { status, body } = await api.ask(REVIEWS, {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: { verb, group, resource, subresource, namespace } },
  });
  const allowed = (body as { status?: { allowed?: unknown } } | undefined)?.status?.allowed;
  return status < 300 && typeof allowed === "boolean" ? allowed : undefined;
}

function unanswered(id: string, error: unknown): Finding {
  const text = error instanceof Error ? error.message : String(error);
  return fail(id, text, "ask again when the API server answers");
}
