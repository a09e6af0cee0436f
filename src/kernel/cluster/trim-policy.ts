/**
 * NetworkPolicy, trimmed so that what cannot be understood never opens anything: an empty list means
 * "all" in this API, so leaving out a bad item would turn "this one" into "everyone".
 */

import {
  type Fields,
  has,
  integer,
  integerOrText,
  labels,
  object,
  pathOf,
  type Problem,
  records,
  text,
  texts,
} from "./fields.ts";
import type {
  LabelSelector,
  LabelSelectorRequirement,
  Metadata,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
} from "./kinds.ts";
import { NO_LABELS, NO_LIST, shareText, shareValue } from "./share.ts";

const OPERATORS: readonly string[] = ["In", "NotIn", "Exists", "DoesNotExist"];
const PROTOCOLS: readonly string[] = ["TCP", "UDP", "SCTP"];

/** Selects all. */
const EVERYTHING: LabelSelector = Object.freeze({
  matchLabels: NO_LABELS,
  matchExpressions: NO_LIST,
});

export function trimNetworkPolicy(fields: Fields, metadata: Metadata): NetworkPolicy {
  const spec = object(fields, "spec");
  const subject = sound(spec, "podSelector", trimSelector);
  const types = sound(spec, "policyTypes", trimTypes);
  const closed = subject === undefined || types === undefined;
  return {
    metadata,
    spec: {
      podSelector: subject ?? EVERYTHING,
      policyTypes: types ?? BOTH,
      ingress: closed ? NO_LIST : rules(spec, "ingress", "from"),
      egress: closed ? NO_LIST : rules(spec, "egress", "to"),
    },
  };
}

const BOTH: NetworkPolicy["spec"]["policyTypes"] = Object.freeze(["Ingress", "Egress"]);
const INGRESS: NetworkPolicy["spec"]["policyTypes"] = Object.freeze(["Ingress"]);
const EGRESS: NetworkPolicy["spec"]["policyTypes"] = Object.freeze(["Egress"]);

/** What `read` makes of the field, or undefined where any part of it is wrong. */
function sound<T>(
  fields: Fields,
  key: string,
  read: (fields: Fields, key: string) => T,
): T | undefined {
  let wrong = false;
  const problem: Problem = (path, reason) => {
    wrong = true;
    fields.problem(path, reason);
  };
  const result = read({ ...fields, problem }, key);
  return wrong ? undefined : result;
}

function trimTypes(spec: Fields, key: string): NetworkPolicy["spec"]["policyTypes"] {
  const types = texts(spec, key);
  for (const type of types) {
    if (type !== "Ingress" && type !== "Egress") {
      spec.problem(pathOf(spec, key), `must hold Ingress or Egress, not "${type}"`);
    }
  }
  if (types.length === 0) {
    const egress = spec.raw["egress"];
    // Without policyTypes: Ingress always, Egress where there is an egress rule (the API's default).
    return Array.isArray(egress) && egress.length > 0 ? BOTH : INGRESS;
  }
  if (!types.includes("Egress")) return INGRESS;
  return types.includes("Ingress") ? BOTH : EGRESS;
}

/** A rule with a wrong part is left out whole: it allows nothing. */
function rules(spec: Fields, key: string, peers: "from" | "to"): readonly NetworkPolicyRule[] {
  return records(spec, key, (rule) => {
    let wrong = false;
    const problem: Problem = (path, reason) => {
      wrong = true;
      rule.problem(path, reason);
    };
    const watched: Fields = { ...rule, problem };
    const found: NetworkPolicyRule = {
      peers: records(watched, peers, trimPeer),
      ports: records(watched, "ports", trimPort),
    };
    return wrong ? undefined : found;
  });
}

function trimPeer(fields: Fields): NetworkPolicyPeer {
  const pods = has(fields, "podSelector");
  const namespaces = has(fields, "namespaceSelector");
  const block = has(fields, "ipBlock");
  if (!pods && !namespaces && !block) {
    fields.problem(pathOf(fields), "must have a podSelector, a namespaceSelector or an ipBlock");
  }
  if (block && (pods || namespaces)) {
    fields.problem(pathOf(fields), "must not have an ipBlock beside a selector");
  }
  return {
    ...(pods ? { podSelector: trimSelector(fields, "podSelector") } : {}),
    ...(namespaces ? { namespaceSelector: trimSelector(fields, "namespaceSelector") } : {}),
    ...(block ? { ipBlock: trimBlock(object(fields, "ipBlock")) } : {}),
  };
}

function trimBlock(fields: Fields): NonNullable<NetworkPolicyPeer["ipBlock"]> {
  const cidr = text(fields, "cidr");
  if (cidr === undefined) fields.problem(pathOf(fields, "cidr"), "is missing");
  return { cidr: cidr ?? "", except: texts(fields, "except") };
}

function trimPort(fields: Fields): NetworkPolicyPort {
  const protocol = text(fields, "protocol") || "TCP";
  if (!PROTOCOLS.includes(protocol)) {
    fields.problem(pathOf(fields, "protocol"), `must be TCP, UDP or SCTP, not "${protocol}"`);
  }
  const port = has(fields, "port") ? integerOrText(fields, "port") : undefined;
  const endPort = has(fields, "endPort") ? integer(fields, "endPort") : undefined;
  if (endPort !== undefined && (typeof port !== "number" || endPort < port)) {
    fields.problem(pathOf(fields, "endPort"), "must follow a numeric port that is not larger");
  }
  return {
    protocol: shareText(protocol),
    ...(port === undefined ? {} : { port }),
    ...(endPort === undefined ? {} : { endPort }),
  };
}

function trimSelector(fields: Fields, key: string): LabelSelector {
  const raw = object(fields, key);
  const matchLabels = labels(raw, "matchLabels");
  const matchExpressions = records(raw, "matchExpressions", trimRequirement);
  if (matchLabels === NO_LABELS && matchExpressions.length === 0) return EVERYTHING;
  return shareValue({ matchLabels, matchExpressions });
}

function trimRequirement(fields: Fields): LabelSelectorRequirement | undefined {
  const key = text(fields, "key");
  const operator = text(fields, "operator");
  const values = texts(fields, "values");
  if (key === undefined || key === "") {
    fields.problem(pathOf(fields, "key"), "is missing");
    return undefined;
  }
  if (!isOperator(operator)) {
    fields.problem(
      pathOf(fields, "operator"),
      `must be ${OPERATORS.join(", ")}, not "${operator ?? ""}"`,
    );
    return undefined;
  }
  const needsValues = operator === "In" || operator === "NotIn";
  if (needsValues && values.length === 0) {
    fields.problem(pathOf(fields, "values"), `must not be empty for ${operator}`);
  }
  return { key, operator, values };
}

function isOperator(value: string | undefined): value is LabelSelectorRequirement["operator"] {
  return value !== undefined && OPERATORS.includes(value);
}
